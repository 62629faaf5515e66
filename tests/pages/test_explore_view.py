"The page of figures in a browser, and which table it begins with"
import json

import pytest

from gradeclass.data.synthetic import sample_path
from gradeclass.pages.explore_model import ExploreModel, tables
from gradeclass.scoring.answer import open_bundle

from pages_helpers import expect, until



def test_first_table_is_what_the_model_that_serves_has_learnt_from(trained, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADECLASS_OUTPUTS", str(tmp_path))
    monkeypatch.setenv("GRADECLASS_HOME", str(tmp_path))
    table, record = tmp_path/"year10.csv", tmp_path/"runs"/"20261101-101010"/"run.json"
    table.write_text("".join(sample_path("students").read_text().splitlines(True)[:201]))
    record.parent.mkdir(parents=True)
    record.write_text(json.dumps({"run_id": "20261101-101010", "parameters": {"data": str(table)}, "bundle": str(trained)}))
    served = open_bundle(trained)
    assert list(tables(served))[0] == "The data of the model that serves (year10.csv)"
    model = ExploreModel(served)
    model.choose(list(model.tables)[0])
    assert len(model.frame) == 200


@pytest.mark.browser
@pytest.mark.process
@pytest.mark.slow
def test_custom_figure_is_drawn_and_an_impossible_one_explained(visit):
    page = visit("explore")
    until(page, "document.querySelectorAll('.gc-figures img').length === 4")
    until(page, "document.querySelectorAll('.gc-figure img').length === 6")
    page.get_by_label("Figure").select_option("Histogram: one column")
    page.get_by_role("button", name="Draw").click()
    until(page, "[...document.querySelectorAll('.gc-figure img')].some(image => image.alt.startsWith('Study "
                           "time, '))")
    page.get_by_label("Figure").select_option("Bar: shares by group")
    page.get_by_role("button", name="Draw").click()
    page.wait_for_selector("text=a bar figure needs a column of answers")
    expect(page.locator(".gc-stack .gc-note-bad")).to_have_count(1)
    page.get_by_label("Horizontal axis").select_option("Tutoring")
    page.get_by_role("button", name="Draw").click()
    until(page, "!document.querySelector('.gc-note-bad')")
    page.get_by_label("Do better grades go with").select_option("Tutoring")
    until(page, "document.body.innerText.includes('Tutoring') && /No clear link|Yes/.test(document.body.innerText)")


def test_choice_made_while_a_newer_model_is_built_in_reaches_its_view(trained):
    from gradeclass.pages.explore_view import ExploreView
    from gradeclass.pages.host import Host
    from gradeclass.pages.page import Page
    host = Host(lambda: trained)
    page = Page(ExploreView, host)
    before = page.body.children[0]
    for kind in ("histogram", "bar"):
        host.served = open_bundle(trained)
        before.kind.value = kind
        before.draw.click()
        view = page.body.children[0]
        assert view is not before and view.kind.value == kind and (view.built.value or view.said.value)


def test_no_bar_goes_under_on_white_or_on_the_dark_page():
    import numpy as np
    from gradeclass.evaluation.explore import step_colours
    turn = np.array([[-0.574, 1.43, 0.144], [0.426, 0.43, 0.144], [0.426, 1.43, -0.856]])  # hue-rotate(180deg)
    def contrast(colour, ground):
        parts = np.clip([colour, [ground]*3], 0, 1)
        light = np.where(parts <= 0.04045, parts/12.92, ((parts + 0.055)/1.055)**2.4) @ [0.2126, 0.7152, 0.0722] + 0.05
        return light.max()/light.min()
    for steps in range(2, 14):
        for colour in step_colours(steps):
            assert contrast(colour, 1) > 2.4 and contrast(turn @ (0.9 - 0.8*colour), 0x1a/255) > 2.4


def test_column_of_one_value_or_of_few_students_is_answered_and_hides_no_other_figure(trained):
    import pandas as pd
    from gradeclass.pages.explore_model import column_answer, default_figures
    students = pd.read_csv(sample_path("students")).head(200).assign(Sports=1)
    students.loc[5:, "Tutoring"] = None
    students.loc[:4, ["Tutoring", "GradeClass"]] = [[0, 4], [0, 4], [1, 0], [1, 0], [1, 0]] # By far the strongest link
    model = ExploreModel(open_bundle(trained))
    model.read("year.csv", students.to_csv(index=False).encode())
    assert model.links.index[0] == "Tutoring"
    assert len(list(default_figures(model.frame, model.schema))) == 4
    words = column_answer(model.frame, model.schema, model.links, "Sports").words
    assert "No answer" in words and "Sports does not vary enough to tell" in words and "No clear link" not in words


def test_grades_that_are_equally_common_are_all_named():
    import pandas as pd
    from gradeclass.evaluation.explore import grades_sentence
    from gradeclass.schema import load_schema
    students = pd.DataFrame({"GradeClass": pd.Categorical(list("AABBC"), list("ABCDF"))})
    words = grades_sentence(students, load_schema("students"))
    assert "The most common grade is a tie of **A and B** with 40 %" in words
    assert "the smallest is a tie of D and F with 0 % (0 students)" in words

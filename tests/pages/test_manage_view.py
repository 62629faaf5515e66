"The page that runs the pipeline and promotes, in a browser"
import os
import re
import shutil
import subprocess
import sys
import threading
from types import SimpleNamespace

import pandas as pd
import pytest

from gradeclass.config import GradeclassError
from gradeclass.data.synthetic import sample_path
from gradeclass.models.bundle import extend_bundle
from gradeclass.schema import load_schema
from pages_helpers import TOKEN, choose_file, expect, fetch, serve_copy, unknown_table, unlock, until

pytestmark = [pytest.mark.browser, pytest.mark.process, pytest.mark.slow]


@pytest.fixture
def server(finished_run, tmp_path):
    "A server of its own: this page changes which model serves"
    yield from serve_copy(finished_run, tmp_path)


def test_manage_runs_a_pipeline_and_a_person_promotes_and_reverts(visit, server):
    page = visit("manage")
    page.get_by_label("Token for this page").fill("wrong")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=That is not the token")
    assert page.get_by_role("button", name="Run the pipeline").count() == 0
    unlock(page)
    page.get_by_label("Table").fill("sample")
    page.get_by_label("Model type").select_option("xgboost")
    page.get_by_label("Further parameters").fill("params={rounds: 5, patience: null}, resamples=40")
    page.get_by_role("button", name="Run the pipeline").click()
    page.wait_for_selector(".gc-steps progress", timeout=60_000)
    page.wait_for_selector("text=It waits for your decision below", timeout=300_000)
    use = page.get_by_role("button", name="Use this version")
    use.click()
    page.wait_for_selector("text=a decision needs a name and a reason")
    page.get_by_label("Your name").fill("A. Teacher")
    choice = page.get_by_label("Version", exact=True)
    labels = choice.locator("option").all_inner_texts()
    newest, oldest = (labels[place].split()[1] for place in (0, -1))  # Other tests add to the run's registry
    for place, version in ((len(labels) - 1, oldest), (0, newest)):
        choice.select_option(index=place)
        page.get_by_label("Reason").fill(f"Version {version} is what we want")
        use.click()
        warned = page.locator("text=Press the button once more")
        page.locator(f"text=Version {version} serves now").or_(warned).first.wait_for(timeout=300_000)
        if warned.count():
            page.wait_for_timeout(2100) # A person reads the advice; a double click does not
            use.click()
        page.wait_for_selector(f"text=Version {version} serves now", timeout=300_000)
    expect(page.locator("#rendered_cells")).to_contain_text("A. Teacher")
    expect(page.locator("body")).not_to_contain_text("gradeclass registry")
    page.get_by_label("Reason").fill("Only a try")
    page.get_by_role("button", name="Go back to the previous model").click()
    page.wait_for_selector(f"text=Version {oldest} serves now", timeout=300_000)
    link = page.get_by_role("link", name="Report of the newest run").get_attribute("href")
    assert fetch(f"{server.base}/{link}&token={TOKEN}")[0] == 200


def test_manager_uploads_a_table_answers_what_is_asked_and_stops_the_run(visit, server, tmp_path):
    table = tmp_path/"marks.csv"
    table.write_text("\n".join(["Nr,Hours,Grade", *(f"{i},{i % 9},{1 + i % 4}" for i in range(80))]))
    page = visit("manage")
    unlock(page)
    choose_file(page, table, "Choose a table with grades")
    page.wait_for_selector("text=marks.csv")
    page.get_by_label("The best grade").wait_for()
    assert page.get_by_role("button", name="Run on this table").count() == 0
    page.get_by_label("The best grade").fill("1")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Run on this table").click()
    stop = page.get_by_role("button", name="Stop the run")
    stop.click()
    page.wait_for_selector("text=The run was stopped on this page", timeout=60_000)
    until(page, "![...document.querySelectorAll('button')].some(made => made.innerText === 'Stop the run' && made.offsetParent)")


@pytest.mark.parametrize("source", ["students", "higher_ed", "unknown", "made up"])
def test_questions_about_a_table_name_no_part_of_a_file_and_no_command(source, tmp_path, monkeypatch):
    from gradeclass.pages.manage_view import TrainingView, reading
    monkeypatch.setenv("GRADECLASS_OUTPUTS", str(tmp_path))
    shipped = source in ("students", "higher_ed")
    table = pd.read_csv(sample_path(source)) if shipped else unknown_table() if source == "unknown" else made_up_table()
    # Names that no shipped schema knows, so that one is drafted
    table.columns = [{"GradeClass": "Grade", "GRADE": "Grade", "Grade": "Grade"}.get(name, f"{name} 2") for name in table.columns]
    view = TrainingView(print)
    view._take("table.csv", table.to_csv(index=False).encode())
    if view.studied.columns: view.target.value = "Grade"
    if view.studied.open: view.best.value = view.best.options[0]
    said = [question.text for question in view.studied.questions]
    offered = [answer.words for question in view.studied.questions for answer in question.answers]
    assert said
    for text in (*said, *offered, re.sub("<[^>]*>", " ", reading(view.studied))):
        assert not re.search(r"\brole\b|known_before|at_risk|min and max|set kind|under missing|`|--|gradeclass ", text)


def made_up_table(n=120):
    "Columns that raise each kind of doubt"
    grade = pd.Series(["A", "B", "C", "F"]*(n//4))
    return pd.DataFrame({"StudentNo": range(n), "Decision": grade.map({"A": "x", "B": "y", "C": "z", "F": "w"}),
                         "Forecast": grade.map({"A": 1, "B": 2, "C": 3, "F": 4}), "Class": ["a", "b", "c"]*(n//3),
                         "Gender": ["m", "f"]*(n//2), "Level": ["low", "middle", "high"]*(n//3),
                         "Code": [1, 2]*(n//2), "Days": [*range(n - 1), -999], "Essay": ["word "*40]*n, "Grade": grade})


def choose_answer(view, column, words):
    "Choose an answer to a question about a column"
    made = next(made for question, made in view.said.items() if question.column == column and words in dict(made.options))
    made.value = dict(made.options)[words]


def test_answer_that_does_not_fit_is_told_and_the_next_one_goes_on_from_there(tmp_path, monkeypatch):
    from gradeclass.pages.manage_view import TrainingView
    monkeypatch.setenv("GRADECLASS_OUTPUTS", str(tmp_path))
    view = TrainingView(print)
    marks = ["bronze", "gold", "silver", "none"]
    view._take("marks.csv", "\n".join(["Nr,Hours,Medal", *(f"{i},{i % 9},{marks[i*7 % 4]}" for i in range(80))]).encode())
    view.target.value = "Nr"
    assert "more than 30" in view.message.value and not view.actions.children
    view.target.value = "Medal"
    assert not view.message.value and view.studied.open
    view.best.value = "gold, silver"
    assert "names 2 of 4 grades" in view.message.value and "--" not in view.message.value
    view.best.value = "gold, silver, bronze, none"
    assert not view.message.value and view.studied.schema.grades.labels == ["gold", "silver", "bronze", "none"]
    assert list(view.actions.children) == [view.run, view.add]
    view.target.value = "Hours"
    assert not view.message.value and sorted(view.best.options) == list("012345678") and not view.best.value
    with pytest.raises(GradeclassError): view._take("photo.csv", bytes(range(256)))
    assert not (view.record.value or view.asked.children or view.actions.children)  # Nothing of the table before


def test_code_that_a_manager_calls_no_answer_is_none(tmp_path, monkeypatch):
    from gradeclass.data.sources import load
    from gradeclass.pages.manage_view import TrainingView
    monkeypatch.setenv("GRADECLASS_OUTPUTS", str(tmp_path))
    begun = []
    view = TrainingView(begun.append)
    rows = [f"{i},{99 if i % 10 == 3 else i*7 % 13},{'ABCD'[(i + i//9) % 4]}" for i in range(120)]
    view._take("marks.csv", "\n".join(["Nr,Hours,Grade", *rows]).encode())
    shown = [made.label for made in view.said.values()]  # None is shown as an empty field
    assert "I am not sure" in shown and None not in shown
    choose_answer(view, "Hours", "99 means no answer")
    view.run.click()
    read = load(begun[0]["data"], begun[0]["schema"]).frame["Hours"]
    assert read.isna().sum() == 12 and read.max() == 12


def test_column_that_a_manager_leaves_out_is_no_input(tmp_path, monkeypatch):
    from gradeclass.pages.manage_view import TrainingView
    monkeypatch.setenv("GRADECLASS_OUTPUTS", str(tmp_path))
    begun = []
    view = TrainingView(begun.append)
    rows = [f"{i},{i % 9},{i % 5},{'ABCD'[i % 4]}" for i in range(80)]
    view._take("marks.csv", "\n".join(["Nr,Hours,Level,Grade", *rows]).encode())
    choose_answer(view, "Level", "Leave the column out")
    view.run.click()
    schema = load_schema(begun[0]["schema"])
    assert [column.name for column in schema.inputs()] == ["Hours"]
    assert "Level" in [column.name for column in schema.columns if column.role == "ignored"]


@pytest.fixture
def outputs(finished_run, tmp_path, monkeypatch):
    "Outputs of a run, with one more version than it made"
    from gradeclass.registry.versions import list_versions, register_bundle
    outputs = tmp_path/"outputs"
    shutil.copytree(finished_run.report.parent.parent.parent, outputs, symlinks=True)
    monkeypatch.setenv("GRADECLASS_OUTPUTS", str(outputs))
    extend_bundle(list_versions(outputs)[-1].folder, tmp_path/"other", {"note.txt": "the same model"})
    register_bundle(outputs, tmp_path/"other")
    return outputs


def open_manage(visitor=None):
    "The page, behind its door"
    from gradeclass.pages.manage_view import ManageView
    view = ManageView()
    if visitor:
        view.ticket.key = visitor.key
        view._admit(visitor)
    else: view.unlock()
    view.who.value, view.why.value = "A. Teacher", "We want it"
    return view


def use_newest(view):
    "Choose the newest version, read the advice against it, insist"
    view.version.value = view.model.versions[-1]["number"]
    view.promote.click()
    view.read = 0
    view.promote.click()


def test_decision_against_the_advice_is_asked_for_twice_and_kept(outputs):
    from gradeclass.registry.promotions import history
    view = open_manage()
    view.version.value = view.model.versions[-1]["number"]
    view.promote.click()
    assert "Press the button once more" in view.note.value and history(outputs)[-1]["event"] == "register"
    view.promote.click()
    assert history(outputs)[-1]["event"] == "register" # The second half of a double click
    view.read = 0
    view.promote.click()
    decided = history(outputs)[-1]
    assert decided["event"] == "promote" and "We want it (against the advice: They cannot be compared" in decided["why"]


def test_page_follows_what_another_manager_decides_and_no_decision_falls_on_another_champion(outputs):
    from gradeclass.registry.promotions import history
    one, other = open_manage(), open_manage()
    serving = one.model.champion["number"]
    use_newest(one)
    newest = one.model.champion["number"]
    other.revert.click()
    assert f"decided while version {serving} served, but version {newest} serves by now" in other.note.value
    assert history(outputs)[-1]["event"] == "promote"
    other.model.refresh() # As the page does each second
    other.show()
    assert other.model.champion["number"] == newest and f"Version {newest}</strong> serves" in other.status.value
    for view in (other, one):
        view.why.value = "It was better before"
        view.revert.click()
    assert [entry["event"] for entry in history(outputs)[-2:]] == ["promote", "rollback"]
    assert history(outputs)[-1]["version"] == serving and "serves by now" in one.note.value


def test_decision_carries_the_name_of_the_token_that_opened_the_page(outputs):
    from gradeclass.registry.promotions import history
    from gradeclass.service.followups.visitors import find_visitor, make_visitor
    view = open_manage(find_visitor(make_visitor("Dr Head", "manager")))
    assert view.who.disabled
    use_newest(view)
    assert history(outputs)[-1]["event"] == "promote" and history(outputs)[-1]["decided_by"] == "Dr Head (page Manage)"


def test_two_managers_who_start_at_the_same_moment_start_one_run(tmp_path, monkeypatch):
    from gradeclass.pages import manage_model
    monkeypatch.setenv("GRADECLASS_OUTPUTS", str(tmp_path))
    monkeypatch.setattr(manage_model, "is_alive", lambda *_: True)
    begun, said = [], []
    def second():
        try: manage_model.start_run({"seed": "2"})
        except manage_model.AppError as error: said.append(str(error))
    late = threading.Thread(target=second)
    def start(command, **_):
        begun.append(command)
        if len(begun) == 1:
            late.start()
            late.join(2) # The second has every chance to come in between
        return SimpleNamespace(pid=len(begun))
    monkeypatch.setattr(manage_model.subprocess, "Popen", start)
    manage_model.start_run({"seed": "1"})
    late.join()
    assert len(begun) == 1 and said == ["a run is under way: wait until it is done"]


def test_run_that_is_stopped_after_it_registered_says_so_and_one_that_is_done_is_not_stopped(outputs, monkeypatch):
    from gradeclass.pages import manage_model
    run = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    monkeypatch.setattr(manage_model, "is_alive", lambda pid, _: pid == run.pid)
    newest = manage_model.newest_version()
    manage_model.run_file().parent.mkdir(parents=True, exist_ok=True)
    manage_model.write_event({"event": "begun", "pid": run.pid, "known": newest - 1})
    manage_model.stop_run()
    run.communicate()
    message = manage_model.run_state(manage_model.read_events())["message"]
    assert message == f"The run was stopped on this page. Version {newest} was registered before that."
    manage_model.write_event({"event": "finished", "message": "The run is done."})
    monkeypatch.setattr(manage_model, "is_alive", lambda *_: True) # Its process has not ended yet
    with pytest.raises(manage_model.AppError, match="no run is under way"): manage_model.stop_run()


def test_table_that_no_run_can_take_is_not_kept_and_one_that_is_kept_is_closed_to_others(tmp_path, monkeypatch):
    from gradeclass.pages.manage_view import TrainingView
    monkeypatch.setenv("GRADECLASS_OUTPUTS", str(tmp_path))
    view, tables = TrainingView(print), tmp_path/"app"/"tables"
    with pytest.raises(GradeclassError): view._take("photo.csv", b"\x89PNG\r\n\x1a\n" + bytes(range(256)))
    assert not list(tables.iterdir())
    view._take("marks.csv", "\n".join(["Nr,Hours,Grade", *(f"{i},{i % 9},{'ABCD'[i % 4]}" for i in range(80))]).encode())
    assert [path.name for path in tables.glob("*/*")] == ["marks.csv"]
    if os.name == "posix": assert not tables.stat().st_mode & 0o077


def test_uploaded_table_is_offered_again_after_a_reload_until_another_one_is_chosen(tmp_path, monkeypatch):
    from gradeclass.pages.manage_view import TrainingView
    monkeypatch.setenv("GRADECLASS_OUTPUTS", str(tmp_path))
    first = TrainingView(print)
    assert len(first.bar.children) == 1
    table = "\n".join(["Nr,Hours,Grade", *(f"{i},{i % 9},{'ABCD'[i % 4]}" for i in range(80))]).encode()
    first._take("marks.csv", table)
    first._run() # Writes a schema beside it
    again = TrainingView(print)
    assert again.bar.children[1].description == "Go on with marks.csv" and again.studied is None
    again.bar.children[1].click()
    assert again.studied.path == first.studied.path and len(again.bar.children) == 1 and again.actions.children


def test_comparison_is_labelled_for_how_it_is_laid_out(browser):
    from gradeclass.config import find_shipped
    from gradeclass.pages.manage_view import comparison_figure
    versions = [{"number": number, "time": "2026-11-28T10:00:00", "data": "grades.csv",
                 "metrics": {"accuracy": {"value": value, "low": value - 0.1, "high": 1.0}}}
                for number, value in ((1, 0.7), (2, 1.0))]
    style = find_shipped("nbs/app", "notebooks/app")/"look"/"voila"/"templates"/"gradeclass"/"static"/"page.css"
    page = browser.new_page()
    page.set_content(f"<style>{style.read_text()}</style><body class=gc><div class=gc-card>"
                     f"{comparison_figure(*versions, 1)}</div>")
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 900})
        assert "first version above, second below" in (
            page.inner_text("thead") if width > 720 else page.locator("td").last.get_attribute("data-label"))
        first, second = (page.locator("svg").nth(place).bounding_box() for place in (0, 1))
        cell = page.locator("td").last.bounding_box()
        assert first["y"] + first["height"] <= second["y"] + 1 and first["x"] == second["x"]
        assert cell["x"] <= first["x"] and first["x"] + first["width"] <= cell["x"] + cell["width"] + 1
        dot = page.locator("circle").last.bounding_box() # At 1, the end of the scale
        assert dot["x"] + dot["width"] <= second["x"] + second["width"]
    page.close()

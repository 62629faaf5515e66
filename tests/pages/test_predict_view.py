"The page of one student: its form, its answer, and what if"
import os
import re
import shutil
import subprocess
import sys

import pytest

from gradeclass.models.bundle import extend_bundle
from gradeclass.pages.predict_model import UNKNOWN, StudentModel, as_cell
from gradeclass.pages.predict_view import PredictView, WhatIf
from gradeclass.scoring.answer import ADVICE, open_bundle
from pages_helpers import PATIENCE, TOKEN, expect, until


@pytest.mark.slow
def test_every_field_of_the_form_moves_to_every_end_and_the_answer_follows(served):
    view = PredictView(served)
    for name, made in view.inputs.items():
        for value in getattr(made, "options", None) or (made.number.min, made.number.max, None): made.value = value
        assert view.model.student[name] == as_cell(view.model.fields[name].column, made.value)
        assert view.message.value == ""
    assert sum(view.model.answer.probability) == pytest.approx(1)
    assert "<script" not in view.headline.value + view.details.value


def test_what_if_opens_for_every_schema(served):
    panel = WhatIf(StudentModel(served))
    panel.opener.value = True
    assert panel.panel.children and "not your mistake" not in panel.message.value


def test_what_is_typed_while_a_newer_model_is_built_in_reaches_its_form(served):
    from gradeclass.pages.host import Host
    from gradeclass.pages.page import Page
    host = Host(lambda: served.folder)
    page = Page(PredictView, host)
    before = page.body.children[0]
    name, made = next(iter(before.inputs.items()))
    before.what_if.opener.value = True
    for value in made.options[:2] if hasattr(made, "options") else (1.0, 2.0):
        host.served = open_bundle(served.folder)
        # As it comes from a browser that still shows the form before
        if hasattr(made, "typed"): made.typed.value = str(value)
        else: made.value = value
        view = page.body.children[0]
        assert view is not before and view.inputs[name].value == view.model.student[name] == value
        for changed, what_if in before.what_if.inputs.items():
            if options := [option for option in getattr(what_if, "options", []) if option != what_if.value]:
                what_if.value = options[0]
                assert view.model.changes == before.model.changes and changed in view.model.changes
    before._reset(False)
    assert view.model.answer.nothing and view.inputs[name].value in (None, UNKNOWN)
    before._reset()
    assert view.model.entered == [] and view.inputs[name].value == before.inputs[name].value


@pytest.mark.process
def test_page_of_one_student_imports_nothing_heavy():
    heavy = ("evidently", "mlflow", "optuna", "seaborn", "papermill", "matplotlib", "pyarrow", "mapie", "fairlearn",
             "voila")
    code = "import sys, gradeclass.pages.predict_view; print([name for name in sys.argv[1:] if sys.modules.get(name)])"
    env = os.environ | {"GRADECLASS_THIN": "1"}
    done = subprocess.run([sys.executable, "-c", code, *heavy], env=env, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr[-800:]


@pytest.mark.browser
@pytest.mark.process
@pytest.mark.slow
def test_form_answers_the_keyboard_and_says_why(visit):
    page = visit("predict")
    slider = page.get_by_role("slider", name="Absences")
    slider.focus()
    before = page.inner_text(".gc-grade")
    for _ in range(2): page.keyboard.press("Home")
    until(page, "before => document.querySelector('.gc-grade').innerText !== before", arg=before)
    expect(page.get_by_role("status").first).not_to_be_empty()
    page.keyboard.press("End")
    until(page, "document.querySelector('.gc-grade').innerText.startsWith('F')")
    # The reasons are a box of their own, which is drawn after the headline
    until(page, "document.querySelector('.gc-reasons').innerText.includes('−')")
    expect(page.locator(".gc-reasons")).to_contain_text("Absences")
    expect(page.locator(".gc-advice")).to_contain_text(ADVICE)
    expect(page.locator(".gc-support")).to_contain_text("Likely to need support")


@pytest.mark.browser
@pytest.mark.process
@pytest.mark.slow
def test_number_can_be_unknown_and_the_answer_says_so(visit):
    page = visit("predict")
    unknown = page.get_by_label("Unknown: Absences")
    unknown.focus()
    page.keyboard.press("Space")
    page.wait_for_selector("text=Unknown: Absences. The estimate is less certain without")
    expect(unknown).to_be_checked()
    expect(page.locator(".gc-unset")).to_have_count(1)
    unknown.uncheck()
    until(page, "!document.body.innerText.includes('less certain')")
    page.get_by_label("Unknown: Study time").check()
    page.wait_for_selector("text=Unknown: Study time")
    page.get_by_role("button", name="Reset").click()
    until(page, "!document.body.innerText.includes('less certain')")
    expect(page.locator(".gc-answer")).to_contain_text("Example: a typical student")
    page.get_by_role("button", name="Clear").click()
    page.wait_for_selector("text=Nothing is known of this student yet")
    expect(page.locator(".gc-grade")).to_have_count(0)


@pytest.mark.browser
@pytest.mark.process
@pytest.mark.slow
def test_what_if_compares_without_touching_the_form(visit):
    page = visit("predict")
    page.get_by_role("button", name="What if").click()
    absences = page.locator(".gc-panel").get_by_role("slider", name="Absences")
    absences.focus()
    page.keyboard.press("Home")
    page.wait_for_selector("text=Absences cannot fall below")
    slider = page.locator(".gc-panel").get_by_role("slider", name="Study time")
    slider.focus()
    page.keyboard.press("End")
    page.wait_for_selector("text=With the changes")
    expect(page.locator(".gc-panel")).to_contain_text("does not say what a change would do")
    assert page.locator(".gc-form").get_by_role("slider", name="Study time").get_attribute("aria-valuenow") != "20.0"


@pytest.mark.browser
@pytest.mark.process
@pytest.mark.slow
def test_what_is_typed_stays_and_survives_a_reload_and_a_link(visit, server):
    page = visit("predict")
    hours = page.get_by_label("Study time (hours a week), typed")
    hours.fill("7,25")
    hours.press("Enter")
    until(page, "JSON.parse(document.querySelector('.gc-kept input').value).inputs.StudyTimeWeekly === 7.25")
    days = page.get_by_label("Absences (days), typed")
    days.fill("99")
    days.press("Enter")
    page.wait_for_selector("text=99 is outside what the model knows")
    expect(days).to_have_value("99")
    page.reload()
    until(page, "document.querySelector('.gc-answer')?.innerText.includes('Still from the example')")
    expect(hours).to_have_value("7.25")
    other = page.context.new_page()
    other.goto(server.base + '/predict#inputs={"Absences": 4}')
    other.wait_for_selector("text=Unknown: Parents' education", timeout=60_000)
    expect(other.get_by_label("Absences (days), typed")).to_have_value("4")
    assert "#" not in other.url


@pytest.mark.browser
@pytest.mark.process
@pytest.mark.slow
def test_printed_sheet_holds_inputs_day_and_model(visit):
    page = visit("predict", scheme="dark")
    page.emulate_media(media="print")
    for words in ("What was entered", "Absences", "model ", "Main reasons", ADVICE):
        expect(page.locator(".gc-predict")).to_contain_text(words)
    assert not page.locator(".gc-form").is_visible() and not page.locator(".gc-head").is_visible()
    assert page.evaluate("getComputedStyle(document.querySelector('.gc-answer')).position") == "static"
    assert page.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--card').trim()") == "#fff"
    for _ in range(2): # What is made for one print is gone before the next, and nothing else
        assert len(re.findall(rb"/Type /Page\b", page.pdf(prefer_css_page_size=True))) == 1
    expect(page.locator(".gc-entered")).to_be_visible()


@pytest.mark.browser
@pytest.mark.process
@pytest.mark.slow
def test_field_in_which_somebody_types_goes_on_in_the_form_of_a_newer_model(browser, champion, trained):
    folder, server = champion
    page = browser.new_page()
    page.goto(f"{server.base}/predict?token={TOKEN}")
    hours = page.get_by_label("Study time (hours a week), typed")
    hours.click(timeout=1000*PATIENCE)
    hours.press("Control+A")
    page.keyboard.type("7")
    shutil.rmtree(folder)
    extend_bundle(trained, folder, {"note.txt": "new"})
    page.wait_for_selector("text=A newer model answers", timeout=1000*PATIENCE)
    until(page, "document.activeElement.value === '7'")
    page.keyboard.type(".25")
    page.keyboard.press("Enter")
    until(page, "JSON.parse(document.querySelector('.gc-kept input').value).inputs.StudyTimeWeekly === 7.25")
    page.close()

"The page of one student: its form, its answer, and what if"
import os
import subprocess
import sys

import pytest

from gradeclass.pages.predict_model import StudentModel, as_cell
from gradeclass.pages.predict_view import PredictView, WhatIf
from gradeclass.scoring.answer import ADVICE


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
    page.wait_for_function("before => document.querySelector('.gc-grade').innerText !== before", arg=before)
    assert page.get_by_role("status").first.inner_text()
    page.keyboard.press("End")
    page.wait_for_function("document.querySelector('.gc-grade').innerText.startsWith('F')")
    # The reasons are a box of their own, which is drawn after the headline
    page.wait_for_function("document.querySelector('.gc-reasons').innerText.includes('−')")
    assert "Absences" in page.inner_text(".gc-reasons")
    assert ADVICE in page.inner_text(".gc-advice")
    assert "Likely to need support" in page.inner_text(".gc-support")


@pytest.mark.browser
@pytest.mark.process
@pytest.mark.slow
def test_number_can_be_unknown_and_the_answer_says_so(visit):
    page = visit("predict")
    unknown = page.get_by_label("Unknown: Absences")
    unknown.focus()
    page.keyboard.press("Space")
    page.wait_for_selector("text=Unknown: Absences. The estimate is less certain without")
    assert unknown.is_checked() and page.locator(".gc-unset").count() == 1
    unknown.uncheck()
    page.wait_for_function("!document.querySelector('.gc-unknown')")
    page.get_by_label("Unknown: Study time").check()
    page.wait_for_selector("text=Unknown: Study time")
    page.get_by_role("button", name="Reset").click()
    page.wait_for_function("!document.querySelector('.gc-unknown')")


@pytest.mark.browser
@pytest.mark.process
@pytest.mark.slow
def test_what_if_compares_without_touching_the_form(visit):
    page = visit("predict")
    page.get_by_role("button", name="What if").click()
    slider = page.locator(".gc-panel").get_by_role("slider", name="Absences")
    slider.focus()
    page.keyboard.press("Home")
    page.wait_for_selector("text=With the changes")
    assert page.locator(".gc-form").get_by_role("slider", name="Absences").get_attribute("aria-valuenow") != "0.0"
    assert "does not say what a change would do" in page.inner_text(".gc-panel")

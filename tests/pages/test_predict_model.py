"What the page of one student knows and does, without a browser"
import re

import numpy as np
import pandas as pd
import pytest

from gradeclass.data.sources import load
from gradeclass.data.synthetic import sample_path
from gradeclass.pages.host import AppError
from gradeclass.pages.html import headline
from gradeclass.pages.predict_model import StudentModel, answer_student, as_cell, form_fields
from gradeclass.scoring.answer import open_bundle
from pages_helpers import fit_bundle


def test_form_asks_for_the_inputs_of_the_model_and_nothing_else(served):
    assert [field.name for field in form_fields(served)] == [column.name for column in served.schema.inputs()]
    for field in form_fields(served):
        assert as_cell(field.column, field.start) == (None if field.start == "Unknown" else field.start)


def test_answer_of_one_is_that_of_the_batch(served):
    rows = pd.DataFrame([StudentModel(served).student]*2)
    many, one = served.answer(rows), answer_student(served, rows.head(1))
    assert np.allclose(many.probability[0], one.probability)
    assert served.schema.grades.labels[many.grade[0]] == one.grade
    assert one.risk == pytest.approx(sum(one.probability[i] for i in served.schema.grades.at_risk_index))


def test_change_of_what_cannot_be_changed_is_refused(trained):
    model = StudentModel(open_bundle(trained))
    with pytest.raises(AppError, match="not something that can be changed"): model.change("ParentalEducation", "None")


@pytest.mark.slow
@pytest.mark.parametrize("schema", ["students", "higher_ed"])
def test_every_answer_may_be_unknown_alone_and_all_together(schema, tmp_path):
    dataset = load(sample_path(schema), schema)
    served = fit_bundle(dataset.schema, dataset.raw, tmp_path, family="ordinal")
    model = StudentModel(served)
    known = {column.name: column.labels[0] if column.codes else column.min for column in served.inputs}
    for name, field in model.fields.items():
        model.student = known
        assert model.answer.unknown == ()
        model.put(name, None)
        assert model.answer.unknown == (field.column.title,) and "gc-unknown" in headline(model.answer) and not model.problem
    for name in model.fields: model.put(name, None)
    assert len(model.answer.unknown) == len(model.fields) and sum(model.answer.probability) == pytest.approx(1)


def test_reasons_as_they_are_shown_add_up_for_everybody(served):
    number = lambda words: float(words.split()[0].rstrip(",").replace("−", "-"))
    schema, rng = served.schema, np.random.default_rng(1)
    for _ in range(40):
        some = {column.name: str(rng.choice(column.labels)) if column.codes else rng.uniform(column.min or 0, column.max or 12)
                for column in served.inputs}
        answer = answer_student(served, pd.DataFrame([some]))
        way = number(answer.together.removeprefix("Together "))
        if answer.reasons[-1].title == "All other inputs":
            assert round(sum(number(reason.words) for reason in answer.reasons), 2) == way
        if not schema.score: continue
        start, end = map(float, re.findall(r"\d\.\d\d(?= \(average|\.$)", answer.together))
        assert round(start + way, 2) == end == round(answer.score[0], 2)


def test_refused_number_is_named_as_typed_with_what_still_counts(trained):
    from gradeclass.pages.predict_view import PredictView
    view = PredictView(open_bundle(trained))
    days, typed = view.inputs["Absences"], view.inputs["Absences"].typed
    now = f"The estimate still counts {view.model.student['Absences']:g} days."
    for text, said in {"7,5": "Absences is 7.5: it is a whole number", "12.0000001": "Absences is 12.0000001: it",
                       "1e400": "1e400 is not a number"}.items():
        typed.value = text
        assert said in days.told.value and (now in days.told.value or text == "1e400")
    for press in (lambda: view._reset(False), view._reset):
        for text in ("99", "7,5", "many"):
            typed.value = text
            assert days.told.value
            press()
            assert not days.told.value and typed.value == ("" if days.value is None else f"{days.value:g}")


def test_sheet_says_whose_it_is_where_the_number_is_known(trained, monkeypatch):
    from gradeclass.pages import predict_view
    monkeypatch.setattr(predict_view, "follow_ups_on", lambda: True)
    view = predict_view.PredictView(open_bundle(trained))
    assert "<h2>One student</h2>" in view.paper.value
    view.restore({"inputs": {"Absences": 3}, "student": "1286"})
    assert "<h2>Student 1286</h2>" in view.paper.value
    view.follow.number.value = "<7>"
    assert "<h2>Student &lt;7&gt;</h2>" in view.paper.value and view.state()["student"] == "<7>"
    assert "&lt;7&gt;" not in view.headline.value and "7" in view.kept.value

"""Answers to changes, and suggestions that do what they claim, are the smallest and move only what may be moved."""
import numpy as np
import pandas as pd
import pytest

from gradeclass.evaluation.explain import ExplainError, expected_place
from gradeclass.evaluation.what_if import CAUTION, suggest_changes, what_if
from gradeclass.models.features import encode_frame
from gradeclass.models.family import ModelError
from gradeclass.models.grade_model import GradeModel
from gradeclass.schema import load_schema


def test_what_if_is_what_the_model_says_of_the_changed_row(models, parts):
    row = parts.test.head(1)
    for model in models.values():
        table = what_if(model, row, {"Absences": "3", "Tutoring": 1, "ParentalSupport": "High"})
        changed = row.assign(Absences=3.0, Tutoring="Yes", ParentalSupport="High")
        assert np.allclose(table.after[:5].astype(float), model.predict_proba(changed)[0])
        assert np.allclose(table.before[:5].astype(float), model.predict_proba(row)[0])
        assert table.after["at risk"] == pytest.approx(model.predict_at_risk(changed)[0])


def test_what_if_leaves_the_row_alone(models, parts):
    row = parts.test.head(1).copy()
    before = row.copy()
    what_if(models["score"], row, {"Absences": 3})
    pd.testing.assert_frame_equal(row, before)


@pytest.mark.parametrize("changes, message", [
    ({}, "nothing was changed"), ({"Gender": "Male"}, "Gender cannot be changed"),
    ({"ParentalEducation": 4}, "cannot be changed"),
    ({"Absence": 3}, "Absence cannot be changed: use one of StudyTimeWeekly, Absences"),
    ({"GPA": 4}, "GPA cannot be changed"),
    ({"Absences": 31}, "from 0 to 30 days"), ({"Absences": 2.5}, "a whole number"),
    ({"Absences": None}, "cannot be None"),
    ({"Absences": "many"}, "cannot be many"), ({"Tutoring": "perhaps"}, "0 .No., 1 .Yes."),
    ({"Absences": float("inf")}, "cannot be inf")])
def test_unlawful_changes_are_refused(models, parts, changes, message):
    with pytest.raises(ExplainError, match=message): what_if(models["score"], parts.test.head(1), changes)


def test_suggestions_reach_what_they_promise(models, parts):
    for name in ("score", "trees", "forest"):
        model = models[name]
        row = parts.test[model.predict_at_risk(parts.test) > 0.5].head(1)
        place = expected_place(model, encode_frame(row, model.schema.inputs(True)))[0]
        table = suggest_changes(model, row, gain=0.25)
        assert len(table)
        for _, found in table.iterrows():
            assert found.changes.get("Absences", np.inf) >= row.Absences.iloc[0]  # Days missed stay missed
            after = row.assign(**found.changes)
            said = model.predict_proba(after)[0]
            assert -(said @ np.arange(5)) - place == pytest.approx(found.gain) and found.gain >= 0.25
            assert model.predict_at_risk(after)[0] == pytest.approx(found.risk)
            assert model.schema.grades.labels[model.predict_index(after)[0]] == found.grade
            assert all(model.schema.by_name[column].changeable for column in found.changes)


def test_suggestions_are_the_smallest_and_each_part_is_needed(models, parts):
    model = models["score"]
    row = parts.test[model.predict_at_risk(parts.test).round(1) == 0.5].head(1)
    table = suggest_changes(model, row, gain=0.25, top=50)
    assert table.distance.is_monotonic_increasing
    assert not table.changes.map(tuple).duplicated().any()
    changes = next(changes for changes in table.changes if "StudyTimeWeekly" in changes)
    less = row.assign(**changes | {"StudyTimeWeekly": changes["StudyTimeWeekly"] - 2})  # One step of its ten
    both = model.predict_proba(pd.concat([row, less]))
    assert -(both[1] - both[0]) @ np.arange(5) < 0.25


def test_impossible_goals_give_an_empty_table_with_its_columns(models, parts):
    table = suggest_changes(models["score"], parts.test.head(1), gain=4.5)
    assert table.empty and list(table) == ["change", "changes", "distance", "gain", "risk",
                                           "grade"] and table.attrs["caution"] == CAUTION


def test_unknown_cells_are_not_moved(models):
    table = suggest_changes(models["score"], {"StudyTimeWeekly": 1}, gain=0.05)
    assert len(table) and all(set(changes) == {"StudyTimeWeekly"} for changes in table.changes)


def test_schema_without_changeable_inputs_suggests_nothing(parts):
    schema = load_schema("students")
    fixed = schema.model_copy(update={"columns": [column.model_copy(update={"changeable": False})
                                                  for column in schema.columns]}, deep=True)
    fixed.__dict__.pop("by_name", None)
    model = GradeModel(fixed, "ordinal", params={"members": ["linear"]}).fit(parts.train)
    assert suggest_changes(model, parts.test.head(1)).empty
    with pytest.raises(ExplainError, match="no input as changeable"):
        what_if(model, parts.test.head(1), {"Absences": 3})


@pytest.mark.parametrize("members", [["linear"], ["boost"], ["forest"]])
@pytest.mark.parametrize("scored", [True, False])
def test_a_column_of_which_more_is_better_never_lowers_the_expected_grade(parts, members, scored):
    "Even where the schema says the opposite of the rows: then the column has no say"
    schema = load_schema("students")
    ways = {"Absences": "more", "StudyTimeWeekly": "more"}
    columns = [column.model_copy(update={"better": ways.get(column.name, "")}) for column in schema.columns]
    held = schema.model_copy(update={"columns": columns})
    train = parts.train if scored else parts.train.drop(columns="GPA")
    params = {"members": members, "forest": {"trees": 20}, "boost": {"rounds": 20}}
    model, free = (GradeModel(each, params=params).fit(train) for each in (held, schema))
    rows = pd.concat([parts.test.head(20)]*31).assign(Absences=np.repeat(np.arange(31.0), 20))
    place = lambda model: -(model.predict_proba(rows) @ np.arange(5)).reshape(31, 20)
    assert np.diff(place(model), axis=0).min() > -1e-6
    assert np.diff(place(free), axis=0).min() < -0.01
    more = -(model.predict_proba(rows.assign(StudyTimeWeekly=20.0)) @ np.arange(5)).reshape(31, 20)
    less = -(model.predict_proba(rows.assign(StudyTimeWeekly=0.0)) @ np.arange(5)).reshape(31, 20)
    assert (more >= less - 1e-6).all() and (more - less).max() > 0.01


def test_other_families_refuse_what_they_cannot_be_held_to(parts):
    schema = load_schema("students")
    columns = [column.model_copy(update={"better": "less" if column.name == "Absences" else ""}) for column in schema.columns]
    with pytest.raises(ModelError, match="family xgboost cannot be held to what the schema says under better"):
        GradeModel(schema.model_copy(update={"columns": columns}), "xgboost").fit(parts.train)

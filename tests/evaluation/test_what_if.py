"""Suggestions do what they claim, are the smallest, and move only what may be moved."""
import numpy as np
import pandas as pd
import pytest

from gradeclass.evaluation.explain import expected_place
from gradeclass.evaluation.what_if import CAUTION, suggest_changes
from gradeclass.models.features import encode_frame
from gradeclass.models.grade_model import GradeModel
from gradeclass.schema import load_schema


def test_suggestions_reach_what_they_promise(models, parts):
    for name in ("score", "trees", "forest"):
        model = models[name]
        row = parts.test[model.predict_at_risk(parts.test) > 0.5].head(1)
        place = expected_place(model, encode_frame(row, model.schema.inputs(True)))[0]
        for _, found in suggest_changes(model, row).iterrows():
            after = row.assign(**found.changes)
            said = model.predict_proba(after)[0]
            assert -(said @ np.arange(5)) - place == pytest.approx(found.gain) and found.gain >= 1
            assert model.predict_at_risk(after)[0] == pytest.approx(found.risk)
            assert model.schema.grades.labels[model.predict_index(after)[0]] == found.grade
            assert all(model.schema.by_name[column].changeable for column in found.changes)


def test_suggestions_are_the_smallest_and_each_part_is_needed(models, parts):
    model = models["score"]
    row = parts.test[model.predict_at_risk(parts.test) > 0.8].head(1)
    table = suggest_changes(model, row, top=50)
    assert table.distance.is_monotonic_increasing
    assert not table.changes.map(tuple).duplicated().any()
    both = model.predict_proba(pd.concat([row, row.assign(Absences=table.changes[1]["Absences"] + 1)]))
    assert -(both[1] - both[0]) @ np.arange(5) < 1


def test_impossible_goals_give_an_empty_table_with_its_columns(models, parts):
    table = suggest_changes(models["score"], parts.test.head(1), gain=4.5)
    assert table.empty and list(table) == ["change", "changes", "distance", "gain", "risk",
                                           "grade"] and table.attrs["caution"] == CAUTION


def test_unknown_cells_are_not_moved(models):
    table = suggest_changes(models["score"], {"Absences": 25}, gain=0.3)
    assert len(table) and all(set(changes) == {"Absences"} for changes in table.changes)


def test_schema_without_changeable_inputs_suggests_nothing(parts):
    schema = load_schema("students")
    fixed = schema.model_copy(update={"columns": [column.model_copy(update={"changeable": False})
                                                  for column in schema.columns]}, deep=True)
    fixed.__dict__.pop("by_name", None)
    model = GradeModel(fixed, "ordinal", params={"members": ["linear"]}).fit(parts.train)
    assert suggest_changes(model, parts.test.head(1)).empty

"What a school or a year costs that the model has never seen: `gradeclass.evaluation.unseen`"
import numpy as np
import pandas as pd
import pytest

from gradeclass.data.dataset import clean
from gradeclass.evaluation.unseen import NOT_NAMED, compare_unseen, unseen_sentences
from gradeclass.models.grade_model import GradeModel
from gradeclass.schema import Schema


def school_table(effect, seed=0):
    "Students of 20 schools; the school moves the grade by its effect, and so does an input that all schools share"
    rng = np.random.default_rng(seed)
    school, hours = np.repeat(np.arange(20), 30), rng.normal(size=600)
    latent = hours + effect*rng.normal(size=20)[school] + rng.normal(size=600)
    return pd.DataFrame({"school": school, "hours": hours, "grade": np.where(latent > 0, "good", "poor")})


def school_schema(**more):
    "Three columns, and what else the schema says"
    columns = [{"name": "school", "kind": "category", "codes": {i: f"s{i}" for i in range(20)}},
               {"name": "hours", "kind": "numeric"}, {"name": "grade", "role": "target"}]
    grades = {"codes": {"good": "good", "poor": "poor"}, "at_risk": ["poor"]}
    return Schema(name="schools", columns=columns, grades=grades, **more)


@pytest.mark.parametrize(("effect", "costs"), [(2.0, True), (0.0, False)])
def test_new_school_costs_where_schools_differ_and_nothing_where_they_do_not(effect, costs):
    schema = school_schema(group="school")
    table = compare_unseen(GradeModel(schema, "logistic"), clean(school_table(effect), schema))
    row = table.loc["group"]
    assert (row.log_loss_low > 0.03) == costs and row.students == 600
    assert "new school" in unseen_sentences(table, GradeModel(schema))


def test_later_cohorts_are_predicted_from_earlier_ones():
    schema = school_schema(cohort="school")
    table = compare_unseen(GradeModel(schema, "logistic"), clean(school_table(1.0), schema))
    assert table.index.tolist() == ["cohort"] and table.loc["cohort", "students"] == 570


def test_schema_that_names_nothing_is_told_so():
    schema = school_schema()
    table = compare_unseen(GradeModel(schema, "logistic"), clean(school_table(0.0), schema))
    assert table.empty and unseen_sentences(table, GradeModel(schema)) == NOT_NAMED

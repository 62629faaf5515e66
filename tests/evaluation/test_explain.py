"Explanations: parts that add up to what the model says, changes that do what they claim, and no unlawful change"
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gradeclass.data.dataset import clean
from gradeclass.data.sources import load
from gradeclass.data.split import split
from gradeclass.evaluation.explain import (
    ExplainError, contributions, exact_terms, expected_place, explain_student, in_words,
    plot_contributions, sampled_terms, scale_slope, signed, typical_student,
)
from gradeclass.evaluation.what_if import CAUTION, suggest_changes, what_if
from gradeclass.models.features import encode_frame
from gradeclass.models.bundle import load_model, save_model
from gradeclass.models.grade_model import GradeModel
from gradeclass.data.synthetic import sample_path, synthesise
from gradeclass.schema import load_schema

FAMILIES = {"score": ("ordinal", {"members": ["linear"]}),
            "boosted": ("ordinal", {"members": ["boost"], "boost": {"rounds": 10}}),
            "forest": ("ordinal", {"members": ["forest"], "forest": {"trees": 20}}),
            "trees": ("xgboost", {"rounds": 20, "patience": None}), "majority": ("majority", {})}
EXACT = ["score", "boosted", "trees"]


@pytest.fixture(scope="module")
def parts():
    dataset = load(sample_path("students"), "students")
    return split(clean(dataset.frame, dataset.schema), dataset.schema)


@pytest.fixture(scope="module")
def models(parts):
    schema = load_schema("students")
    return {name: GradeModel(schema, family, audit=True, params=params).fit(parts.train)
            for name, (family, params) in FAMILIES.items()}


@pytest.mark.parametrize("name", EXACT)
def test_exact_parts_add_up_to_the_models_own_sum(models, parts, name):
    found = contributions(models[name], parts.test)
    assert found.exact
    assert np.allclose(found.baseline + found.values.sum(axis=1), found.total, atol=1e-4)
    if name != "trees":
        family, encoder = models[name].pipeline_["family"], models[name].pipeline_["encode"]
        assert np.allclose(found.total, family.latent(encoder.transform(parts.test)), atol=1e-4)


def test_tree_parts_add_up_to_the_slope_of_log_probabilities(models, parts):
    found = contributions(models["trees"], parts.test)
    slope = np.log(models["trees"].predict_proba(parts.test)) @ scale_slope(5)
    assert np.allclose(found.total, slope, atol=1e-3)


@pytest.mark.parametrize("name", ["forest", "majority"])
def test_sampled_parts_add_up_to_the_expected_grade(models, parts, name):
    found = contributions(models[name], parts.test.head(3), parts.train.head(20), orders=8)
    assert not found.exact and found.unit == "grades"
    said = models[name].predict_proba(parts.test.head(3)) @ np.arange(5)
    assert np.allclose(found.baseline + found.values.sum(axis=1), -said)


def test_sampled_parts_agree_with_exact_ones_on_a_sum(models, parts):
    model, columns = models["score"], models["score"].schema.inputs(audit=True)
    row, others = encode_frame(parts.test.head(1), columns)[0], encode_frame(parts.train, columns)
    arrange, family = model.pipeline_["encode"].arrange, model.pipeline_["family"]
    sampled = sampled_terms(lambda rows: family.latent(arrange(rows)), row, others, orders=2000)
    exact = contributions(model, parts.test.head(1))
    assert np.allclose(sampled[:-1], exact.values[0], atol=0.06)
    assert sampled.sum() == pytest.approx(exact.total[0])


@given(arrays(float, 4, elements=st.floats(-3, 3)), arrays(float, 4, elements=st.floats(-3, 3)), st.integers(0, 99))
@settings(max_examples=50, deadline=None)
def test_sampled_parts_of_any_function_add_up(row, other, seed):
    say = lambda rows: rows[:, 0]*rows[:, 1] + np.abs(rows[:, 2]) - rows[:, 3]**2
    terms = sampled_terms(say, row, other[None], orders=6, seed=seed)
    assert terms.sum() == pytest.approx(say(row[None])[0], abs=1e-9)
    assert terms[-1] == pytest.approx(say(other[None])[0], abs=1e-9)
    assert terms[3] == pytest.approx(other[3]**2 - row[3]**2, abs=1e-9)


def test_input_that_does_not_matter_gets_nothing():
    terms = sampled_terms(lambda rows: rows[:, 0], np.array([1.0, 5.0]), np.zeros((1, 2)))
    assert terms.tolist() == [1.0, 0.0, 0.0]


def test_dummies_of_a_category_are_one_input(models, parts):
    explanation = explain_student(models["score"], parts.test.head(1))
    assert sorted(explanation.index) == sorted(column.name for column in models["score"].schema.inputs(audit=True))


def test_bundle_explains_as_the_model_does(models, parts, tmp_path):
    for name, model in models.items():
        save_model(model, tmp_path/name)
        here, there = (contributions(each, parts.test.head(5), parts.train.head(5), orders=4)
                       for each in (model, load_model(tmp_path/name)))
        assert np.allclose(here.values, there.values, atol=1e-5) and here.unit == there.unit


def test_stack_is_explained_by_sampling(parts):
    members = {"ordinal": {"members": ["linear"]}, "majority": {}}
    model = GradeModel(load_schema("students"), "stack", params={"members": members}).fit(parts.train)
    explanation = explain_student(model, parts.test.head(1), typical_student(parts.train, model.schema))
    assert explanation.attrs["unit"] == "grades"
    assert explanation.attrs["baseline"] + explanation.contribution.sum() == pytest.approx(explanation.attrs["total"])


@pytest.mark.parametrize("name", FAMILIES)
def test_unknown_cells_are_called_unknown(models, name):
    explanation = explain_student(models[name], {"Absences": 20, "Tutoring": "1"})
    assert explanation.value["Absences"] == "20 days" and explanation.value["Tutoring"] == "Yes"
    assert (explanation.value.drop(["Absences", "Tutoring"]) == "unknown").all()
    assert np.isfinite(explanation.contribution).all()


def test_unknown_inputs_add_nothing_to_a_linear_score(models):
    explanation = explain_student(models["score"], {"Absences": 20})
    assert (explanation.contribution.drop("Absences").abs() < 1e-12).all()
    assert explanation.contribution["Absences"] < -0.2


def test_several_students_at_once_are_refused(models, parts):
    with pytest.raises(ExplainError, match="one at a time"): explain_student(models["score"], parts.test)


def test_score_trained_without_score_is_told_in_log_odds(parts):
    model = GradeModel(load_schema("students"), "ordinal",
                       params={"members": ["linear"]}).fit(parts.train.drop(columns="GPA"))
    assert explain_student(model, parts.test.head(1)).attrs["unit"] == "log-odds"


def test_more_absences_pull_down_in_every_family(models, parts):
    for name in (*EXACT, "forest"):
        many, few = (explain_student(models[name], parts.test.iloc[0].to_dict() | {"Absences": days},
                                     typical_student(parts.train, models[name].schema, True))
                     for days in (29, 1))
        assert many.contribution["Absences"] < 0 < few.contribution["Absences"], name


def test_words_have_labels_units_and_a_true_minus(models, parts):
    row = parts.test.iloc[0].to_dict() | {"Absences": 29}
    words = in_words(explain_student(models["score"], row), models["score"].schema, k=1)
    assert len(words) == 1 and words[0].startswith("Absences (29 days): −") and words[0].endswith(" GPA")


def test_reasons_that_round_to_nothing_are_not_told(models):
    assert in_words(explain_student(models["majority"], {"Absences": 3}), models["majority"].schema) == []


@pytest.mark.parametrize("value, text", [(0.004, "0.00"), (-0.004, "0.00"), (-12.345, "−12.35"), (3, "+3.00")])
def test_signs(value, text):
    assert signed(value) == text


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
        for _, found in suggest_changes(model, row).iterrows():
            after = what_if(model, row, found.changes)
            assert -(after.after[:5] @ np.arange(5)) - place == pytest.approx(found.gain) and found.gain >= 1
            assert after.after["at risk"] == pytest.approx(found.risk)
            assert all(model.schema.by_name[column].changeable for column in found.changes)


def test_suggestions_are_the_smallest_and_each_part_is_needed(models, parts):
    model = models["score"]
    row = parts.test[model.predict_at_risk(parts.test) > 0.8].head(1)
    table = suggest_changes(model, row, top=50)
    assert table.distance.is_monotonic_increasing
    assert not table.changes.map(tuple).duplicated().any()
    alone = what_if(model, row, {"Absences": table.changes[1]["Absences"] + 1})
    assert -(alone.change[:5] @ np.arange(5)) < 1


def test_risk_goal_is_kept_or_nothing_is_said(models, parts):
    model = models["score"]
    risk = model.predict_at_risk(parts.test)
    high, low = parts.test[risk > 0.6].head(1), parts.test[risk < 0.1].head(1)
    assert (suggest_changes(model, high, max_risk=0.3).risk <= 0.3).all() and len(suggest_changes(
        model, high, max_risk=0.3))
    assert suggest_changes(model, low, max_risk=0.3).empty


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
    with pytest.raises(ExplainError, match="no input as changeable"):
        what_if(model, parts.test.head(1), {"Absences": 3})


def test_higher_education_can_be_explained():
    schema = load_schema("higher_ed")
    frame = synthesise(schema, 150, 1)
    model = GradeModel(schema, "ordinal", params={"members": ["linear"]}).fit(frame)
    explanation = explain_student(model, frame.head(1))
    assert explanation.attrs["exact"] and explanation.attrs["unit"] == "log-odds"
    assert isinstance(suggest_changes(model, frame.tail(1), gain=0.5), pd.DataFrame)


def test_figures_are_drawn(models, parts):
    model = models["score"]
    figure = plot_contributions(explain_student(model, parts.test.head(1)), model.schema, most=3)
    assert figure.axes[0].get_yticklabels()[-1].get_text() == "9 others together"


def test_majority_has_no_exact_sum(models):
    assert exact_terms(models["majority"], np.zeros((1, 12))) is None


def test_explaining_needs_no_plotting_library(trained):
    code = (f"import sys\nfrom gradeclass.models.bundle import load_model\nfrom gradeclass.evaluation.explain import "
            f"explain_student, in_words\nfrom gradeclass.evaluation.what_if import suggest_changes\nmodel = "
            f"load_model({str(trained)!r})\n"
            "row = {'Absences': 25, 'Tutoring': 'No'}\nin_words(explain_student(model, row), "
            "model.schema)\nsuggest_changes(model, row)\n"
            "print([name for name in ('mapie', 'seaborn', 'optuna', 'matplotlib', 'shap') if name in sys.modules])")
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                          check=True).stdout.strip() == "[]"

"Explanations: parts that add up to what the model says: `gradeclass.evaluation.explain`"
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gradeclass.evaluation.explain import (
    ExplainError, contributions, exact_terms, explain_student, in_words,
    plot_contributions, sampled_terms, scale_slope, signed, typical_student,
)
from gradeclass.evaluation.what_if import suggest_changes
from gradeclass.models.features import encode_frame
from gradeclass.models.bundle import load_model, save_model
from gradeclass.models.grade_model import GradeModel
from gradeclass.data.synthetic import synthesise
from gradeclass.schema import load_schema

EXACT = ["score", "boosted", "trees"]


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


@pytest.mark.parametrize("members", [["forest"], ["linear", "forest"], ["boost", "forest"]])
def test_parts_of_a_blend_add_up_to_the_expected_grade_and_are_the_same_each_time(parts, members):
    params = {"members": members, "forest": {"trees": 30}}
    model = GradeModel(load_schema("students"), "ordinal", params=params).fit(parts.train.drop(columns="GPA"))
    model.pipeline_["family"].shares_ = {name: 1/len(members) for name in members}
    found = contributions(model, parts.test)
    assert found.exact and found.unit == "grades"
    assert np.allclose(found.baseline + found.values.sum(axis=1), found.total)
    assert np.allclose(found.total, -model.predict_proba(parts.test) @ np.arange(5), atol=1e-4)
    again = [contributions(model, parts.test, seed=seed).values for seed in range(6)]
    assert all((values == found.values).all() for values in again)


def test_parts_of_a_logistic_regression_add_up_to_the_slope_of_log_probabilities(parts):
    model = GradeModel(load_schema("students"), "logistic").fit(parts.train)
    found = contributions(model, parts.test)
    assert found.exact and np.allclose(found.baseline + found.values.sum(axis=1), found.total)
    assert np.allclose(found.total, np.log(model.predict_proba(parts.test)) @ scale_slope(5))


@pytest.mark.parametrize("name", ["majority"])
def test_sampled_parts_add_up_to_the_expected_grade(models, parts, name):
    found = contributions(models[name], parts.test.head(3), parts.train.head(20))
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
@settings(max_examples=50)
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
        here, there = (contributions(each, parts.test.head(5), parts.train.head(5))
                       for each in (model, load_model(tmp_path/name)))
        assert np.allclose(here.values, there.values, atol=1e-5) and here.unit == there.unit


def test_stack_is_explained_by_sampling(parts):
    members = {"ordinal": {"members": ["linear"]}, "majority": {}}
    model = GradeModel(load_schema("students"), "stack", params={"members": members}).fit(parts.train)
    explanation = explain_student(model, parts.test.head(1), typical_student(parts.train, model.schema))
    assert explanation.attrs["unit"] == "grades"
    assert explanation.attrs["baseline"] + explanation.contribution.sum() == pytest.approx(explanation.attrs["total"])


@pytest.mark.parametrize("name", [*EXACT, "forest", "majority"])
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
    words = in_words(explain_student(models["score"], row), models["score"].schema)
    assert len(words) <= 3 and words[0].startswith("Absences (29 days): −") and words[0].endswith(" GPA")


def test_reasons_that_round_to_nothing_are_not_told(models):
    assert in_words(explain_student(models["majority"], {"Absences": 3}), models["majority"].schema) == []


@pytest.mark.parametrize("value, text", [(0.004, "0.00"), (-0.004, "0.00"), (-12.345, "−12.35"), (3, "+3.00")])
def test_signs(value, text):
    assert signed(value) == text


def test_higher_education_can_be_explained():
    schema = load_schema("higher_ed")
    frame = synthesise(schema, 150, 1)
    model = GradeModel(schema, "ordinal", params={"members": ["linear"]}).fit(frame)
    explanation = explain_student(model, frame.head(1))
    assert explanation.attrs["exact"] and explanation.attrs["unit"] == "log-odds"
    assert isinstance(suggest_changes(model, frame.tail(1), gain=0.5), pd.DataFrame)


def test_figures_are_drawn(models, parts):
    model = models["score"]
    figure = plot_contributions(explain_student(model, parts.test.head(1)), model.schema)
    assert figure.axes[0].get_yticklabels()[-1].get_text() == "2 others together"


def test_majority_has_no_exact_sum(models):
    assert exact_terms(models["majority"], np.zeros((1, 12))) is None


@pytest.mark.process
def test_explaining_needs_no_plotting_library(trained):
    code = (f"import sys\nfrom gradeclass.models.bundle import load_model\nfrom gradeclass.evaluation.explain import "
            f"explain_student, in_words\nfrom gradeclass.evaluation.what_if import suggest_changes\nmodel = "
            f"load_model({str(trained)!r})\n"
            "row = {'Absences': 25, 'Tutoring': 'No'}\nin_words(explain_student(model, row), "
            "model.schema)\nsuggest_changes(model, row)\n"
            "print([name for name in ('mapie', 'seaborn', 'optuna', 'matplotlib', 'shap') if name in sys.modules])")
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                          check=True).stdout.strip() == "[]"

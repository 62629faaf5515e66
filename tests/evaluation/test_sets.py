"""Prediction sets keep their promise, have no gaps, and have the threshold of MAPIE: `gradeclass.evaluation.sets`."""
import numpy as np
import pytest
from evaluation_helpers import draw, normalised
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gradeclass.evaluation.sets import (
    CalibrationError, PredictionSets, coverage_table, describe_set, fit_sets, held_out_coverage, stretch_scores,
)
from gradeclass.schema import load_schema

SCALE = load_schema("students").grades
POSITIVE = arrays(float, st.tuples(st.integers(1, 20), st.integers(2, 8)), elements=st.floats(0.001, 1))


@given(POSITIVE, st.floats(0, 1))
@settings(max_examples=100)
def test_sets_are_stretches_around_the_most_probable_grade(values, threshold):
    p = normalised(values)
    sets = PredictionSets(threshold).sets(p)
    assert sets[np.arange(len(p)), p.argmax(axis=1)].all()
    starts = (np.diff(sets.astype(int), axis=1, prepend=0) == 1).sum(axis=1)
    assert (starts == 1).all()


@given(POSITIVE, st.floats(0, 1), st.floats(0, 1))
@settings(max_examples=50)
def test_higher_thresholds_only_add_grades(values, one, other):
    p = normalised(values)
    low, high = (PredictionSets(level).sets(p) for level in sorted((one, other)))
    assert (low <= high).all()


def given_probabilities(
    grades:int, # Grades of the scale, K
):              # A fitted scikit-learn classifier whose rows are probabilities
    "A classifier for which rows are probabilities already"
    from sklearn.base import BaseEstimator, ClassifierMixin

    class GivenProbabilities(ClassifierMixin, BaseEstimator):
        "Hands on the probabilities that it is given"
        def __init__(self):
            self.classes_, self.n_features_in_ = np.arange(grades), grades

        def fit(
            self,
            X,      # Not used
            y=None, # Not used
        ):          # The classifier
            "Nothing to fit"
            return self

        def predict_proba(
            self,
            X,         # Probabilities, shape (n, K)
        )->np.ndarray: # The same
            "What is given"
            return np.asarray(X, float)

        def predict(
            self,
            X,         # Probabilities, shape (n, K)
        )->np.ndarray: # Shape (n,)
            "The most probable grade"
            return self.predict_proba(X).argmax(axis=1)

    return GivenProbabilities()


def conformal_classifier(
    grades:int,      # Grades of the scale, K
    coverage:float,  # Share of students whose grade should be in their set
)->tuple:            # MAPIE's SplitConformalClassifier, and its conformity score, whose `quantiles_` is the threshold
    "MAPIE over given probabilities with our scores"
    from mapie.classification import SplitConformalClassifier
    from mapie.conformity_scores import LACConformityScore

    class StretchScore(LACConformityScore):
        "How far the true grade is from being in the set"
        def get_conformity_scores(
            self,
            y,          # Not used
            y_pred,     # Probabilities, shape (n, K)
            y_enc=None, # True grade, shape (n,)
            **kwargs,   # Not used
        )->np.ndarray:  # Shape (n, 1)
            "Score of the true grade"
            return np.take_along_axis(stretch_scores(y_pred), y_enc.reshape(-1, 1), axis=1)

        def get_prediction_sets(
            self,
            y_pred_proba, # Probabilities, shape (n, K, 1)
            *args,        # Not used
            **kwargs,     # Not used
        )->np.ndarray:    # Shape (n, K, 1)
            "Grades with a score of at most the threshold"
            scores = stretch_scores(y_pred_proba[:, :, 0])
            return scores[:, :, None] <= self.quantiles_ + 1e-12

    score = StretchScore()
    return SplitConformalClassifier(given_probabilities(grades), coverage, conformity_score=score, prefit=True), score


def test_sets_agree_with_mapie():
    p, y = draw(400)
    other, _ = draw(100, seed=3)
    classifier, _ = conformal_classifier(5, 0.9)
    expected = classifier.conformalize(p, y).predict_set(other)[1][:, :, 0]
    assert (fit_sets(p, y, 0.9).sets(other) == expected).all()


def test_sets_of_one_peak_are_those_of_plain_mapie():
    from mapie.classification import SplitConformalClassifier

    p, y = draw(500, sharpness=1.0)
    plain = SplitConformalClassifier(given_probabilities(5), 0.9, conformity_score="lac", prefit=True).conformalize(
        p, y)
    assert (fit_sets(p, y, 0.9).sets(p) == plain.predict_set(p)[1][:, :, 0]).mean() > 0.98


@pytest.mark.parametrize("coverage", [0.8, 0.9, 0.95])
def test_new_students_are_covered_as_stated(coverage):
    p, y = draw(2000, sharpness=1.0)
    other, other_y = draw(4000, seed=5, sharpness=1.0)
    covered = fit_sets(p, y, coverage).sets(other)[np.arange(4000), other_y].mean()
    assert covered == pytest.approx(coverage, abs=0.02)


def test_overconfident_models_are_covered_too():
    p, y = draw(2000, sharpness=1.0)
    assert held_out_coverage(normalised(p**4), y)["coverage"] == pytest.approx(0.9, abs=0.02)


def test_coverage_table_counts_every_student_once_in_each_view():
    p, y = draw(300)
    table = coverage_table(fit_sets(p, y).sets(p), y, SCALE)
    for view in ("all", "grade", "grades in set"): assert table.loc[view].students.sum() == 300


def test_grade_without_students_has_no_coverage():
    p, y = draw(300)
    table = coverage_table(np.ones((300, 5), bool), np.minimum(y, 3), SCALE)
    assert table.loc[("grade", "F"), "students"] == 0 and np.isnan(table.loc[("grade", "F"), "coverage"])


@pytest.mark.parametrize("row, words",
                         [([1, 0, 0, 0, 0], "A"), ([1, 1, 0, 0, 0], "A or B"), ([0, 0, 1, 1, 1], "C to F"),
                          ([1]*5, "A to F")])
def test_sets_in_words(row, words):
    assert describe_set(np.array(row, bool), SCALE) == words


def test_empty_set_is_refused():
    with pytest.raises(CalibrationError, match="at least"): describe_set(np.zeros(5, bool), SCALE)


@pytest.mark.parametrize("coverage", [0, 1, 90, -0.1, float("nan")])
def test_impossible_coverages_are_refused(coverage):
    with pytest.raises(CalibrationError, match="between 0 and 1"): fit_sets(*draw(100), coverage)


def test_unknown_method_is_refused():
    with pytest.raises(CalibrationError, match="the method lac"): PredictionSets(0.8, method="raps")


def test_two_grades_are_enough():
    p, y = draw(400)
    two, halves = (y > 2).astype(int), np.column_stack([p[:, :3].sum(axis=1), p[:, 3:].sum(axis=1)])
    assert fit_sets(halves, two, 0.9).sets(halves).any(axis=1).all()


def test_scores_of_a_row_do_not_depend_on_other_rows():
    p, _ = draw(50)
    assert np.allclose(stretch_scores(p)[7], stretch_scores(p[7:8])[0])


def test_thresholds_by_grade_cover_the_students_of_each_grade_and_widen_the_sets():
    rng = np.random.default_rng(7)
    y = rng.choice(3, 6000, p=[.08, .62, .30])
    p = normalised(rng.dirichlet([1, 1, 1], 6000)*[.08, .62, .30] + .3*np.eye(3)[y]*rng.random((6000, 1)) + 1e-6)
    rare = lambda sets: coverage_rates(sets, y[3000:])
    plain, each = (fit_sets(p[:3000], y[:3000], .9, by_grade).sets(p[3000:]) for by_grade in (False, True))
    assert rare(plain)[0] < .85 and min(rare(each)) > .87
    assert each.sum() > plain.sum()
    starts = (np.diff(each.astype(int), axis=1, prepend=0) == 1).sum(axis=1)
    assert (starts == 1).all(), "sets by grade have no gaps either"


def coverage_rates(sets, y):
    "Share of the students of each grade whose grade is in the set"
    return [sets[y == grade, grade].mean() for grade in range(sets.shape[1])]


def test_grade_without_enough_students_is_in_every_set():
    p, y = draw(200)
    fitted = fit_sets(p, np.where(y == 0, 1, y), .9, by_grade=True)
    assert fitted.by_grade[0] == 1 and fitted.sets(p)[:, 0].all()

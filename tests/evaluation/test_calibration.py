"Calibration: it helps or it does nothing; sets keep their promise, have no gaps, and need no MAPIE to be read"
import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gradeclass.evaluation.calibration import (
    Calibration, Calibrator, calibrate, calibrate_out_of_fold, choose_calibration, fit_temperature,
    load_calibration, rescale, true_log_loss,
)
from gradeclass.evaluation.sets import (
    FOLDS, METHODS, CalibrationError, PredictionSets, coverage_curve, coverage_table,
    describe_set, fit_sets, stretch_scores,
)
from gradeclass.config import SEED
from gradeclass.evaluation.metrics import ece
from gradeclass.models.bundle import load_model, save_model
from gradeclass.models.features import grade_index
from gradeclass.models.folds import out_of_fold
from gradeclass.models.grade_model import GradeModel
from gradeclass.models.ordinal import strata_folds
from gradeclass.schema import load_schema

SCALE = load_schema("students").grades
POSITIVE = arrays(float, st.tuples(st.integers(1, 20), st.integers(2, 8)), elements=st.floats(0.001, 1))


def normalised(values):
    return values/values.sum(axis=1, keepdims=True)


def draw(n, seed=0, sharpness=2.0):
    "Students whose probabilities are exactly right"
    rng = np.random.default_rng(seed)
    middle = rng.uniform(0, 4, n)
    p = normalised(np.exp(-sharpness*np.abs(middle[:, None] - np.arange(5))) + 0.01)
    return p, (p.cumsum(axis=1) < rng.random(n)[:, None]).sum(axis=1)


@given(POSITIVE, st.floats(0.2, 5))
@settings(max_examples=50, deadline=None)
def test_temperature_keeps_order_and_sums(values, temperature):
    p = normalised(values)
    scaled = rescale(p, temperature)
    assert np.allclose(scaled.sum(axis=1), 1)
    assert (np.take_along_axis(scaled, p.argmax(axis=1)[:, None], 1)[:, 0] >= scaled.max(axis=1) - 1e-12).all()


@pytest.mark.parametrize("temperature", [0.4, 1.7, 4.0])
def test_temperature_is_recovered(temperature):
    p, y = draw(4000)
    assert fit_temperature(rescale(p, 1/temperature), y) == pytest.approx(temperature, rel=0.1)


def test_temperature_never_raises_the_log_loss_that_it_was_fitted_on():
    p, y = draw(300, sharpness=0.5)
    assert true_log_loss(rescale(p, fit_temperature(p, y)), y) <= true_log_loss(p, y) + 1e-6


def test_weights_count_like_copies():
    p, y = draw(200)
    weight = np.random.default_rng(1).integers(1, 4, 200)
    copies = np.repeat(np.arange(200), weight)
    assert fit_temperature(p**2, y, weight) == pytest.approx(fit_temperature(p[copies]**2, y[copies]), rel=1e-3)


def test_right_probabilities_are_left_alone():
    assert choose_calibration(*draw(1500)) == Calibrator()


@pytest.mark.parametrize("distort", [lambda p: normalised(p**3), lambda p: normalised(p*np.array([5.0, 1, 1, 1, 0.3]))])
def test_wrong_probabilities_are_mended_for_other_students(distort):
    p, y = draw(1500)
    found = choose_calibration(distort(p), y)
    other_p, other_y = draw(3000, seed=1)
    assert found.kind != "none"
    assert ece(other_y, found.apply(distort(other_p))) < ece(other_y, distort(other_p))/2


def test_no_row_is_calibrated_by_itself():
    p, y = draw(300)
    fold, said = strata_folds(y, FOLDS, SEED), calibrate_out_of_fold("temperature", p, y)
    for number in range(5):
        others = Calibrator("temperature", fit_temperature(p[fold != number], y[fold != number]))
        assert np.allclose(said[fold == number], others.apply(p[fold == number]))


@given(POSITIVE, st.sampled_from(METHODS), st.floats(0, 1))
@settings(max_examples=100, deadline=None)
def test_sets_are_stretches_around_the_most_probable_grade(values, method, threshold):
    p = normalised(values)
    sets = PredictionSets(threshold, method=method).sets(p)
    assert sets[np.arange(len(p)), p.argmax(axis=1)].all()
    starts = (np.diff(sets.astype(int), axis=1, prepend=0) == 1).sum(axis=1)
    assert (starts == 1).all()


@given(POSITIVE, st.sampled_from(METHODS), st.floats(0, 1), st.floats(0, 1))
@settings(max_examples=50, deadline=None)
def test_higher_thresholds_only_add_grades(values, method, one, other):
    p = normalised(values)
    low, high = (PredictionSets(level, method=method).sets(p) for level in sorted((one, other)))
    assert (low <= high).all()


# MAPIE as an oracle: probabilities that are given already, and our scores

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
    method:str,      # A name in `METHODS`
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
            return np.take_along_axis(stretch_scores(y_pred, method), y_enc.reshape(-1, 1), axis=1)

        def get_prediction_sets(
            self,
            y_pred_proba, # Probabilities, shape (n, K, 1)
            *args,        # Not used
            **kwargs,     # Not used
        )->np.ndarray:    # Shape (n, K, 1)
            "Grades with a score of at most the threshold"
            scores = stretch_scores(y_pred_proba[:, :, 0], method)
            return scores[:, :, None] <= self.quantiles_ + 1e-12

    score = StretchScore()
    return SplitConformalClassifier(given_probabilities(grades), coverage, conformity_score=score, prefit=True), score


@pytest.mark.parametrize("method", METHODS)
def test_sets_agree_with_mapie(method):
    p, y = draw(400)
    other, _ = draw(100, seed=3)
    classifier, _ = conformal_classifier(5, 0.9, method)
    expected = classifier.conformalize(p, y).predict_set(other)[1][:, :, 0]
    assert (fit_sets(p, y, 0.9, method).sets(other) == expected).all()


def test_sets_of_one_peak_are_those_of_plain_mapie():
    from mapie.classification import SplitConformalClassifier

    p, y = draw(500, sharpness=1.0)
    plain = SplitConformalClassifier(given_probabilities(5), 0.9, conformity_score="lac", prefit=True).conformalize(
        p, y)
    assert (fit_sets(p, y, 0.9).sets(p) == plain.predict_set(p)[1][:, :, 0]).mean() > 0.98


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("coverage", [0.8, 0.9, 0.95])
def test_new_students_are_covered_as_stated(method, coverage):
    p, y = draw(2000, sharpness=1.0)
    other, other_y = draw(4000, seed=5, sharpness=1.0)
    covered = fit_sets(p, y, coverage, method).sets(other)[np.arange(4000), other_y].mean()
    assert covered == pytest.approx(coverage, abs=0.02)


def test_overconfident_models_are_covered_too():
    p, y = draw(2000, sharpness=1.0)
    curve = coverage_curve(normalised(p**4), y, levels=(0.9,))
    assert curve.coverage[0.9] == pytest.approx(0.9, abs=0.02)


def test_published_students_are_covered_as_stated(real_data):
    from gradeclass.data.dataset import clean
    from gradeclass.data.sources import load
    dataset = load(real_data("students_performance.csv"), "students")
    frame = clean(dataset.frame, dataset.schema)
    model = GradeModel(dataset.schema, "ordinal", params={"members": ["linear"]})
    found = calibrate(out_of_fold(model, frame, 5), grade_index(frame, dataset.schema))
    assert found.measured["coverage"] == pytest.approx(0.9, abs=0.02)
    assert found.measured["mean_size"] < 1.6
    assert found.calibrator.kind == "none"


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


def test_wide_sets_are_not_sure():
    p = np.array([[0.2]*5, [0.9, 0.1, 0, 0, 0]])
    calibration = Calibration(sets=PredictionSets(threshold=0.85, most=3))
    assert calibration.describe(calibration.sets.sets(p), SCALE) == ["not sure", "A"]


def test_few_students_get_no_promise():
    p, y = draw(30)
    found = calibrate(p, y)
    assert found.sets is None
    with pytest.raises(CalibrationError, match="too few for a coverage of 0.99"): fit_sets(p, y, 0.99)


@pytest.mark.parametrize("coverage", [0, 1, 90, -0.1, float("nan")])
def test_impossible_coverages_are_refused(coverage):
    with pytest.raises(CalibrationError, match="between 0 and 1"): fit_sets(*draw(100), coverage)


def test_unknown_method_is_refused():
    with pytest.raises(CalibrationError, match="use one of lac, aps"): fit_sets(*draw(100), method="raps")


def test_grades_that_nobody_has_do_not_stop_it():
    p, y = draw(400)
    few = np.clip(y, 1, 3)
    assert fit_sets(p, few).sets(p).shape == (400, 5)
    assert choose_calibration(p, few).apply(p).shape == (400, 5)


def test_two_grades_are_enough():
    p, y = draw(400)
    two, halves = (y > 2).astype(int), np.column_stack([p[:, :3].sum(axis=1), p[:, 3:].sum(axis=1)])
    for method in METHODS: assert fit_sets(halves, two, 0.9, method).sets(halves).any(axis=1).all()


def test_state_survives_json():
    p, y = draw(500)
    found = calibrate(normalised(p**3), y)
    again = Calibration.from_dict(json.loads(json.dumps(found.to_dict())))
    assert again == found
    assert (again.sets.sets(again.calibrator.apply(p)) == found.sets.sets(found.calibrator.apply(p))).all()


@pytest.mark.parametrize("state",
                         [{}, {"calibrator": {}},
                          {"calibrator": {"kind": "none", "temperature": "x", "offsets": []}, "sets": None},
                                   {"calibrator": Calibrator().to_dict(), "sets": {"threshold": 0.5, "colour": "red"}},
                          [], None])
def test_damaged_state_is_refused_in_one_sentence(state):
    with pytest.raises(CalibrationError, match="train the model again"): Calibration.from_dict(state)


@pytest.mark.parametrize("state", [{"temperature": 0.0}, {"temperature": float("inf")}, {"kind": "magic"}])
def test_impossible_calibrators_are_refused(state):
    with pytest.raises(CalibrationError, match="temperature above 0"): Calibrator(**{"kind": "temperature", **state})


def test_bundle_carries_it_and_its_model_applies_it(trained, tmp_path):
    from gradeclass.data.dataset import clean
    from gradeclass.data.sources import load
    from gradeclass.data.synthetic import sample_path
    model, dataset = load_model(trained), load(sample_path("students"), "students")
    frame = clean(dataset.frame, dataset.schema)
    found = calibrate(*draw(300))
    raw = GradeModel(model.schema, "majority").fit(frame)
    save_model(raw, tmp_path/"bundle", {"calibration.json": found.to_dict()})
    assert load_calibration(tmp_path/"bundle") == found
    assert load_calibration(trained) == Calibration()
    said = load_model(tmp_path/"bundle").predict_proba(frame)
    assert np.allclose(said, found.calibrator.apply(raw.predict_proba(frame)), atol=1e-12)


def test_a_calibrated_model_keeps_its_calibration_without_the_files_of_a_pipeline(trained, tmp_path):
    model, calibrator = load_model(trained), Calibrator("temperature", 2.0)
    save_model(model.calibrate(calibrator, np.full((1, 5), 0.2)), tmp_path/"bundle")
    assert load_calibration(tmp_path/"bundle") == Calibration(calibrator)
    assert load_model(tmp_path/"bundle").calibrator_ == calibrator


def test_unreadable_file_is_named(tmp_path):
    (tmp_path/"calibration.json").write_text("{")
    with pytest.raises(CalibrationError, match="calibration.json is not valid JSON"): load_calibration(tmp_path)


def test_reading_sets_needs_neither_mapie_nor_seaborn():
    code = ("import sys, numpy as np\n"
            "from gradeclass.evaluation.calibration import Calibration, Calibrator; from gradeclass.evaluation.sets "
            "import PredictionSets\n"
            "from gradeclass.schema import load_schema\n"
            "made = Calibration(Calibrator('temperature', 1.2), PredictionSets(0.8))\n"
            "made.describe(made.sets.sets(np.array([[0.2]*5])), load_schema('students').grades)\n"
            "print([name for name in ('mapie', 'seaborn', 'optuna', 'matplotlib') if name in sys.modules])")
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                          check=True).stdout.strip() == "[]"


def test_scores_of_a_row_do_not_depend_on_other_rows():
    p, _ = draw(50)
    for method in METHODS: assert np.allclose(stretch_scores(p, method)[7], stretch_scores(p[7:8], method)[0])

"""Metrics against scikit-learn, and refusals, of `gradeclass.evaluation.metrics`."""
import math
import time

import numpy as np
import pytest
import sklearn.metrics as sk
from evaluation_helpers import example

from gradeclass.config import GradeclassError
from gradeclass.evaluation import metrics
from gradeclass.evaluation.metrics import METRICS, MetricError, check_predictions, ece, places
from gradeclass.evaluation.resampling import draw_batches, headline, top_k
from gradeclass.schema import load_schema

SCALE = load_schema("students").grades


def expected(y, p, predicted, k):
    """What scikit-learn says, and plain numpy where it says nothing."""
    y, p, grades = np.asarray(y), np.asarray(p), range(p.shape[1])
    macro = {"average": "macro", "zero_division": 0}
    areas = [sk.roc_auc_score(y == g, p[:, g]) for g in grades if 0 < (y == g).sum() < len(y)]
    risk, at_risk = p[:, -1], y == p.shape[1] - 1
    first = np.argsort(-risk, kind="stable")[:k]
    return {
        "accuracy": sk.accuracy_score(y, predicted),
        "macro_precision": sk.precision_score(y, predicted, **macro),
        "macro_recall": sk.recall_score(y, predicted, **macro),
        "macro_f1": sk.f1_score(y, predicted, **macro),
        "roc_auc": np.mean(areas),
        "qwk": sk.cohen_kappa_score(y, predicted, weights="quadratic", labels=list(grades)),
        "within_one": (np.abs(y - predicted) <= 1).mean(),
        "at_risk_precision": at_risk[first].mean(),
        "at_risk_recall": at_risk[first].sum()/at_risk.sum() if at_risk.any() else math.nan,
        "log_loss": sk.log_loss(y, p, labels=list(grades)),
        "brier": ((p - np.eye(p.shape[1])[y])**2).sum(axis=1).mean(),
        "mean_grade_distance": sk.mean_absolute_error(y, predicted),
    }


@pytest.mark.parametrize("present", [None, [0, 1, 4], [1, 2], [0, 2, 3]],
                         ids=["all", "two-absent", "three-absent", "worst-absent"])
def test_point_values_equal_scikit_learn(present):
    y, p = example(present=present, seed=3)
    table = headline(y, p, SCALE, n_boot=0)
    for name, value in expected(y, p, p.argmax(1), places(0.1, len(y))).items():
        np.testing.assert_allclose(table.value[name], value, atol=1e-12, err_msg=name)


def test_all_grades_auc_equals_one_versus_rest_of_scikit_learn():
    y, p = example(seed=1)
    assert headline(y, p, SCALE,
                    n_boot=0).value["roc_auc"] == pytest.approx(sk.roc_auc_score(y, p, multi_class="ovr",
                                                                                 average="macro"))


def test_tied_probabilities_count_half_in_the_auc():
    y, p = example(seed=2, digits=1)
    assert len(np.unique(p[:, 4])) < 100
    assert headline(y, p, SCALE, n_boot=0).value["roc_auc"] == pytest.approx(sk.roc_auc_score(y, p, multi_class="ovr"))


def test_announced_grades_other_than_the_most_probable_are_measured():
    y, p = example(seed=4)
    announced = np.full(len(y), 2)
    table = headline(y, p, SCALE, predicted=announced, n_boot=0)
    for name, value in expected(y, p, announced, 12).items():
        np.testing.assert_allclose(table.value[name], value, atol=1e-12, err_msg=name)


def test_weights_give_the_same_as_repeating_the_students():
    y, p = example(n=40, seed=5)
    weights = next(draw_batches(40, 6, 0))
    case = check_predictions(y, p, SCALE)
    for name in set(METRICS) - {"at_risk_precision", "at_risk_recall"}:
        drawn = METRICS[name].measure(case, weights)
        for row, value in zip(weights.astype(int), drawn, strict=True):
            again = headline(y.repeat(row), p.repeat(row, axis=0), SCALE, n_boot=0).value[name]
            assert value == pytest.approx(again), name


def test_weighted_list_for_help_gives_the_same_as_repeating_the_students():
    y, p = example(n=40, seed=6)
    weights = next(draw_batches(40, 6, 1))
    case = check_predictions(y, p, SCALE, k=7)
    for row, found in zip(weights.astype(int), metrics.found_at_risk(case, weights), strict=True):
        assert found == pytest.approx(top_k(y.repeat(row), p.repeat(row, axis=0), SCALE, k=7)["found"])


@pytest.mark.parametrize(("y", "p", "words"), [
    ([], np.empty((0, 5)), "y is empty"),
    ([0, 7], np.full((2, 5), 0.2), "y holds 7 in row 2 of 2"),
    ([0, np.nan], np.full((2, 5), 0.2), "y holds nan in row 2 of 2"),
    ([0, None], np.full((2, 5), 0.2), "y holds None in row 2 of 2"),
    ([0, 1.5], np.full((2, 5), 0.2), "y holds 1.5 in row 2 of 2"),
    ([[0, 1]], np.full((2, 5), 0.2), "y has 2 dimensions"),
    ([0, 1], np.full((2, 4), 0.25), r"need \(2, 5\)"),
    ([0, 1], np.full((3, 5), 0.2), r"need \(2, 5\)"),
    ([0, 1], [[0.2]*5, [0.2, 0.2, 0.2, 0.4, np.nan]], "p has no number in row 2 of 2"),
    ([0, 1], [[0.2]*5, [0.3]*5], "p adds up to 1.5 in row 2 of 2"),
    ([0, 1], [[0.2]*5, [1.2, -0.2, 0, 0, 0]], "outside 0 to 1 in row 2 of 2"),
])
def test_bad_arrays_are_refused_in_one_sentence(y, p, words):
    with pytest.raises(MetricError, match=words) as caught: headline(y, p, SCALE)
    assert isinstance(caught.value, GradeclassError) and "\n" not in str(caught.value)


def test_float32_probabilities_of_a_model_are_accepted():
    y, p = example(seed=11)
    assert headline(y, p.astype("float32"), SCALE, n_boot=0).value["log_loss"] == pytest.approx(
        sk.log_loss(y, p), abs=1e-5)


def test_ece_is_zero_for_a_model_that_keeps_its_word_and_large_for_a_boaster():
    y = np.array([0]*8 + [1]*2)
    assert ece(y, np.tile([0.8, 0.2], (10, 1))) == pytest.approx(0)
    assert ece(y, np.tile([1.0, 0.0], (10, 1))) == pytest.approx(0.2)


@pytest.mark.process
def test_import_needs_no_plotting_library():
    import subprocess
    import sys
    code = ("import sys, gradeclass.evaluation.metrics; print([m for m in ('seaborn', 'matplotlib', 'sklearn', "
            "'scipy.stats') if m in sys.modules])")
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                          check=True).stdout.strip() == "[]"


def test_a_thousand_resamples_of_a_test_part_are_quick():
    y, p = example(n=305, seed=10)
    start = time.process_time()  # Not the wall clock: other programs may be running
    headline(y, p, SCALE, n_boot=1000)
    assert time.process_time() - start < 2

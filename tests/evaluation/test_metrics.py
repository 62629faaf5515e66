"""Metrics against scikit-learn, intervals, refusals and figures of `gradeclass.evaluation.metrics`."""
import json
import math
import time
import warnings

import numpy as np
import pandas as pd
import pytest
import sklearn.metrics as sk

from gradeclass.evaluation import metrics, plots
from gradeclass.config import GradeclassError
from gradeclass.evaluation.figures import save_figure
from gradeclass.evaluation.metrics import METRICS, MetricError, check_predictions, ece, places, resample_counts
from gradeclass.evaluation.resampling import (
    bootstrap, confusion, group_table, headline, headline_sentence, metrics_dict, paired_difference, per_grade,
    reliability, top_k, top_k_curve,
)
from gradeclass.schema import GradeScale, load_schema

SCALE = load_schema("students").grades
HIGHER = load_schema("higher_ed").grades


def example(n=120, grades=5, seed=0, present=None, digits=None):
    """Random grades and probabilities that know something of them."""
    rng = np.random.default_rng(seed)
    y = rng.choice(present if present is not None else grades, n)
    p = rng.dirichlet(np.ones(grades), n) + 0.6*np.eye(grades)[(y + rng.integers(-1, 2, n)).clip(0, grades - 1)]
    p = p if digits is None else p.round(digits) + 0.01
    return y, p/p.sum(axis=1, keepdims=True)


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
    weights = resample_counts(40, 6, np.random.default_rng(0))
    case = check_predictions(y, p, SCALE)
    for name in set(METRICS) - {"at_risk_precision", "at_risk_recall"}:
        drawn = METRICS[name].measure(case, weights)
        for row, value in zip(weights.astype(int), drawn, strict=True):
            again = headline(y.repeat(row), p.repeat(row, axis=0), SCALE, n_boot=0).value[name]
            assert value == pytest.approx(again), name


def test_weighted_list_for_help_gives_the_same_as_repeating_the_students():
    y, p = example(n=40, seed=6)
    weights = resample_counts(40, 6, np.random.default_rng(1))
    case = check_predictions(y, p, SCALE, k=7)
    for row, found in zip(weights.astype(int), metrics.found_at_risk(case, weights), strict=True):
        assert found == pytest.approx(top_k(y.repeat(row), p.repeat(row, axis=0), SCALE, k=7)["found"])


def test_intervals_hold_the_value_and_narrow_with_more_students():
    few, many = headline(*example(n=60, seed=7), SCALE), headline(*example(n=2400, seed=7), SCALE, n_boot=300)
    for table in (few, many):
        plain = table.drop(index="ece")
        assert ((plain.low <= plain.value) & (plain.value <= plain.high)).all()
    assert (many.high - many.low)["accuracy"] < 0.3*(few.high - few.low)["accuracy"]


def test_interval_of_accuracy_is_near_the_binomial_one():
    y, p = example(n=400, seed=8)
    row = headline(y, p, SCALE, n_boot=2000).loc["accuracy"]
    half = 1.96*math.sqrt(row["value"]*(1 - row["value"])/400)
    assert row["low"] == pytest.approx(row["value"] - half, abs=0.008)
    assert row["high"] == pytest.approx(row["value"] + half, abs=0.008)


def test_same_seed_same_intervals_and_other_seed_other_ones():
    y, p = example(seed=9)
    first, again, other = (headline(y, p, SCALE, n_boot=100, seed=seed) for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(first, again)
    assert not first.low.equals(other.low) and first.value.equals(other.value)


def test_a_thousand_resamples_of_a_test_part_are_quick():
    y, p = example(n=305, seed=10)
    start = time.perf_counter()
    headline(y, p, SCALE, n_boot=1000)
    assert time.perf_counter() - start < 2


def test_batches_of_a_large_table_use_every_resample():
    draws = bootstrap(300_000, lambda weights: weights.sum(axis=1), n_boot=8)
    assert draws.tolist() == [300_000.0]*8


@pytest.mark.parametrize("grade", range(5))
def test_one_student_has_values_without_warnings(grade):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = headline([grade], [[0.1, 0.2, 0.4, 0.2, 0.1]], SCALE, n_boot=20)
        per_grade([grade], [[0.1, 0.2, 0.4, 0.2, 0.1]], SCALE)
    assert math.isnan(table.value["roc_auc"]) and table.value["accuracy"] == (grade == 2)
    assert json.dumps(metrics_dict(table), allow_nan=False)


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


@pytest.mark.parametrize("k", [0, -1, 121, 2.5, 0.0, 1.2, math.nan])
def test_impossible_number_of_places_is_refused(k):
    with pytest.raises(MetricError, match="from 1 to 120"): top_k(*example(), SCALE, k=k)


def test_float32_probabilities_of_a_model_are_accepted():
    y, p = example(seed=11)
    assert headline(y, p.astype("float32"), SCALE, n_boot=0).value["log_loss"] == pytest.approx(
        sk.log_loss(y, p), abs=1e-5)


def test_per_grade_means_are_the_macro_figures_though_grades_are_absent():
    y, p = example(seed=12, present=[0, 1, 3])
    p = np.where(np.arange(5) == 4, 0, p) + 1e-6
    p = p/p.sum(axis=1, keepdims=True)
    table, top = per_grade(y, p, SCALE), headline(y, p, SCALE, n_boot=0).value
    assert table.loc["F", ["precision", "recall", "f1", "auc"]].isna().all() and table.support["F"] == 0
    for column, name in [("precision", "macro_precision"), ("recall", "macro_recall"), ("f1", "macro_f1"),
                         ("auc", "roc_auc")]:
        assert table[column].mean() == pytest.approx(top[name])


def test_confusion_has_a_row_and_a_column_for_absent_grades():
    table = confusion([0, 0, 4], [0, 1, 4], SCALE)
    assert table.shape == (5, 5) and table.loc["A", "B"] == 1 and table.loc["C"].sum() == 0


def test_ece_is_zero_for_a_model_that_keeps_its_word_and_large_for_a_boaster():
    y = np.array([0]*8 + [1]*2)
    assert ece(y, np.tile([0.8, 0.2], (10, 1))) == pytest.approx(0)
    assert ece(y, np.tile([1.0, 0.0], (10, 1))) == pytest.approx(0.2)


def test_reliability_counts_every_student_once_for_each_grade():
    y, p = example(seed=13)
    for grade in (None, 0, 4): assert reliability(y, p, 7, grade).students.sum() == len(y)


def test_order_of_tied_students_does_not_change_the_list_for_help():
    y, p = np.array([4, 4, 0, 0]), np.full((4, 5), 0.2)
    up, down = (top_k(y[::step], p, SCALE, k=1) for step in (1, -1))
    assert up == down and up["precision"] == 0.5 and up["lift"] == 1


def test_several_at_risk_grades_add_up():
    y, p = example(grades=8, seed=14)
    risk, at_risk = p[:, 6] + p[:, 7], y >= 6
    first = np.argsort(-risk)[:20]
    found = top_k(y, p, HIGHER, k=20)
    assert found["found"] == at_risk[first].sum() and found["threshold"] == pytest.approx(risk[first[-1]])


def test_curve_agrees_with_the_single_lists():
    y, p = example(seed=15, digits=1)
    curve = top_k_curve(y, p, SCALE)
    for k in (1, 5, 37, 120):
        assert curve.precision[k] == pytest.approx(top_k(y, p, SCALE, k=k)["precision"])
        assert curve.recall[k] == pytest.approx(top_k(y, p, SCALE, k=k)["recall"])


def test_small_groups_show_no_numbers():
    y, p = example(n=100, seed=16)
    groups = pd.Series(["large"]*82 + ["small"]*9 + [None]*9, name="Group")
    table = group_table(y, p, SCALE, groups)
    assert table.students.tolist() == ["82", "fewer than 10", "fewer than 10"]
    assert table.loc[["small", "not recorded"]].drop(columns="students").isna().all(axis=None)


def test_group_recall_of_few_at_risk_students_stays_empty():
    y, p = example(n=60, seed=17)
    y = np.where(np.arange(60) < 9, 4, y % 4)
    table = group_table(y, p, SCALE, pd.Series(["one"]*60))
    assert table.accuracy.notna().all() and table.at_risk_recall.isna().all()


def test_group_figures_are_those_of_the_group_alone_whatever_the_index():
    y, p = example(n=300, seed=18)
    groups = pd.Series(pd.Categorical(np.where(np.arange(300) % 2, "b", "a"), ["b", "a", "unused"]),
                       index=range(300, 0, -1))
    table, odd = group_table(y, p, SCALE, groups), np.arange(300) % 2 == 1
    assert table.index.tolist() == ["b", "a"]
    assert table.accuracy["b"] == pytest.approx((y == p.argmax(1))[odd].mean())
    assert table.missed["b"] == pytest.approx((p.argmax(1) != 4)[odd & (y == 4)].mean())
    assert group_table(y, p, SCALE, groups, k=30).flagged.mean() == pytest.approx(0.1)


def test_groups_of_another_length_are_refused():
    with pytest.raises(MetricError, match="groups has 3 rows and y has 120"):
        group_table(*example(), SCALE, pd.Series(list("abc")))


def test_paired_interval_is_narrower_than_the_single_ones_allow():
    y, p = example(n=300, seed=19)
    better = 0.98*p + 0.02*np.eye(5)[y]
    found = paired_difference(y, p, better, "log_loss", SCALE)
    a, b = headline(y, p, SCALE).loc["log_loss"], headline(y, better, SCALE).loc["log_loss"]
    assert found["high"] < 0 and found["b_better"] == 1
    assert b["high"] > a["low"]
    assert found["difference"] == pytest.approx(b["value"] - a["value"])


def test_a_model_does_not_differ_from_itself():
    y, p = example(seed=20)
    for metric in METRICS:
        found = paired_difference(y, p, p, metric, SCALE, n_boot=50)
        assert (found["low"], found["difference"], found["high"], found["b_better"]) == (0, 0, 0, 0)


def test_sentence_says_so_when_no_one_is_at_risk():
    y, p = example(present=[0, 1], seed=21)
    text = headline_sentence(headline(y, p, SCALE, n_boot=50))
    assert "No student in this table is at risk" in text and "nan" not in text


def test_sentence_states_the_shares_of_the_table():
    table = headline(*example(seed=22), SCALE, n_boot=50)
    text = headline_sentence(table)
    assert f"{100*table.value['accuracy']:.0f} in 100 students" in text and "the first 12 on" in text


def test_metrics_are_json_without_nan_for_absent_grades():
    y, p = example(present=[0, 1], seed=23)
    plain = metrics_dict(headline(y, p, SCALE, n_boot=20), per_grade(y, p, SCALE))
    text = json.dumps(plain, allow_nan=False)
    assert json.loads(text)["at_risk_recall"] == {"value": None, "low": None, "high": None}
    assert plain["per_grade"]["F"]["support"] == 0 and set(plain) == {*METRICS, "per_grade"}


def draw_all(y, p, scale):
    """Every figure, by name."""
    predicted, table = p.argmax(1), headline(y, p, scale, n_boot=30)
    return {
        "confusion": plots.plot_confusion(y, predicted, scale),
        "per_grade": plots.plot_per_grade(per_grade(y, p, scale)),
        "reliability": plots.plot_reliability(y, p), "top_k": plots.plot_top_k(y, p, scale, k=1),
        "intervals": plots.plot_intervals(table), "shares": plots.plot_grade_shares(y, predicted, scale),
    }


@pytest.mark.parametrize("case", [
    (*example(n=305, seed=24), SCALE),
    (*example(n=29, grades=8, present=[0, 3, 5], seed=25), HIGHER),
    (np.array([1]), np.array([[0.3, 0.7]]), GradeScale(codes={1: "pass", 0: "fail"}, at_risk=["fail"])),
], ids=["students", "eight-grades", "one-row"])
def test_every_figure_is_drawn_titled_and_small(case, tmp_path):
    import matplotlib.pyplot as plt
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.simplefilter("error", RuntimeWarning)
        figures = draw_all(*case)
        for name, figure in figures.items():
            png, svg = save_figure(figure, tmp_path, name)
            assert figure.axes[0].get_title(loc="left") and png.stat().st_size < 60_000 and svg.stat().st_size < 200_000, name
    assert plt.get_fignums() == []


def test_saved_figures_are_the_same_bytes_each_time(tmp_path):
    y, p = example(seed=26)
    first, second = (save_figure(plots.plot_reliability(y, p), tmp_path/folder, "figure") for folder in "ab")
    assert [path.name for path in first] == ["figure.png", "figure.svg"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_a_figure_that_cannot_be_written_leaves_the_old_file(tmp_path):
    (tmp_path/"figure.png").write_text("old")

    def savefig(path, **about):
        path.write_text("half")
        raise OSError("disk full")

    broken = plots.plot_grade_shares([0, 4], [0, 4], SCALE)
    broken.savefig = savefig
    with pytest.raises(OSError, match="disk full"): save_figure(broken, tmp_path, "figure")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"figure.png": "old"}


def test_style_does_not_leak_into_other_figures():
    import matplotlib
    before = dict(matplotlib.rcParams)
    plots.plot_grade_shares([0, 4], [0, 4], SCALE)
    assert dict(matplotlib.rcParams) == before


def test_import_needs_no_plotting_library():
    import subprocess
    import sys
    code = ("import sys, gradeclass.evaluation.metrics; print([m for m in ('seaborn', 'matplotlib', 'sklearn', "
            "'scipy.stats') if m in sys.modules])")
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                          check=True).stdout.strip() == "[]"

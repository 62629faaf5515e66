"""Intervals, differences, tables and sentences of `gradeclass.evaluation.resampling`."""
import json
import math
import warnings
from statistics import NormalDist

import numpy as np
import pandas as pd
import pytest
from evaluation_helpers import example

from gradeclass.evaluation.metrics import METRICS, MetricError
from gradeclass.evaluation.resampling import (
    bootstrap, confusion, headline, headline_sentence, holm, kept_batches, metrics_dict, paired_difference, per_grade,
    reliability, share_interval, top_k, top_k_curve,
)
from gradeclass.schema import load_schema

SCALE = load_schema("students").grades
HIGHER = load_schema("higher_ed").grades


@pytest.mark.parametrize("total", [1, 2, 7, 30, 145, 2392, 1_000_000])
def test_interval_of_a_share_is_where_wilsons_test_rejects(total):
    z = NormalDist().inv_cdf(0.975)
    for count in sorted({0, 1, total//3, total - 1, total}):
        ends = share_interval(count, total)
        assert 0 <= ends[0] <= count/total <= ends[1] <= 1
        for end in set(ends) - {0.0, 1.0}:
            assert abs(count/total - end) == pytest.approx(z*math.sqrt(end*(1 - end)/total), rel=1e-9)


def test_resamples_of_a_test_part_are_drawn_once():
    kept_batches.cache_clear()
    y, p = example(n=305, seed=10)
    for _ in range(3): headline(y, p, SCALE, n_boot=100)
    assert kept_batches.cache_info().misses == 1


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


def test_reliability_counts_every_student_once():
    y, p = example(seed=13)
    assert reliability(y, p).students.sum() == len(y)


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


@pytest.mark.parametrize("k", [0, -1, 121, 2.5, 0.0, 1.2, math.nan])
def test_impossible_number_of_places_is_refused(k):
    with pytest.raises(MetricError, match="from 1 to 120"): top_k(*example(), SCALE, k=k)


def test_holm_multiplies_the_smallest_by_the_number_of_known_values():
    corrected = holm(pd.Series([0.02, np.nan, 0.01, 0.9], index=list("abcd")))
    assert corrected.round(3).tolist()[:1] + corrected.round(3).tolist()[2:] == [0.04, 0.03, 0.9]
    assert math.isnan(corrected["b"])


def test_shares_of_a_few_students_have_wilsons_interval_and_what_never_varies_has_none():
    y = np.zeros(3, dtype=int)
    table = headline(y, np.tile([0.8, 0.1, 0.05, 0.03, 0.02], (3, 1)), SCALE, n_boot=200)
    assert table.loc["accuracy"].tolist() == pytest.approx([1, 0.4385, 1], abs=1e-3)
    assert table.loc["within_one"].tolist() == pytest.approx([1, 0.4385, 1], abs=1e-3)
    assert np.isnan(table.loc["macro_f1", ["low", "high"]].astype(float)).all()

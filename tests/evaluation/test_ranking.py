"""Lists, places and thresholds of `gradeclass.evaluation.ranking`."""
import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradeclass.config import GradeclassError
from gradeclass.data.dataset import clean
from gradeclass.data.sources import load
from gradeclass.evaluation.metrics import at_risk_precision, check_predictions
from gradeclass.evaluation.resampling import top_k
from gradeclass.evaluation.ranking import (
    Threshold, find_threshold, places_table,
    show_places, threshold_sentence,
)
from gradeclass.data.synthetic import sample_path
from gradeclass.schema import load_schema

SCHEMA = load_schema("students")
SCALE = SCHEMA.grades


def example(n=200, seed=0):
    """Random grades and probabilities that know something of them."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 5, n)
    p = rng.dirichlet(np.ones(5), n) + 0.8*np.eye(5)[(y + rng.integers(-1, 2, n)).clip(0, 4)]
    return y, p/p.sum(axis=1, keepdims=True)


@pytest.fixture(scope="module")
def students():
    return clean(load(sample_path("students"), "students").frame, SCHEMA).tail(60)


def test_table_says_what_top_k_says():
    y, p = example()
    table = places_table(y, p, SCALE, (0.1, 50), n_boot=0)
    assert table.index.tolist() == [20, 50]
    for k in (20, 50):
        assert table.loc[k,
                         ["found", "precision", "recall",
                          "lift"]].tolist() == pytest.approx([top_k(y, p, SCALE, k)[name] for name in (
        "found", "precision", "recall", "lift")])
    assert table.precision_low.isna().all()


def test_same_number_of_places_is_one_row():
    y, p = example(20)
    assert places_table(y, p, SCALE, (0.05, 0.04, 1), n_boot=0).index.tolist() == [1]


@given(seed=st.integers(0, 200), n=st.integers(12, 80))
@settings(max_examples=20)
def test_list_is_never_better_than_a_perfect_one(seed, n):
    y, p = example(n, seed)
    for row in places_table(y, p, SCALE, n_boot=20).itertuples():
        assert np.isnan(row.recall) or row.recall <= row.best_recall + 1e-12
        assert not row.precision_low > row.precision_high


def test_intervals_hold_the_values_and_repeat_with_the_seed():
    y, p = example()
    table = places_table(y, p, SCALE, (0.2,), 200, 5)
    for name in ("precision", "recall", "lift"):
        assert (table[f"{name}_low"] <= table[name]).all() and (table[name] <= table[f"{name}_high"]).all()
    pd.testing.assert_frame_equal(table, places_table(y, p, SCALE, (0.2,), 200, 5))


def test_table_of_a_class_where_nobody_is_at_risk_can_be_shown():
    y, p = example(30)
    shown = show_places(places_table(y.clip(max=3), p, SCALE, n_boot=10))
    assert not [cell for cell in shown["At risk, listed"] if "%" in cell]


def test_handful_of_places_or_of_students_in_need_gets_no_figure():
    y, p = example(40)
    y[:] = np.where(np.arange(40) < 9, 4, 1)
    shown = show_places(places_table(y, p, SCALE, (5, 20), n_boot=10))
    assert (shown["Listed and actually at risk"].tolist()[0] == shown["Times better than drawing at random"].tolist()[0]
            == "fewer than 10")
    assert "%" in shown["Listed and actually at risk"].tolist()[1] and set(shown["At risk, listed"]) == {"fewer than 10"}


def test_threshold_lists_as_many_as_there_are_places():
    y, p = example()
    threshold = find_threshold(y, p, SCALE, 30)
    listed = threshold.lists(p[:, 4])
    assert listed.sum() == 30 and threshold.share == pytest.approx(0.15)
    assert threshold.precision == pytest.approx((y[listed] == 4).mean())
    assert threshold.precision == pytest.approx(at_risk_precision(check_predictions(y, p, SCALE, k=30),
                                                                  np.ones((1, 200)))[0])
    assert threshold.precision_low <= threshold.precision <= threshold.precision_high


def test_students_tied_with_the_last_place_are_listed_too():
    y = np.array([4, 4, 0, 0])
    p = np.array([[0.1, 0, 0, 0, 0.9], [0.5, 0, 0, 0, 0.5], [0.5, 0, 0, 0, 0.5], [1, 0, 0, 0, 0]])
    threshold = find_threshold(y, p, SCALE, 2)
    assert threshold.share == 0.75 and threshold.precision == pytest.approx(2/3) and threshold.recall == 1


def test_threshold_survives_json_even_without_anyone_at_risk():
    y, p = example(40)
    threshold = find_threshold(y.clip(max=3), p, SCALE, 0.1)
    state = json.loads(json.dumps(threshold.as_dict(), allow_nan=False))
    assert state["recall"] is None and np.isnan(Threshold.from_dict(state).recall)
    assert "cannot be said" in threshold_sentence(Threshold.from_dict(state))


@pytest.mark.parametrize("state",
                         [{}, {"probability": 1},
                          {**find_threshold(*example(20), SCALE).as_dict(), "more": 1}])
def test_something_else_than_a_threshold_is_refused(state):
    with pytest.raises(GradeclassError, match="this is not a threshold"): Threshold.from_dict(state)



@pytest.mark.parametrize("rate", [0.02, 0.1, 0.3, 0.6])
def test_interval_of_a_lists_precision_covers_the_truth(rate):
    "Lists of a fifth of 400 students; the truth is the share at risk among all students above the cut"
    rng = np.random.default_rng(int(1000*rate))
    sharp = np.clip(rate*3, 0, .9)
    covered = []
    for _ in range(400):
        risk = np.where(rng.random(400) < .2, sharp, max(0, (rate - .2*sharp)/.8))
        y = np.where(rng.random(400) < risk, 4, 0)
        p = np.column_stack([1 - risk, *[np.zeros(400)]*3, risk])
        found = find_threshold(y, p, SCALE, int((risk == sharp).sum()))
        covered.append(found.precision_low <= sharp <= found.precision_high)
    assert 0.92 <= np.mean(covered) <= 0.985


def test_list_that_is_all_right_is_not_sure_to_be_right():
    y = np.repeat([4, 0], [20, 80])
    p = np.eye(5)[y]*0.9 + 0.02
    row = places_table(y, p, SCALE, (20,), n_boot=50).iloc[0]
    assert row.precision == 1 and row.precision_low == pytest.approx(0.84, abs=0.01)
    alike = places_table(y, p, SCALE, (20,), n_boot=50, units=np.repeat(np.arange(20), 5)).iloc[0]
    assert alike.precision_low < 0.6, "four units of students tell less than twenty strangers"

"""Lists, places and thresholds of `gradeclass.evaluation.ranking`."""
import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradeclass.data.dataset import clean
from gradeclass.data.files import write_table
from gradeclass.data.sources import load
from gradeclass.evaluation.metrics import MetricError, at_risk_precision, check_predictions
from gradeclass.evaluation.resampling import top_k
from gradeclass.models.bundle import load_model
from gradeclass.evaluation.ranking import (
    LIST_NOTE, RankingError, Threshold, counsellor_list, find_threshold, listed_words, places_table, rank_students,
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


@pytest.fixture(scope="module")
def model(trained):
    return load_model(trained)


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
@settings(max_examples=20, deadline=None)
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
    assert (shown["Listed, at risk in fact"].tolist()[0] == shown["Times better than lots"].tolist()[0]
            == "fewer than 10")
    assert "%" in shown["Listed, at risk in fact"].tolist()[1] and set(shown["At risk, listed"]) == {"fewer than 10"}


def test_threshold_lists_as_many_as_there_are_places():
    y, p = example()
    threshold = find_threshold(y, p, SCALE, 30, n_boot=50)
    listed = threshold.lists(p[:, 4])
    assert listed.sum() == 30 and threshold.share == pytest.approx(0.15)
    assert threshold.precision == pytest.approx((y[listed] == 4).mean())
    assert threshold.precision == pytest.approx(at_risk_precision(check_predictions(y, p, SCALE, k=30),
                                                                  np.ones((1, 200)))[0])
    assert threshold.precision_low <= threshold.precision <= threshold.precision_high


def test_students_tied_with_the_last_place_are_listed_too():
    y, p = np.array([4, 4, 0, 0]), np.array([[0.1, 0, 0, 0, 0.9], [0.5, 0, 0, 0, 0.5], [0.5, 0, 0, 0, 0.5],
                                             [1, 0, 0, 0, 0]])
    threshold = find_threshold(y, p, SCALE, 2, n_boot=10)
    assert threshold.share == 0.75 and threshold.precision == pytest.approx(2/3) and threshold.recall == 1


def test_threshold_survives_json_even_without_anyone_at_risk():
    y, p = example(40)
    threshold = find_threshold(y.clip(max=3), p, SCALE, 0.1, n_boot=10)
    state = json.loads(json.dumps(threshold.as_dict(), allow_nan=False))
    assert state["recall"] is None and np.isnan(Threshold.from_dict(state).recall)
    assert "cannot be said" in threshold_sentence(Threshold.from_dict(state))


@pytest.mark.parametrize("state",
                         [{}, {"probability": 1},
                          {**find_threshold(*example(20), SCALE, n_boot=5).as_dict(), "more": 1}])
def test_something_else_than_a_threshold_is_refused(state):
    with pytest.raises(RankingError, match="this is no threshold"): Threshold.from_dict(state)


def test_list_falls_from_the_highest_risk(model, students):
    ranked = rank_students(model, students)
    risk = model.predict_at_risk(students)
    assert len(ranked) == 60 and ranked.risk.is_monotonic_decreasing
    assert ranked.risk.to_numpy() == pytest.approx(np.sort(risk)[::-1])
    assert (ranked.StudentID == students.loc[ranked.index, "StudentID"]).all()
    pd.testing.assert_frame_equal(rank_students(model, students, 7), ranked.head(7))


def test_order_of_the_file_does_not_change_who_is_listed(model, students):
    mixed = students.sample(frac=1, random_state=3)
    first, second = rank_students(model, students, 10), rank_students(model, mixed, 10)
    assert first.risk.to_numpy() == pytest.approx(second.risk.to_numpy())
    assert first["rank"].tolist() == second["rank"].tolist()


def test_equal_risks_share_a_rank(model, students):
    twins = pd.concat([students.head(1), students.head(1), students.tail(1)])
    assert set(rank_students(model, twins)["rank"]) in ({1, 3}, {1, 2})


def test_announced_grades_are_listed_as_given(model, students):
    assert set(rank_students(model, students, predicted=np.full(60, 2)).grade) == {"C"}


def test_reasons_are_at_most_three_and_belong_to_the_listed_rows(model, students):
    def reasons(_, rows): return [[f"row {row}", "b", "c", "d"] for row in rows.index]
    ranked = rank_students(model, students, 5, reasons=reasons)
    assert ranked.reasons.tolist() == [f"row {row}; b; c" for row in ranked.index]


def test_no_place_and_too_many_places_are_refused(model, students):
    for k in (0, 61, 2.5):
        with pytest.raises(MetricError, match="from 1 to 60"): rank_students(model, students, k)
    with pytest.raises(RankingError, match="nobody to list"): rank_students(model, students.head(0))


def test_list_without_ids_names_the_row_of_the_file(model, students):
    shown = counsellor_list(rank_students(model, students.drop(columns="StudentID"), 3), SCHEMA)
    assert shown["Row in the file"].tolist() == rank_students(model, students, 3).index.tolist()


def test_list_speaks_of_help_and_of_what_a_place_is_worth(model, students):
    threshold = Threshold(0.9, 0.1, 0.84, 0.7, 0.9, 0.5, 0.4, 0.6, 100)
    ranked = rank_students(model, students)
    shown = counsellor_list(ranked.assign(reasons=""), SCHEMA, threshold)
    said = shown["How sure"].to_numpy()
    assert ((said == listed_words(threshold)) == (ranked.risk >= 0.9).to_numpy()).all()
    assert listed_words(threshold) == "of 10 with such a risk, about 8 needed help"
    assert set(shown["What to talk about"]) == {"nothing stands out: ask openly"}
    assert not {"fail", "weak", "bad"} & set(" ".join([LIST_NOTE, *shown.columns]).casefold().split())


def test_formula_in_a_listed_id_is_neutralised_in_the_file(model, students, tmp_path):
    ranked = rank_students(model, students.assign(StudentID="=HYPERLINK(1)"), 3)
    write_table(counsellor_list(ranked, SCHEMA), tmp_path/"list.csv")
    assert "'=HYPERLINK" in (tmp_path/"list.csv").read_text() and ",=HYP" not in (tmp_path/"list.csv").read_text()

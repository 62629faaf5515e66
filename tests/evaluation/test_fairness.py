"""Rates by group, suppression, gaps and chance in `gradeclass.evaluation.fairness`."""
import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradeclass.config import GradeclassError
from gradeclass.data.dataset import clean
from gradeclass.data.sources import load
from gradeclass.evaluation.fairness import (
    RATES, all_rates, audit_groups, band_numbers, check_fairness, compare_audit, fairness_sentence,
    gap_sentence, gap_table, plot_groups, rate_marks, show_groups, shuffled_gaps,
)
from gradeclass.evaluation.metrics import MIN_SIZE, MetricError
from gradeclass.models.features import grade_index
from gradeclass.models.grade_model import GradeModel
from gradeclass.data.synthetic import sample_path
from gradeclass.schema import load_schema

SCHEMA = load_schema("students")
SCALE = SCHEMA.grades


def example(n=300, seed=0, names=("North", "South"), share=None):
    """True and announced grades that agree in most cases, and groups drawn at random."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 5, n)
    predicted = np.where(rng.random(n) < 0.7, y, rng.integers(0, 5, n))
    return y, predicted, pd.Series(rng.choice(names, n, p=share), name="School")


def group_rates(y, predicted, scale, group):
    return all_rates(y, predicted, scale, {group.name or "group": group})


def value(table, group, rate, column="value"):
    return table.set_index(["group", "rate"]).loc[(group, rate), column]


def test_rates_agree_with_a_count_by_hand():
    y = np.repeat([4, 4, 0, 0], [30, 10, 50, 10])
    predicted = np.repeat([4, 1, 0, 4], [30, 10, 50, 10])
    table = group_rates(y, predicted, SCALE, pd.Series(["all"]*100))
    found = {rate: value(table, "all", rate) for rate in RATES}
    assert found == pytest.approx({"at_risk": 0.4, "missed": 10/40, "flagged": 0.4, "precision": 0.75, "accuracy": 0.8})
    assert value(table, "all", "missed", "among") == 40


def group_table(y, predicted, groups):
    """Accuracy, missed and flagged for each group, counted by pandas: an independent cross-check."""
    needing = np.isin(y, SCALE.at_risk_index)
    flagged = np.isin(predicted, SCALE.at_risk_index)
    rows = pd.DataFrame({"accuracy": y == predicted, "flagged": flagged, "missed": np.where(needing, ~flagged, np.nan)})
    return rows.astype(float).groupby(np.asarray(groups, dtype=object)).mean()


def test_rates_agree_with_a_groupby():
    y, predicted, school = example()
    table, other = group_rates(y, predicted, SCALE, school), group_table(y, predicted, school)
    for group in ("North", "South"):
        for rate in ("accuracy", "missed", "flagged"):
            assert value(table, group, rate) == pytest.approx(other.loc[group, rate])


def test_order_of_groups_is_kept_whatever_the_index():
    y, predicted, _ = example()
    groups = pd.Series(pd.Categorical(np.where(np.arange(300) % 2, "b", "a"), ["b", "a", "unused"]),
                       index=range(300, 0, -1))
    table, other = group_rates(y, predicted, SCALE, groups), group_table(y, predicted, groups)
    assert table.group.unique().tolist() == ["b", "a"]
    assert value(table, "b", "missed") == pytest.approx(other.missed["b"])


def test_rate_among_few_students_at_risk_stays_empty_in_a_large_group():
    y = np.where(np.arange(60) < 9, 4, np.arange(60) % 4)
    table = group_rates(y, y, SCALE, pd.Series(["one"]*60))
    assert value(table, "one", "accuracy") == 1 and np.isnan(value(table, "one", "missed"))


def test_interval_holds_the_value_and_never_collapses():
    y, predicted = np.full(40, 4), np.full(40, 4)
    row = group_rates(y, predicted, SCALE, pd.Series(["one"]*40)).set_index("rate").loc["missed"]
    assert row["value"] == row.low == 0 and 0.05 < row.high < 0.15


@given(sizes=st.lists(st.integers(1, 25), min_size=1, max_size=5), seed=st.integers(0, 99))
@settings(max_examples=15)
def test_nothing_is_said_among_fewer_than_ten(sizes, seed):
    rng = np.random.default_rng(seed)
    group = pd.Series(np.repeat([f"g{i}" for i in range(len(sizes))], sizes))
    y, predicted = rng.integers(0, 5, len(group)), rng.integers(0, 5, len(group))
    table, marks = group_rates(y, predicted, SCALE, group), rate_marks(y, predicted, SCALE)
    for row in table.itertuples():
        member = (group == row.group).to_numpy()
        among = (marks[row.rate][0] & member).sum()
        assert np.isnan(row.students) == (member.sum() < MIN_SIZE)
        assert np.isnan([row.value, row.among, row.low, row.high]).all() == (among < MIN_SIZE)
        assert not among >= MIN_SIZE or row.among == among


def test_shown_table_holds_no_digit_of_a_small_group():
    y, predicted, _ = example(100)
    school = pd.Series(["Day"]*93 + ["Evening"]*7, name="School")
    shown = show_groups(group_rates(y, predicted, SCALE, school)).loc[("School", "Evening")]
    assert set(shown) == {"fewer than 10"}


def test_json_holds_no_figure_of_a_small_group():
    frame = clean(load(sample_path("students"), "students").frame, SCHEMA).head(60)
    y = grade_index(frame, SCHEMA)
    said = json.loads(json.dumps(check_fairness(frame, SCHEMA, y, y, n_boot=20).as_dict(), allow_nan=False))
    small = [row for row in said["groups"] if row["students"] is None]
    assert small and all(row["value"] is row["among"] is row["low"] is None for row in small)
    shown = {(row["attribute"], row["group"]) for row in said["groups"] if row["students"]}
    assert {(gap["attribute"], gap[end]) for gap in said["gaps"] for end in ("highest", "lowest")} <= shown


def test_student_without_a_recorded_group_counts_as_not_recorded():
    y, predicted, school = example(60)
    school[:15] = None
    assert value(group_rates(y, predicted, SCALE, school), "not recorded", "flagged", "students") == 15


def test_groups_of_the_wrong_length_are_refused():
    y, predicted, school = example(60)
    with pytest.raises(MetricError, match="groups has 59 rows and y has 60"):
        group_rates(y, predicted, SCALE, school[:59])


def test_numbers_become_values_or_quarters_that_hold_everyone():
    many = band_numbers(pd.Series([*range(40), None]))
    assert many.notna().sum() == 40 and many.cat.categories[0] == "0 to 9"
    assert band_numbers(pd.Series([18.0, 15.0, None])).cat.categories.tolist() == ["15", "18"]
    assert band_numbers(pd.Series([None, None], dtype=float)).isna().all()


def test_every_attribute_and_every_pair_is_looked_at():
    frame = clean(load(sample_path("students"), "students").frame, SCHEMA)
    assert list(audit_groups(frame, SCHEMA)) == ["Age", "Gender", "Ethnicity", "Age and Gender", "Age and Ethnicity",
                                                 "Gender and Ethnicity"]
    assert list(audit_groups(frame.drop(columns="Ethnicity"), SCHEMA, pairs=False)) == ["Age", "Gender"]
    for group in audit_groups(frame, SCHEMA).values(): assert len(group) == len(frame) and group.notna().all()


def test_chance_alone_is_beyond_chance_in_few_of_many_draws():
    beyond = 0
    for seed in range(25):
        y, predicted, school = example(200, seed, ("a", "b", "c"))
        beyond += gap_table(y, predicted, SCALE, {"School": school},
                            all_rates(y, predicted, SCALE, {"School": school}), 100, seed).beyond_chance.any()
    assert beyond <= 4


def test_group_that_is_missed_more_often_is_found():
    y, predicted, school = example(400)
    predicted = np.where((school == "South") & (y == 4) & (np.arange(400) % 2 == 0), 1, predicted)
    groups = {"School": school}
    gap = gap_table(y, predicted, SCALE, groups, all_rates(y, predicted, SCALE, groups),
                    300).set_index("rate").loc["missed"]
    assert (gap.highest, gap.lowest, gap.beyond_chance) == ("South", "North", True)
    assert 0 < gap.low < gap.gap < gap.high and gap.gap > gap.chance
    assert "South" in gap_sentence(gap.rename("missed").to_frame().T.assign(rate="missed").iloc[0])


def test_interval_of_a_chance_gap_holds_zero():
    y, predicted, school = example(300, seed=3)
    groups = {"School": school}
    gaps = gap_table(y, predicted, SCALE, groups, all_rates(y, predicted, SCALE, groups), 300)
    assert (gaps.low < 0).all() and (gaps.gap >= 0).all()


def test_shuffled_gap_of_one_group_is_zero():
    assert not shuffled_gaps(np.array([True, False]), np.array([0, 0]), 5, np.random.default_rng(0)).any()


def test_same_seed_gives_the_same_gaps():
    y, predicted, school = example()
    groups = {"School": school}
    table = all_rates(y, predicted, SCALE, groups)
    first, again = (gap_table(y, predicted, SCALE, groups, table, 50, 7) for _ in range(2))
    pd.testing.assert_frame_equal(first, again)


def test_sentence_says_when_groups_are_too_small_or_absent():
    y, predicted, _ = example(30)
    tiny = {"School": pd.Series([f"s{i % 6}" for i in range(30)], name="School")}
    table = all_rates(y, predicted, SCALE, tiny)
    gaps = gap_table(y, predicted, SCALE, tiny, table, 10)
    assert gaps.empty and "large enough to be compared. 6 small groups are not shown." in fairness_sentence(table, gaps)
    nothing = all_rates(y, predicted, SCALE, {})
    assert "no protected attribute" in fairness_sentence(nothing, gap_table(y, predicted, SCALE, {}, nothing, 10))


def test_figure_of_suppressed_groups_shows_words():
    y, predicted, _ = example(200)
    school = pd.Series(["Day"]*192 + ["Evening"]*8, name="School")
    figure = plot_groups(group_rates(y, predicted, SCALE, school))
    assert [text.get_text() for text in figure.axes[0].texts] == ["fewer than 10: not shown"]


@pytest.fixture(scope="module")
def compared():
    frame = clean(load(sample_path("students"), "students").frame, SCHEMA).head(300)
    return compare_audit(GradeModel(SCHEMA, "xgboost", params={"rounds": 3, "patience": None}), frame, n_folds=2,
                         n_boot=20)


def test_both_ways_are_trained_and_laid_side_by_side(compared):
    assert compared.index[:3].tolist() == ["accuracy", "macro_f1", "log_loss"]
    assert "gap in missed: Gender" in compared.index
    assert compared.loc["log_loss", "without"] != compared.loc["log_loss", "with"]
    assert np.allclose(compared["with"] - compared["without"], compared.difference)


def test_model_that_cannot_see_attributes_is_refused():
    plain = SCHEMA.model_copy(update={"columns": [column for column in SCHEMA.columns if column.role != "audit"]})
    with pytest.raises(GradeclassError, match="names no protected attribute"):
        compare_audit(GradeModel(plain), pd.DataFrame())


def test_announced_grades_follow_the_given_rule():
    frame = clean(load(sample_path("students"), "students").frame, SCHEMA).head(200)
    everyone = compare_audit(GradeModel(SCHEMA, "majority"), frame, 2, announce=lambda p: np.full(len(p), 4), n_boot=10)
    y = grade_index(frame, SCHEMA)
    assert everyone.loc["accuracy", "with"] == pytest.approx((y == 4).mean())
    assert everyone.loc["gap in missed: Gender", "with"] == 0

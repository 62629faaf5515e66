"Drift: effects and p values, verdicts and their sentences"
import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from drift_helpers import NOW, SCHEMA, STUDENTS, THEN, rough, row, verdict
from scipy import stats

from gradeclass.data.dataset import clean
from gradeclass.data.sources import load
from gradeclass.data.synthetic import sample_path
from gradeclass.drift.compare import Drift, Limits, compare_profiles, find_drift
from gradeclass.drift.profile import DriftError, Profile, take_profile
from gradeclass.drift.report import plot_drift, save_drift


def test_p_values_are_those_of_scipy():
    found = verdict(THEN, NOW)
    assert row(found,
               "Absences").p_value == pytest.approx(stats.ks_2samp(THEN.Absences, NOW.Absences, method="asymp").pvalue,
                                                    rel=1e-9)
    counts = [frame.Tutoring.value_counts(sort=False) for frame in (THEN, NOW)]
    assert row(found, "Tutoring").p_value == pytest.approx(stats.chi2_contingency(counts, correction=False).pvalue,
                                                           rel=1e-9)


def test_a_profile_gives_nearly_the_numbers_of_the_table_itself():
    exact = verdict(THEN, NOW).table
    reference = Profile.from_dict(take_profile(THEN, SCHEMA).as_dict())
    rough_ = compare_profiles(reference, take_profile(NOW, SCHEMA), SCHEMA, Limits())
    assert np.abs(exact.effect - rough_.effect).max() < 0.01
    assert np.abs(np.log10(exact.p_value) - np.log10(rough_.p_value)).max() < 0.5


def test_both_effect_and_chance_have_to_be_passed():
    rng = np.random.default_rng(0)
    many = STUDENTS.iloc[rng.integers(len(STUDENTS), size=60_000)].reset_index(drop=True)
    slight = many.assign(Absences=(many.Absences + 0.5).clip(upper=30))
    surprising = row(verdict(many, slight), "Absences")
    assert surprising.p_adjusted < 1e-9 and surprising.effect < surprising.threshold and not surprising.flagged
    by_chance = verdict(THEN.head(60), STUDENTS.sample(60, random_state=1)).table
    assert (by_chance.effect > by_chance.threshold).any() and not by_chance.flagged.any()


def test_holm_counts_every_test():
    found = verdict(THEN, NOW).table
    tests = found[["p_value", "missing_p", "invalid_p"]].stack()
    smallest = tests.idxmin()
    assert smallest[1] == "p_value"
    assert found.p_adjusted[smallest[0]] == pytest.approx(min(1, tests.min()*len(tests)))


def test_a_table_has_not_drifted_from_itself():
    found = verdict(STUDENTS, STUDENTS)
    assert found.verdict["verdict"] == "none" and found.verdict["action"] == "none"
    assert found.table.effect.max() == 0 and found.sentence.startswith("No drift: none of 14 columns")


@pytest.mark.slow
@pytest.mark.parametrize("sizes", [(49, 400), (600, 49), (600, 0)])
def test_too_few_students_tell_nothing(sizes, tmp_path):
    found = verdict(STUDENTS.head(sizes[0]), STUDENTS.tail(sizes[1]).assign(Absences=30.0), on_drift="fail")
    assert (found.verdict["verdict"] == "too_few" and found.verdict["action"] == "none"
            and "Too few to tell" in found.sentence)
    found.raise_for_drift()
    save_drift(found, tmp_path)


def test_thirty_percent_more_absences_in_words():
    then = THEN.assign(Absences=np.resize([9.0, 20.0], 600))
    now = NOW.assign(Absences=np.resize([13.4, 24.4], 400))
    found = verdict(then, now)
    assert row(found, "Absences").sentence == "Absences rose by 30 %: mean 14.5 -> 18.9 days"
    assert found.sentence == "Absences rose by 30 %: mean 14.5 -> 18.9 days. (400 students against 600.)"


def test_an_answer_that_nobody_knows_is_flagged():
    now = rough(NOW)
    now.loc[now.index[::8], "Ethnicity"] = 7
    found = verdict(THEN, now)
    assert row(found, "Ethnicity").reasons == ["invalid"] and found.table.flagged.sum() == 1
    assert row(found,
               "Ethnicity").sentence == "Ethnicity: 12 % of the cells hold an answer that the schema does not know, such as 7"


def test_one_slip_of_the_pen_is_shown_and_not_flagged():
    now = rough(NOW)
    now.loc[now.index[3], "Ethnicity"] = 7
    found = row(verdict(THEN, now), "Ethnicity")
    assert not found.flagged and found.invalid_after == 1/400


def test_a_known_answer_that_is_new_is_flagged():
    then = THEN[THEN.Ethnicity != "Asian"]
    found = row(verdict(then, NOW), "Ethnicity")
    assert found.reasons == ["values"] and found.sentence.startswith("Ethnicity: Asian rose from 0 % to")


def test_minutes_for_hours_are_named():
    found = verdict(THEN, NOW.assign(StudyTimeWeekly=60*NOW.StudyTimeWeekly), on_drift="fail")
    assert row(found, "StudyTimeWeekly").reasons == ["values", "invalid"]
    with pytest.raises(DriftError, match="about 60 times as large as before: minutes for hours?"):
        found.raise_for_drift()


def test_values_out_of_range_are_flagged_though_few():
    now = NOW.assign(Absences=NOW.Absences.where(np.arange(400) % 20 > 0, 99.0))
    found = row(verdict(THEN, now), "Absences")
    assert ("invalid" in found.reasons and found.invalid_after == 0.05
            and "not in 0 to 30 days, such as 99.0" in found.sentence)


def test_words_and_infinities_in_a_number_column_are_invalid_and_not_missing():
    now = rough(NOW)
    now.loc[now.index[:40], "Absences"] = "often"
    now.loc[now.index[40:80], "Absences"] = np.inf
    found = row(verdict(THEN, now), "Absences")
    assert (found.missing_after, found.invalid_after) == (0.0, 0.2) and "invalid" in found.reasons
    endless = row(verdict(THEN, NOW.assign(Absences=np.inf)), "Absences")
    assert endless.invalid_after == 1.0 and endless.reasons == ["invalid"]


@pytest.mark.slow
def test_an_empty_column_is_flagged_and_the_pages_are_written(tmp_path):
    now = NOW.assign(Sports=pd.Categorical([None]*400, NOW.Sports.cat.categories), Absences=np.nan)
    found = verdict(THEN, now)
    assert row(found, "Sports").reasons == ["missing"] and row(found,
                                                               "Absences").reasons == ["missing"] and np.isnan(row(found, "Absences").effect)
    save_drift(found, tmp_path)
    assert json.loads((tmp_path/"drift.json").read_text())["columns"][5]["effect"] is None
    assert "Sports: missing cells rose from 0 % to 100 %" in found.sentence


def test_a_feature_that_is_gone_is_missing_and_grades_may_come_later():
    found = verdict(THEN, NOW.drop(columns=["Music", "GPA", "GradeClass", "Age"]))
    assert found.table.name[found.table.flagged].tolist() == ["Music"]
    assert not {"GPA", "GradeClass", "Age"} & set(found.table.name)


def test_grades_that_have_not_arrived_are_no_drift():
    found = verdict(THEN,
                    NOW.assign(GradeClass=pd.Categorical([None]*400, NOW.GradeClass.cat.categories, ordered=True),
                               GPA=np.nan))
    assert found.verdict["verdict"] == "none"


def test_a_constant_column_moves_or_does_not():
    still = verdict(THEN.assign(Absences=5.0), NOW.assign(Absences=5.0))
    assert row(still, "Absences").effect == 0 and not row(still, "Absences").flagged
    moved = verdict(THEN.assign(Absences=5.0), NOW.assign(Absences=6.0))
    assert row(moved, "Absences").flagged and row(moved,
                                                  "Absences").sentence == "Absences rose by 20 %: mean 5.00 -> 6.00 days"


def test_a_change_of_spread_alone_is_found_and_said():
    then = THEN.assign(Absences=np.resize([5.0, 25.0], 600))
    now = NOW.assign(Absences=np.resize([14.0, 16.0], 400))
    assert "spread differently" in row(verdict(then, now), "Absences").sentence


def test_another_kind_of_table_is_refused_in_one_sentence():
    other = load(sample_path("higher_ed"), "higher_ed")
    with pytest.raises(DriftError, match="^now holds no column of the schema students: it needs .*Absences"):
        verdict(THEN, other.frame[["NOTES"]])
    then = take_profile(THEN[["Absences"]], SCHEMA, name="then")
    with pytest.raises(DriftError, match="^now and then share no column of the schema students"):
        find_drift(then, take_profile(NOW[["Sports"]], SCHEMA, name="now"), SCHEMA)


def test_a_table_of_codes_alone():
    data = load(sample_path("higher_ed"), "higher_ed")
    frame = clean(data.frame, data.schema)
    half = len(frame)//2
    then, now = frame.head(half), frame.tail(len(frame) - half)
    assert verdict(then, now, data.schema).verdict["verdict"] == "none"
    now = now.assign(NOTES=pd.Categorical([now.NOTES.cat.categories[0]]*len(now), now.NOTES.cat.categories,
                                          ordered=now.NOTES.cat.ordered))
    found = verdict(then, now, data.schema)
    assert found.table.name[found.table.flagged].tolist() == ["NOTES"]
    figure = plot_drift(found)
    assert (len(figure.axes[0].get_yticklabels()) == len(found.table) > 30
            and "1 of" in figure.axes[0].get_title(loc="left"))


def test_the_order_of_the_rows_does_not_matter():
    one = verdict(THEN, NOW).table
    other = verdict(THEN.sample(frac=1, random_state=1), NOW.sample(frac=1, random_state=2)).table
    pd.testing.assert_frame_equal(one, other)


@pytest.mark.parametrize("action", ["warn", "fail", "retrain"])
def test_the_action_is_taken_on_drift_alone(action):
    assert verdict(THEN, NOW, on_drift=action).verdict["action"] == "none"
    drifted = verdict(THEN, NOW.assign(Absences=30.0), on_drift=action)
    assert drifted.verdict["action"] == action
    if action == "fail":
        with pytest.raises(DriftError, match="Absences rose"): drifted.raise_for_drift()
    else: drifted.raise_for_drift()


def test_mistaken_settings_are_refused():
    with pytest.raises(DriftError, match="on_drift is 'panic'; it needs one of warn, fail, retrain"):
        verdict(THEN, NOW, on_drift="panic")
    with pytest.raises(DriftError, match="limit alpha is 0; it needs a number above 0"): Limits(alpha=0)


@pytest.mark.process
def test_importing_the_module_does_not_import_evidently():
    code = ("import sys, gradeclass.drift.compare; sys.exit(any(name.split('.')[0] in ('evidently', 'mlflow', "
            "'seaborn', 'sqlalchemy') for name in sys.modules))")
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_drift_knows_its_sentence():
    assert isinstance(found := verdict(THEN, NOW), Drift) and found.sentence == found.verdict["sentence"]

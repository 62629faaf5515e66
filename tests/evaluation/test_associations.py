"""Associations against SciPy, and tables of them: `gradeclass.evaluation.associations`."""
import math

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kruskal, ncf, spearmanr

from gradeclass.data.dataset import clean, coded_columns
from gradeclass.data.sources import load
from gradeclass.data.synthetic import synthesise
from gradeclass.evaluation.associations import associate, association_table, better_with, ratio_interval
from gradeclass.schema import load_schema

SCHEMA, QUESTIONS = load_schema("students"), load_schema("higher_ed")
STUDENTS, UNIVERSITY = synthesise(SCHEMA, 400, seed=1), synthesise(QUESTIONS, 145, seed=1)
GRADE, FINAL = coded_columns(SCHEMA)["GradeClass"], coded_columns(QUESTIONS)["GRADE"]


@pytest.mark.parametrize("used, left", [(2, 142), (8, 136), (20, 579)])
@pytest.mark.parametrize("share", [0.05, 0.2, 0.5])
def test_ends_of_a_correlation_ratio_are_those_of_the_noncentral_f(used, left, share):
    seen, size = share/(1 - share)*left/used, used + left + 1
    for end, level in zip(ratio_interval(share, used, left), (0.975, 0.025), strict=True):
        effect = size*end**2/(1 - end**2)
        assert effect == 0 or ncf.cdf(seen, used, left, effect) == pytest.approx(level, abs=1e-2)


@pytest.mark.parametrize("name", ["Absences", "StudyTimeWeekly", "ParentalSupport", "Tutoring"])
def test_strength_is_spearmans_correlation(name):
    found = associate(STUDENTS, GRADE, SCHEMA.by_name[name])
    cells = STUDENTS[name] if STUDENTS[name].dtype == "float64" else STUDENTS[name].cat.codes
    expected = spearmanr(cells, -STUDENTS["GradeClass"].cat.codes)
    assert found.strength*found.sign == pytest.approx(expected.statistic)
    assert found.p == pytest.approx(expected.pvalue, rel=1e-6, abs=1e-200)
    assert found.low <= found.strength <= found.high


def test_correlation_ratio_is_the_adjusted_kruskal_wallis_statistic():
    found = associate(UNIVERSITY, FINAL, QUESTIONS.by_name["COURSE ID"])
    groups = [-part.cat.codes for _, part in UNIVERSITY["GRADE"].groupby(UNIVERSITY["COURSE ID"], observed=True)]
    n, share = len(UNIVERSITY), kruskal(*groups).statistic/(len(UNIVERSITY) - 1)
    assert found.strength**2 == pytest.approx(1 - (1 - share)*(n - 1)/(n - len(groups)))


def test_column_that_only_repeats_the_given_one_has_no_strength_left():
    frame = STUDENTS.assign(StudyTimeWeekly=STUDENTS["Absences"]*2)
    found = associate(frame, GRADE, SCHEMA.by_name["StudyTimeWeekly"], SCHEMA.by_name["Absences"])
    assert math.isnan(found.strength)


def test_taking_absences_out_gives_the_partial_correlation():
    found = associate(STUDENTS, GRADE, SCHEMA.by_name["ParentalSupport"], SCHEMA.by_name["Absences"])
    grade, support = -STUDENTS["GradeClass"].cat.codes, STUDENTS["ParentalSupport"].cat.codes
    ranks = pd.DataFrame({"g": grade, "s": support, "a": STUDENTS["Absences"]}).rank()
    inverse = np.linalg.inv(ranks.corr())
    assert found.strength*found.sign == pytest.approx(-inverse[0, 1]/math.sqrt(inverse[0, 0]*inverse[1, 1]))


def test_interval_of_a_correlation_ratio_covers_the_truth_about_19_times_in_20():
    rng = np.random.default_rng(0)
    group, effect = np.repeat(np.arange(5), 20), 0.6*np.arange(5)
    truth, covered = math.sqrt(np.var(effect)/(np.var(effect) + 1)), 0
    for _ in range(200):
        value = effect[group] + rng.normal(size=100)
        means = pd.Series(value).groupby(group).transform("mean")
        low, high = ratio_interval(np.var(means)/np.var(value), 4, 95)
        covered += low <= truth <= high
    assert 180 <= covered <= 199


@pytest.mark.parametrize("n", [10, 145, 3000, 200_000])
@pytest.mark.parametrize("used", [2, 8])
@pytest.mark.parametrize("share", [0.0, 1e-6, 0.01, 0.5, 0.95, 0.9999, 1.0])
def test_interval_of_a_correlation_ratio_exists_for_every_size(n, used, share):
    low, high = ratio_interval(share, used, n - used - 1)
    assert 0 <= low <= high <= 1


def test_shuffled_grades_are_linked_with_nothing():
    rng, found = np.random.default_rng(0), 0
    for _ in range(20):
        frame = UNIVERSITY.assign(GRADE=UNIVERSITY["GRADE"].array[rng.permutation(len(UNIVERSITY))])
        found += (association_table(frame, QUESTIONS).p < 0.05).any()
    assert found <= 4


def test_yes_counts_above_no_whatever_its_code():
    frame = UNIVERSITY.copy()
    frame["WORK"] = pd.Categorical(np.where(frame["GRADE"] <= "BB", "yes", "no"), ["yes", "no"])
    found = associate(frame, FINAL, QUESTIONS.by_name["WORK"])
    assert found.sign == 1
    assert better_with(frame, FINAL, QUESTIONS.by_name["WORK"], found.sign) == "yes"


def test_table_names_protected_columns_and_leaves_out_score_and_id():
    table = association_table(STUDENTS, SCHEMA)
    assert set(table.index[table.role == "protected"]) == {"Age", "Gender", "Ethnicity"}
    assert not {"GPA", "GradeClass", "StudentID"} & set(table.index)
    assert table.strength.is_monotonic_decreasing


def test_published_course_explains_half_of_the_grade(real_data):
    dataset = load(real_data("student_prediction.csv"), "higher_ed")
    found = associate(clean(dataset.frame, dataset.schema), FINAL, QUESTIONS.by_name["COURSE ID"])
    assert 0.6 < found.low < found.strength < found.high < 0.8

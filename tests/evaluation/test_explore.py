"""Associations against SciPy, suppression, degenerate tables and sentences of `gradeclass.evaluation.explore`."""
import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from eda import association_matrix
from scipy.stats import kruskal, spearmanr

import eda

from gradeclass.evaluation import associations, explore
from gradeclass.data.dataset import clean, coded_columns
from gradeclass.data.sources import load
from gradeclass.evaluation.associations import (
    ExploreError, associate, association_table, ratio_interval,
)
from gradeclass.evaluation.explore import grade_shares
from gradeclass.evaluation.resampling import holm
from gradeclass.data.synthetic import synthesise
from gradeclass.schema import load_schema

SCHEMA, QUESTIONS = load_schema("students"), load_schema("higher_ed")
STUDENTS, UNIVERSITY = synthesise(SCHEMA, 400, seed=1), synthesise(QUESTIONS, 145, seed=1)
GRADE, FINAL = coded_columns(SCHEMA)["GradeClass"], coded_columns(QUESTIONS)["GRADE"]
NOTEBOOKS = Path(__file__).parents[2]/"nbs"


def texts(figure):
    """Everything that is written on a figure."""
    import matplotlib.text
    figure.canvas.draw()
    return " ".join(text.get_text() for text in figure.findobj(matplotlib.text.Text))


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


def test_holm_multiplies_the_smallest_by_the_number_of_known_values():
    corrected = holm(pd.Series([0.02, np.nan, 0.01, 0.9], index=list("abcd")))
    assert corrected.round(3).tolist()[:1] + corrected.round(3).tolist()[2:] == [0.04, 0.03, 0.9]
    assert math.isnan(corrected["b"])


def test_yes_counts_above_no_whatever_its_code():
    frame = UNIVERSITY.copy()
    frame["WORK"] = pd.Categorical(np.where(frame["GRADE"] <= "BB", "yes", "no"), ["yes", "no"])
    found = associate(frame, FINAL, QUESTIONS.by_name["WORK"])
    assert found.sign == 1
    assert associations.better_with(frame, FINAL, QUESTIONS.by_name["WORK"], found.sign) == "yes"


def test_table_names_protected_columns_and_leaves_out_score_and_id():
    table = association_table(STUDENTS, SCHEMA)
    assert set(table.index[table.role == "protected"]) == {"Age", "Gender", "Ethnicity"}
    assert not {"GPA", "GradeClass", "StudentID"} & set(table.index)
    assert table.strength.is_monotonic_decreasing


def test_matrix_is_symmetric_with_ones_on_the_diagonal():
    matrix = association_matrix(STUDENTS, SCHEMA)
    assert np.allclose(matrix, matrix.T) and np.allclose(np.diag(matrix), 1)
    assert matrix.loc["GPA", "Absences"] < -0.8


def small_group():
    """A table in which nine students are of one ethnicity."""
    cells = pd.Series("Caucasian", index=STUDENTS.index)
    cells.iloc[:9], cells.iloc[9:60] = "Asian", "Other"
    return STUDENTS.assign(Ethnicity=cells.astype(STUDENTS["Ethnicity"].dtype))


def test_group_of_nine_is_suppressed_in_table_figure_and_sentence():
    frame = small_group()
    table = grade_shares(frame, SCHEMA, "Ethnicity")
    assert table.loc["Asian", "students"] == "fewer than 10"
    assert table.loc["Asian"].drop("students").isna().all()
    written = texts(explore.plot_against_grade(frame, SCHEMA, "Ethnicity"))
    assert "fewer than 10 students, not shown: Asian" in written and "n = 9)" not in written
    assert "Asian" not in eda.group_sentence(frame, SCHEMA, "Ethnicity")


def test_group_of_ten_is_shown():
    cells = small_group()["Ethnicity"]
    cells.iloc[9] = "Asian"
    assert grade_shares(STUDENTS.assign(Ethnicity=cells), SCHEMA, "Ethnicity").loc["Asian", "students"] == "10"


def test_only_small_groups_give_one_plain_sentence():
    with pytest.raises(ExploreError, match="fewer than 10 students"):
        explore.plot_against_grade(STUDENTS.head(12), SCHEMA, "Ethnicity")


@pytest.mark.parametrize("frame",
                         [STUDENTS.head(0), STUDENTS.head(1), STUDENTS.head(2), STUDENTS[STUDENTS["GradeClass"] == "F"],
                                   STUDENTS.assign(Absences=3.0),
                          STUDENTS.assign(Tutoring=STUDENTS["Tutoring"].mask(STUDENTS["Age"] > 0)),
                                   STUDENTS.drop(columns=["GPA", "Sports"]), STUDENTS.drop(columns="GradeClass")],
                         ids=["empty", "one", "two", "one grade", "constant", "empty column", "columns missing",
                              "no grade"])
def test_poor_tables_give_a_result_or_a_plain_sentence(frame):
    calls = [eda.missing_table, eda.missing_sentence, eda.plot_numeric, eda.plot_coded,
             explore.plot_grades,
             eda.even_sentence, explore.grades_sentence, eda.plot_score_bands, eda.conflict_sentence,
             eda.conflict_place_sentence,
             eda.plot_conflict_rows, association_table, eda.plot_correlations, eda.overlap_sentence]
    calls += [lambda f, s,
              name=name: explore.plot_against_grade(f, s, name) for name in ("Absences", "Tutoring", "Age", "Sports")]
    calls += [lambda f, s,
              name=name: eda.plot_score_against(f, s, name)
              for name in ("Absences", "Tutoring", "Age", "GradeClass")]
    calls += [lambda f, s: eda.plot_associations(association_table(f, s)), lambda f,
              s: eda.links_sentence(association_table(f, s))]
    calls += [lambda f, s: associations.link_sentence(f, s, "Absences"), lambda f,
              s: eda.group_sentence(f, s, "Gender")]
    for call in calls:
        try: made = call(frame, SCHEMA)
        except ExploreError as error: assert str(error) and "\n" not in str(error)
        else:
            if hasattr(made, "canvas"): made.canvas.draw()


def test_figures_are_not_kept_by_pyplot():
    import matplotlib.pyplot as plt
    explore.plot_grades(STUDENTS, SCHEMA), explore.plot_against_grade(STUDENTS, SCHEMA, "Absences")
    assert plt.get_fignums() == []


def test_sentence_counts_the_labels_that_contradict_the_score():
    grades = pd.Categorical(["A"]*200 + ["F"]*190 + ["D"]*10, list("ABCDF"), ordered=True)
    frame = STUDENTS.assign(GPA=np.repeat([3.6, 1.0], 200), GradeClass=grades)
    sentence = eda.conflict_sentence(frame, SCHEMA)
    assert ("10 of 400 recorded grades (2.5 %)" in sentence
            and "100 % of them are one grade off; 100 % are better" in sentence)
    assert "rows 392 to 401" in eda.conflict_place_sentence(frame, SCHEMA)


def test_score_on_a_cut_belongs_to_the_better_grade():
    frame = STUDENTS.head(2).assign(GPA=[3.5, 3.4999])
    assert eda.score_conflicts(frame, SCHEMA).sum(axis=1)[["A", "B"]].tolist() == [1, 1]


def test_sentences_say_that_the_sample_is_synthetic_and_a_file_is_not():
    assert "synthetic" in eda.describe_source(STUDENTS, SCHEMA, "sample")
    named = eda.describe_source(STUDENTS, SCHEMA, "C:\\school\\class.csv")
    assert "`class.csv`" in named and "synthetic" not in named


def test_published_grades_contradict_the_score_in_one_block_of_rows(real_data):
    dataset = load(real_data("students_performance.csv"), "students")
    sentence = eda.conflict_place_sentence(clean(dataset.frame, dataset.schema), dataset.schema)
    assert "crowd in rows 2178 to 2393" in sentence and "Elsewhere it is 0 %" in sentence


def test_published_course_explains_half_of_the_grade(real_data):
    dataset = load(real_data("student_prediction.csv"), "higher_ed")
    found = associate(clean(dataset.frame, dataset.schema), FINAL, QUESTIONS.by_name["COURSE ID"])
    assert 0.6 < found.low < found.strength < found.high < 0.8


@pytest.mark.parametrize("name", ["01_students", "02_higher_ed"])
def test_notebook_is_parameterised_short_and_small(name):
    path = NOTEBOOKS/"studies"/f"{name}.ipynb"
    cells = [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    tagged = ["".join(cell["source"]) for cell in cells if "parameters" in cell["metadata"].get("tags", [])]
    assert len(tagged) == 1 and tagged[0].startswith('data = "sample"  # ')
    assert max(len("".join(cell["source"]).splitlines()) for cell in cells) <= 10
    assert path.stat().st_size < 500_000

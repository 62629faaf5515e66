"""Suppression, poor tables and figures of `gradeclass.evaluation.explore`."""
from functools import partial

import pandas as pd
import pytest
from evaluation_helpers import check_result, poor_tables

from gradeclass.data.synthetic import synthesise
from gradeclass.evaluation import explore
from gradeclass.evaluation.associations import ExploreError, association_table, link_sentence
from gradeclass.evaluation.explore import grade_shares
from gradeclass.schema import load_schema

SCHEMA = load_schema("students")
STUDENTS = synthesise(SCHEMA, 400, seed=1)
POOR = poor_tables(STUDENTS)


def texts(figure):
    """Everything that is written on a figure."""
    import matplotlib.text
    figure.canvas.draw()
    return " ".join(text.get_text() for text in figure.findobj(matplotlib.text.Text))


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


def test_group_of_ten_is_shown():
    cells = small_group()["Ethnicity"]
    cells.iloc[9] = "Asian"
    assert grade_shares(STUDENTS.assign(Ethnicity=cells), SCHEMA, "Ethnicity").loc["Asian", "students"] == "10"


def test_only_small_groups_give_one_plain_sentence():
    with pytest.raises(ExploreError, match="fewer than 10 students"):
        explore.plot_against_grade(STUDENTS.head(12), SCHEMA, "Ethnicity")


@pytest.mark.parametrize("name", POOR)
def test_poor_tables_give_a_result_or_a_plain_sentence(name):
    frame = POOR[name]
    calls = [lambda: explore.plot_grades(frame, SCHEMA), lambda: explore.grades_sentence(frame, SCHEMA),
             lambda: association_table(frame, SCHEMA), lambda: link_sentence(frame, SCHEMA, "Absences")]
    calls += [partial(explore.plot_against_grade, frame, SCHEMA, column)
              for column in ("Absences", "Tutoring", "Age", "Sports")]
    for call in calls: check_result(call)


def test_figures_are_not_kept_by_pyplot():
    import matplotlib.pyplot as plt
    explore.plot_grades(STUDENTS, SCHEMA)
    explore.plot_against_grade(STUDENTS, SCHEMA, "Absences")
    assert plt.get_fignums() == []

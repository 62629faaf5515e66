"""What the studies draw and say of whole tables (`nbs/studies/eda.py`), and the two studies that use it."""
import json
from functools import partial
from pathlib import Path

import eda
import numpy as np
import pandas as pd
import pytest
from evaluation_helpers import check_result, poor_tables

from gradeclass.data.dataset import clean
from gradeclass.data.sources import load
from gradeclass.data.synthetic import synthesise
from gradeclass.evaluation.associations import association_table
from gradeclass.schema import load_schema

SCHEMA = load_schema("students")
STUDENTS = synthesise(SCHEMA, 400, seed=1)
POOR = poor_tables(STUDENTS)
STUDIES = Path(__file__).parents[2]/"nbs"/"studies"


def test_matrix_is_symmetric_with_ones_on_the_diagonal():
    matrix = eda.association_matrix(STUDENTS, SCHEMA)
    assert np.allclose(matrix, matrix.T) and np.allclose(np.diag(matrix), 1)
    assert matrix.loc["GPA", "Absences"] < -0.8


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


def test_sentence_on_groups_names_no_group_of_nine():
    cells = pd.Series("Caucasian", index=STUDENTS.index)
    cells.iloc[:9] = "Asian"
    cells.iloc[9:60] = "Other"
    frame = STUDENTS.assign(Ethnicity=cells.astype(STUDENTS["Ethnicity"].dtype))
    assert "Asian" not in eda.group_sentence(frame, SCHEMA, "Ethnicity")


@pytest.mark.parametrize("name", POOR)
def test_poor_tables_give_a_result_or_a_plain_sentence(name):
    frame = POOR[name]
    whole = [eda.missing_table, eda.missing_sentence, eda.plot_numeric, eda.plot_coded, eda.even_sentence,
             eda.plot_score_bands, eda.conflict_sentence, eda.conflict_place_sentence, eda.plot_conflict_rows,
             eda.plot_correlations, eda.overlap_sentence]
    calls = [partial(each, frame, SCHEMA) for each in whole]
    calls += [partial(eda.plot_score_against, frame, SCHEMA, column)
              for column in ("Absences", "Tutoring", "Age", "GradeClass")]
    calls += [lambda: eda.plot_associations(association_table(frame, SCHEMA)),
              lambda: eda.links_sentence(association_table(frame, SCHEMA)),
              lambda: eda.group_sentence(frame, SCHEMA, "Gender")]
    for call in calls: check_result(call)


@pytest.mark.parametrize("name", ["01_students", "02_higher_ed"])
def test_notebook_is_parameterised_short_and_small(name):
    path = STUDIES/f"{name}.ipynb"
    cells = [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    tagged = ["".join(cell["source"]) for cell in cells if "parameters" in cell["metadata"].get("tags", [])]
    assert len(tagged) == 1 and tagged[0].startswith('data = "sample"  # ')
    assert max(len("".join(cell["source"]).splitlines()) for cell in cells) <= 10
    assert path.stat().st_size < 500_000

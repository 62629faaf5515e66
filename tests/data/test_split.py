"The split: students on one side, the rows of scikit-learn"

import pandas as pd
import pytest
from data_tables import QUICK, STUDENTS, random_students
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import train_test_split

from gradeclass.data.dataset import clean
from gradeclass.data.files import DataError
from gradeclass.data.split import split
from gradeclass.schema import load_schema


def assert_same_rows_as_scikit_learn(frame, schema):
    rest, validation = train_test_split(frame, test_size=.15, random_state=42, stratify=frame[schema.target])
    train, test = train_test_split(rest, test_size=.15, random_state=42, stratify=rest[schema.target])
    parts = split(clean(frame, schema), schema)
    for ours, theirs in zip(parts, (train, validation, test), strict=True):
        assert ours.index.tolist() == theirs.index.tolist()
    return [len(part) for part in parts]

def test_split_gives_the_rows_of_scikit_learn():
    assert sum(assert_same_rows_as_scikit_learn(random_students(700), STUDENTS)) == 700

@pytest.mark.parametrize(("name", "schema", "sizes"), [
    ("students_performance.csv", "students", [1728, 359, 305]), ("student_prediction.csv", "higher_ed", [104, 22, 19])])
def test_split_of_real_data_gives_the_rows_of_scikit_learn(real_data, name, schema, sizes):
    assert assert_same_rows_as_scikit_learn(pd.read_csv(real_data(name)), load_schema(schema)) == sizes

@QUICK
@given(grades=st.lists(st.integers(0, 4), max_size=60), copies=st.data())
def test_split_partitions_rows_and_keeps_students_together(grades, copies):
    frame = random_students(len(grades), seed=len(grades)).assign(GradeClass=grades)
    if grades:
        frame["StudentID"] = copies.draw(st.lists(st.integers(1, max(len(grades), 2)), min_size=len(grades),
                                                  max_size=len(grades)))
    parts = split(clean(frame, STUDENTS), STUDENTS)
    assert sorted(row for part in parts for row in part.index) == list(range(len(grades)))
    students = [set(part["StudentID"]) for part in parts]
    assert not (students[0] & students[1] or students[0] & students[2] or students[1] & students[2])
    assert not grades or len(parts.train)

def test_grades_of_one_student_stay_in_training():
    frame = random_students(60).assign(GradeClass=[0] + [1]*29 + [2]*30)
    for seed in range(5): assert 0 in split(clean(frame, STUDENTS), STUDENTS, seed=seed).train.index

def test_copies_under_another_id_stay_together():
    frame = random_students(100)
    frame = pd.concat([frame, frame.assign(StudentID=frame["StudentID"] + 5000)], ignore_index=True)
    parts = split(clean(frame, STUDENTS), STUDENTS)
    assert all(sorted(part.index % 100)[::2] == sorted(part.index % 100)[1::2] for part in parts)

def test_rows_without_id_are_not_one_student():
    frame = random_students(100).assign(StudentID=None)
    assert [len(part) for part in split(clean(frame, STUDENTS), STUDENTS)] == [72, 15, 13]

def test_split_without_a_part():
    parts = split(clean(random_students(100), STUDENTS), STUDENTS, test_size=0, validation_size=0)
    assert [len(part) for part in parts] == [100, 0, 0]

def test_impossible_share_is_refused():
    with pytest.raises(DataError, match="from 0 to below 1, not 1.5"):
        split(clean(random_students(10), STUDENTS), STUDENTS, test_size=1.5)

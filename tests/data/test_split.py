"The split: students on one side, the rows of scikit-learn"

import time

import numpy as np
import pandas as pd
import pytest
from data_tables import QUICK, STUDENTS, random_students
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import train_test_split

from gradeclass.data.dataset import clean
from gradeclass.data.files import DataError
from gradeclass.data.split import find_copies, group_rows, split
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

def test_chance_repeats_of_a_poor_table_are_students_of_their_own():
    rng = np.random.default_rng(1)
    poor = pd.DataFrame({"GradeClass": rng.integers(0, 5, 800), "Tutoring": rng.integers(0, 2, 800),
                         "ParentalSupport": rng.integers(0, 5, 800)})
    assert poor.duplicated(keep=False).mean() > .99
    assert len(set(group_rows(clean(poor, STUDENTS), STUDENTS))) == 800

@pytest.mark.parametrize("weight", [0.0, 0.8])
def test_columns_that_go_together_are_no_copies_and_copies_among_them_are_found(weight):
    rng = np.random.default_rng(2)
    hidden = weight*rng.normal(size=(1500, 1))
    answers = lambda columns: pd.DataFrame(np.digitize(hidden + rng.normal(size=(1500, columns)), [-1, 0, 1]))
    assert find_copies(answers(5)).mean() < 0.02
    rich = answers(25)
    again = find_copies(pd.concat([rich, rich.head(60)], ignore_index=True))
    assert again[:60].all() and again[-60:].all() and again.sum() < 130

def test_copies_among_chance_repeats_are_told_apart():
    "Half of the students left nearly all blank, which makes them equal; 40 of the others are there twice"
    rng = np.random.default_rng(3)
    rich = pd.DataFrame(rng.integers(0, 6, (600, 12)).astype(float))
    blank = pd.DataFrame(np.nan, index=range(600), columns=range(12))
    blank[0], blank[1], blank[2] = rng.integers(0, 6, 600), rng.integers(0, 6, 600), rng.integers(0, 3, 600)
    found = find_copies(pd.concat([rich, blank, rich.head(40)], ignore_index=True))
    assert found[:40].all() and found[-40:].all() and found[40:1200].mean() < 0.05

@pytest.mark.parametrize("codes", [2, 50])
def test_copies_in_a_table_of_a_thousand_columns_are_found_in_a_moment(codes):
    rng = np.random.default_rng(4)
    wide = pd.DataFrame(rng.integers(0, codes, (980, 1000)))
    table, began = pd.concat([wide, wide.head(20)], ignore_index=True), time.process_time()
    found = find_copies(table)
    assert time.process_time() - began < 2
    assert np.flatnonzero(found).tolist() == [*range(20), *range(980, 1000)]

def test_chance_repeats_of_a_poor_table_stay_so_beside_many_columns_that_say_nothing():
    rng = np.random.default_rng(5)
    poor = pd.DataFrame(rng.integers(0, 3, (500, 4)))
    padded = pd.concat([poor, pd.DataFrame(0, index=poor.index, columns=range(4, 200))], axis=1)
    assert padded.duplicated(keep=False).mean() > .9 and not find_copies(padded).any()

def test_rows_of_one_key_are_one_student():
    frame = clean(random_students(60).assign(StudentID=None), STUDENTS)
    frame["Absences"] = np.repeat(np.arange(20.0), 3)
    schema = STUDENTS.model_copy(update={"key": ["Absences"]})
    assert group_rows(frame, schema).tolist() == np.repeat(np.arange(20), 3).tolist()

def test_groups_and_later_cohorts_are_kept_out_of_training():
    frame = clean(random_students(400), STUDENTS)
    frame["Absences"] = np.repeat(np.arange(20.0), 20)
    schema = STUDENTS.model_copy(update={"group": "Absences", "cohort": "Absences"})
    parts = split(frame, schema, whole="group")
    schools = [set(part["Absences"]) for part in parts]
    assert sum(map(len, schools)) == 20 and min(map(len, schools)) >= 2
    parts = split(frame, schema, whole="cohort")
    assert [part["Absences"].max() for part in parts] == [17, 18, 19] and sum(map(len, parts)) == 400
    frame["StudentID"] = np.r_[np.arange(399), 0]
    assert 0 in split(frame, schema, whole="cohort").test.index, "a student who comes again belongs to the later year"

@pytest.mark.parametrize(("whole", "words"), [("group", "names no group"), ("cohort", "names no cohort"),
                                              ("school", "use one of student, group, cohort")])
def test_whole_that_the_schema_does_not_name_is_refused(whole, words):
    with pytest.raises(DataError, match=words): split(clean(random_students(20), STUDENTS), STUDENTS, whole=whole)

"Tables of a database"
import sqlite3

import pytest
from data_tables import random_students, save

from gradeclass.data.files import DataError
from gradeclass.data.sources import load, read_table


@pytest.fixture
def school(tmp_path):
    with sqlite3.connect(tmp_path/"school.db") as database: random_students(5).to_sql("students", database, index=False)
    return tmp_path/"school.db"

def test_only_table_of_a_database_needs_no_name(school):
    assert len(load(f"sqlite:///{school}").frame) == 5

def test_several_tables_are_named_in_the_message(school):
    with sqlite3.connect(school) as database: database.execute("create view teachers as select 1 as a")
    with pytest.raises(DataError, match="add #NAME, one of students, teachers"): read_table(f"sqlite:///{school}")
    assert read_table(f"sqlite:///{school}#students")[0].index.tolist() == [1, 2, 3, 4, 5]
    assert len(read_table(f"sqlite:///{school}#teachers")[0]) == 1
    with pytest.raises(DataError, match="has no table pupils: it has students, teachers"):
        read_table(f"sqlite:///{school}#pupils")

def test_file_that_is_no_database_gets_one_sentence(tmp_path):
    save(tmp_path/"a.db", "Age,Sports\n"*100)
    with pytest.raises(DataError, match="cannot be read: file is not a database"):
        read_table(f"sqlite:///{tmp_path}/a.db")

def test_password_appears_in_no_message():
    with pytest.raises(DataError) as caught: read_table("oracel://ada:s3cr3t@school/db#students")
    assert "s3cr3t" not in str(caught.value)


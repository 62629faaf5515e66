"Which table a run takes, and which it refuses at once"
import gzip
import sqlite3
import zipfile

import pandas as pd
import pytest

from gradeclass.config import GradeclassError
from gradeclass.data import choice
from gradeclass.data.add import add_file
from gradeclass.data.choice import MOST_ROWS, check_size, choose_data
from gradeclass.data.synthetic import sample_path


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize("more", [0, 1])
def test_table_that_a_run_would_not_finish_is_refused_at_once_with_the_command_that_takes_it(tmp_path, suffix, more):
    path = tmp_path/f"all{suffix}"
    rows = MOST_ROWS + more
    if suffix == ".csv": path.write_bytes(b"Hours,Grade" + b"\n7,A"*rows)
    else: pd.DataFrame({"Hours": 7, "Grade": "A"}, index=range(rows)).to_parquet(path, index=False)
    if not more: assert choose_data(str(path), "", tmp_path) == str(path)
    if more:
        with pytest.raises(GradeclassError, match=f"about 1,000,001 rows.*gradeclass train-large all{suffix} -o FOLDER"):
            choose_data(str(path), "", tmp_path)


def test_table_in_raw_is_counted_too_and_a_damaged_one_is_left_to_whoever_reads_it(tmp_path):
    (tmp_path/"data"/"raw").mkdir(parents=True)
    (tmp_path/"data"/"raw"/"all.csv").write_bytes(b"Hours,Grade" + b"\n7,A"*(MOST_ROWS + 1))
    with pytest.raises(GradeclassError, match="train-large all.csv"): choose_data("", "students", tmp_path)
    (tmp_path/"bad.parquet").write_bytes(b"PAR1 and nothing more")
    assert choose_data(str(tmp_path/"bad.parquet"), "", tmp_path) == str(tmp_path/"bad.parquet")


def test_line_breaks_in_cells_are_no_rows(tmp_path):
    table = tmp_path/"remarks.csv"
    table.write_text("Hours,Remark,Grade\n" + '3,"late\nand\nabsent",B\n'*400_000)
    assert choose_data(str(table), "students", tmp_path) == str(table)


@pytest.fixture
def few(monkeypatch):
    "A run takes a hundred rows"
    monkeypatch.setattr(choice, "MOST_ROWS", 100)


def refused_by(source, home):
    with pytest.raises(GradeclassError) as error: choose_data(source, "", home)
    return str(error.value)


def test_packed_table_is_counted_before_it_is_read(tmp_path, few):
    content = b"Hours,Grade" + b"\n7,A"*101
    with gzip.open(tmp_path/"all.csv.gz", "wb") as file: file.write(content)
    with zipfile.ZipFile(tmp_path/"all.zip", "w") as archive: archive.writestr("all.csv", content)
    for name in ("all.csv.gz", "all.zip"):
        assert f"{name} holds about 101 rows" in refused_by(str(tmp_path/name), tmp_path)
    assert "save it as a Parquet file, then learn" in refused_by(str(tmp_path/"all.zip"), tmp_path)
    with gzip.open(tmp_path/"few.csv.gz", "wb") as file: file.write(content[:-4])
    assert choose_data(str(tmp_path/"few.csv.gz"), "", tmp_path) == str(tmp_path/"few.csv.gz")
    (tmp_path/"bad.zip").write_bytes(b"PK and nothing more")
    assert choose_data(str(tmp_path/"bad.zip"), "", tmp_path) == str(tmp_path/"bad.zip")


def test_database_counts_its_rows_itself_and_one_that_is_not_there_is_left_to_whoever_reads_it(tmp_path, few):
    with sqlite3.connect(tmp_path/"school.db") as database:
        pd.DataFrame({"Hours": range(101)}).to_sql("students", database, index=False)
    assert "#students holds about 101 rows" in refused_by(f"sqlite:///{tmp_path/'school.db'}#students", tmp_path)
    assert choose_data("sqlite:///none.db", "", tmp_path) == "sqlite:///none.db"


def test_store_knows_how_many_students_it_holds(tmp_path, few):
    add_file(sample_path("students"), "students", tmp_path/"data"/"store")
    assert "holds about" in refused_by("", tmp_path) and "students@1" in refused_by("", tmp_path)
    assert "holds about" in refused_by(f"store:{tmp_path/'data'/'store'/'students'}", tmp_path)


def test_table_of_another_kind_is_counted_once_it_is_read(few):
    with pytest.raises(GradeclassError, match="all.xlsx holds about 101 rows.*save it as a Parquet file"):
        check_size("all.xlsx", 101)
    assert check_size("all.xlsx", 100) == "all.xlsx"

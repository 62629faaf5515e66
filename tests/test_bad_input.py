"What a person gets for bad input: one sentence, an exit code, and nothing half-written"
import os
import shlex
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pytest

from gradeclass.cli import main
from gradeclass.samples import sample_path


class Bad(NamedTuple):
    "One kind of bad input"
    id: str
    make: Callable   # Writes what the command reads into the current folder; is given the bundle
    command: str     # Words after `gradeclass`; {bundle} is a good bundle
    expected: tuple  # What the sentence must say


def students(n=120):
    "The first rows of the sample, as text"
    return pd.read_csv(sample_path("students"), dtype=str).head(n)


def write(name="students.csv", **columns):
    "Write a table of students, some columns replaced"
    return lambda bundle: students().assign(**columns).to_csv(name, index=False)


def without(*names):
    "Write a table of students that lacks columns"
    return lambda bundle: students().drop(columns=list(names)).to_csv("students.csv", index=False)


def content(data, name="students.csv"):
    "Write a file as it is"
    return lambda bundle: Path(name).write_bytes(data if isinstance(data, bytes) else data.encode())


def nothing(bundle):
    "Write nothing"


def lines(change):
    "Write a table of students after a change of its lines"
    def make(bundle):
        text = students().to_csv(index=False).splitlines()
        change(text)
        Path("students.csv").write_text("\n".join(text) + "\n", encoding="utf-8")
    return make


def ragged(text):
    text[6] += ",7,7"


def unclosed(text):
    text[4] = text[4].replace(",", ',"', 1)


def twin(text):
    text[0] = text[0].replace("Tutoring", "Absences")


def truncated_workbook(bundle):
    "An .xlsx whose second half is missing"
    students().to_excel("students.xlsx", index=False)
    data = Path("students.xlsx").read_bytes()
    Path("students.xlsx").write_bytes(data[:len(data)//2])


def database(bundle):
    "A database with one table, called pupils"
    with sqlite3.connect("school.db") as connection: students().to_sql("pupils", connection, index=False)


def copied(change):
    "Write students, and copy the bundle and spoil the copy"
    def make(bundle):
        students().to_csv("students.csv", index=False)
        shutil.copytree(bundle, "bundle")
        change(Path("bundle"))
    return make


def tamper(bundle):
    path = bundle/"model.ubj"
    data = bytearray(path.read_bytes())
    data[len(data)//2] ^= 1
    path.write_bytes(data)


def blocked_output(bundle):
    "A file where the folder of the results should be"
    students().to_csv("students.csv", index=False)
    Path("results").write_text("mine", encoding="utf-8")


PREDICT = "predict students.csv -o out.csv --model {bundle}"
RUN = "run --data students.csv --schema students --outputs outputs"
UNKNOWN = ["9"]*20 + ["1"]*100
LATE = ["45"]*30 + ["4"]*90
SCHEMA = "name: mine\ncolumns:\n  Hours: {kind: numeric, min: 0, max: 20}\n  Mark: {role: target}\ngrades: {codes: {1: Good, 2: Poor}, at_risk: [Poor]}\n"

TABLES = [
    Bad("missing_file", nothing, "predict absent.csv -o out.csv --model {bundle}", ("no such file", "absent.csv")),
    Bad("missing_file_for_a_run", nothing, "run --data absent.csv", ("no file absent.csv", "CSV, Parquet or Excel")),
    Bad("folder_for_a_file", lambda b: Path("tables").mkdir(), "predict tables -o out.csv --model {bundle}", ("tables is a folder", "name one file")),
    Bad("folder_for_a_run", lambda b: Path("tables").mkdir(), "run --data tables", ("tables is a folder",)),
    Bad("empty_file", content(""), "schema infer students.csv --target GradeClass", ("students.csv is empty",)),
    Bad("header_only", content("StudentID,Absences\n"), PREDICT, ("no rows",)),
    Bad("header_only_to_infer", content("Hours,Grade\n"), "schema infer students.csv --target Grade", ("table is empty",)),
    Bad("binary_called_csv", content(bytes(range(256))*4), PREDICT, ("students.csv", "binary", "save it as CSV")),
    Bad("truncated_workbook", truncated_workbook, "predict students.xlsx -o out.csv --model {bundle}", ("students.xlsx", "Excel workbook")),
    Bad("text_called_parquet", content("a,b\n1,2\n", "students.parquet"), "data validate students.parquet", ("students.parquet", "Parquet")),
    Bad("unknown_kind_of_table", content("hello", "students.doc"), "data validate students.doc", ("students.doc", "unknown kind", ".csv, .xlsx or .parquet")),
    Bad("web_address", nothing, "data validate https://school.example/students.csv", ("web address", "download the file")),
    Bad("ragged_row", lines(ragged), PREDICT, ("students.csv", "line 7 has 17 fields", "header has 15")),
    Bad("unclosed_quote", lines(unclosed), PREDICT, ("students.csv", "quote", "line 5", "never closed")),
    Bad("duplicate_column", lines(twin), PREDICT, ("two columns are called Absences", "rename")),
    Bad("two_columns_of_one_name", write(study_time_weekly="3"), PREDICT, ("StudyTimeWeekly and study_time_weekly", "both read as", "rename")),
    Bad("none_of_the_columns", content("height,weight\n1,2\n"), PREDICT, ("none of the columns", "Absences")),
    Bad("unknown_columns_without_schema", content("height,weight\n1,2\n"), "data validate students.csv", ("no schema fits", "gradeclass schema infer")),
    Bad("no_row_can_be_graded", write(Absences="many"), PREDICT, ("no row could be graded", "Absences", "many", "out.rejected.csv")),
    Bad("infinite_numbers", write(StudyTimeWeekly="inf"), PREDICT, ("no row could be graded", "StudyTimeWeekly", "finite", "from 0 to 20")),
    Bad("no_such_database_table", database, "data validate sqlite:///school.db#students", ("no table students", "pupils")),
    Bad("no_such_database", nothing, "run --data sqlite:///absent.db#students", ("no such file", "absent.db")),
]

ASKED = [
    Bad("unknown_schema", write(), "run --data students.csv --schema studnets", ("no schema studnets", "higher_ed, students")),
    Bad("unknown_sample", nothing, "run --data sample --schema pupils", ("no schema pupils", "higher_ed, students")),
    Bad("unknown_schema_to_show", nothing, "schema show pupils", ("no schema pupils", "students")),
    Bad("unknown_schema_to_fetch", nothing, "data fetch pupils", ("no schema pupils", "students")),
    Bad("schema_without_columns", content("hello: there\n", "my.yaml"), "schema show my.yaml", ("my.yaml", "columns and grades")),
    Bad("schema_of_bad_yaml", content("columns: [\n", "my.yaml"), "schema show my.yaml", ("my.yaml", "not valid YAML", "line 2")),
    Bad("schema_with_a_mistake", content(SCHEMA.replace("numeric", "number"), "my.yaml"), "run --data sample --schema my.yaml", ("my.yaml", "Hours", "numeric")),
    Bad("schema_that_contradicts_itself", content(SCHEMA.replace("[Poor]", "[Bad]"), "my.yaml"), "schema show my.yaml", ("my.yaml", "at_risk", "Bad", "Good, Poor")),
    Bad("unknown_parameter", nothing, "run --data sample -p famly=xgboost", ("no parameter famly", "did you mean family?")),
    Bad("parameter_of_wrong_type", nothing, "run --data sample -p seed=soon", ("seed", "'soon'", "whole number", "42")),
    Bad("parameter_without_value", nothing, "run --data sample -p seed", ("-p seed", "-p name=value")),
    Bad("no_model_yet", write(), "predict students.csv -o out.csv", ("no model yet", "gradeclass run", "--model")),
    Bad("not_a_bundle", write(), "predict students.csv -o out.csv --model .", ("not a bundle", "bundle.json")),
    Bad("tampered_bundle", copied(tamper), "predict students.csv -o out.csv --model bundle", ("bundle/model.ubj", "changed", "digest")),
    Bad("bundle_lacks_a_file", copied(lambda bundle: (bundle/"schema.yaml").unlink()), "predict students.csv -o out.csv --model bundle", ("lacks schema.yaml", "copy")),
    Bad("output_of_unknown_kind", write(), "predict students.csv -o out.doc --model {bundle}", ("out.doc", "unknown kind", ".csv", ".xlsx", ".parquet")),
    Bad("output_is_the_input", write(), "predict students.csv -o ./students.csv --model {bundle}", ("students.csv", "is the file that is read", "another name")),
    Bad("output_is_a_folder", lambda b: (write()(b), Path("out.csv").mkdir()), PREDICT, ("out.csv", "folder")),
    Bad("output_folder_is_a_file", blocked_output, "predict students.csv -o results/out.csv --model {bundle}", ("results", "not a folder")),
    Bad("outputs_of_a_run_is_a_file", blocked_output, "run --data students.csv --outputs results", ("results", "not a folder")),
    Bad("synthesise_unknown_kind", nothing, "data synthesise -o out.doc", ("out.doc", "unknown kind")),
    Bad("synthesise_no_student", nothing, "data synthesise -o out.csv -n 0", ("0 students", "1 or more")),
    Bad("infer_unknown_target", write(), "schema infer students.csv --target Grad", ("no column Grad", "did you mean GradeClass?")),
    Bad("infer_numeric_target", write(), "schema infer students.csv --target GPA -o out.csv", ("GPA", "120 different values", "cut the number into grades")),
    Bad("infer_empty_target", write(Final=""), "schema infer students.csv --target Final", ("Final is empty",)),
]

STAGES = [
    Bad("missing_feature", without("Absences"), RUN, ("missing column: Absences",)),
    Bad("missing_target", without("GradeClass"), RUN, ("missing column: GradeClass",)),
    Bad("schema_of_another_table", lambda b: (write()(b), content(SCHEMA, "my.yaml")(b)),
        "run --data students.csv --schema my.yaml --outputs outputs", ("missing column: Hours", "1 more problem")),
    Bad("no_grade_at_all", write(GradeClass=""), RUN, ("GradeClass", "no grade", "row 2")),
    Bad("one_grade_only", write(GradeClass="2"), RUN, ("every row has the grade C", "at least two grades")),
    Bad("too_many_unknown_codes", write(Tutoring=UNKNOWN), RUN, ("20 of 120 rows refused", "row 2", "Tutoring", "9", "0 (No), 1 (Yes)")),
    Bad("too_many_out_of_range", write(Absences=LATE), RUN, ("30 of 120 rows refused", "row 2", "Absences", "45", "from 0 to 30")),
    Bad("grade_copied_into_a_feature", lambda b: students().assign(ParentalSupport=students().GradeClass).to_csv("students.csv", index=False),
        RUN, ("ParentalSupport", "copy of the grade", "cannot be an input")),
    Bad("unknown_family", nothing, "run --data sample -p family=forest --outputs outputs", ("no family forest", "xgboost")),
    Bad("unknown_balance", nothing, "run --data sample -p balance=more --outputs outputs", ("no balance more", "smote")),
]

ids = lambda cases: [case.id for case in cases]


@pytest.fixture
def place(tmp_path, monkeypatch):
    "An empty current folder that belongs to no checkout"
    for name in ("GRADECLASS_HOME", "GRADECLASS_OUTPUTS"): monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def files(folder):
    "What stands in a folder: path -> content"
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def call(words, monkeypatch, capsys):
    "Call the command in this process: exit code and what it says to the person"
    monkeypatch.setattr(sys, "argv", ["gradeclass", *words])
    with pytest.raises(SystemExit) as ended: main()
    return ended.value.code, capsys.readouterr().err


def check(case, place, bundle, monkeypatch, capsys):
    "One sentence, the right words, no file but those that explain"
    case.make(bundle)
    before = files(place)
    code, said = call(shlex.split(case.command.format(bundle=bundle)), monkeypatch, capsys)
    told = [line for line in said.splitlines() if line.startswith("gradeclass: ")]
    print(case.id, "|", case.command, "|", *told)
    assert code == 1
    assert len(told) == 1 and said.splitlines()[-1] == told[0], said
    assert "Traceback" not in said and "Error:" not in said
    for words in case.expected: assert words in told[0]
    assert len(told[0]) < 400
    after = files(place)
    made = after.keys() - before.keys()
    assert {name: after.get(name) for name in before} == before
    assert not [name for name in made if name.endswith(".part") or "/." in name or name.startswith(".")]
    assert not [name for name in made if name == "out.csv" or "bundle.json" in name or "runs/" in name]


@pytest.mark.parametrize("case", TABLES, ids=ids(TABLES))
def test_bad_table_gets_one_sentence(case, place, trained, monkeypatch, capsys):
    check(case, place, trained, monkeypatch, capsys)


@pytest.mark.parametrize("case", ASKED, ids=ids(ASKED))
def test_bad_request_gets_one_sentence(case, place, trained, monkeypatch, capsys):
    check(case, place, trained, monkeypatch, capsys)


@pytest.mark.parametrize("case", STAGES, ids=ids(STAGES))
def test_failed_stage_gets_one_sentence(case, place, trained, monkeypatch, capsys):
    check(case, place, trained, monkeypatch, capsys)

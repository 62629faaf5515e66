"What a person gets for bad input: one sentence, an exit code, and nothing half-written"
import os
import shlex
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import pandas as pd
import pytest

from gradeclass.cli.main import main
from gradeclass.data.synthetic import sample_path
from gradeclass.pipeline.worker import explain_failure


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


def cut_manifest(bundle):
    (bundle/"bundle.json").write_text('{"format": 1, "files"', encoding="utf-8")


def folder(name):
    "Make a folder"
    return lambda bundle: Path(name).mkdir()


def pipe(name):
    "Make what is no file, as root's /dev/null is: whoever writes there must not replace it"
    return lambda bundle: os.mkfifo(name)


def write_and(more):
    "Write a table of students and something else"
    def make(bundle):
        write()(bundle)
        more(bundle)
    return make


def mistaken(right, wrong):
    "Write students, and a schema of another table with one change"
    return write_and(lambda bundle: Path("my.yaml").write_text(SCHEMA.replace(right, wrong), encoding="utf-8"))


PREDICT = "predict students.csv -o out.csv --model {bundle}"
WITH_COPY = "predict students.csv -o out.csv --model bundle"
RUN = "run --data students.csv --schema students --outputs outputs"
SCHEMA = """
name: mine
columns:
  Hours: {kind: numeric, min: 0, max: 20}
  Mark: {role: target}
grades: {codes: {1: Good, 2: Poor}, at_risk: [Poor]}
"""

TABLES = [
    Bad("missing_file", nothing, "predict absent.csv -o out.csv --model {bundle}", ("no such file", "absent.csv")),
    Bad("missing_file_for_a_run", nothing, "run --data absent.csv", ("no file absent.csv", "CSV, Parquet or Excel")),
    Bad("folder_for_a_file", folder("tables"), "predict tables -o out.csv --model {bundle}",
        ("tables holds no .parquet file",)),
    Bad("empty_file", content(""), "schema infer students.csv --target GradeClass", ("students.csv is empty",)),
    Bad("header_only", content("StudentID,Absences\n"), PREDICT, ("no rows",)),
    Bad("header_only_to_infer", content("Hours,Grade\n"), "schema infer students.csv --target Grade",
        ("table is empty",)),
    Bad("binary_called_csv", content(bytes(range(256))*4), PREDICT, ("students.csv", "binary", "save it as CSV")),
    Bad("truncated_workbook", truncated_workbook, "predict students.xlsx -o out.csv --model {bundle}",
        ("students.xlsx", "not a workbook")),
    Bad("text_called_parquet", content("a,b\n1,2\n", "students.parquet"), "data validate students.parquet",
        ("students.parquet", "Parquet")),
    Bad("table_of_unknown_kind", content("hello", "students.doc"), "data validate students.doc",
        ("students.doc", "unknown kind", ".xlsx")),
    Bad("web_address", nothing, "data validate https://school.example/students.csv",
        ("web address", "download the file")),
    Bad("ragged_row", lines(ragged), PREDICT, ("students.csv", "line 7 has 17 fields", "header has 15")),
    Bad("unclosed_quote", lines(unclosed), PREDICT, ("students.csv", "quote", "line 5", "never closed")),
    Bad("duplicate_column", lines(twin), PREDICT, ("two columns are called Absences", "rename")),
    Bad("two_columns_of_one_name", write(study_time_weekly="3"), PREDICT,
        ("StudyTimeWeekly and study_time_weekly", "both read as", "rename")),
    Bad("none_of_the_columns", content("height,weight\n1,2\n"), PREDICT, ("none of the columns", "Absences")),
    Bad("no_schema_fits", content("height,weight\n1,2\n"), "data validate students.csv",
        ("no schema fits", "gradeclass check FILE -o my.yaml")),
    Bad("text_for_a_number", write(Absences="many"), PREDICT,
        ("no row could be graded", "row 2", "Absences", "many", "out.rejected.csv")),
    Bad("infinite_numbers", write(StudyTimeWeekly="inf"), PREDICT,
        ("row 2", "StudyTimeWeekly", "not finite", "from 0 to 20")),
    Bad("no_such_database_table", database, "data validate sqlite:///school.db#students",
        ("no table students", "pupils")),
    Bad("no_such_database", nothing, "run --data sqlite:///absent.db#students", ("no such file", "absent.db")),
    Bad("unreadable_address", nothing, "data validate pupils://school",
        ("pupils://school", "sqlite:///students.db#students")),
]

REQUESTS = [
    Bad("unknown_schema", write(), "run --data students.csv --schema studnets",
        ("no schema studnets", "higher_ed, students")),
    Bad("unknown_sample", nothing, "run --data sample --schema pupils", ("no sample pupils", "students, higher_ed")),
    Bad("unknown_schema_to_show", nothing, "schema show pupils", ("no schema pupils", "students")),
    Bad("unknown_schema_to_fetch", nothing, "data fetch pupils", ("no schema pupils", "students")),
    Bad("schema_without_columns", content("hello: there\n", "my.yaml"), "schema show my.yaml",
        ("my.yaml", "columns and grades")),
    Bad("schema_of_bad_yaml", content("columns: [\n", "my.yaml"), "schema show my.yaml",
        ("my.yaml", "not valid YAML", "line 2")),
    Bad("schema_with_a_zero_byte", content("name: \0\n", "my.yaml"), "schema show my.yaml",
        ("my.yaml", "not valid YAML")),
    Bad("schema_with_a_mistake", mistaken("numeric", "number"), "run --data students.csv --schema my.yaml",
        ("my.yaml", "Hours", "'numeric'")),
    Bad("schema_with_a_misspelt_word", mistaken("max: 20", "maxx: 20"), "schema show my.yaml",
        ("my.yaml", "columns > Hours > maxx: there is no such word: did you mean max?")),
    Bad("schema_with_an_unknown_word", mistaken("name: mine", "name: mine\nowner: me"), "schema show my.yaml",
        ("my.yaml", "owner: there is no such word: there are name, title")),
    Bad("schema_with_a_word_for_yes_or_no", mistaken("max: 20", "whole: perhaps"), "schema show my.yaml",
        ("my.yaml", "Hours > whole: give yes or no")),
    Bad("schema_that_contradicts_itself", mistaken("[Poor]", "[Bad]"), "schema show my.yaml",
        ("my.yaml", "grades", "'Bad'", "Good, Poor")),
    Bad("unknown_parameter", nothing, "run --data sample -p famly=xgboost",
        ("no parameter famly", "did you mean family?")),
    Bad("parameter_of_wrong_type", nothing, "run --data sample -p seed=soon", ("seed", "'soon'", "whole number", "42")),
    Bad("parameter_without_value", nothing, "run --data sample -p seed", ("-p seed", "-p name=value")),
    Bad("no_model_yet", write(), "predict students.csv -o out.csv", ("no model yet", "gradeclass run", "--model")),
    Bad("not_a_bundle", write(), "predict students.csv -o out.csv --model .", ("not a bundle", "bundle.json")),
    Bad("tampered_bundle", copied(tamper), WITH_COPY, ("bundle/model.ubj", "changed", "digest")),
    Bad("bundle_without_its_schema", copied(lambda bundle: (bundle/"schema.yaml").unlink()), WITH_COPY,
        ("lacks schema.yaml", "copy")),
    Bad("bundle_with_a_cut_manifest", copied(cut_manifest), WITH_COPY,
        ("bundle.json", "not valid JSON", "train the model again")),
    Bad("output_of_unknown_kind", write(), "predict students.csv -o out.doc --model {bundle}",
        ("out.doc", "unknown kind", ".csv, .xlsx, .parquet")),
    Bad("output_is_the_input", write(), "predict students.csv -o ./students.csv --model {bundle}",
        ("is the file that is read", "another name")),
    Bad("refused_rows_over_the_input", write("june.rejected.csv"),
        "predict june.rejected.csv -o june.csv --model {bundle}",
        ("june.rejected.csv is the file that is read", "june.csv would put its refused rows there")),
    Bad("schema_over_the_table", write(), "schema infer students.csv --target GradeClass -o students.csv",
        ("is the file that is read",)),
    Bad("findings_over_the_table", write(), "data validate students.csv -o students.csv",
        ("is the file that is read",)),
    Bad("output_is_a_device", write_and(pipe("my.yaml")),
        "schema infer students.csv --target GradeClass -o my.yaml", ("my.yaml is a device or a pipe", "name a file")),
    Bad("keys_in_a_device", pipe("keys"), "key make office --file keys", ("keys is not a file of keys",)),
    Bad("output_is_a_folder", write_and(folder("out.xlsx")), "predict students.csv -o out.xlsx --model {bundle}",
        ("out.xlsx is a folder",)),
    Bad("output_below_a_file", write_and(content("mine", "results")),
        "predict students.csv -o results/out.csv --model {bundle}",
        ("results is a file, not a folder",)),
    Bad("draft_below_a_file", write_and(content("mine", "results")),
        "schema infer students.csv --target GradeClass -o results/my.yaml",
        ("results is a file, not a folder",)),
    Bad("outputs_of_a_run_below_a_file", write_and(content("mine", "results")),
        "run --data students.csv --outputs results",
        ("results cannot be written to", "Not a directory")),
    Bad("unknown_family", nothing, "run --data sample -p family=forest --outputs outputs",
        ("family cannot be 'forest'", "xgboost")),
    Bad("unknown_balance", nothing, "run --data sample -p balance=more --outputs outputs",
        ("balance cannot be 'more'", "smote")),
    Bad("blank_family", nothing, "sweep -p family= --outputs outputs", ("family cannot be ''", "xgboost")),
    Bad("unknown_promote", nothing, "run --data sample --promote maybe --outputs outputs",
        ("promote cannot be 'maybe'", "auto, ask, never")),
    Bad("since_of_a_table", write(), "drift students.csv --model {bundle} --since 2026-01-01",
        ("--since is for a prediction log",)),
    Bad("pages_at_no_address", nothing, "app --ip 192.0.2.1", ("192.0.2.1 is no address of this computer", "0.0.0.0")),
    Bad("service_at_no_address", nothing, "serve --host 192.0.2.1", ("192.0.2.1 is no address of this computer",)),
    Bad("certificate_without_key", content("x", "c.pem"), "serve --port 0 --tls-cert c.pem",
        ("--tls-key", "give both")),
    Bad("certificate_that_is_none", content("x", "c.pem"), "serve --port 0 --tls-cert c.pem --tls-key c.pem",
        ("c.pem and c.pem are not in PEM format",)),
    Bad("certificate_that_is_not_there", nothing, "serve --port 0 --tls-cert c.pem --tls-key c.pem",
        ("there is no file c.pem",)),
    Bad("path_of_a_proxy_without_slash", nothing, "serve --port 0 --root-path grades", ("a path such as /grades",)),
    Bad("negative_seed", nothing, "run --data sample -p seed=-3 --outputs outputs", ("parameter seed is -3", "from 0")),
    Bad("more_refused_than_all", nothing, "run --data sample -p max_refused=7 --outputs outputs",
        ("parameter max_refused is 7", "from 0 to 1")),
    Bad("folder_of_tables_to_run", write(), "run --data . --outputs outputs", (". is a folder", "name one file")),
    Bad("synthesise_unknown_kind", nothing, "data synthesise -o out.doc", ("out.doc", "unknown kind")),
    Bad("synthesise_no_student", nothing, "data synthesise -o out.csv -n 0", ("0 students", "1 or more")),
    Bad("infer_unknown_target", write(), "schema infer students.csv --target Grad",
        ("no column Grad", "did you mean GradeClass?")),
    Bad("infer_numeric_target", write(), "schema infer students.csv --target GPA -o out.csv",
        ("GPA", "120 different values", "cut the number into grades")),
    Bad("infer_from_ids_alone", content("id,Grade\n1,A\n2,B\n3,A\n4,B\n5,A\n"),
        "schema infer students.csv --target Grade",
        ("no column can be an input", "id is taken as id")),
    Bad("infer_empty_target", write(Final=""), "schema infer students.csv --target Final",
        ("Final is empty", "choose the column")),
]

STAGES = [
    Bad("missing_feature", without("Absences"), RUN, ("missing column: Absences",)),
    Bad("missing_target", without("GradeClass"), RUN, ("missing column: GradeClass",)),
    Bad("schema_of_another_table", mistaken("mine", "theirs"),
        "run --data students.csv --schema my.yaml --outputs outputs",
        ("missing column: Hours", "1 more problem")),
    Bad("no_grade_at_all", write(GradeClass=""), RUN, ("GradeClass", "not a grade", "row 2", "0 (A), 1 (B)")),
    Bad("one_grade_only", write(GradeClass="2"), RUN, ("every row has the grade C", "at least two grades")),
    Bad("too_many_unknown_codes", write(Tutoring=["9"]*20 + ["1"]*100), RUN,
        ("20 of 120 rows refused", "row 2", "Tutoring", "0 (No), 1 (Yes)")),
    Bad("too_many_out_of_range", write(Absences=["45"]*30 + ["4"]*90), RUN,
        ("30 of 120 rows refused", "row 2", "Absences", "from 0 to 30")),
    Bad("grade_copied_into_a_feature", write(ParentalSupport=students().GradeClass), RUN,
        ("ParentalSupport", "copy of the grade", "cannot be an input")),
]

ids = lambda cases: [case.id for case in cases]


def files(top):
    "What stands in a folder and below: path -> content"
    return {str(path.relative_to(top)): path.read_bytes() for path in top.rglob("*") if path.is_file()}


def call(words, monkeypatch, capsys):
    "Call the command in this process: exit code and what it says to the person"
    monkeypatch.setattr(sys, "argv", ["gradeclass", *words])
    with pytest.raises(SystemExit) as ended: main()
    return ended.value.code, capsys.readouterr().err


def check(case, place, bundle, monkeypatch, capsys):
    "One sentence with the right words, every file as it was, nothing half-written"
    case.make(bundle)
    before = files(place)
    code, said = call(shlex.split(case.command.format(bundle=bundle)), monkeypatch, capsys)
    told = [line for line in said.splitlines() if line.startswith("gradeclass: ")]
    assert code == 1
    assert len(told) == 1 and said.splitlines()[-1] == told[0], said
    assert "Traceback" not in said and "Errno" not in said and len(told[0].partition(" (executed notebook")[0]) < 300
    for words in case.expected: assert words in told[0]
    after = files(place)
    assert {name: after.get(name) for name in before} == before
    made = after.keys() - before.keys()
    made = {name for name in made if not name.endswith("log.jsonl")}  # The log of a run that failed stays
    assert not [name for name in made if ".part" in name or "bundle.json" in name
                or name.startswith(("out.csv", "out.xlsx", "outputs/runs"))]


@pytest.mark.parametrize("case", TABLES, ids=ids(TABLES))
def test_bad_table_gets_one_sentence(case, place, trained, monkeypatch, capsys):
    check(case, place, trained, monkeypatch, capsys)


@pytest.mark.parametrize("case", REQUESTS, ids=ids(REQUESTS))
def test_bad_request_gets_one_sentence(case, place, trained, monkeypatch, capsys):
    check(case, place, trained, monkeypatch, capsys)


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.parametrize("case", STAGES, ids=ids(STAGES))
def test_failed_stage_gets_one_sentence_and_keeps_its_notebook(case, place, trained, monkeypatch, capsys):
    check(case, place, trained, monkeypatch, capsys)
    kept = list((place/"outputs"/"failed").iterdir())
    assert [path.suffix for path in kept] == [".ipynb"]


@pytest.mark.parametrize("record", ["", "[]", "{}", '{"bundle": 3}', '{"bundle": "gone"}'])
def test_damaged_run_record_is_passed_over(record, place, monkeypatch, capsys):
    write()(None)
    (place/"outputs"/"runs"/"1").mkdir(parents=True)
    (place/"outputs"/"runs"/"1"/"run.json").write_text(record, encoding="utf-8")
    code, said = call(["predict", "students.csv", "-o", "out.csv"], monkeypatch, capsys)
    assert code == 1 and said.startswith("gradeclass: there is no model yet")


@pytest.mark.parametrize("words",
                         [["run", "--dta", "x"], ["grade"], ["predict", "students.csv"], ["run", "--jobs", "0"]])
def test_wrong_option_ends_with_code_2_and_points_to_help(words, place, monkeypatch, capsys):
    code, said = call(words, monkeypatch, capsys)
    assert code == 2 and "--help" in said and "Traceback" not in said
    assert files(place) == {}


@pytest.mark.parametrize("words", ["run students.csv", "run -p family students.csv", "sweep students.csv"])
def test_table_without_its_option_is_told_where_it_belongs(words, place, monkeypatch, capsys):
    code, said = call(words.split(), monkeypatch, capsys)
    assert code == 2 and "a table is named with --data students.csv, a parameter with -p name=value" in said


@pytest.mark.process
@pytest.mark.parametrize("command", [
    [str(Path(sys.executable).with_name("gradeclass"))],
    [sys.executable, "-c", "from gradeclass.cli.main import main; main()"]])
def test_installed_command_ends_with_code_1_and_without_traceback(command, place):
    Path("students.csv").write_bytes(b"")
    ended = subprocess.run([*command, "data", "validate", "students.csv"], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (1, "", "gradeclass: students.csv is empty\n")


def test_full_disk_ends_with_one_sentence(place, trained, monkeypatch, capsys):
    def refuse(*args, **more): raise OSError(28, "No space left on device", "out.csv")
    write()(trained)
    monkeypatch.setattr("gradeclass.scoring.table.write_table", refuse)
    code, said = call(["predict", "students.csv", "-o", "out.csv", "--model", str(trained)], monkeypatch, capsys)
    assert code == 1 and said.splitlines()[-1] == "gradeclass: out.csv cannot be used: No space left on device"
    assert not Path("out.csv").exists()


def test_full_disk_names_the_file_also_where_the_system_does_not(place, monkeypatch, capsys):
    "As a write to a disk without space, which knows no name"
    def refuse(*args, **more): raise OSError(28, "No space left on device")
    write()(None)
    monkeypatch.setattr(Path, "write_text", refuse)
    words = ["check", "students.csv", "--target", "GradeClass", "--yes", "-o", "my.yaml"]
    code, said = call(words, monkeypatch, capsys)
    assert code == 1 and said.splitlines()[-1] == "gradeclass: my.yaml cannot be used: No space left on device"
    assert not [*place.glob("*my.yaml*")]


def test_stage_without_space_says_so_in_one_sentence():
    error = OSError(28, "No space left on device")
    job = SimpleNamespace(stage="prepare", folder="stages/prepare-1", failed="prepare.ipynb")
    assert explain_failure(error, job) == "stage prepare: cannot write stages/prepare-1: No space left on device"

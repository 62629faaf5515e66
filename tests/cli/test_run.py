"`gradeclass run`: from a table without a schema to graded students, and what it prints"
import json
import subprocess

import pytest

from cli_helpers import assert_report, check_predictions, codes_table, run_json, words_table
from gradeclass.data.sources import read_table
from gradeclass.pipeline.stages import STAGES
from gradeclass.schema import parse_schema

pytestmark = [pytest.mark.process, pytest.mark.slow]


@pytest.mark.parametrize("make, separator, target, name, grades, best", [
    (words_table, ";", "Final", "Pupil id", ["excellent", "good", "pass", "fail"], ""),
    (codes_table, ",", "OUTCOME", None, ["3", "2", "1"], "3")])
def test_unknown_table_is_described_learnt_and_graded_without_code(make, separator, target, name, grades, best, ask,
                                                                   monkeypatch, place):
    table = make()
    table.to_csv("table.csv", sep=separator, index=False)
    code, printed, _ = ask("schema", "infer", "table.csv", "--target", target, "-o", "table.yaml", "--best", best)
    assert code == 0 and "to confirm" in printed
    assert parse_schema((place/"table.yaml").read_text(encoding="utf-8")).grades.labels == grades
    run = run_json(ask, "--data", "table.csv", "--schema", "table.yaml", "-p", "resamples=50", "-p",
                   "params={members: [linear]}")
    assert run["metrics"]["accuracy"]["value"] > table[target].value_counts(normalize=True).max() + 0.1
    monkeypatch.setenv("GRADECLASS_OUTPUTS", "outputs")
    code, printed, said = ask("predict", "table.csv", "-o", "grades.csv")
    assert (code, printed) == (0, f"{len(table)} students graded in grades.csv\n")
    assert all(line.startswith("note: ") for line in said.splitlines()), said
    check_predictions(read_table("grades.csv")[0], table, name, grades)


def test_pdf_without_a_browser_is_refused_before_anything_runs(ask, monkeypatch, place):
    monkeypatch.setenv("PATH", "")
    code, printed, said = ask("run", "--data", "sample", "--pdf")
    assert (code, printed) == (1, "") and "a PDF needs Chromium, Chrome or Edge on this computer" in said
    assert not [*place.glob("**/runs/*")]


def stage_lines(ended):
    "Words of each line about a stage; on a busy machine MLflow may be late, which costs a warning"
    return [line.split() for line in ended.stderr.splitlines() if not line.startswith("warning: MLflow took longer")]


def test_run_prints_json_alone_and_progress_on_standard_error(sample_run):
    _, _, ended = sample_run
    run = json.loads(ended.stdout)
    assert ended.returncode == 0
    told = [words[:2] for words in stage_lines(ended)]
    assert sorted(told) == [[name, "done"] for name in sorted(STAGES)]
    names = [name for name, _ in told]
    assert names[0] == "prepare" and names[-1] == "register", "drift ends whenever it ends"
    assert names.index("train") < names.index("evaluate")
    assert run.keys() >= {"run_id", "bundle", "report", "metrics", "stages"}
    assert all(stage["seconds"] > 0 and stage["cached"] is False for stage in run["stages"])
    assert {"accuracy", "macro_f1", "within_one"} <= run["metrics"].keys()


def test_run_names_a_bundle_and_a_report_that_are_there(sample_run):
    folder, _, ended = sample_run
    run = json.loads(ended.stdout)
    assert (folder/run["bundle"]/"bundle.json").is_file() and (folder/run["report"]).is_file()
    record = json.loads((folder/"outputs"/"runs"/run["run_id"]/"run.json").read_text(encoding="utf-8"))
    del run["warnings"]  # They come after the record is written
    assert record.items() >= run.items()


def test_second_run_is_cached_and_gives_the_same_figures(sample_run):
    folder, command, first = sample_run
    second = subprocess.run([*command, "--json"], cwd=folder, capture_output=True, text=True)
    assert sorted(stage_lines(second)) == [[name, "cached"] for name in sorted(STAGES)]
    assert all(stage["cached"] for stage in json.loads(second.stdout)["stages"])
    assert json.loads(second.stdout)["metrics"] == json.loads(first.stdout)["metrics"]


def test_run_without_json_tells_a_person_the_main_figures(sample_run):
    folder, command, first = sample_run
    told = subprocess.run(command, cwd=folder, capture_output=True, text=True).stdout
    accuracy = json.loads(first.stdout)["metrics"]["accuracy"]["value"]
    assert f"{100*accuracy:.0f} %" in told and "report.html" in told and len(told.splitlines()) < 8


def test_report_of_the_sample_needs_no_network(sample_run):
    assert_report(sample_run[0]/json.loads(sample_run[2].stdout)["report"])


@pytest.mark.parametrize("file, schema, rows",
                         [("students_performance.csv", "students", 305), ("student_prediction.csv", "higher_ed", 19)])
def test_published_table_runs_to_metrics_and_report(file, schema, rows, real_data, ask, place):
    run = run_json(ask, "--data", real_data(file), "--schema", schema)
    assert run["metrics"]["students"] == rows
    assert run["metrics"]["accuracy"]["low"] < run["metrics"]["accuracy"]["value"] < run["metrics"]["accuracy"]["high"]
    assert_report(place/run["report"])

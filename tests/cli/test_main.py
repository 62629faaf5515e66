"The command: from a table that nobody has described to graded students, and how fast it answers"
import json
import os
import re
import resource
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

from gradeclass.cli.main import main
from gradeclass.data.sources import read_table
from gradeclass.pipeline.stages import STAGES
from gradeclass.data.synthetic import sample_path
from gradeclass.schema import load_schema, parse_schema, schema_names


@pytest.fixture
def place(tmp_path, monkeypatch):
    "An empty current folder that belongs to no checkout"
    for name in ("GRADECLASS_HOME", "GRADECLASS_OUTPUTS"): monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def ask(place, monkeypatch, capsys):
    "Call the command in this process: exit code, standard output, standard error"
    def call(*words):
        monkeypatch.setattr(sys, "argv", ["gradeclass", *map(str, words)])
        with pytest.raises(SystemExit) as ended: main()
        return ended.value.code or 0, *capsys.readouterr()
    return call


def words_table(n=240, seed=3):
    "Semicolons, German words, decimal commas, ids in letters; the grade is a word that follows from effort and absences"
    rng = np.random.default_rng(seed)
    effort = rng.choice(["rarely", "sometimes", "often", "always"], n)
    away = rng.uniform(0, 12, n)
    bus = rng.choice(["bus", "bike", "on foot"], n)
    merit = pd.Series(effort).map({"rarely": 0, "sometimes": 1, "often": 2, "always": 3}) - away/4 + rng.normal(
        0, 0.5, n)
    result = pd.cut(merit, [-9, -1.5, 0, 1.2, 9], labels=["fail", "pass", "good", "excellent"]).astype(str)
    away = [f"{days:.1f}".replace(".", ",") for days in away]
    return pd.DataFrame({"Pupil id": [f"P-{number:04}" for number in rng.permutation(n)], "Effort": effort,
                         "Days away": away, "Way to school": bus,
                         "Final": result})


def codes_table(n=260, columns=30, seed=4):
    "Thirty columns of whole numbers with gaps, three grades as numbers"
    rng = np.random.default_rng(seed)
    table = pd.DataFrame({f"Q{number}": rng.integers(1, 6, n) for number in range(1, columns + 1)})
    merit = table.Q1 + table.Q2 + rng.normal(0, 0.6, n)
    gaps = table.astype("Int64").mask(rng.random(table.shape) < 0.1)
    return gaps.assign(OUTCOME=np.digitize(merit, [5, 7]) + 1)


def check_predictions(graded, table, name, grades):
    "The documented columns, one row for each student, in their order"
    shares = [f"p_{grade}" for grade in grades]
    assert list(graded) == [*([name] if name else []), "grade", "grade_index", *shares, "at_risk"]
    assert len(graded) == len(table)
    if name: assert graded[name].tolist() == table[name].tolist()
    assert np.allclose(graded[shares].astype(float).sum(axis=1), 1, atol=1e-5)
    assert [grades[int(position)] for position in graded.grade_index] == graded.grade.tolist()


def run_json(ask, *words):
    "Run the pipeline: what it prints, which must be JSON alone"
    code, printed, said = ask("run", *words, "--json", "--outputs", "outputs")
    assert code == 0, said
    return json.loads(printed)


@pytest.mark.parametrize("make, separator, target, name, grades", [
    (words_table, ";", "Final", "Pupil id", ["excellent", "good", "pass", "fail"]),
    (codes_table, ",", "OUTCOME", None, ["3", "2", "1"])])
def test_unknown_table_is_described_learnt_and_graded_without_code(make, separator, target, name, grades, ask,
                                                                   monkeypatch, place):
    table = make()
    table.to_csv("table.csv", sep=separator, index=False)
    code, printed, _ = ask("schema", "infer", "table.csv", "--target", target, "-o", "table.yaml")
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


@pytest.fixture(scope="module")
def sample_run(tmp_path_factory):
    "A run on the sample through the installed command: the folder, and how the command ended"
    folder = tmp_path_factory.mktemp("run")
    command = [sys.executable, "-c", "from gradeclass.cli.main import main; main()", "run", "--data", "sample", "-p",
               "resamples=50",
               "-p", "params={members: [linear]}", "--outputs", "outputs"]
    return folder, command, subprocess.run([*command, "--json"], cwd=folder, capture_output=True, text=True)


def test_run_prints_json_alone_and_progress_on_standard_error(sample_run):
    _, _, ended = sample_run
    run = json.loads(ended.stdout)
    assert ended.returncode == 0
    told = [line.split()[:2] for line in ended.stderr.splitlines()]
    assert sorted(told) == [[name, "done"] for name in sorted(STAGES)]
    names = [name for name, _ in told]
    assert names[0] == "prepare" and names[-1] == "register" and names.index("train") < names.index("evaluate"), "drift ends whenever it ends"
    assert run.keys() >= {"run_id", "bundle", "report", "metrics", "stages"}
    assert all(stage["seconds"] > 0 and stage["cached"] is False for stage in run["stages"])
    assert {"accuracy", "macro_f1", "within_one"} <= run["metrics"].keys()


def test_run_names_a_bundle_and_a_report_that_are_there(sample_run):
    folder, _, ended = sample_run
    run = json.loads(ended.stdout)
    assert (folder/run["bundle"]/"bundle.json").is_file() and (folder/run["report"]).is_file()
    record = json.loads((folder/"outputs"/"runs"/run["run_id"]/"run.json").read_text(encoding="utf-8"))
    assert record.items() >= run.items()


def test_second_run_is_cached_and_gives_the_same_figures(sample_run):
    folder, command, first = sample_run
    second = subprocess.run([*command, "--json"], cwd=folder, capture_output=True, text=True)
    assert sorted(line.split() for line in second.stderr.splitlines()) == [[name, "cached"] for name in sorted(STAGES)]
    assert all(stage["cached"] for stage in json.loads(second.stdout)["stages"])
    assert json.loads(second.stdout)["metrics"] == json.loads(first.stdout)["metrics"]


def test_run_without_json_tells_a_person_the_main_figures(sample_run):
    folder, command, first = sample_run
    told = subprocess.run(command, cwd=folder, capture_output=True, text=True).stdout
    accuracy = json.loads(first.stdout)["metrics"]["accuracy"]["value"]
    assert f"{100*accuracy:.0f} %" in told and "report.html" in told and len(told.splitlines()) < 8


def test_predict_without_a_bundle_takes_the_newest_run(sample_run, ask, monkeypatch):
    monkeypatch.setenv("GRADECLASS_OUTPUTS", str(sample_run[0]/"outputs"))
    code, printed, _ = ask("predict", sample_path("students"), "-o", "grades.parquet")
    assert (code, printed) == (0, "1,000 students graded in grades.parquet\n")


def assert_report(path):
    "Smaller than 5 MB, and nothing in it is fetched from elsewhere"
    page = path.read_text(encoding="utf-8")
    assert path.stat().st_size < 5_000_000
    fetched = (r"""<(?:script|img|link|iframe|source|video|audio|embed|object)\b[^>]*?\b(?:src|href|data)\s*=\s*["']?(?:https?:)?//""")
    assert not re.search(fetched, page, re.IGNORECASE)
    assert not re.search(r"@import|url\(\s*[\"']?(?:https?:)?//", page, re.IGNORECASE)


def test_report_of_the_sample_needs_no_network(sample_run):
    assert_report(sample_run[0]/json.loads(sample_run[2].stdout)["report"])


@pytest.mark.parametrize("file, schema, rows",
                         [("students_performance.csv", "students", 305), ("student_prediction.csv", "higher_ed", 19)])
def test_published_table_runs_to_metrics_and_report(file, schema, rows, real_data, ask, place):
    run = run_json(ask, "--data", real_data(file), "--schema", schema)
    assert run["metrics"]["students"] == rows
    assert run["metrics"]["accuracy"]["low"] < run["metrics"]["accuracy"]["value"] < run["metrics"]["accuracy"]["high"]
    assert_report(place/run["report"])


def test_predict_names_refused_rows_and_grades_the_others(ask, trained):
    table = pd.read_csv(sample_path("students"), dtype=str).head(30)
    table.loc[3, "Absences"] = "-4"
    table.to_csv("class.csv", index=False)
    code, printed, said = ask("predict", "class.csv", "-o", "grades.csv", "--model", trained)
    assert (code, printed) == (0, "29 students graded in grades.csv\n")
    assert "refused: 1 of 30 rows, with reasons in grades.rejected.csv" in said
    check_predictions(read_table("grades.csv")[0], table.drop(index=3), "StudentID", ["A", "B", "C", "D", "F"])
    refused = read_table("grades.rejected.csv")[0]
    assert refused.row.tolist() == ["5"] and "Absences: -4 is out of range" in refused.reason.iloc[0]


@pytest.mark.parametrize("name", schema_names())
def test_shown_schema_reads_back_as_itself(name, ask):
    code, printed, said = ask("schema", "show", name)
    assert (code, said) == (0, "")
    assert parse_schema(printed) == load_schema(name)


def test_drafted_schema_is_printed_alone_and_reads_back(ask):
    code, printed, said = ask("schema", "infer", sample_path("students"), "--target", "gradeclass")
    assert (code, said) == (0, "")
    assert parse_schema(printed).target == "GradeClass"


def test_synthetic_table_is_the_same_for_the_same_seed_and_valid(ask, place):
    for name, seed in (("a.csv", 5), ("b.csv", 5), ("c.csv", 6)):
        code, printed, _ = ask("data", "synthesise", "-o", name, "-n", 50, "--seed", seed)
        assert (code, printed) == (0, f"{name}\n")
    assert (place/"a.csv").read_bytes() == (place/"b.csv").read_bytes() != (place/"c.csv").read_bytes()
    assert ask("data", "validate", "a.csv")[0] == 0


def test_validate_ends_with_1_for_an_error_and_lists_each_cell(ask, place):
    table = pd.read_csv(sample_path("students"), dtype=str).head(40)
    table.loc[[2, 9], "Absences"] = ["99", "-1"]
    table.to_csv("class.csv", index=False)
    code, printed, _ = ask("data", "validate", "class.csv", "-o", "findings.csv")
    assert code == 1 and "38 accepted, 2 refused" in printed
    found = read_table("findings.csv")[0]
    assert found[found.check == "out of range"][["row", "value"]].astype(float).to_numpy().tolist() == [
        [4, 99], [11, -1]]


def test_validate_prints_json_alone_and_ends_with_0_for_warnings(ask):
    pd.read_csv(sample_path("students"), dtype=str).head(40).assign(Shoe="42").to_csv("class.csv", index=False)
    code, printed, said = ask("data", "validate", "class.csv", "--json")
    assert (code, said) == (0, "")
    assert {"extra column"} <= {found["check"] for found in json.loads(printed)}
    assert {found["severity"] for found in json.loads(printed)} == {"warning"}


def cpu_seconds():
    "What ended child processes have used of the processor"
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def python(code, *words):
    "Run Python in a fresh process as a user would: what it prints, and its seconds (of the processor, where that is busy with other work)"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    started, used = time.perf_counter(), cpu_seconds()
    ended = subprocess.run([sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True,
                           env=environment, check=True)
    return ended.stdout, min(time.perf_counter() - started, cpu_seconds() - used)


LOADED = "; import sys; print(*{name.partition('.')[0] for name in sys.modules})"


def test_version_is_that_of_the_package(ask):
    import gradeclass
    assert ask("--version") == (0, f"{gradeclass.__version__}\n", "")


def test_import_is_quick_and_light():
    tries = [python("import gradeclass" + LOADED) for _ in range(3)]
    assert not {"pandas", "sklearn", "seaborn", "xgboost"} & set(tries[0][0].split())
    assert min(seconds for _, seconds in tries) < 0.3


@pytest.mark.parametrize("words", ["--help", "predict --help", "schema show students"])
def test_help_and_schemas_need_no_pandas(words):
    code = ("import sys, atexit; sys.argv[0] = 'gradeclass'; atexit.register(lambda: print(*{name.partition('.')[0] "
            "for name in sys.modules}))")
    printed, _ = python(code + "; from gradeclass.cli.main import main; main()", *words.split())
    assert not {"pandas", "numpy", "sklearn"} & set(printed.splitlines()[-1].split())


def test_one_student_is_graded_quickly_without_what_only_training_needs(trained):
    code = ("import sys; from gradeclass.models.bundle import load_model; from gradeclass.scoring.table import "
            "predict_table; import pandas as pd; model = load_model(sys.argv[1]); "
            "predict_table(model, pd.DataFrame({'Absences': ['3'], 'Tutoring': ['Yes']}))")
    tries = [python(code + LOADED, trained) for _ in range(3)]
    assert not {"evidently", "mlflow", "optuna", "seaborn", "papermill", "pandera",
                "imblearn"} & set(tries[0][0].split())
    assert min(seconds for _, seconds in tries) < 4

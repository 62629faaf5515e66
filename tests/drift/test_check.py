"Where the two tables come from: a bundle's profile, a log, the stage and the command"
import json
import os
import re
import sys
import warnings
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from drift_helpers import NOW, SCHEMA, STUDENTS, THEN, rough, row, write_log

from gradeclass.cli.main import main
from gradeclass.drift.check import check_drift, load_profile, profile_with
from gradeclass.drift.compare import find_drift
from gradeclass.drift.history import read_history
from gradeclass.drift.profile import DriftError
from gradeclass.models.bundle import load_model


def check_drift_of(bundle, frame):
    return find_drift(load_profile(bundle), profile_with(load_model(bundle), frame, load_profile(bundle), "now"),
                      SCHEMA)


def test_a_bundle_without_a_profile_gets_one_sentence(trained):
    with pytest.raises(DriftError,
                       match=r"holds no reference profile \(reference.json\): train the model again, or name a table "
                             r"with --reference"):
        load_profile(trained)


def test_predictions_drift_with_the_model(bundle):
    found = check_drift_of(bundle, NOW.assign(Absences=29.0))
    assert {"Absences", "predicted_grade", "expected_score"} <= set(found.table.name[found.table.flagged])
    assert row(found, "expected_score").sentence.startswith("Expected score fell: mean")


def test_unknown_answers_do_not_stop_the_model(bundle):
    now = rough(NOW)
    now["Tutoring"] = now.Tutoring.where(np.arange(400) % 4 > 0, 9)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "invalid" in row(check_drift_of(bundle, now), "Tutoring").reasons


def test_performance_is_judged_where_grades_have_arrived(bundle, tmp_path):
    worst = pd.DataFrame({"id": range(1, 301), "time": "2026-06-01", "prediction_id": range(1, 301), "student": None,
                          "grade": "A", "score": None})
    url = write_log(tmp_path/"p.db", bundle, NOW, worst)
    found = check_drift(url, model=bundle)
    assert {"accuracy", "log_loss"} <= {line["metric"] for line in found.verdict["performance"] if line["flagged"]}
    assert found.verdict["performance"][0]["after"]["low"] <= found.verdict["performance"][0]["after"]["value"] < 0.2
    assert found.sentence.startswith("Accuracy of the predictions fell from 0.")
    few = write_log(tmp_path/"few.db", bundle, NOW, worst.head(40))
    assert check_drift(few, model=bundle).verdict["performance"] == []


@pytest.fixture
def gradeclass(monkeypatch, capsys):
    "Run the command: exit code, standard output, standard error"
    def run(*words):
        monkeypatch.setattr(sys, "argv", ["gradeclass", *map(str, words)])
        with pytest.raises(SystemExit) as ended: main()
        said = capsys.readouterr()
        return SimpleNamespace(returncode=ended.value.code or 0, stdout=said.out, stderr=said.err)
    return run


@pytest.fixture
def tables(tmp_path):
    rough(THEN).to_csv(tmp_path/"then.csv", index=False)
    rough(NOW).to_csv(tmp_path/"same.csv", index=False)
    rough(NOW.assign(Absences=30.0)).to_csv(tmp_path/"moved.csv", index=False)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("table, action, code",
                         [("same.csv", "fail", 0), ("moved.csv", "warn", 0), ("moved.csv", "fail", 4),
                          ("moved.csv", "retrain", 3)])
def test_exit_codes(gradeclass, tables, outputs, table, action, code):
    done = gradeclass("drift", tables/table, "--reference", tables/"then.csv", "--on-drift", action, "--json")
    assert done.returncode == code, done.stderr
    said = json.loads(done.stdout)
    assert said["verdict"] == ("none" if table == "same.csv" else "drift") and len(read_history()) == 1
    if code == 4: assert re.search(r"^gradeclass: drift: Absences rose by", done.stderr, re.M)


@pytest.mark.slow
def test_the_command_with_a_bundle_a_copy_and_the_history(gradeclass, bundle, tables, outputs):
    done = gradeclass("drift", tables/"moved.csv", "--model", bundle, "-o", tables/"copy")
    assert done.returncode == 0 and "Absences rose by" in done.stdout, done.stderr
    assert {path.name for path in (tables/"copy").iterdir()} == {"drift.json", "evidently.html", "figures"}
    again = gradeclass("drift", tables/"moved.csv", "--model", bundle, "-o", tables/"copy")
    assert again.returncode == 1 and "exists already: choose a new folder" in again.stderr
    history = gradeclass("drift", "--history")
    assert history.returncode == 0 and "drift" in history.stdout and (outputs/"drift"/"history.png").is_file(), history.stderr


def test_mistakes_of_the_command_get_one_sentence(gradeclass, bundle, tables, outputs):
    for words, sentence in ((["drift"], "name the students to look at"),
                            (["drift", tables/"same.csv"], "there is no model yet"),
                            (["drift", "--history"], "no verdict is kept"), (["drift", "--ui"], "no snapshot is kept"),
                            (["drift", tables/"same.csv", "--model", bundle, "--reference", tables/"then.csv"],
                             "give --reference or --model, not both"),
                            (["drift", tables/"same.csv", "--model", bundle, "--on-drift", "panic"],
                             "it needs one of warn, fail, retrain")):
        done = gradeclass(*words)
        assert done.returncode == 1 and sentence in done.stderr and len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert not list(outputs.glob("drift/*/drift.json"))


@pytest.mark.slow
@pytest.mark.process
def test_the_stage_fails_with_the_sentence_where_that_is_asked_for(tmp_path):
    from gradeclass.config import stage_notebooks
    from gradeclass.pipeline.stages import StageError
    from gradeclass.pipeline.worker import Job, execute_job
    from gradeclass.pipeline.steps import save_prepared
    from gradeclass.data.dataset import make_dataset
    from gradeclass.data.split import Split
    from gradeclass.data.validation import validate
    dataset = make_dataset(rough(STUDENTS), "students")
    (tmp_path/"prepared").mkdir()
    save_prepared(tmp_path/"prepared", dataset, validate(dataset), Split(THEN, NOW.assign(Absences=30.0), NOW))
    outputs = ["drift.json", "evidently.html", "figures/drift.png"]
    notebook, prepared = str(stage_notebooks()/"20_drift.ipynb"), str(tmp_path/"prepared")
    job = lambda name, action: Job("drift", name, notebook, str(tmp_path/name), str(tmp_path/f"{name}.ipynb"),
                                   os.getcwd(), outputs,
                                   {"on_drift": action, "prepare_folder": prepared})
    execute_job(job("warned", "warn"), lambda done, cells: None)
    assert json.loads((tmp_path/"warned"/"drift.json").read_text())["action"] == "warn"
    with pytest.raises(StageError, match="Absences rose by"):
        execute_job(job("failed", "fail"), lambda done, cells: None)
    assert not (tmp_path/"failed").exists() and "Absences rose by" in (tmp_path/"failed.ipynb").read_text()

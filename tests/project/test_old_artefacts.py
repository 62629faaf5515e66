"What an older package left behind still opens: bundles, a registry, a prediction log, runs, and MLflow's store"
import json
import sqlite3
import sys
import tarfile
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from service_helpers import rows_of, running_here

import gradeclass
from gradeclass.evaluation.calibration import load_calibration
from gradeclass.registry.promotions import history
from gradeclass.registry.versions import champion_of, list_versions, promote, rollback
from gradeclass.data.dataset import clean
from gradeclass.data.sources import load
from gradeclass.scoring.answer import open_bundle
from gradeclass.registry.gate import judge_version, run_folders
from gradeclass.logs import find_log, read_run_log
from gradeclass.pages.manage_model import newest_run
from gradeclass.models.bundle import bundle_digest, load_model
from gradeclass.scoring.table import predict_table
from gradeclass.pipeline.mlflow import Synced, read_run, sync
from gradeclass.pipeline.mlflow_store import open_store
from gradeclass.schema import load_schema

# Bundles, a registry, runs, a prediction log and an MLflow store, made by `gradeclass` at commit 1df85e6
FIXTURE = Path(__file__).parents[1]/"fixtures"/"old.tar.gz"
BUNDLES = ["bundles/logistic_macro_f1", "bundles/majority_distance", "bundles/ordinal_offsets", "bundles/stack",
           "outputs/registry/bundles/7640a10fabb37c3a", "outputs/registry/bundles/db7c8ae470cfcd35"]
FIRST = "outputs/registry/bundles/7640a10fabb37c3a"  # Version 1
CALIBRATED = {"bundles/ordinal_offsets", FIRST}  # Keep a calibration, and announce the most probable grade
PLACES = {"runs": "artifact_uri", "logged_models": "artifact_location", "experiments": "artifact_location",
          "model_versions": "storage_location"}  # Columns of MLflow's database that hold a folder
RUNS = ["20261128-070219", "20261128-070231"]
LATER = "20261128-080000"  # A run that a test adds


@pytest.fixture(scope="module", autouse=True)
def no_address():
    "No tracking server and no experiment but those in the fixture"
    with pytest.MonkeyPatch.context() as patch:
        for name in ("TRACKING_URI", "REGISTRY_URI", "EXPERIMENT_NAME"): patch.delenv(f"MLFLOW_{name}", raising=False)
        yield


def unpack(folder):
    "The fixture in a folder of its own; absolute paths, which MLflow and run.json need, are put in"
    with tarfile.open(FIXTURE) as packed: packed.extractall(folder, filter="data")
    outputs = folder/"old"/"outputs"
    for path in [*outputs.rglob("*.json"), *outputs.rglob("MLmodel")]:
        old = path.read_bytes()
        if b"/OLD_OUTPUTS" in old: path.write_bytes(old.replace(b"/OLD_OUTPUTS", outputs.as_posix().encode()))
    with closing(sqlite3.connect(outputs/"mlflow.db")) as database, database:
        for table, column in PLACES.items():
            put = f"UPDATE {table} SET {column} = replace({column}, '/OLD_OUTPUTS', ?)"
            database.execute(put, [outputs.as_posix()])
    return folder/"old"


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    "The fixture for tests that only read"
    return unpack(tmp_path_factory.mktemp("kept"))


@pytest.fixture
def outputs(tmp_path):
    "The old outputs folder for a test that changes it"
    return unpack(tmp_path)/"outputs"


@pytest.fixture(scope="module")
def expected(kept):
    return json.loads((kept/"expected.json").read_text(encoding="utf-8"))


def students(kept, model):
    return clean(load(kept/"students.csv", "students").frame, model.schema)


# ---- bundles

def test_every_old_bundle_is_looked_at(expected):
    assert set(expected["bundles"]) == set(BUNDLES)


def grades_now(name, want):
    "The grades of an old bundle; where it keeps a calibration, the calibrated probabilities decide now"
    if name not in CALIBRATED: return want["grades"]
    return ["ABCDF"[place] for place in np.argmax(want["calibrated"], axis=1)]


@pytest.mark.parametrize("name", BUNDLES)
def test_an_old_bundle_says_what_it_said(kept, expected, name):
    model, want = load_model(kept/name), expected["bundles"][name]
    frame = students(kept, model)
    raw = model.pipeline_.predict_proba(frame)
    assert raw.shape == (12, 5) and np.abs(raw - want["raw"]).max() < 1e-12
    assert np.abs(model.predict_proba(frame) - want["calibrated"]).max() < 1e-12
    assert list(model.predict(frame)) == grades_now(name, want)


@pytest.mark.parametrize("name", BUNDLES)
def test_an_old_calibration_does_what_it_did(kept, expected, name):
    known, want = load_calibration(kept/name), expected["bundles"][name]
    calibrated = known.calibrator.apply(np.array(want["raw"]))
    assert np.abs(calibrated - want["calibrated"]).max() < 1e-12
    if known.sets is None: assert set(want["sets"]) == {""}
    else: assert known.describe(known.sets.sets(calibrated), load_schema("students").grades) == want["sets"]


@pytest.mark.parametrize("name", BUNDLES)
def test_an_old_bundle_is_compiled_to_the_same_answers(kept, expected, name):
    "The short way that the service takes, with grades by the bundle's rule and calibrated probabilities"
    bundle, want = open_bundle(kept/name), expected["bundles"][name]
    found = bundle.answer(students(kept, bundle.model))
    assert np.abs(found.probability - want["calibrated"]).max() < 1e-9
    assert [bundle.schema.grades.labels[place] for place in found.grade] == grades_now(name, want)


def test_offsets_and_gains_of_old_bundles_are_in_use(kept, expected):
    "Without them the tests above would show less than they seem to"
    known = load_calibration(kept/"bundles"/"ordinal_offsets").calibrator
    gains = load_model(kept/"bundles"/"logistic_macro_f1").gains_
    assert (known.kind, known.temperature, known.offsets) == ("offsets", 1.3, (0.1, 0.1, 0.1, 0.1, -0.4))
    assert gains.shape == (2, 5) and len(set(gains[0])) == 5
    offsets, gained = (expected["bundles"][f"bundles/{name}"] for name in ("ordinal_offsets", "logistic_macro_f1"))
    assert np.abs(np.array(offsets["raw"]) - offsets["calibrated"]).max() > 0.1
    assert gained["grades"] != ["ABCDF"[place] for place in np.argmax(gained["raw"], axis=1)]


# ---- registry

def test_an_old_registry_lists_its_versions(kept):
    versions = list_versions(kept/"outputs")
    assert [version.number for version in versions] == [1, 2]
    assert [bundle_digest(version.folder) for version in versions] == [version.digest for version in versions]
    assert champion_of(kept/"outputs") == versions[1]
    events = [entry["event"] for entry in history(kept/"outputs")]
    assert events == ["register", "refuse", "promote", "register", "promote"]


def test_an_old_registry_goes_back_and_forward_again(outputs, expected):
    one, two = list_versions(outputs)
    link = outputs/"champion"
    assert link.is_symlink() and link.resolve() == two.folder.resolve()
    assert rollback(outputs, "Anna", "odd grades") == one == champion_of(outputs)
    assert link.is_symlink() and link.resolve() == one.folder.resolve()
    model = load_model(link)
    said = expected["bundles"][FIRST]["calibrated"]
    assert model.family == "xgboost"
    assert np.abs(model.predict_proba(students(outputs.parent, model)) - said).max() < 1e-12
    assert promote(outputs, 2, "Anna", "all is well") == two == champion_of(outputs)
    assert link.resolve() == two.folder.resolve() and len(history(outputs)) == 7


def test_an_old_version_is_compared_on_the_test_rows_of_its_run(outputs):
    assert run_folders(outputs, list_versions(outputs)[0].digest)["prepare"].parent == outputs/"stages"
    rollback(outputs, "Anna", "odd grades")
    version, gate = judge_version(outputs, 2)
    assert version.number == 2 and gate.students == 128 and len(gate.rails) > 2


# ---- runs

def test_old_runs_are_listed_and_their_logs_are_read(kept):
    outputs = kept/"outputs"
    assert newest_run(outputs)["run_id"] == RUNS[1]
    for name in RUNS:
        run = read_run(outputs/"runs"/name)
        assert run.run_id == name and set(run.stages) == {"prepare", "train", "drift", "evaluate", "register"}
        assert run.read("register", "registration.json")["version"] == 1 + RUNS.index(name)
        records = read_run_log(find_log(name, outputs))
        assert {record["run_id"] for record in records} == {name}
        assert [record["event"] for record in records].count("done") == (5 if name == RUNS[0] else 3)


# ---- prediction log

def test_the_service_goes_on_with_an_old_champion_and_an_old_log(outputs, expected):
    answers = expected["answers"]
    with running_here(outputs, settings={"poll": 0.02, "log_days": 36_500}) as client:
        same = client.post("/predict", json={"Absences": 27, "StudentID": 102}).json()
        assert same["digest"] == answers[1]["digest"] == champion_of(outputs).digest
        assert same["probabilities"] == pytest.approx(answers[1]["probabilities"], abs=1e-9)
        assert same["prediction_id"] > max(answer["prediction_id"] for answer in answers)
        rollback(outputs, "Anna", "odd grades")
        end = time.monotonic() + 20
        while client.post("/predict", json={"Absences": 27}).json()["digest"] != champion_of(outputs).digest:
            assert time.monotonic() < end, "the service has not followed the link"
            time.sleep(0.05)
    rows = rows_of(outputs)
    assert len(rows) > 9 and rows.student[8] == rows.student[1]  # The old salt still leads to the same hash
    for row, answer in zip(list(rows.head(8).itertuples()), answers, strict=True):
        told = json.loads(row.outputs)
        assert (row.id, row.digest) == (answer["prediction_id"], answer["digest"])
        assert (told["grade"], told["probabilities"]) == (answer["grade"], answer["probabilities"])


def test_outcomes_of_old_predictions_are_added_and_old_rows_are_erased(outputs, expected):
    ids = [answer["prediction_id"] for answer in expected["answers"]]
    with running_here(outputs, settings={"poll": 0.02, "log_days": 36_500}, keyed=True) as client:
        assert client.post("/outcomes", json={"prediction_id": ids[3], "grade": "C", "score": 2.4}).status_code == 201
        override = {"student": 205, "grade": "B", "reason": "New tutor", "decided_by": "head"}
        assert client.post("/overrides", json=override).status_code == 201
        assert client.delete("/students/101").json()["deleted"] == 3  # Two predictions and an override
        assert client.delete("/students/2024%2F117").json()["deleted"] == 2
        assert client.delete(f"/predictions/{ids[1]}").json()["deleted"] == 2
        assert client.delete(f"/predictions/{ids[1]}").status_code == 404
    assert rows_of(outputs).id.tolist() == [ids[place] for place in (3, 5, 6, 7)]
    assert rows_of(outputs, "outcomes").prediction_id.tolist() == [ids[3]]
    assert rows_of(outputs, "overrides").grade.tolist() == ["B"]


def test_an_old_log_is_read_for_drift(kept):
    from gradeclass.drift.log import read_prediction_log
    log = f"sqlite:///{kept/'outputs'/'predictions.db'}"
    frame, probability, announced = read_prediction_log(log, load_schema("students"))
    assert len(frame) == len(probability) == len(announced) == 7  # Of one student, the last prediction
    assert sorted(frame.GradeClass.dropna()) == ["C", "F"] and frame.GPA.dropna().tolist() == [0.7]


# ---- MLflow

def test_an_old_mirror_lists_both_versions_and_loads_their_models(kept, expected):
    "Its models name the module that loads them as it was called then"
    import mlflow
    name, versions = "gradeclass-students", list_versions(kept/"outputs")
    with open_store(kept/"outputs") as store:
        shown = store.client.search_model_versions(f"name = '{name}'")
        aliases = store.client.get_registered_model(name).aliases
        runs = store.client.search_runs([store.experiment])
        places = [Path(mlflow.artifacts.download_artifacts(f"models:/{name}/{version.number}")) for version in versions]
        served = [mlflow.pyfunc.load_model(f"models:/{name}/{version.number}") for version in versions]
    assert {int(each.version): each.tags["digest"] for each in shown} == {each.number: each.digest for each in versions}
    assert {alias: int(number) for alias, number in aliases.items()} == {"champion": 2}
    assert {run.info.run_name for run in runs} == set(RUNS)
    loader = Path(sys.modules[expected["loader_module"]].__file__)
    assert loader.is_relative_to(Path(gradeclass.__file__).parent), "another package that is installed too"
    for version, place, model in zip(versions, places, served, strict=True):
        assert f"loader_module: {expected['loader_module']}\n" in (place/"MLmodel").read_text(encoding="utf-8")
        want = expected["bundles"][version.folder.relative_to(kept).as_posix()]
        found = model.predict(load(kept/"students.csv", "students").frame)
        assert np.abs(found[[f"p_{grade}" for grade in "ABCDF"]].to_numpy() - want["calibrated"]).max() < 1e-12
        assert found.grade.tolist() == grades_now(version.folder.relative_to(kept).as_posix(), want)
        table = predict_table(load_model(version.folder), students(kept, load_model(version.folder)))
        pd.testing.assert_frame_equal(found, table, check_dtype=False)


def test_an_old_mirror_is_brought_up_to_date(outputs):
    "Nothing is shown twice; a rollback moves the alias; a run of the old code that was not shown yet is"
    import mlflow
    assert sync(outputs) == Synced([], [], [])
    rollback(outputs, "Anna", "odd grades")
    path = outputs/"runs"/LATER/"run.json"
    later = json.loads((outputs/"runs"/RUNS[1]/"run.json").read_text(encoding="utf-8"))
    later["run_id"], later["stages"][-1]["key"] = LATER, "another"
    path.parent.mkdir()
    path.write_text(json.dumps(later), encoding="utf-8")
    assert sync(outputs) == Synced([LATER], [], [])
    assert sync(outputs) == Synced([], [], [])
    with open_store(outputs) as store:
        aliases = store.client.get_registered_model("gradeclass-students").aliases
        runs = {run.info.run_name: run for run in store.client.search_runs([store.experiment])}
        (model,) = store.client.search_logged_models([store.experiment], f"source_run_id = '{runs[LATER].info.run_id}'")
        served = mlflow.pyfunc.load_model(model.model_uri)
    assert {alias: int(number) for alias, number in aliases.items()} == {"champion": 1, "challenger": 2}
    assert set(runs) == {*RUNS, LATER}
    assert runs[LATER].data.metrics["macro_f1"] == runs[RUNS[1]].data.metrics["macro_f1"] > 0.5
    assert len(served.predict(load(outputs.parent/"students.csv", "students").frame)) == 12

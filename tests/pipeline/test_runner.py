"Whole runs: planned once, in parts, killed, interrupted, and two at the same time"
import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path

import psutil
import pytest
from conftest import QUICK
from pipeline_helpers import (
    cached, finish_run, outputs_of, parts_in, small_notebook, start_run, still_running, use_stages, wait_for_kernel,
)

from gradeclass.cli.main import main
from gradeclass.config import stage_notebooks
from gradeclass.models.bundle import bundle_digest, load_model
from gradeclass.pipeline import runner
from gradeclass.pipeline.runner import Pipeline, dry_run, plan_run, remove_leftovers, run_pipeline
from gradeclass.pipeline.stages import STAGES, Stage, StageError
from gradeclass.registry.versions import list_versions

@pytest.mark.process
@pytest.mark.slow
def test_finished_run_has_what_it_promises(finished_run):
    for result in finished_run.stages:
        assert all((result.folder/name).is_file() for name in STAGES[result.name].outputs)
    assert load_model(finished_run.bundle).schema.name == "students"
    assert finished_run.report.is_file() and not parts_in(outputs_of(finished_run))

@pytest.mark.process
@pytest.mark.slow
def test_run_chooses_the_table_and_makes_the_keys_of_the_run_once(finished_run, monkeypatch):
    calls = []
    for name in ("choose_data", "stage_key"):
        counted = getattr(runner, name)
        def count(*given, name=name, counted=counted):
            calls.append(name)
            return counted(*given)
        monkeypatch.setattr(runner, name, count)
    outputs = outputs_of(finished_run)
    options = [word for name, value in QUICK.items() for word in ("-p", f"{name}={value}")]
    monkeypatch.setattr(sys, "argv", ["gradeclass", "run", "--data", "sample", "--outputs", str(outputs), *options])
    with pytest.raises(SystemExit) as caught: main()
    assert caught.value.code == 0
    assert calls == ["choose_data", *["stage_key"]*len(STAGES)]

@pytest.mark.parametrize("data", ["nowhere.csv", "", "sqlite:///nowhere.db"])
def test_missing_data_or_schema_ends_with_one_sentence(alone, data, capsys, monkeypatch):
    options = ["--data", data] if data else ["--schema", "nowhere.yaml"]
    monkeypatch.setattr(sys, "argv", ["gradeclass", "run", *options])
    with pytest.raises(SystemExit) as caught: main()
    said = capsys.readouterr().err
    assert caught.value.code == 1 and said.startswith("gradeclass: ") and said.count("\n") == 1 and "nowhere" in said

def test_dry_run_in_a_new_folder_would_run_everything_and_makes_no_folder(tmp_path):
    planned = dry_run(plan_run("sample", outputs=tmp_path/"outputs"))
    assert [stage.runs for stage in planned] == [True]*len(STAGES) and planned[0].why == "has not run yet"
    assert not (tmp_path/"outputs").exists()

def test_only_refuses_what_it_needs_and_does_not_have(tmp_path):
    with pytest.raises(StageError, match="stage prepare is not up to date: run it first, or leave out --only"):
        run_pipeline("sample", parameters=QUICK, outputs=tmp_path/"outputs", only=["train"])

@pytest.mark.process
@pytest.mark.slow
def test_only_and_force_run_one_stage_anew_and_leave_no_report(finished_run, tmp_path):
    outputs = tmp_path/"outputs"
    shutil.copytree(finished_run.folder("prepare"), outputs/"stages"/finished_run.folder("prepare").name)
    first = run_pipeline("sample", parameters=QUICK, outputs=outputs, only=["drift"])
    assert cached(first) == {"prepare": True, "drift": False} and first.report is None
    record = first.folder("drift")/"stage.json"
    before = record.stat().st_mtime_ns
    again = run_pipeline("sample", parameters=QUICK, outputs=outputs, only=["drift"], force=True)
    assert cached(again) == {"prepare": True, "drift": False} and record.stat().st_mtime_ns != before
    assert not list((outputs/"runs").glob("*/run.json")) and not parts_in(outputs)

@pytest.mark.parametrize("choice", [{"only": ["trian"]}, {"start": "trian"}])
def test_unknown_stage_is_refused(tmp_path, choice):
    with pytest.raises(StageError, match="no stage trian: use prepare, drift, train, evaluate, register"):
        plan_run("sample", outputs=tmp_path/"outputs", **choice)

def test_from_runs_a_stage_and_what_builds_on_it():
    assert plan_run("sample", start="train").anew == {"train", "evaluate", "register"}
    assert plan_run("sample", force=True).anew == set(STAGES)

@pytest.mark.process
@pytest.mark.slow
def test_each_notebook_runs_alone_under_plain_papermill(alone):
    import papermill
    for name in ("50_register", "40_evaluate", "30_train", "20_drift", "10_prepare"):
        papermill.execute_notebook(stage_notebooks()/f"{name}.ipynb", alone.parent/f"{name}.ipynb", parameters={},
                                   progress_bar=False)
    made = {stage.name: alone/"scratch"/stage.name for stage in STAGES.values()}
    assert all((made[stage.name]/name).is_file() for stage in STAGES.values() for name in stage.outputs)
    assert sorted(path.name.split("-")[0]
                  for path in (alone/"stages").iterdir()) == ["drift", "evaluate", "prepare", "train"]

@pytest.mark.process
@pytest.mark.slow
def test_log_of_a_run_tells_each_stage_and_failures_too(tmp_path, monkeypatch):
    path = small_notebook(tmp_path/"small.ipynb", "1/0")
    use_stages(monkeypatch, [Stage("prepare", path)])
    with pytest.raises(StageError): run_pipeline("sample", outputs=tmp_path/"outputs")
    log = next((tmp_path/"outputs"/"runs").glob("*/log.jsonl"))
    records = [json.loads(line) for line in log.read_text().splitlines()]
    assert [record["event"] for record in records if record.get("stage") == "prepare"
            and record["event"] != "cell"] == ["started", "failed"]
    assert "ZeroDivisionError" in json.dumps(records[-1])

@pytest.mark.process
@pytest.mark.slow
def test_failure_ends_the_stage_beside_it(tmp_path):
    (tmp_path/"outputs").mkdir()
    events = []
    slow = small_notebook(tmp_path/"slow.ipynb",
                          "import os, time\nopen(f'{data}.pid', 'w').write(str(os.getpid()))\ntime.sleep(600)")
    failing = small_notebook(tmp_path/"failing.ipynb",
                             "import os, time\nwhile not os.path.exists(f'{data}.pid'): time.sleep(.05)\n1/0")
    (tmp_path/"mark").touch()
    pipeline = Pipeline({"data": str(tmp_path/"mark")}, tmp_path/"outputs",
                        [Stage("slow", slow), Stage("failing", failing)], 2, events.append)
    began = time.monotonic()
    with pytest.raises(StageError, match="stage failing failed"): pipeline.run()
    assert time.monotonic() - began < 300
    pid = int((tmp_path/"mark.pid").read_text())
    assert not still_running([psutil.Process(pid)] if psutil.pid_exists(pid) else [])
    ends = {event["stage"]: event["message"] for event in events if event["event"] in ("failed", "cancelled")}
    assert ends["slow"] == "stage slow was stopped because failing failed" and "failing failed" in ends["failing"]
    remove_leftovers(tmp_path/"outputs")
    assert not list((tmp_path/"outputs"/"stages").iterdir())

@pytest.mark.process
@pytest.mark.slow
def test_independent_stages_run_at_the_same_time(tmp_path):
    meet = ("import os, time\nopen(f'{data}.{name}', 'w').close()\nuntil = time.time() + 120\n"
            "while not os.path.exists(f'{data}.{other}') and time.time() < until: time.sleep(0.05)\n"
            "open(f'{out_folder}/met.txt', 'w').write(str(os.path.exists(f'{data}.{other}')))")
    names = {"one": "two", "two": "one"}
    stages = [Stage(name, small_notebook(tmp_path/f"{name}.ipynb", f"name = '{name}'\nother = '{other}'", meet),
                    (), ("met.txt",)) for name, other in names.items()]
    (tmp_path/"data.csv").touch()
    done = Pipeline({"data": str(tmp_path/"data.csv")}, tmp_path/"outputs", stages).run()
    assert [(done[name].folder/"met.txt").read_text() for name in names] == ["True", "True"]

@pytest.mark.process
@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="kernels are forked on Linux alone")
@pytest.mark.parametrize("seconds", [0, 0.8, 1.6, 2.4])
def test_run_that_is_killed_soon_leaves_no_folder_of_sockets(seconds, tmp_path):
    process, below = start_run(tmp_path/"outputs", tmp_path), []
    while len(below) < 2 and process.poll() is None: below = psutil.Process(process.pid).children(recursive=True)
    time.sleep(seconds)
    below = psutil.Process(process.pid).children(recursive=True)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert len(below) >= 2 and not still_running(below)
    assert not [path for pid in (process.pid, *(child.pid for child in below))
                for path in Path("/tmp").glob(f"gradeclass-warm-?{pid}-*")]

@pytest.mark.process
@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_killed_run_leaves_no_process_and_the_next_one_resumes(stage, begun, finished_run, tmp_path):
    outputs = begun(stage)
    process = start_run(outputs, tmp_path)
    below = wait_for_kernel(process, outputs, stage)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert len(below) >= 2 and not still_running(below)
    assert parts_in(outputs)
    resumed, digest = finish_run(start_run(outputs, tmp_path))
    order = list(STAGES)
    assert resumed == {name: order.index(name) < order.index(stage) for name in order}
    assert digest == bundle_digest(finished_run.bundle)
    assert not parts_in(outputs) and len(list((outputs/"stages").iterdir())) == len(STAGES)

@pytest.mark.process
@pytest.mark.slow
def test_interrupted_run_ends_with_130_and_leaves_no_process_and_no_file(tmp_path, monkeypatch):
    (tmp_path/"tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path/"tmp"))
    process = start_run(tmp_path/"outputs", tmp_path)
    below = wait_for_kernel(process, tmp_path/"outputs", "prepare")
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130 and "Traceback" not in err
    assert not still_running(below)
    assert not list((tmp_path/"tmp").iterdir()), "such as a connection file, which holds a kernel's secret"

@pytest.mark.process
@pytest.mark.slow
def test_two_runs_at_once_in_one_new_folder_make_the_same_bundle(finished_run, tmp_path):
    (tmp_path/"outputs").mkdir()
    both = [start_run(tmp_path/"outputs", tmp_path) for _ in range(2)]
    digests = {finish_run(process)[1] for process in both}
    assert digests == {bundle_digest(finished_run.bundle)}
    made = {path.name for path in (tmp_path/"outputs"/"stages").iterdir()}
    assert made >= {result.folder.name for result in finished_run.stages
                    if result.name != "register"} and len(made) == len(STAGES)
    assert [version.digest for version in list_versions(tmp_path/"outputs")] == [*digests]
    assert len(list((tmp_path/"outputs"/"runs").glob("*/report.html"))) == 2 and not parts_in(tmp_path/"outputs")

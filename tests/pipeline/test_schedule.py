"Prefect around the stages: a real server, real runs, retries, schedules, and nothing left behind"
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import nbformat
import psutil
import pytest

from gradeclass.pipeline import schedule as pipeline_schedule
from gradeclass.processes import free_port

pytestmark = [pytest.mark.process, pytest.mark.slow]
needs_prefect = pytest.mark.skipif(find_spec("prefect") is None, reason="Prefect is not installed: make prefect")

# Small stages, the same in every process: each writes its name; `train` fails as often as the parameter says, `evaluate` on request

STAGES = {"prepare": (), "drift": ("prepare",), "train": ("prepare",), "evaluate": ("prepare", "train")}
PARAMETERS = {"data": "", "schema": "", "seed": 0, "out_folder": ""}
OWN = {"train": {"failures": 0, "pause": 0.0, "mark": ""}, "evaluate": {"mistake": False}}
SOURCE = {
    "prepare": "",
    "drift": "json.dump({'sentence': 'The students are as before.'}, open(out_folder + '/drift.json', 'w'))",
    "train": """import os, pathlib, time
tries = pathlib.Path(mark + '.tries')
if failures:
    with tries.open('a') as file: file.write('x')
    if len(tries.read_text()) <= failures: raise RuntimeError('the disk hiccups')
if pause:
    pathlib.Path(mark + '.pid').write_text(str(os.getpid()))
    time.sleep(pause)""",
    "evaluate": """from gradeclass.data.files import DataError
if mistake: raise DataError('row 7: Age is 99')
figure = {'value': 0.79, 'low': 0.74, 'high': 0.83}
json.dump({'students': 305, 'accuracy': figure, 'within_one': figure, 'macro_f1': figure}, open(out_folder + '/metrics.json', 'w'))""",
}
SITE = """
import os
if os.environ.get("SMALL_STAGES"):
    from gradeclass.pipeline import runner, stages
    folder, names = os.environ["SMALL_STAGES"], __STAGES__
    small = {name: stages.Stage(name, f"{folder}/{name}.ipynb", needs, ("name.txt",)) for name, needs in names.items()}
    stages.STAGES.clear()
    stages.STAGES.update(small)
    runner.record_run = lambda outputs, parameters, run: setattr(run, "report", outputs/"runs"/run.run_id/"report.html")
    runner.track = lambda outputs, process=None: []
""".replace("__STAGES__", repr(STAGES))

def write_stage(folder, name, needs):
    "A small stage notebook"
    given = PARAMETERS | OWN.get(name, {}) | {f"{need}_folder": "" for need in needs}
    first = nbformat.v4.new_code_cell("\n".join(f"{key} = {value!r}" for key, value in given.items()),
                                      metadata={"tags": ["parameters"]})
    work = f"import json\nopen(out_folder + '/name.txt', 'w').write('{name} ' + str(seed))\n{SOURCE[name]}"
    notebook = nbformat.v4.new_notebook(cells=[first, nbformat.v4.new_code_cell(work)])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "python3", "language": "python"}
    nbformat.write(notebook, folder/f"{name}.ipynb")

def still_running(processes, seconds=15):
    "Those of some processes that have not ended after a while"
    ended = lambda process: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not all(map(ended, processes)): time.sleep(0.1)
    return [process.cmdline() for process in processes if not ended(process)]

def wait_for(look, seconds, what):
    "What `look` returns, once it is something"
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := look(): return found
        time.sleep(0.2)
    raise AssertionError(f"no {what} within {seconds} s")

def end(process, seconds=60):
    "SIGTERM to a process that we started, and to nothing else; returns what was below it"
    below = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    process.terminate()
    try: process.wait(seconds)
    finally: process.kill()
    return below

class Api:
    "Prefect's REST API"
    def __init__(self, address): self.address = address
    def post(self, path, **body):
        import httpx
        return httpx.post(f"{self.address}/{path}", json=body, timeout=20).raise_for_status().json()
    def tasks(self, flow_run):
        return {run["name"]: run for run in self.post("task_runs/filter", flow_runs={"id": {"any_": [flow_run["id"]]}})}
    def runs(self, **wanted): return self.post("flow_runs/filter", sort="START_TIME_DESC", **wanted)
    def artifacts(self, flow_run):
        return self.post("artifacts/filter", artifacts={"flow_run_id": {"any_": [flow_run["id"]]}})
    def settled(self, flow_run, names):
        "Task runs, once the server knows how each of them ended: events tell it, a little later"
        done = lambda found: set(found) == set(names) and all(run["state_type"] in ("COMPLETED", "FAILED", "PENDING")
                                                              for run in found.values())
        return wait_for(lambda: (found := self.tasks(flow_run)) and done(found) and found, 60, "end of the task runs")

@pytest.fixture(scope="module")
def small(tmp_path_factory):
    "Environment of processes that know the small stages"
    folder = tmp_path_factory.mktemp("small")
    for name, needs in STAGES.items(): write_stage(folder, name, needs)
    (folder/"site").mkdir()
    (folder/"site"/"sitecustomize.py").write_text(SITE)
    path = os.pathsep.join(filter(None,
                                  [str(folder/"site"), str(Path(pipeline_schedule.__file__).parents[2]),
                                   os.environ.get("PYTHONPATH")]))
    own = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    return own | {"SMALL_STAGES": str(folder), "PYTHONPATH": path, "PREFECT_RUNNER_POLL_FREQUENCY": "1",
                  "HOME": str(folder), "DO_NOT_TRACK": "1"}

def command(small, *words, **more):
    "A `gradeclass` command as a process of its own"
    return subprocess.Popen([sys.executable, "-c", "from gradeclass.cli.main import main; main()", *map(str, words)],
                            env=small | more,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

@pytest.fixture(scope="module")
def server(small, tmp_path_factory):
    "`gradeclass prefect` on a free port: its address, its outputs folder and its API"
    outputs, port = tmp_path_factory.mktemp("outputs"), free_port()
    with open(outputs/"server.log", "w") as log:
        process = subprocess.Popen([sys.executable, "-c", "from gradeclass.cli.main import main; main()", "prefect",
                                    "--port", str(port), "--outputs", outputs],
                                   env=small, stdout=log, stderr=subprocess.STDOUT)
    address = f"http://127.0.0.1:{port}/api"
    try:
        wait_for(lambda: pipeline_schedule.answers(address) or process.poll() is not None, 240, "server")
        assert process.poll() is None, (outputs/"server.log").read_text()
        yield SimpleNamespace(address=address, outputs=outputs, api=Api(address), pid=process.pid, port=port)
    finally: below = end(process)
    assert not still_running(below)

def once(small, server, *words, **more):
    "`gradeclass schedule --once` at the server; returns exit code, printed result and what it said"
    process = command(small, "schedule", "--once", "--data", "sample", "--outputs", server.outputs, "--json",
                      "--retry-delay", "0", *words,
                      PREFECT_API_URL=server.address, **more)
    out, err = process.communicate(timeout=240)
    return process.returncode, json.loads(out) if out.strip() else None, err

def run_directly(small, outputs):
    "The same stages without Prefect; returns stage -> key"
    code = ("import json, sys\nfrom gradeclass.pipeline.runner import make_outputs, plan_run\npipeline = "
            "plan_run('sample', outputs=sys.argv[1])\n"
            "make_outputs(pipeline.outputs)\nprint(json.dumps({name: [done.key, done.folder.name] for name, done in "
            "pipeline.run().items()}))")
    return json.loads(subprocess.run([sys.executable, "-c", code, str(outputs)], env=small, capture_output=True,
                                     text=True, check=True).stdout)

# What works without Prefect

def test_module_is_imported_without_prefect_and_says_how_to_get_it(tmp_path):
    code = ("import sys\nsys.modules['prefect'] = None\nimport gradeclass.pipeline.schedule\nassert 'papermill' not in "
            "sys.modules\nfrom gradeclass.cli.main import main\nsys.argv = ['gradeclass', 'prefect']\nmain()")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr == "gradeclass: prefect needs the extra `prefect`: pip install 'gradeclass[prefect]'\n"

@pytest.mark.parametrize("message, again", [
    ("stage train failed in cell 4: MemoryError:  (executed notebook: x)", True),
    ("stage train failed: DeadKernelError: Kernel died (executed notebook: x)", True),
    ("stage train: its process ended before the notebook did (killed, or out of memory)", True),
    ("stage train: cannot write /full: No space left on device", True),
    ("postgresql+psycopg2://school/db#students cannot be read: connection refused", True),
    ("stage prepare: row 7: Age is 99 (executed notebook: x)", False),
    ("stage prepare: the table failed its checks (executed notebook: x)", False),
    ("stage drift is not up to date: run it first, or leave out --only", False),
    ("students.csv cannot be read: it is empty", False),
    ("the run has ended", False),
])
def test_only_failures_that_may_pass_are_tried_again(message, again):
    assert pipeline_schedule.is_transient(message) is again

MISTAKES = {
    "no time": ([], "say when, in one way"),
    "two times": (["--once", "--every", "6h"], "say when, in one way"),
    "parameter": (["--cron", "0 6 * * 1", "-p", "sed=7"], "no parameter sed: did you mean seed?"),
    "value": (["--cron", "0 6 * * 1", "-p", "seed=many"], "parameter seed is 'many'; it needs a whole number"),
    "data": (["--cron", "0 6 * * 1", "--data", "nowhere.csv"], "no file nowhere.csv"),
    "cron": (["--cron", "every monday"],
             "--cron is 'every monday'; it needs minute, hour, day, month and weekday, such as '0 6 * * 1'"),
    "zone": (["--cron", "0 6 * * 1", "--timezone", "Mars/Base"],
             "no time zone Mars/Base: name one such as Europe/Berlin"),
    "interval": (["--every", "often"], "--every is 'often'; it needs a number and s, m, h or d"),
    "name": (["--every", "6h", "--name", "a/b"], "--name is 'a/b'"),
    "no server": (["--every", "6h"],
                  "a schedule needs Prefect's server: start `gradeclass prefect` in another terminal"),
}

@needs_prefect
def test_mistakes_are_refused_with_one_sentence_before_anything_is_scheduled(small, tmp_path):
    begun = {name: command(small, "schedule", "--data", "sample", "--outputs", tmp_path/"outputs", *words)
             for name, (words, _) in MISTAKES.items()}
    for name, process in begun.items():
        said = process.communicate(timeout=120)[1]
        assert process.returncode == 1 and said.startswith(f"gradeclass: {MISTAKES[name][1]}") and said.count("\n") == 1, (name, said)
    assert not (tmp_path/"outputs"/"stages").exists()

@needs_prefect
def test_server_that_does_not_answer_is_one_sentence(small, tmp_path):
    process = command(small, "schedule", "--once", "--data", "sample", "--outputs", tmp_path/"outputs",
                      PREFECT_API_URL="http://127.0.0.1:9/api")
    said = process.communicate(timeout=120)[1]
    assert process.returncode == 1
    assert (said
            == "gradeclass: no Prefect server answers at http://127.0.0.1:9/api: start `gradeclass prefect`, or change "
               "PREFECT_API_URL\n")

# At a real server

@pytest.fixture(scope="module")
def first(small, server):
    "A flow run that has everything to do"
    code, made, said = once(small, server)
    assert code == 0, said
    return SimpleNamespace(made=made, said=said,
                           flow=server.api.runs(flow_runs={"state": {"type": {"any_": ["COMPLETED"]}}})[0])

@needs_prefect
def test_run_at_the_server_has_a_task_for_each_stage_that_waits_for_its_needs(server, first):
    tasks = server.api.settled(first.flow, STAGES)
    assert {name: run["state_name"] for name, run in tasks.items()} == dict.fromkeys(STAGES, "Completed")
    names = {run["id"]: name for name, run in tasks.items()}
    waited = {name: {names[need["id"]] for need in run["task_inputs"].get("wait_for", [])}
              for name, run in tasks.items()}
    assert waited == {name: set(needs) for name, needs in STAGES.items()}

@needs_prefect
def test_drift_and_train_run_at_the_same_time(server, first):
    tasks = server.api.settled(first.flow, STAGES)
    assert max(tasks[name]["start_time"] for name in ("drift", "train")) < min(
        tasks[name]["end_time"] for name in ("drift", "train"))

@needs_prefect
def test_results_are_those_of_a_run_without_prefect(small, first, tmp_path):
    plain = run_directly(small, tmp_path/"outputs")
    assert {stage["name"]: [stage["key"], Path(stage["folder"]).name] for stage in first.made["stages"]} == plain

@needs_prefect
def test_artifact_holds_figures_sentences_and_stages(server, first):
    artifact, = server.api.artifacts(first.flow)
    assert artifact["key"] == "gradeclass-run" and artifact["type"] == "markdown"
    for part in ("right grade | 0.790 | 0.740 to 0.830", "The students are as before.", first.made["report"],
                 "| train | Completed |"):
        assert part in artifact["data"]

@needs_prefect
def test_log_of_the_run_is_the_runners_own(first):
    log = Path(first.made["stages"][0]["folder"]).parents[1]/"runs"/first.made["run_id"]/"log.jsonl"
    assert all(f"{word}" in log.read_text() for word in ("started", "done", *STAGES))

@needs_prefect
def test_second_run_finds_every_stage_cached(small, server, first):
    code, made, said = once(small, server)
    assert code == 0 and {stage["cached"] for stage in made["stages"]} == {True}, said
    flow = server.api.runs(flow_runs={"state": {"type": {"any_": ["COMPLETED"]}}})[0]
    assert flow["id"] != first.flow["id"]
    assert {run["state_name"] for run in server.api.settled(flow, STAGES).values()} == {"Cached"}

@needs_prefect
def test_stage_that_fails_once_is_tried_again(small, server, tmp_path):
    code, made, said = once(small, server, "-p", "failures=1", "-p", f"mark={tmp_path/'mark'}")
    assert code == 0, said
    flow = server.api.runs()[0]
    tasks = server.api.settled(flow, STAGES)
    assert {name: run["run_count"]
            for name, run in tasks.items()} == {"prepare": 1, "drift": 1, "train": 2, "evaluate": 1}
    assert (tmp_path/"mark.tries").read_text() == "xx" and tasks["train"]["state_name"] == "Completed"

@needs_prefect
def test_stage_that_keeps_failing_ends_the_run_as_failed_with_its_sentence(small, server, tmp_path):
    code, made, said = once(small, server, "-p", "failures=9", "-p", f"mark={tmp_path/'mark'}", "--retries", "1")
    sentence = said.strip().splitlines()[-1].removeprefix("gradeclass: ")
    assert code == 1 and sentence.startswith("stage train failed in cell 2: RuntimeError: the disk hiccups (executed "
                                             "notebook: ")
    flow = server.api.runs()[0]
    assert flow["state_type"] == "FAILED" and flow["state"]["message"] == sentence
    tasks = server.api.settled(flow, STAGES)
    assert (tasks["train"]["state_type"] == "FAILED" and tasks["train"]["run_count"] == 2
            and tasks["evaluate"]["state_name"] == "NotReady")
    assert sentence in server.api.artifacts(flow)[0]["data"]

@needs_prefect
def test_mistake_of_a_person_is_not_tried_again(small, server):
    code, made, said = once(small, server, "-p", "mistake=true")
    assert code == 1 and "Traceback" not in said
    assert said.strip().splitlines()[-1].startswith("gradeclass: stage evaluate: row 7: Age is 99 (executed notebook: ")
    task = server.api.settled(server.api.runs()[0], STAGES)["evaluate"]
    assert task["run_count"] == 1 and task["state"]["message"].startswith("stage evaluate: row 7: Age is 99")

# On a schedule

@needs_prefect
def test_cron_schedule_is_found_at_the_server_and_paused_at_the_end(small, server):
    process = command(small, "schedule", "--cron", "0 6 * * 1", "--timezone", "Europe/Oslo", "--name", "mondays",
                      "--data", "sample", "-p", "seed=7",
                      "--outputs", server.outputs, PREFECT_API_URL=server.address)
    find = lambda: server.api.post("deployments/filter", deployments={"name": {"any_": ["mondays"]}})
    try:
        made, = wait_for(find, 120, "deployment")
        told = next(line for line in process.stderr if "waiting for" in line)
        time.sleep(1)
    finally: below = end(process)
    assert (told == f"waiting for 0 6 * * 1; pages at {server.address.removesuffix('/api')}; Ctrl-C ends this\n"
            and process.returncode == 0)
    schedule, = made["schedules"]
    assert schedule["active"] and schedule["schedule"] == {"cron": "0 6 * * 1", "timezone": "Europe/Oslo",
                                                           "day_or": True}
    assert made["parameters"]["parameters"] == {"seed": 7} and made["parameters"]["outputs"] == str(server.outputs)
    assert not still_running(below)
    assert find()[0]["paused"]

@needs_prefect
def test_scheduled_run_is_picked_up_and_ends_with_its_process(small, server, tmp_path):
    process = command(small, "schedule", "--every", "5s", "--name", "often", "--data", "sample", "-p", "pause=120",
                      "-p", f"mark={tmp_path/'mark'}",
                      "--outputs", server.outputs)
    below = []
    try:
        wait_for(lambda: (tmp_path/"mark.pid").exists() or process.poll() is not None, 180, "scheduled run")
        assert process.poll() is None, process.stderr.read()
        below = psutil.Process(process.pid).children(recursive=True)
        kernel = int((tmp_path/"mark.pid").read_text())
        flow = server.api.runs(deployments={"name": {"any_": ["often"]}},
                               flow_runs={"state": {"type": {"any_": ["RUNNING"]}}})[0]
        assert flow["auto_scheduled"] and kernel in {child.pid for child in below}
    finally: end(process)
    assert not still_running(below) and process.returncode == 0
    assert server.api.post("flow_runs/filter", flow_runs={"id": {"any_": [flow["id"]]}})[0]["state_type"] == "CANCELLED"

@needs_prefect
def test_address_of_the_server_is_noted_and_its_port_refused(small, server):
    assert json.loads((server.outputs/"prefect"/"server.json").read_text())["address"] == server.address
    process = command(small, "prefect", "--port", server.port, "--outputs", server.outputs)
    said = process.communicate(timeout=120)[1]
    assert (process.returncode == 1
            and said == f"gradeclass: port {server.port} cannot be used on this computer: choose another with --port\n")

@needs_prefect
def test_server_keeps_to_itself(server):
    import httpx
    listens = {item.laddr.ip for item in psutil.Process(server.pid).net_connections()
               if item.status == psutil.CONN_LISTEN}
    assert listens == {"127.0.0.1"}
    asked = {"Origin": "https://elsewhere.example", "Access-Control-Request-Method": "POST"}
    assert "access-control-allow-origin" not in httpx.options(f"{server.address}/flow_runs/filter",
                                                              headers=asked).headers
    assert (server.outputs/"prefect"/"prefect.db").is_file()
    settings = httpx.get(f"{server.address}/admin/settings").json()
    assert settings["server"]["analytics_enabled"] is False

@needs_prefect
def test_run_without_a_server_starts_one_for_its_time(small, server, first, tmp_path):
    shutil.copytree(server.outputs/"stages", tmp_path/"outputs"/"stages")
    (tmp_path/"outputs"/"prefect").mkdir()
    with closing(sqlite3.connect(server.outputs/"prefect"/"prefect.db")) as made, closing(sqlite3.connect(tmp_path/"outputs"/"prefect"/"prefect.db")) as copy:
        made.backup(copy)
    process = command(small, "schedule", "--once", "--data", "sample", "--outputs", tmp_path/"outputs", "--json")
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    assert len(json.loads(out)["stages"]) == len(STAGES) and "Starting temporary server" in err
    with closing(sqlite3.connect(tmp_path/"outputs"/"prefect"/"prefect.db")) as made:
        assert made.execute("select state_type from flow_run order by created desc").fetchone() == ("COMPLETED",)

@needs_prefect
def test_run_comes_back_where_the_state_was_read_again_from_the_server(monkeypatch, tmp_path):
    "A server whose database is busy makes Prefect read the state again, and what it keeps has no result"
    from prefect.states import Completed
    run = SimpleNamespace(registration={"sentence": "Promote."}, run_id="r1")
    monkeypatch.setattr(pipeline_schedule, "configure_prefect", lambda outputs: None)
    monkeypatch.setattr(pipeline_schedule, "plan_run", lambda *given: None)
    monkeypatch.setattr(pipeline_schedule, "walk_stages", lambda *given: run)
    def again(return_state, **values):
        assert pipeline_schedule.run_stages(**values).is_completed() and return_state
        return Completed(message="as the server has it")
    monkeypatch.setattr(pipeline_schedule, "make_flow", lambda jobs: again)
    assert pipeline_schedule.run_once({"data": "sample", "outputs": str(tmp_path)}, 1) is run

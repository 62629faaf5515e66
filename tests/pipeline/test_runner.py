"The pipeline: cached, resumed, refused, killed, run twice at the same time, and each notebook on its own"
import ast
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pandas as pd
import psutil
import pytest
from conftest import QUICK

from gradeclass.cli.main import main
from gradeclass.pipeline import runner
from gradeclass.pipeline import stages as pipeline_stages
from gradeclass.registry.versions import list_versions
from gradeclass.config import stage_notebooks
from gradeclass.models.bundle import bundle_digest, load_model
from gradeclass.pipeline.runner import Pipeline, dry_run, plan_run, remove_leftovers, run_pipeline
from gradeclass.pipeline.stages import STAGES, Stage, StageError, check_parameters, known_parameters
from gradeclass.data.synthetic import sample_path

NOTEBOOKS = sorted(stage_notebooks().glob("*.ipynb"))

def cached(run):
    return {result.name: result.cached for result in run.stages}

def outputs_of(run):
    "The outputs folder of a finished run"
    return run.stages[0].folder.parents[1]

def parts_in(outputs):
    "What is half-written"
    return [path.name for path in Path(outputs).glob("*/.*.part")]

@pytest.fixture
def alone(tmp_path, monkeypatch):
    "A current folder outside the checkout, with nothing set in the environment but where outputs go"
    monkeypatch.delenv("GRADECLASS_HOME", raising=False)
    monkeypatch.setenv("GRADECLASS_OUTPUTS", str(tmp_path/"outputs"))
    (tmp_path/"elsewhere").mkdir()
    monkeypatch.chdir(tmp_path/"elsewhere")
    return tmp_path/"outputs"

# What is stale is run, and nothing else

def test_finished_run_has_what_it_promises(finished_run):
    for result in finished_run.stages:
        assert all((result.folder/name).is_file() for name in STAGES[result.name].outputs)
    assert load_model(finished_run.bundle).schema.name == "students"
    assert finished_run.report.is_file() and not parts_in(outputs_of(finished_run))

def test_second_run_takes_every_stage_from_the_store_and_is_quick(finished_run):
    began = time.monotonic()
    again = run_pipeline("sample", parameters=QUICK, outputs=outputs_of(finished_run))
    assert set(cached(again).values()) == {True}
    assert time.monotonic() - began < 5
    assert again.run_id != finished_run.run_id and again.bundle == finished_run.bundle

def test_renamed_data_file_runs_nothing_again(finished_run, tmp_path):
    shutil.copy(sample_path("students"), tmp_path/"renamed.csv")
    again = run_pipeline(str(tmp_path/"renamed.csv"), parameters=QUICK, outputs=outputs_of(finished_run))
    assert set(cached(again).values()) == {True}

def test_train_parameter_reruns_train_evaluate_and_register_alone(finished_run):
    other = run_pipeline("sample", parameters=QUICK | {"family": "majority", "params": {}},
                         outputs=outputs_of(finished_run))
    assert cached(other) == {"prepare": True, "drift": True, "train": False, "evaluate": False, "register": False}
    assert bundle_digest(other.bundle) != bundle_digest(finished_run.bundle)

def test_evaluate_parameter_leaves_the_other_keys_alone(finished_run):
    pipeline = Pipeline({"data": str(sample_path("students")), "places": 7.0, "family": "xgboost", "resamples": 50,
                         "params": {"rounds": 5, "patience": None}}, outputs_of(finished_run), list(STAGES.values()),
                        1, print)
    pipeline.done = {result.name: result for result in finished_run.stages}
    changed = {result.name: pipeline.job(STAGES[result.name]).key != result.key for result in finished_run.stages}
    assert changed == {"prepare": False, "drift": False, "train": False, "evaluate": True, "register": False}

def test_other_content_with_a_rare_grade_and_duplicates_runs_everything(finished_run, tmp_path):
    table = pd.read_csv(sample_path("students"))
    best = table.index[table.GradeClass == 0]
    table = table.drop(index=best[2:])
    pd.concat([table, table.head(25)]).to_csv(tmp_path/"students_sample.csv", index=False)
    run = run_pipeline(str(tmp_path/"students_sample.csv"), parameters=QUICK, outputs=outputs_of(finished_run))
    assert set(cached(run).values()) == {False}
    parts = [set(pd.read_parquet(run.folder("prepare")/f"{name}.parquet").StudentID)
             for name in ("train", "validation", "test")]
    assert not parts[0] & parts[1] | parts[0] & parts[2] | parts[1] & parts[2]
    table = pd.read_csv(run.folder("evaluate")/"predictions.csv")
    assert "p_A" in table and table.filter(like="p_").sum(axis=1).between(0.999, 1.001).all()

# What is refused, before any kernel starts

WRONG = {
    "famly": ("xgboost", "no parameter famly: did you mean family?"),
    "out_folder": ("/tmp", "no parameter out_folder"),
    "prepare_folder": ("/tmp", "no parameter prepare_folder"),
    "resamples": ("many", "parameter resamples is 'many'; it needs a whole number"),
    "seed": ("4.5", "parameter seed is '4.5'; it needs a whole number"),
    "audit": ("perhaps", "parameter audit is 'perhaps'; it needs true or false"),
    "test_size": ("[0.1]", "parameter test_size is '[0.1]'; it needs a number"),
    "params": ("rounds", "parameter params is 'rounds'; it needs a mapping"),
}

@pytest.mark.parametrize("name", WRONG)
def test_wrong_parameter_is_refused_before_anything_runs(tmp_path, name):
    value, message = WRONG[name]
    with pytest.raises(StageError) as caught:
        run_pipeline("sample", parameters={name: value}, outputs=tmp_path/"outputs")
    assert message in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path/"outputs").exists()

@pytest.mark.parametrize("typed, value", [("7", 7), (" 7 ", 7), ("0", 0), ("42", 42)])
def test_whole_numbers_are_read_as_typed(typed, value):
    assert check_parameters({"seed": typed}, known_parameters(list(STAGES.values()))) == {"seed": value}

def test_texts_that_look_like_numbers_stay_texts():
    assert check_parameters({"data": "2024", "schema": "no"},
                            known_parameters(list(STAGES.values()))) == {"data": "2024", "schema": "no"}

@pytest.mark.parametrize("data", ["nowhere.csv", "", "sqlite:///nowhere.db"])
def test_missing_data_or_schema_ends_with_one_sentence(alone, data, capsys, monkeypatch):
    options = ["--data", data] if data else ["--schema", "nowhere.yaml"]
    monkeypatch.setattr(sys, "argv", ["gradeclass", "run", *options])
    with pytest.raises(SystemExit) as caught: main()
    said = capsys.readouterr().err
    assert caught.value.code == 1 and said.startswith("gradeclass: ") and said.count("\n") == 1 and "nowhere" in said

# The stage notebooks

def tagged(notebook):
    return [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]

@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_parameters_cell_holds_commented_literals_alone(path):
    notebook = nbformat.read(path, as_version=4)
    assert notebook.metadata.kernelspec.language == "python"
    assert len(tagged(notebook)) == 1
    lines = tagged(notebook)[0].source.splitlines()
    assert all(re.match(r"\w+ = .+  # \S.+", line) for line in lines)
    for node in ast.parse(tagged(notebook)[0].source).body:
        assert isinstance(node, ast.Assign)
        ast.literal_eval(node.value)

def test_every_stage_has_its_notebook_and_every_notebook_its_stage():
    assert {stage.notebook for stage in STAGES.values()} == {path.name for path in NOTEBOOKS}

def test_each_notebook_runs_alone_under_plain_papermill(alone):
    import papermill
    for name in ("50_register", "40_evaluate", "30_train", "20_drift", "10_prepare"):
        papermill.execute_notebook(stage_notebooks()/f"{name}.ipynb", alone.parent/f"{name}.ipynb", parameters={},
                                   progress_bar=False)
    made = {stage.name: alone/"scratch"/stage.name for stage in STAGES.values()}
    assert all((made[stage.name]/name).is_file() for stage in STAGES.values() for name in stage.outputs)
    assert sorted(path.name.split("-")[0]
                  for path in (alone/"stages").iterdir()) == ["drift", "evaluate", "prepare", "train"]

# Some stages, all stages, no stage

def test_dry_run_of_a_finished_run_would_run_nothing(finished_run):
    planned = dry_run(plan_run("sample", parameters=QUICK, outputs=outputs_of(finished_run)))
    assert [(stage.name, stage.runs) for stage in planned] == [(name, False) for name in STAGES]

def test_dry_run_says_what_has_changed_and_writes_nothing(finished_run):
    outputs = outputs_of(finished_run)
    before = sorted(outputs.rglob("*"))
    planned = {stage.name: stage
               for stage in dry_run(plan_run("sample", parameters=QUICK | {"audit": "true"}, outputs=outputs))}
    assert [name for name, stage in planned.items() if stage.runs] == ["train", "evaluate", "register"]
    assert "audit is True, was False" in planned["train"].why and planned["evaluate"].why == "builds on train"
    assert sorted(outputs.rglob("*")) == before

def test_dry_run_in_a_new_folder_would_run_everything_and_makes_no_folder(tmp_path):
    planned = dry_run(plan_run("sample", outputs=tmp_path/"outputs"))
    assert [stage.runs for stage in planned] == [True]*len(STAGES) and planned[0].why == "has not run yet"
    assert not (tmp_path/"outputs").exists()

def test_only_refuses_what_it_needs_and_does_not_have(tmp_path):
    with pytest.raises(StageError, match="stage prepare is not up to date: run it first, or leave out --only"):
        run_pipeline("sample", parameters=QUICK, outputs=tmp_path/"outputs", only=["train"])

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

def test_register_meets_the_champion_that_was_there_before(finished_run, tmp_path):
    pipeline = Pipeline({}, outputs_of(finished_run), list(STAGES.values()))
    pipeline.done = {result.name: result for result in finished_run.stages}
    known = pipeline.is_current(pipeline.job(STAGES["register"]))
    pipeline.outputs = tmp_path
    assert known is not None and not pipeline.is_current(pipeline.job(STAGES["register"])), "a new outputs folder knows no model"

def use_stages(monkeypatch, stages):
    "Let the pipeline consist of other stages"
    for module in (pipeline_stages, runner):
        monkeypatch.setattr(module, "STAGES", {stage.name: stage for stage in stages})

def test_log_of_a_run_tells_each_stage_and_failures_too(tmp_path, monkeypatch):
    path = small_notebook(tmp_path/"small.ipynb", "1/0")
    use_stages(monkeypatch, [Stage("prepare", path)])
    with pytest.raises(StageError): run_pipeline("sample", outputs=tmp_path/"outputs")
    log = next((tmp_path/"outputs"/"runs").glob("*/log.jsonl"))
    records = [json.loads(line) for line in log.read_text().splitlines()]
    assert [record["event"] for record in records if record.get("stage") == "prepare"
            and record["event"] != "cell"] == ["started", "failed"]
    assert "ZeroDivisionError" in json.dumps(records[-1])

# Failing stages, with small notebooks

def small_notebook(path, *cells):
    "A stage notebook with the parameters `data`, `schema` and `out_folder`"
    first = nbformat.v4.new_code_cell('data = ""\nschema = ""\nout_folder = ""', metadata={"tags": ["parameters"]})
    notebook = nbformat.v4.new_notebook(cells=[first, *map(nbformat.v4.new_code_cell, cells)])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "python3", "language": "python"}
    nbformat.write(notebook, path)
    return str(path)

def run_command(monkeypatch, stages, outputs):
    "`gradeclass run` with other stages; returns its exit code"
    use_stages(monkeypatch, stages)
    monkeypatch.setattr(sys, "argv", ["gradeclass", "run", "--data", "sample", "--outputs", str(outputs)])
    with pytest.raises(SystemExit) as caught: main()
    return caught.value.code

def still_running(processes, seconds=10):
    "Those of some processes that have not ended after a while"
    ended = lambda process: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not all(map(ended, processes)): time.sleep(0.1)
    # multiprocessing's own, which this process keeps
    shared = lambda process: "resource_tracker" in " ".join(process.cmdline())
    return [process.cmdline() for process in processes if not ended(process) and not shared(process)]

def test_failing_cell_is_reported_with_its_error_and_notebook(tmp_path, monkeypatch, capsys):
    path = small_notebook(tmp_path/"small.ipynb", "print('so far')", "1/0", "print('never')")
    assert run_command(monkeypatch, [Stage("prepare", path)], tmp_path/"outputs") == 1
    said = capsys.readouterr().err.strip().splitlines()[-1]
    found = re.fullmatch(r"gradeclass: stage prepare failed in cell (\d+): ZeroDivisionError: division by zero "
                         r"\(executed notebook: (.+)\)", said)
    assert found
    stage, executed = json.loads(Path(path).read_text()), Path(found[2]).read_text()
    numbered = [notebook["cells"][int(found[1]) - 1]["source"] for notebook in (stage, json.loads(executed))]
    assert "1/0" in ["".join(source)
                     for source in numbered], "the number is that of a cell in the stage's notebook or in the executed one"
    assert "so far" in executed and "ZeroDivisionError" in executed
    assert not list((tmp_path/"outputs"/"stages").iterdir())
    assert not still_running(psutil.Process().children(recursive=True))

def test_our_own_error_in_a_stage_is_shown_as_it_is(tmp_path, monkeypatch, capsys):
    path = small_notebook(tmp_path/"small.ipynb",
                          "from gradeclass.data.files import DataError\nraise DataError('row 7: Age is 99')")
    assert run_command(monkeypatch, [Stage("prepare", path)], tmp_path/"outputs") == 1
    assert "gradeclass: stage prepare: row 7: Age is 99 (executed notebook: " in capsys.readouterr().err

def test_missing_output_is_an_error(tmp_path, monkeypatch, capsys):
    path = small_notebook(tmp_path/"small.ipynb", "open(out_folder + '/one.txt', 'w').close()")
    assert run_command(monkeypatch, [Stage("prepare", path, (), ("one.txt", "two.txt"))], tmp_path/"outputs") == 1
    said = capsys.readouterr().err
    assert "the notebook ended without writing two.txt" in said and said.count("\n") <= 2
    assert not list((tmp_path/"outputs"/"stages").iterdir())

def test_kernel_that_dies_is_an_error(tmp_path, monkeypatch, capsys):
    path = small_notebook(tmp_path/"small.ipynb", "import os\nos._exit(3)")
    assert run_command(monkeypatch, [Stage("prepare", path)], tmp_path/"outputs") == 1
    said = capsys.readouterr().err
    assert "gradeclass: stage prepare failed" in said and "Traceback" not in said
    assert not list((tmp_path/"outputs"/"stages").iterdir())

def test_broken_notebook_is_an_error_and_not_a_traceback(tmp_path, monkeypatch, capsys):
    (tmp_path/"small.ipynb").write_text("{ no notebook")
    assert run_command(monkeypatch, [Stage("prepare", str(tmp_path/"small.ipynb"))], tmp_path/"outputs") == 1
    assert "small.ipynb" in capsys.readouterr().err

def test_failure_ends_the_stage_beside_it(tmp_path):
    (tmp_path/"outputs").mkdir()
    slow = small_notebook(tmp_path/"slow.ipynb",
                          "import os, time\nopen(f'{data}.pid', 'w').write(str(os.getpid()))\ntime.sleep(60)")
    failing = small_notebook(tmp_path/"failing.ipynb",
                             "import os, time\nwhile not os.path.exists(f'{data}.pid'): time.sleep(.05)\n1/0")
    (tmp_path/"mark").touch()
    pipeline = Pipeline({"data": str(tmp_path/"mark")}, tmp_path/"outputs",
                        [Stage("slow", slow), Stage("failing", failing)], 2, print)
    began = time.monotonic()
    with pytest.raises(StageError, match="stage failing failed"): pipeline.run()
    assert time.monotonic() - began < 30
    pid = int((tmp_path/"mark.pid").read_text())
    assert not still_running([psutil.Process(pid)] if psutil.pid_exists(pid) else [])
    remove_leftovers(tmp_path/"outputs")
    assert not list((tmp_path/"outputs"/"stages").iterdir())

def test_independent_stages_run_at_the_same_time(tmp_path):
    source = ("import time\nbegan = time.time()\ntime.sleep(3)\nopen(out_folder + '/times.txt', 'w').write(f'{began} "
              "{time.time()}')")
    stages = [Stage(name, small_notebook(tmp_path/f"{name}.ipynb", source, f"name = '{name}'"), (), ("times.txt",))
              for name in ("one", "two")]
    (tmp_path/"data.csv").touch()
    done = Pipeline({"data": str(tmp_path/"data.csv")}, tmp_path/"outputs", stages, 2, print).run()
    (began, ended), (began_too,
                     ended_too) = [[*map(float, (done[name].folder/"times.txt").read_text().split())]
                                   for name in ("one", "two")]
    assert max(began, began_too) < min(ended, ended_too)

@pytest.mark.skipif(sys.platform != "linux", reason="kernels are forked on Linux alone")
@pytest.mark.parametrize("seconds", [0, 0.8, 1.6, 2.4])
def test_run_that_is_killed_soon_leaves_no_folder_of_sockets(seconds, tmp_path):
    process, below = start_run(tmp_path/"outputs", tmp_path), []
    while len(below) < 2 and process.poll() is None: below = psutil.Process(process.pid).children(recursive=True)
    time.sleep(seconds)
    below = psutil.Process(process.pid).children(recursive=True)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert len(below) >= 2 and not still_running(below, 10)
    assert not [path for pid in (process.pid, *(child.pid for child in below))
                for path in Path("/tmp").glob(f"gradeclass-warm-?{pid}-*")]

@pytest.mark.skipif(sys.platform != "linux", reason="kernels are forked on Linux alone")
@pytest.mark.parametrize("source, kernel, said",
                         [("open(out_folder + '/b.txt', 'w').close()", "python3", ""),
                          ("1/0", "python3", "ZeroDivisionError"),
                                                  ("import os; os._exit(3)", "python3", "DeadKernelError"),
                          ("1", "no_such", "No such kernel named no_such")])
def test_forked_kernels_leave_no_folder_of_sockets_however_a_stage_ends(source, kernel, said, tmp_path):
    (tmp_path/"data.csv").touch()
    first = small_notebook(tmp_path/"a.ipynb", "open(out_folder + '/a.txt', 'w').close()", "name = 'a'")
    second = small_notebook(tmp_path/"b.ipynb", source, "name = 'b'\na_folder = ''")
    notebook = json.loads(Path(second).read_text())
    notebook["metadata"]["kernelspec"] = {"name": kernel, "display_name": kernel, "language": "python"}
    Path(second).write_text(json.dumps(notebook))
    pipeline = Pipeline({"data": str(tmp_path/"data.csv")}, tmp_path/"outputs",
                        [Stage("a", first, (), ("a.txt",)), Stage("b", second, ("a",), ("b.txt",))])
    asked = []
    pipeline.on_event = lambda event: asked.append([worker.process.pid for worker in pipeline.workers])
    if said:
        with pytest.raises(StageError, match=said): pipeline.run()
        assert len(list((tmp_path/"outputs"/"failed").glob("b-*.ipynb"))) == 1
    else: pipeline.run()
    workers = {pid for pids in asked for pid in pids}
    assert workers and not [path for pid in workers for path in Path("/tmp").glob(f"gradeclass-warm-k{pid}-*")]

# Runs that are killed, and runs side by side

def start_run(outputs, cwd):
    "`gradeclass run` as a process of its own"
    options = [word for name, value in QUICK.items() for word in ("-p", f"{name}={value}")]
    command = [sys.executable, "-c", "from gradeclass.cli.main import main; main()", "run", "--data", "sample",
               "--json", "--outputs", str(outputs), *options]
    return subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            start_new_session=True)

def finish_run(process):
    "Wait for a run; returns its stages' `cached` and the digest of its bundle"
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    made = json.loads(out)
    return {stage["name"]: stage["cached"] for stage in made["stages"]}, bundle_digest(made["bundle"])

def wait_for_kernel(process, outputs, stage):
    "Wait until a kernel executes a stage; returns the processes below the run"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None, f"the run ended before {stage} could be killed: {process.stderr.read()}"
        below = psutil.Process(process.pid).children(recursive=True)
        if list(outputs.glob(f"stages/.{stage}-*.part")) and any("ipykernel" in " ".join(child.cmdline())
                                                                 for child in below if child.is_running()):
            time.sleep(0.7)
            return psutil.Process(process.pid).children(recursive=True)
        time.sleep(0.05)
    raise AssertionError(f"no kernel began with {stage}")

@pytest.fixture
def begun(finished_run, tmp_path):
    "Outputs in which the first few stages are finished"
    def begin(stage):
        (tmp_path/"outputs"/"stages").mkdir(parents=True)
        names = list(STAGES)[:list(STAGES).index(stage)]
        for result in finished_run.stages:
            if result.name in names: shutil.copytree(result.folder, tmp_path/"outputs"/"stages"/result.folder.name)
        return tmp_path/"outputs"
    return begin

@pytest.mark.parametrize("stage", STAGES)
def test_killed_run_leaves_no_process_and_the_next_one_resumes(stage, begun, finished_run, tmp_path):
    outputs = begun(stage)
    process = start_run(outputs, tmp_path)
    below = wait_for_kernel(process, outputs, stage)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert len(below) >= 2 and not still_running(below, 10)
    assert parts_in(outputs)
    resumed, digest = finish_run(start_run(outputs, tmp_path))
    order = list(STAGES)
    assert resumed == {name: order.index(name) < order.index(stage) for name in order}
    assert digest == bundle_digest(finished_run.bundle)
    assert not parts_in(outputs) and len(list((outputs/"stages").iterdir())) == len(STAGES)

def test_interrupted_run_ends_with_130_and_leaves_no_process(tmp_path):
    process = start_run(tmp_path/"outputs", tmp_path)
    below = wait_for_kernel(process, tmp_path/"outputs", "prepare")
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130 and "Traceback" not in err
    assert not still_running(below, 10)

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

# Kernels

def shown(folder, outputs):
    "What an executed notebook says: sources and outputs, without its own paths and times"
    notebook = nbformat.read(Path(folder, "notebook.ipynb"), 4)
    text = json.dumps([[cell.source, cell.get("outputs", [])] for cell in notebook.cells])
    text = re.sub(rf"{re.escape(str(outputs))}/stages/\.?[\w.-]+", "FOLDER", text).replace(str(outputs), "OUTPUTS")
    return re.sub(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d)?|T_[0-9a-f]{5}(?=[_ \\])|0x[0-9a-f]{6,}", "VARIES", text)

@pytest.mark.skipif(sys.platform != "linux", reason="kernels are forked on Linux alone")
def test_notebooks_are_the_same_on_forked_and_on_ordinary_kernels(tmp_path, monkeypatch):
    said = {}
    for kind in ("warm", "ordinary"):
        monkeypatch.setenv("GRADECLASS_KERNELS", kind)
        run = run_pipeline("sample", parameters=QUICK, outputs=tmp_path/kind)
        said[kind] = {stage.name: shown(stage.folder, tmp_path/kind) for stage in run.stages}
    assert said["warm"].keys() == STAGES.keys()
    for name in STAGES: assert said["warm"][name] == said["ordinary"][name], name

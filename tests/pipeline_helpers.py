"Runs for tests: with small notebooks, in processes of their own, and what they leave"
import json
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import psutil
from conftest import QUICK

from gradeclass.models.bundle import bundle_digest
from gradeclass.pipeline import runner, stages as stages_module

def cached(run):
    "Which stages a run took from the cache"
    return {result.name: result.cached for result in run.stages}

def outputs_of(run):
    "The outputs folder of a finished run"
    return run.stages[0].folder.parents[1]

def parts_in(outputs):
    "What is half-written"
    return [path.name for path in Path(outputs).glob("*/.*.part")]

def use_stages(monkeypatch, stages):
    "Let the pipeline consist of other stages"
    for module in (stages_module, runner):
        monkeypatch.setattr(module, "STAGES", {stage.name: stage for stage in stages})

def small_notebook(path, *cells):
    "A stage notebook with the parameters `data`, `schema` and `out_folder`"
    first = nbformat.v4.new_code_cell('data = ""\nschema = ""\nout_folder = ""', metadata={"tags": ["parameters"]})
    notebook = nbformat.v4.new_notebook(cells=[first, *map(nbformat.v4.new_code_cell, cells)])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "python3", "language": "python"}
    nbformat.write(notebook, path)
    return str(path)

def still_running(processes, seconds=90):
    "Those of some processes that have not ended after a while"
    ended = lambda process: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not all(map(ended, processes)): time.sleep(0.1)
    # multiprocessing's own, which this process keeps
    shared = lambda process: "resource_tracker" in " ".join(process.cmdline())
    return [process.cmdline() for process in processes if not ended(process) and not shared(process)]

def start_run(outputs, cwd):
    "`gradeclass run` as a process of its own"
    options = [word for name, value in QUICK.items() for word in ("-p", f"{name}={value}")]
    # A shell that starts the tests in the background has them ignore SIGINT, and so whatever they start
    code = ("import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
            "from gradeclass.cli.main import main; main()")
    command = [sys.executable, "-c", code, "run", "--data", "sample", "--json", "--outputs", str(outputs), *options]
    return subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            start_new_session=True)

def finish_run(process):
    "Wait for a run; returns its stages' `cached` and the digest of its bundle"
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    made = json.loads(out)
    return {stage["name"]: stage["cached"] for stage in made["stages"]}, bundle_digest(made["bundle"])

def wait_for_kernel(process, outputs, stage):
    "Wait until a kernel executes a stage; returns the processes below the run"
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        assert process.poll() is None, f"the run ended before {stage} could be killed: {process.stderr.read()}"
        below = psutil.Process(process.pid).children(recursive=True)
        if list(outputs.glob(f"stages/.{stage}-*.part")) and any("ipykernel" in " ".join(child.cmdline())
                                                                 for child in below if child.is_running()):
            time.sleep(0.7)
            return psutil.Process(process.pid).children(recursive=True)
        time.sleep(0.05)
    raise AssertionError(f"no kernel began with {stage}")

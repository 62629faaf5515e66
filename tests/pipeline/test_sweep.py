"A sweep shares what runs have in common, isolates failures, goes on where it was killed, and survives the loss of a worker"
import os
import re
import signal
import subprocess
import sys
import threading
from types import SimpleNamespace

import pandas as pd
import psutil
import pytest
from dask_processes import dask_processes, wait_for

from gradeclass.pipeline import sweep
from gradeclass.pipeline.stages import StageError
from gradeclass.pipeline.worker import Worker
from gradeclass.pipeline.sweep import run_sweep

pytestmark = [pytest.mark.process, pytest.mark.slow]
QUICK = {"family": ["logistic", "majority"], "resamples": ["20"]}
COMMAND = [sys.executable, "-c", "from gradeclass.cli.main import main; main()", "sweep"]


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    "A small sweep that one of three runs fails"
    outputs = tmp_path_factory.mktemp("sweep")
    before = threading.active_count()
    swept = run_sweep([QUICK, {"family": ["xgboost"], "params": ["{roundz: 3}"], "resamples": ["20"]}], "sample",
                      outputs=outputs)
    assert threading.active_count() == before and sweep.crew.cache_info().currsize == 0
    return outputs, swept


def test_failure_is_listed_and_stops_no_other_run(done):
    _, swept = done
    assert swept.table.state.tolist() == ["done", "done", "failed"]
    assert re.search(r"run 3: stage train: .*xgboost has no parameter roundz", swept.failures()[0])
    assert "roundz" in swept.page.read_text()


def test_runs_share_the_prepared_data_and_register_nothing(done):
    outputs, swept = done
    assert len(list((outputs/"stages").glob("prepare-*"))) == 1
    assert {path.name.split("-")[0] for path in (outputs/"stages").iterdir()} == {"prepare", "train", "evaluate"}
    assert not (outputs/"champion").exists() and not (outputs/"runs").exists()


def test_table_on_disk_holds_figures_with_intervals(done):
    _, swept = done
    table = pd.read_csv(swept.folder/"runs.csv")
    assert table.run.tolist() == pd.read_parquet(swept.folder/"runs.parquet").run.tolist()
    assert table.macro_f1.dropna().is_monotonic_decreasing and table.family[0] == "logistic"
    good = table[table.state == "done"]
    assert ((good.accuracy_low <= good.accuracy) & (good.accuracy <= good.accuracy_high)).all()


def test_page_needs_no_network_and_links_to_notebooks_that_exist(done):
    _, swept = done
    page = swept.page.read_text()
    links = re.findall(r'href="([^"]+)"', page)
    assert len(links) >= 7 and all((swept.folder/link).is_file() for link in links)
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', page) and "<script" not in page
    assert page.count("<polyline") == 2


def test_same_sweep_runs_nothing_but_what_failed(done, monkeypatch):
    outputs, swept = done
    states = []
    again = run_sweep([QUICK, {"family": ["xgboost"], "params": ["{roundz: 3}"], "resamples": ["20"]}], "sample",
                      outputs=outputs,
                      on_run=lambda run, runs, state: states.append(state))
    assert sorted(states) == ["failed", "kept", "kept"] and again.folder == swept.folder


def test_longer_sweep_takes_over_the_runs_of_a_shorter_one(done, monkeypatch):
    outputs, _ = done
    monkeypatch.setattr(Worker, "run", lambda *job: (_ for _ in ()).throw(StageError("no stage may run here")))
    assert run_sweep([QUICK], "sample", outputs=outputs).table.state.tolist() == ["done", "done"]


@pytest.mark.parametrize("free, more", [(8e9, [True, True, False]), (5e8, [True, False, False])])
def test_memory_that_is_short_holds_stages_back(monkeypatch, free, more):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=free))
    assert [sweep.may_start(running, 4, 2e9) for running in (0, 1, 4)] == more
    assert not sweep.may_start(3, 4, 2e9)


GRID = ["-p", "family=majority,logistic", "-p", "seed=1:2", "-p", "resamples=20"]


def test_killed_sweep_goes_on_with_what_is_missing(tmp_path):
    command = [*COMMAND, *GRID, "--data", "sample", "--outputs", str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(lambda: list(tmp_path.glob("stages/evaluate-*")))
    children = psutil.Process(process.pid).children(recursive=True)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    wait_for(lambda: not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children), 30)
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob("stages/*/stage.json")}
    done = subprocess.run(command, capture_output=True, text=True)
    assert "4 of 4 done" in done.stdout and done.returncode == 0
    assert len(list(tmp_path.glob("stages/*/stage.json"))) == 2 + 4 + 4
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert not list(tmp_path.glob("*/.*.part"))


@pytest.mark.parametrize("words, said", [
    (["-p", "famly=ordinal,xgboost"], "no parameter famly: did you mean family?"),
    (["-p", "seed=9:1"], "9:1 holds no number"),
    (["-p", "promote=auto"], "no parameter promote"),
    (["--grid", "none.yaml"], "no file none.yaml"),
    ([], "a sweep needs a grid"),
    (["-p", "seed=1,2", "--metric", "f2"], "no metric f2: use one of"),
    (["-p", "seed=1,2", "--scheduler", "tcp://127.0.0.1:9"], "no Dask scheduler answers"),
])
def test_mistakes_end_before_any_stage_runs(tmp_path, words, said, capsys, monkeypatch):
    from gradeclass.cli.main import main
    monkeypatch.setattr(sys, "argv", ["gradeclass", "sweep", *words, "--data", "sample", "--outputs", str(tmp_path)])
    with pytest.raises(SystemExit) as ended: main()
    assert ended.value.code == 1 and said in capsys.readouterr().err
    assert not list(tmp_path.glob("stages/*"))


def test_cluster_survives_the_death_of_a_worker(tmp_path, done):
    parts = [{"family": ["logistic", "majority"], "seed": ["1", "42"], "resamples": ["20"]}]
    with dask_processes(tmp_path) as cluster:
        killer = threading.Thread(target=lambda: (wait_for(lambda: list(tmp_path.glob("out/stages/train-*"))),
                                                  cluster.kill_worker()))
        killer.start()
        swept = run_sweep(parts, "sample", outputs=tmp_path/"out", scheduler=cluster.address)
        killer.join()
    assert swept.table.state.tolist() == ["done"]*4
    here = done[1].table.set_index("family").accuracy
    there = swept.table[swept.table.seed == 42].set_index("family").accuracy
    assert there.logistic == here.logistic and there.majority == here.majority

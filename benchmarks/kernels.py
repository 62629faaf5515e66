"Forked kernels beside ordinary ones: the train stage's time, its executed notebook, the memory of idle kernels, and what two hundred of them leave"
import argparse
import asyncio
import os
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path

import nbformat
import psutil
from common import markdown
from jupyter_client import AsyncKernelManager

from gradeclass.pipeline.runner import Pipeline
from gradeclass.pipeline.stages import STAGES, needed_by
from gradeclass.pipeline.worker import private_kernel
from gradeclass.data.synthetic import sample_path
from gradeclass.kernels.client import OWN, close_own
from gradeclass.kernels.server import MODULES, PREFIX, SOON
from gradeclass.kernels.provisioner import WarmKernelManager, warm_options

BARS = {"time": 0.45, "memory": 0.5}
CASES = {"as it is": {}, "small model": {"family": "xgboost", "params": {"rounds": 20, "patience": None}},
         "its imports, 20 trees": {}}
CPU = "import resource as _resource; print(sum(_resource.getrusage(_resource.RUSAGE_SELF)[:2]))"


def prepare(outputs):
    "The folder of the sample's prepare stage"
    pipeline = Pipeline({"data": str(sample_path("students"))}, outputs, needed_by(["prepare"]))
    return pipeline.run()["prepare"].folder


TREES = """import numpy, xgboost, imblearn, seaborn, matplotlib.pyplot
X = numpy.random.default_rng(0).normal(size=(1000, 8))
xgboost.XGBClassifier(n_estimators=20, n_jobs=1).fit(X, X[:, 0] > 0).score(X, X[:, 0] > 0)"""


def with_clock(path, name):
    "The train notebook, or its imports alone, with one more cell, which prints the seconds of CPU that the kernel took"
    notebook = nbformat.read(STAGES["train"].path, 4)
    if "imports" in name:
        notebook.cells = [cell for cell in notebook.cells
                          if "parameters" in cell.metadata.get("tags", [])] + [nbformat.v4.new_code_cell(
            "\n".join(line for line in notebook.cells[2].source.split("folders =")[0].splitlines()) + "\n" + TREES)]
    notebook.cells.append(nbformat.v4.new_code_cell(CPU))
    nbformat.write(notebook, path)
    return path


def execute(notebook, folder, out, options, parameters):
    "Execute the train stage as the runner does; seconds, seconds of CPU in the kernel, and the notebook"
    import papermill
    out.mkdir()
    started = time.perf_counter()
    done = papermill.execute_notebook(str(notebook), str(out/"notebook.ipynb"),
                                      {"prepare_folder": str(folder), "out_folder": str(out), **parameters},
                                      progress_bar=False, cwd=str(Path.cwd()), start_timeout=120, **options)
    return time.perf_counter() - started, float(done.cells[-1].outputs[0].text), done


def shown(notebook, out):
    "What an executed notebook shows, without times and without its own folder"
    return [[{key: str(value).replace(str(out), "OUT") for key, value in output.items() if key != "execution_count"}
             for output in cell.get("outputs", [])]
            for cell in notebook.cells[:-1]]


def compare_stage(rounds, name):
    "Medians of interleaved runs; whether the executed notebooks are the same"
    base = Path(tempfile.mkdtemp(prefix="gradeclass-benchmark-"))
    folder, notebook = prepare(base/"outputs"), with_clock(base/"train.ipynb", name)
    execute(notebook, folder, base/"first", warm_options(), CASES[name])
    rows, same = {"ordinary": [], "warm": []}, True
    for number in range(rounds):
        outs = {kind: base/f"{kind}-{number}" for kind in rows}
        with private_kernel() as options: one = execute(notebook, folder, outs["ordinary"], options, CASES[name])
        two = execute(notebook, folder, outs["warm"], warm_options(), CASES[name])
        same &= shown(one[2], outs["ordinary"]) == shown(two[2], outs["warm"])
        rows["ordinary"].append(one[:2])
        rows["warm"].append(two[:2])
    seconds, cpu = ({kind: statistics.median(row[at] for row in found) for kind, found in rows.items()}
                    for at in (0, 1))
    ratios = [two[0]/one[0] for one, two in zip(rows["ordinary"], rows["warm"], strict=True)]
    return {"train stage": name, "ordinary, s": round(seconds["ordinary"], 2), "warm, s": round(seconds["warm"], 2),
            "ratio": round(seconds["warm"]/seconds["ordinary"], 2),
            "ratio of pairs": round(statistics.median(ratios), 2),
            "CPU ordinary, s": round(cpu["ordinary"], 2), "CPU warm, s": round(cpu["warm"], 2),
            "same notebook": "yes" if same else "no"}


async def idle_memory(manager_class, count, imports):
    "Proportional memory of idle kernels and their server, in MB"
    managers = [manager_class(kernel_name="python3") for _ in range(count)]
    for manager in managers:
        await manager.start_kernel()
        client = manager.client()
        client.start_channels()
        await client.wait_for_ready(timeout=120)
        await client.execute_interactive("import " + ", ".join(imports) if imports else "pass",
                                         output_hook=lambda message: None)
        client.stop_channels()
    pids = {manager.provisioner.pid for manager in managers}
    if manager_class is WarmKernelManager: pids |= {psutil.Process(pid).ppid() for pid in pids}
    found = sum(psutil.Process(pid).memory_full_info().pss for pid in pids)/1e6
    for manager in managers: await manager.shutdown_kernel(now=True)
    return found


def compare_memory(count):
    "Idle kernels that have imported nothing, where the ordinary ones have no libraries to hold, and those with the same libraries: the bar is for these"
    rows = []
    for words, imports in (("just started", ()), ("with the modules imported", MODULES + SOON)):
        ordinary, warm = (asyncio.run(idle_memory(kind, count, imports))
                          for kind in (AsyncKernelManager, WarmKernelManager))
        rows.append({"kernels": f"{count}, {words}", "ordinary, MB": round(ordinary),
                     "warm and server, MB": round(warm), "ratio": round(warm/ordinary, 2)})
    return rows


async def live(number):
    "Start a kernel and end it: killed, shut down at once, or orderly"
    manager = WarmKernelManager(kernel_name="python3")
    await manager.start_kernel()
    if number % 3 == 0: os.kill(manager.provisioner.pid, signal.SIGKILL)
    await manager.shutdown_kernel(now=number % 3 == 1)
    await manager.cleanup_resources()


def count_left(server):
    "Processes, descriptors and folders"
    return {"processes": len(server.children()),
            "zombies": sum(child.status() == psutil.STATUS_ZOMBIE for child in server.children()),
            "descriptors of the server": server.num_fds(), "descriptors here": psutil.Process().num_fds(),
            "folders": len(list(Path(tempfile.gettempdir()).glob(f"{PREFIX}?{os.getpid()}-*")))}


def endure(count):
    "What is there before and after many kernels"
    asyncio.run(live(0))
    server = psutil.Process(OWN[0].process.pid)
    before = count_left(server)
    for number in range(count): asyncio.run(live(number))
    time.sleep(1)
    after = count_left(server)
    close_own()
    ended = {"children": len(psutil.Process().children(recursive=True)),
             "folders": len(list(Path(tempfile.gettempdir()).glob(f"{PREFIX}?{os.getpid()}-*")))}
    return before, after, ended


def main():
    "Measure and print; ends with 1 where a bar is missed"
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="interleaved pairs of the train stage")
    parser.add_argument("--kernels", type=int, default=10, help="idle kernels")
    parser.add_argument("--lives", type=int, default=200, help="kernels that are started and ended")
    given = parser.parse_args()
    if os.environ.pop("PYTHONDONTWRITEBYTECODE", ""):
        print("PYTHONDONTWRITEBYTECODE is not passed on: it would slow the imports of ordinary kernels\n")
    os.environ.setdefault("JUPYTER_PREFER_ENV_PATH", "1")
    stages = [compare_stage(given.rounds, name) for name in CASES] if given.rounds else []
    memory = compare_memory(given.kernels) if given.kernels else []
    print(markdown(stages), markdown(memory), sep="\n\n")
    missed = [row["train stage"] for row in stages if row["ratio"] > BARS["time"] or row["same notebook"] != "yes"]
    missed += [row["kernels"] for row in memory[1:] if row["ratio"] > BARS["memory"]]
    if given.lives:
        before, after, ended = endure(given.lives)
        print(f"\n{given.lives} kernels: {before} before, {after} after; at the end {ended}")
        if before != after: missed.append("lives")
    if missed: print(f"\nmissed: {', '.join(missed)}")
    return 1 if missed else 0


if __name__ == "__main__": sys.exit(main())

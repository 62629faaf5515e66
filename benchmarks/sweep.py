"What a run of a sweep costs beside its bare work, whether memory grows, and whether a killed sweep goes on"
import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil
from common import markdown

BARE = """
import contextlib, io, json, os, sys, tempfile, time, warnings
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
import matplotlib
matplotlib.use("agg")

def prepare(folder):
    run("prepare", {"data": DATA}, folder, {})

def run(stage, parameters, out, needs):
    from gradeclass.pipeline.stages import STAGES, read_cells
    cells = [cell["source"] for cell in read_cells(STAGES[stage].path) if cell["type"] == "code"]
    names = {"display": lambda *things: None}
    given = parameters | {"out_folder": str(out)} | {f"{need}_folder": str(folder) for need, folder in needs.items()}
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for place, source in enumerate(cells):
            exec(source, names)
            if place == 0: names |= given
    import matplotlib.pyplot as plt
    plt.close("all")

def work(parameters):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for stage in ("train", "evaluate"): (folder/stage).mkdir()
        run("train", parameters, folder/"train", {"prepare": PREPARED})
        run("evaluate", {"seed": parameters["seed"]}, folder/"evaluate", {"prepare": PREPARED, "train": folder/"train"})

def main():
    runs, jobs = json.loads(sys.argv[1]), int(sys.argv[2])
    with ProcessPoolExecutor(jobs) as pool:
        list(pool.map(work, runs[:jobs]))
        began = time.monotonic()
        list(pool.map(work, runs))
        print(json.dumps(time.monotonic() - began))

from gradeclass.data.synthetic import sample_path
DATA, PREPARED = str(sample_path("students")), Path(sys.argv[3])
if __name__ == "__main__":
    if not any(PREPARED.iterdir()): prepare(PREPARED)
    main()
"""


def grid(families):
    "Parameters of eight runs a family; each of them makes another bundle, so that no stage is shared but the first"
    return ["-p", f"family={','.join(families)}", "-p", "balance=none,weights", "-p", "rule=mode,distance", "-p",
            "audit=false,true"]


def expanded(words):
    "The same runs for the bare work"
    from gradeclass.pipeline.sweep_plan import expand, read_values
    pairs = dict(word.split("=", 1) for word in words if word != "-p")
    return [{**run, "audit": run["audit"] == "true", "seed": 42}
            for run in expand([{name: read_values(text) for name, text in pairs.items()}])]


def cpu_below():
    "CPU seconds of all processes below this one that have ended"
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def memory_of(process):
    "Bytes that a process and all below it hold for themselves"
    total = 0
    try: family = [process, *process.children(recursive=True)]
    except psutil.Error: return 0
    for one in family:
        try: total += one.memory_full_info().uss
        except psutil.Error: continue
    return total


def bare(runs, jobs, folder):
    "Wall seconds of the stages' code in warm processes, without papermill or kernels; OpenBLAS's threads rest as they do in forked kernels"
    from gradeclass.kernels.server import CALM
    calm = os.environ | {"OPENBLAS_THREAD_TIMEOUT": CALM["OPENBLAS_THREAD_TIMEOUT"]}
    script = folder/"bare.py"
    script.write_text(BARE)
    (folder/"prepared").mkdir(exist_ok=True)
    done = subprocess.run([sys.executable, script, json.dumps(runs), str(jobs), folder/"prepared"],
                          capture_output=True, text=True, env=calm)
    if done.returncode: sys.exit(f"sweep: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout)


def command(words, jobs, outputs):
    "The sweep as a person runs it"
    options = ["--data", "sample", "--jobs", str(jobs), "--outputs", str(outputs)]
    return [sys.executable, "-c", "from gradeclass.cli.main import main; main()", "sweep", *words, *options]


def swept(words, jobs, outputs, environment):
    "Wall seconds of a sweep, and the memory of all its processes as runs end"
    began, memory = time.monotonic(), []
    process = subprocess.Popen(command(words, jobs, outputs), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                               text=True, env=os.environ | environment)
    peak, over = [0], threading.Event()
    def watch():
        while not over.wait(2): peak[0] = max(peak[0], memory_of(psutil.Process(process.pid)))
    watcher = threading.Thread(target=watch)
    watcher.start()
    for line in process.stderr:
        if " of " in line:
            memory.append(peak[0])
            peak[0] = 0
    process.wait()
    over.set()
    watcher.join()
    return time.monotonic() - began, memory


def killed(words, jobs, outputs, runs):
    "Kill a sweep half-way; stages kept, stages in all, and whether what was kept is untouched after the second time"
    process = subprocess.Popen(command(words, jobs, outputs), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while len(list(Path(outputs).glob("stages/evaluate-*"))) < runs//2 and process.poll() is None: time.sleep(0.2)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    time.sleep(3)
    kept = {path: path.stat().st_mtime_ns for path in Path(outputs).glob("stages/*/stage.json")}
    done = subprocess.run(command(words, jobs, outputs), capture_output=True, text=True)
    same = all(path.stat().st_mtime_ns == stamp for path, stamp in kept.items())
    return len(kept), len(list(Path(outputs).glob("stages/*/stage.json"))), same and done.returncode == 0


def main():
    "Measure, print, and end with 1 where a bar is missed"
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--families", nargs="*", default=["ordinal", "xgboost", "logistic", "stack", "majority"],
                        help="eight runs for each")
    parser.add_argument("--jobs", type=int, default=2, help="stages at a time")
    parser.add_argument("--kernels", nargs="*", default=["warm"], choices=["warm", "ordinary"],
                        help="kinds of kernel to measure")
    parser.add_argument("--json", help="file for the measurements, beside what it holds already")
    chosen = parser.parse_args()
    words = grid(chosen.families)
    rows = []
    measured = []
    runs = 8*len(chosen.families)
    verdict = lambda good: "PASS" if good else "FAIL"
    with tempfile.TemporaryDirectory(prefix="gradeclass-") as name:
        folder = Path(name)
        for kind in chosen.kernels:
            work = bare(expanded(words), chosen.jobs, folder)
            before = cpu_below()
            wall, memory = swept(words, chosen.jobs, folder/kind, {"GRADECLASS_KERNELS": kind})
            cpu, before = cpu_below() - before, cpu_below()
            again = bare(expanded(words), chosen.jobs, folder)
            bare_cpu = (cpu_below() - before)*runs/(runs + chosen.jobs)
            over = (wall - (work + again)/2)/runs
            early, late = max(memory[runs//8:runs//4 + 2]), max(memory[-runs//4:])
            measured.append({"kernels": kind, "runs": runs, "wall": wall, "bare": (work + again)/2, "over": over,
                             "peak": max(memory),
                             "cpu": cpu, "bare_cpu": bare_cpu})
            print(f"{kind}: {measured[-1]}, memory {[round(size/1e6) for size in memory]}", file=sys.stderr, flush=True)
            found = (f"{over:.2f} s ({wall:.0f} s; bare {work:.0f}, {again:.0f} s); CPU {(cpu - bare_cpu)/runs:.1f} s "
                     f"a run over {bare_cpu/runs:.1f} s")
            grown = f"{early/1e6:.0f} MB, then {late/1e6:.0f} MB"
            rows += [{"bar": f"{kind} kernels: at most 1.0 s a run over the bare work", "found": found,
                      "": verdict(over <= 1.0)},
                     {"bar": f"{kind} kernels: memory does not grow from the tenth run (of 40) to the last",
                      "found": grown, "": verdict(late < 1.15*early)}]
        kept, stages, good = killed(grid(["logistic"]), chosen.jobs, folder/"killed", 8)
        rows.append({"bar": "killed half-way, goes on with what is missing",
                     "found": f"{kept} of {stages} stages kept and untouched", "": verdict(good)})
    if chosen.json:
        before = json.loads(Path(chosen.json).read_text(encoding="utf-8")) if Path(chosen.json).is_file() else {}
        Path(chosen.json).write_text(json.dumps({**before, "sweep": measured}, indent=1) + "\n", encoding="utf-8")
    print(f"{len(os.sched_getaffinity(0))} cores, {runs} runs, {chosen.jobs} at a time\n\n{markdown(rows)}")
    return int(any(row[""] == "FAIL" for row in rows))


if __name__ == "__main__": sys.exit(main())

"How long the pipeline takes on forked and on ordinary kernels, stage by stage, and where the time goes: kernel start, imports, work, papermill's own share"
import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

import psutil
from common import BenchmarkError, data_folder, find_table, markdown

BARS = {"first run": 12, "first run, server up": 8, "second identical run": 4}
RATIO = 0.45  # Of a first run on forked kernels to one on ordinary kernels, at the most


def run_once(table, outputs, options=(), variables=None):
    "Wall seconds of `gradeclass run`, and what it printed as JSON"
    command = [sys.executable, "-c", "from gradeclass.cli.main import main; main()", "run", "--data", str(table),
               "--outputs", str(outputs), "--json", *options]
    environment = {name: value
                   for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"} | (variables or {})
    began = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode: raise BenchmarkError(f"the run failed: {done.stderr.strip().splitlines()[-1]}")
    return time.monotonic() - began, json.loads(done.stdout)


def seconds_between(earlier, later):
    "Seconds from one ISO time to another"
    return (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds()


def where_time_goes(stage):
    "Seconds of one stage: kernel start (a forked one begins before papermill), imports and opening (the cell after the parameters), work, papermill's share"
    notebook = json.loads(Path(stage["folder"], "notebook.ipynb").read_text(encoding="utf-8"))
    own, cells = notebook["metadata"]["papermill"], notebook["cells"]
    timed = [cell for cell in cells if cell["cell_type"] == "code"
             and cell["metadata"].get("papermill", {}).get("duration") is not None]
    seconds = [cell["metadata"]["papermill"]["duration"] for cell in timed]
    opening = next(i for i, cell in enumerate(timed) if "import" in "".join(cell["source"]))
    before = stage["seconds"] - own["duration"]
    inside = seconds_between(own["start_time"], timed[0]["metadata"]["papermill"]["start_time"])
    return {"all": stage["seconds"], "kernel start": before + inside, "imports": seconds[opening],
            "work": sum(seconds) - seconds[opening],
            "papermill": own["duration"] - inside - sum(seconds)}


def cpu_of(server):
    "CPU seconds of all ended children of this process, and of a server and its ended children"
    below, there = resource.getrusage(resource.RUSAGE_CHILDREN), server.cpu_times() if server else (0, 0, 0, 0)
    return below.ru_utime + below.ru_stime + sum(there[:4])


def compare_kernels(table, repeat):
    "First runs in turns: with a fork server of their own, with one that is up, and on ordinary kernels; wall and CPU seconds of each"
    from gradeclass.kernels.client import fork_server
    rows = {"first run": [], "first run, server up": [], "first run, ordinary kernels": []}
    with fork_server() as address:
        time.sleep(15)
        server = next(iter(psutil.Process().children()), None)
        variables = dict(zip(rows, ({}, {"GRADECLASS_FORK_SERVER": address}, {"GRADECLASS_KERNELS": "ordinary"}),
                             strict=True))
        for _ in range(repeat):
            for kind, found in rows.items():
                with tempfile.TemporaryDirectory(prefix="gradeclass-") as outputs:
                    before = cpu_of(server)
                    wall, _ = run_once(table, outputs, (), variables[kind])
                    found.append((wall, cpu_of(server) - before))
    return rows


def kernel_rows(rows):
    "A table row for each kind of kernel, and the ratio of forked to ordinary"
    middle = {kind: [statistics.median(row[at] for row in found) for at in (0, 1)] for kind, found in rows.items()}
    verdict = lambda good: "PASS" if good else "FAIL"
    table = [{"run": kind, "wall seconds": f"{middle[kind][0]:.1f}",
              "each": ", ".join(f"{wall:.1f}" for wall, _ in found), "CPU seconds": f"{middle[kind][1]:.1f}",
              "bar": f"{verdict(middle[kind][0] < BARS[kind])} (under {BARS[kind]} s)" if kind in BARS else "–"}
             for kind, found in rows.items()]
    ratios = [one[0]/other[0]
              for one, other in zip(rows["first run"], rows["first run, ordinary kernels"], strict=True)]
    return [*table,
            {"run": "first run / ordinary kernels", "wall seconds": f"{statistics.median(ratios):.2f}",
             "each": ", ".join(f"{ratio:.2f}" for ratio in ratios),
             "CPU seconds": f"{middle['first run'][1]/middle['first run, ordinary kernels'][1]:.2f}",
             "bar": f"{verdict(statistics.median(ratios) <= RATIO)} (at most {RATIO})"}]


def stage_rows(runs):
    "A table row for each stage, with the median of several runs"
    names = [stage["name"] for stage in runs[0]["stages"]]
    parts = {name: [where_time_goes(stage) for run in runs for stage in run["stages"] if stage["name"] == name]
             for name in names}
    return [{"stage": name, **{part: f"{statistics.median(each[part] for each in found):.1f}" for part in found[0]}}
            for name, found in parts.items()]


def which_ran(made):
    "The stages that a run did not take from the store"
    return ", ".join(stage["name"] for stage in made["stages"] if not stage["cached"]) or "none"


def measure(table, repeat):
    "Three runs in one new folder, several times: everything, the same again, another training parameter"
    runs, rows = [], []
    for _ in range(repeat):
        with tempfile.TemporaryDirectory(prefix="gradeclass-") as outputs:
            first, made = run_once(table, outputs)
            second, again = run_once(table, outputs)
            third, other = run_once(table, outputs, ["-p", "family=logistic"])
            runs.append(made | {"parts": stage_rows([made])})
            rows.append({"first run": first, "second identical run": second, "other family": third,
                         "ran": {"first run": which_ran(made), "second identical run": which_ran(again),
                                 "other family": which_ran(other)}})
    return runs, rows


def wall_rows(rows):
    "A table row for each kind of run: seconds, stages that ran, and whether the bar is met"
    kinds = [kind for kind in rows[0] if kind != "ran"]
    middle = {kind: statistics.median(row[kind] for row in rows) for kind in kinds}
    verdict = (lambda kind: "–" if kind not in BARS
               else f"{'PASS' if middle[kind] < BARS[kind] else 'FAIL'} (under {BARS[kind]} s)")
    return [{"run": kind, "wall seconds": f"{middle[kind]:.1f}", "each": ", ".join(f"{row[kind]:.1f}" for row in rows),
             "stages that ran": rows[0]["ran"][kind], "bar": verdict(kind)} for kind in kinds]


def median_parts(runs):
    "The stages' rows, each figure the median of the runs"
    return [{name: value if name == "stage"
             else f"{statistics.median(float(run['parts'][i][name]) for run in runs):.1f}"
             for name, value in row.items()} for i, row in enumerate(runs[0]["parts"])]


def main():
    "Print both tables; end with 1 where a bar is missed"
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", help="folder of the published tables")
    parser.add_argument("--repeat", type=int, default=3, help="how often each kind of kernel is measured")
    parser.add_argument("--stages", type=int, default=1,
                        help="how often the second run and the stages are measured; 0: kernels alone")
    chosen = parser.parse_args()
    table = find_table("students", data_folder(chosen.data))
    kernels = kernel_rows(compare_kernels(table, chosen.repeat))
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {chosen.repeat} repetitions in turns, "
          f"medians\n\n{markdown(kernels)}", flush=True)
    runs, rows = measure(table, chosen.stages) if chosen.stages else ([], [])
    walls = wall_rows(rows) if rows else []
    if rows: print(f"\n{markdown(walls)}\n\n{markdown(median_parts(runs))}")
    return int(any("FAIL" in row["bar"] for row in kernels + walls))


if __name__ == "__main__":
    try: sys.exit(main())
    except BenchmarkError as error: sys.exit(f"pipeline: {error}")

"How long the pipeline takes, stage by stage, and where the time goes: kernel start, imports, work, papermill's own share"
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

from common import BenchmarkError, data_folder, find_table, markdown

BARS = {"first run": 30, "second identical run": 4}


def run_once(table, outputs, options=()):
    "Wall seconds of `gradeclass run`, and what it printed as JSON"
    command = [sys.executable, "-c", "from gradeclass.cli import main; main()", "run", "--data", str(table), "--outputs", str(outputs), "--json", *options]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    began = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode: raise BenchmarkError(f"the run failed: {done.stderr.strip().splitlines()[-1]}")
    return time.monotonic() - began, json.loads(done.stdout)


def seconds_between(earlier, later):
    "Seconds from one ISO time to another"
    return (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds()


def where_time_goes(stage):
    "Seconds of one stage: kernel start, imports and opening (the cell after the parameters), work, and papermill's own share"
    notebook = json.loads(Path(stage["folder"], "notebook.ipynb").read_text(encoding="utf-8"))
    own, cells = notebook["metadata"]["papermill"], notebook["cells"]
    timed = [cell for cell in cells if cell["cell_type"] == "code" and cell["metadata"].get("papermill", {}).get("duration") is not None]
    seconds = [cell["metadata"]["papermill"]["duration"] for cell in timed]
    opening = next(i for i, cell in enumerate(timed) if "import" in "".join(cell["source"]))
    start = seconds_between(own["start_time"], timed[0]["metadata"]["papermill"]["start_time"])
    work = sum(seconds) - seconds[opening]
    return {"all": stage["seconds"], "kernel start": start, "imports": seconds[opening], "work": work,
            "papermill": stage["seconds"] - start - sum(seconds)}


def stage_rows(runs):
    "A table row for each stage, with the median of several runs"
    names = [stage["name"] for stage in runs[0]["stages"]]
    parts = {name: [where_time_goes(stage) for run in runs for stage in run["stages"] if stage["name"] == name] for name in names}
    return [{"stage": name, **{part: f"{statistics.median(each[part] for each in found):.1f}" for part in found[0]}} for name, found in parts.items()]


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
                         "ran": {"first run": which_ran(made), "second identical run": which_ran(again), "other family": which_ran(other)}})
    return runs, rows


def wall_rows(rows):
    "A table row for each kind of run: seconds, stages that ran, and whether the bar is met"
    kinds = [kind for kind in rows[0] if kind != "ran"]
    middle = {kind: statistics.median(row[kind] for row in rows) for kind in kinds}
    verdict = lambda kind: "–" if kind not in BARS else f"{'PASS' if middle[kind] < BARS[kind] else 'FAIL'} (under {BARS[kind]} s)"
    return [{"run": kind, "wall seconds": f"{middle[kind]:.1f}", "each": ", ".join(f"{row[kind]:.1f}" for row in rows),
             "stages that ran": rows[0]["ran"][kind], "bar": verdict(kind)} for kind in kinds]


def median_parts(runs):
    "The stages' rows, each figure the median of the runs"
    return [{name: value if name == "stage" else f"{statistics.median(float(run['parts'][i][name]) for run in runs):.1f}" for name, value in row.items()}
            for i, row in enumerate(runs[0]["parts"])]


def main():
    "Print both tables; end with 1 where a bar is missed"
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", help="folder of the published tables")
    parser.add_argument("--repeat", type=int, default=3, help="how often everything is measured")
    chosen = parser.parse_args()
    runs, rows = measure(find_table("students", data_folder(chosen.data)), chosen.repeat)
    walls = wall_rows(rows)
    print(f"{os.cpu_count()} cores, {chosen.repeat} repetitions, medians\n\n{markdown(walls)}\n\n{markdown(median_parts(runs))}")
    return int(any("FAIL" in row["bar"] for row in walls))


if __name__ == "__main__":
    try: sys.exit(main())
    except BenchmarkError as error: sys.exit(f"pipeline: {error}")

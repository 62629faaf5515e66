"What scoring and training cost as tables grow, in time and memory, beside XGBoost alone; and whether a cluster survives the loss of a worker"
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

from common import markdown

SIZES = (100_000, 1_000_000, 10_000_000)
GIGABYTE = 1e9

TIMED = """
import json, os, resource, sys, time
def timed(call):
    wall, cpu = time.monotonic(), time.process_time()
    call()
    return {"wall": time.monotonic() - wall, "cpu": time.process_time() - cpu, "bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss*1024}
"""

STREAM = TIMED + """
from gradeclass.models.bundle import load_model
from gradeclass.scoring.batches import stream_table
model = load_model(sys.argv[1])
print(json.dumps(timed(lambda: stream_table(model, sys.argv[2], sys.argv[3], sys.argv[3] + ".rejected.csv"))))
"""

PREDICT = TIMED + """
import numpy as np
from gradeclass.models.bundle import load_model
booster, rows = load_model(sys.argv[1]).pipeline_["family"].booster_, np.load(sys.argv[2])
booster.set_param({"nthread": len(os.sched_getaffinity(0))})
booster.inplace_predict(rows[:1000])
print(json.dumps(timed(lambda: booster.inplace_predict(rows))))
"""

TRAIN = TIMED + """
from gradeclass.training.large import train_large
print(json.dumps(timed(lambda: train_large(sys.argv[1], sys.argv[2], "students", sys.argv[3], json.loads(sys.argv[4])))))
"""

MAKE = """
import sys
import numpy as np, pyarrow as pa, pyarrow.parquet as pq
from pathlib import Path
from gradeclass.data.synthetic import synthesise_folder
from gradeclass.schema import load_schema
folder, n = Path(sys.argv[1]), int(sys.argv[2])
synthesise_folder("students", n, folder/"parts")
inputs = [column.name for column in load_schema("students").inputs()]
rows, place, writer = np.lib.format.open_memmap(folder/"rows.npy", "w+", np.float32, (n, len(inputs))), 0, None
for path in sorted((folder/"parts").iterdir()):
    table = pq.read_table(path)
    writer = writer or pq.ParquetWriter(folder/"one.parquet", table.schema)
    writer.write_table(table)
    rows[place:place + len(table)] = table.select(inputs).to_pandas().to_numpy(np.float32)
    place += len(table)
writer.close()
"""

MODEL = """
import sys
from gradeclass.models.bundle import save_model; from gradeclass.models.grade_model import GradeModel
from gradeclass.data.synthetic import synthesise
from gradeclass.schema import load_schema
save_model(GradeModel(load_schema("students"), sys.argv[2]).fit(synthesise("students", 20_000)), sys.argv[1])
"""


def child(code, *words):
    "Run code in a process of its own; what it printed as JSON"
    done = subprocess.run([sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True)
    if done.returncode: sys.exit(f"scale: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout) if done.stdout.strip() else None


def medians(runs):
    "The median of each figure"
    return {name: statistics.median(run[name] for run in runs) for name in runs[0]}


def measure_scoring(folder, sizes, repeat):
    "Scoring and XGBoost alone in turn, for each size"
    found = []
    for family in ("xgboost", "ordinal"): child(MODEL, folder/family, family)
    for n in sizes:
        pairs = []
        for _ in range(1 if n > 5_000_000 else repeat):
            alone = child(PREDICT, folder/"xgboost", folder/str(n)/"rows.npy")
            pairs.append((alone,
                          *(child(STREAM, folder/family, folder/str(n)/"one.parquet", folder/"out.parquet")
                            for family in ("xgboost", "ordinal"))))
        alone, ours, ordinal = (medians(runs) for runs in zip(*pairs, strict=True))
        ratio = statistics.median(pair[0]["wall"]/pair[1]["wall"] for pair in pairs)
        found.append({"rows": n, "alone": alone, "stream": ours, "ordinal": ordinal, "speed": ratio,
                      "cpu_speed": alone["cpu"]/ours["cpu"]})
        print(f"scored {n:,}: {found[-1]}", file=sys.stderr, flush=True)
    return found


def measure_training(folder, sizes, rounds):
    "Training at each size"
    found = []
    for n in sizes:
        for family, params in (("ordinal", {}), ("xgboost", {"rounds": rounds})):
            with tempfile.TemporaryDirectory(dir=folder) as out:
                found.append({"rows": n, "family": family,
                              **child(TRAIN, folder/str(n)/"parts", f"{out}/bundle", family, json.dumps(params))})
            print(f"trained {found[-1]}", file=sys.stderr, flush=True)
    return found


def survive():
    "Whether sweep, scoring and training come through the death of a worker: the tests that kill one"
    tests = Path(__file__).parent.parent/"tests"
    found = {}
    places = {"sweep": "pipeline/test_sweep.py", "scoring": "scoring/test_batches.py",
              "training": "training/test_large.py"}
    for name, place in places.items():
        command = [sys.executable, "-m", "pytest", "-q", "-k", "death_of_a_worker", str(tests/place)]
        found[name] = subprocess.run(command, capture_output=True).returncode == 0
    return found


def judge(scoring, training, survived):
    "Rows of the table of bars"
    rows, verdict = [], lambda good: "PASS" if good else "FAIL"
    if scoring:
        last, first = scoring[-1], scoring[0]
        per_row = [each["stream"]["cpu"]/each["rows"] for each in scoring]
        held = last["stream"]["bytes"]
        rows += [{"bar": f"scoring {last['rows']:,} rows under 1 GB", "found": f"{held/GIGABYTE:.2f} GB",
                  "": verdict(held < GIGABYTE)},
                 {"bar": f"scoring {last['rows']:,} rows at 60 % of XGBoost alone",
                  "found": f"{last['speed']:.0%} wall, {last['cpu_speed']:.0%} CPU",
                  "": verdict(last["speed"] >= 0.6)},
                 {"bar": f"cost per row flat from {first['rows']:,} to {last['rows']:,}",
                  "found": f"{per_row[-1]/per_row[0]:.2f} times",
                  "": verdict(per_row[-1] < 1.2*per_row[0])}]
    for family in ("ordinal", "xgboost"):
        runs = [run for run in training if run["family"] == family]
        if not runs: continue
        last, before = runs[-1], runs[-2] if len(runs) > 1 else runs[-1]
        growth = last["cpu"]/before["cpu"]/(last["rows"]/before["rows"])
        rows += [{"bar": f"{family} on {last['rows']:,} rows under 4 GB", "found": f"{last['bytes']/GIGABYTE:.2f} GB",
                  "": verdict(last["bytes"] < 4*GIGABYTE)},
                 {"bar": f"{family} grows linearly",
                  "found": f"{growth:.2f} times the cost per row of {before['rows']:,}", "": verdict(growth < 1.3)}]
    words = lambda good: "complete and correct" if good else "not so"
    return rows + [{"bar": f"{name} survives SIGKILL of a worker", "found": words(good), "": verdict(good)}
                   for name, good in survived.items()]


def main():
    "Measure, print, and end with 1 where a bar is missed"
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=SIZES[-1], help="the largest size")
    parser.add_argument("--repeat", type=int, default=3, help="how often the smaller sizes are scored")
    parser.add_argument("--rounds", type=int, default=20, help="boosting rounds of the training runs")
    parser.add_argument("--skip", nargs="*", default=[], choices=["scoring", "training", "cluster"],
                        help="what to leave out")
    parser.add_argument("--json", help="file for the measurements; what else it holds is kept")
    chosen = parser.parse_args()
    sizes = [n for n in SIZES if n <= chosen.rows] or [chosen.rows]
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="gradeclass-") as name:
        folder = Path(name)
        for n in sizes if {"scoring", "training"} - set(chosen.skip) else ():
            (folder/str(n)).mkdir()
            child(MAKE, folder/str(n), n)
        scoring = [] if "scoring" in chosen.skip else measure_scoring(folder, sizes, chosen.repeat)
        training = [] if "training" in chosen.skip else measure_training(folder, sizes, chosen.rounds)
    rows = judge(scoring, training, {} if "cluster" in chosen.skip else survive())
    if chosen.json:
        about = {"cores": len(os.sched_getaffinity(0)), "date": date.today().isoformat(), "rounds": chosen.rounds}
        before = json.loads(Path(chosen.json).read_text(encoding="utf-8")) if Path(chosen.json).is_file() else {}
        Path(chosen.json).write_text(json.dumps({**before, **about, "scoring": scoring, "training": training},
                                                indent=1) + "\n", encoding="utf-8")
    print(f"{len(os.sched_getaffinity(0))} cores, {time.monotonic() - began:.0f} s in all\n\n{markdown(rows)}")
    return int(any(row[""] == "FAIL" for row in rows))


if __name__ == "__main__": sys.exit(main())

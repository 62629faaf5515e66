"""How often the gate lets in what it should, and what it should not, on tables whose truth is known.

    python benchmarks/gate.py                                  # four tables, 200 trials each (an hour on one core)
    python benchmarks/gate.py --trials 20 --tables mat bdf     # a look
    python benchmarks/gate.py --data /path/to/tables --json gate.json

Each trial deals a table anew, fits each model once and keeps what it says of the test part; the gate then judges pairs:
null           two models that learnt from two halves of the training part
eight times    a model of all training rows against one of an eighth of them
from 100 rows  a model of 800 rows against one of 100
majority       a model of all training rows against the shares of the grades
half shuffled  a model of all training rows, half of their grades shuffled, against one of them as they are
clustered      as null, every training and test row three times: as rows of one school, which intervals must not count thrice"""
import os

os.environ["OMP_NUM_THREADS"] = "1"
import argparse
import json
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from common import BenchmarkError, data_folder, markdown, read_students
from sklearn.base import clone

from gradeclass.config import GradeclassError
from gradeclass.data.dataset import clean, make_dataset
from gradeclass.data.split import split
from gradeclass.drafting.infer import infer_schema
from gradeclass.evaluation.resampling import share_interval
from gradeclass.models.grade_model import GradeModel
from gradeclass.registry.rails import Rules, calibration_rail, group_rail, judge_by, metric_rail

TABLES = ("students", "mathplace", "bdf", "gpa2")
BARS = {"null": (0, 0.05), "eight times": (0.70, 1), "from 100 rows": (0.70, 1), "majority": (0.95, 1), "half shuffled": (0, 0.05),
        "clustered": (0, 0.05)}


def read(name, folder):
    "Schema and clean table; a table of meta.json gets a draft with its grades in order"
    if name == "students": return read_students(name, folder)
    meta = json.loads((folder/"tables"/"meta.json").read_text())
    if name not in meta: raise BenchmarkError(f"no table {name}: use students or one of {', '.join(meta)}")
    frame = pd.read_csv(folder/"tables"/f"{name}.csv")
    schema = infer_schema(frame, meta[name]["target"], name, best=", ".join(map(str, meta[name]["order"])))
    return schema, clean(make_dataset(frame, schema).frame, schema)


def fit_all(schema, frame, seed, params):
    "What each model of a trial says of the test part"
    parts = split(frame, schema, seed=seed)
    learnt = pd.concat([parts.train, parts.validation]).sample(frac=1, random_state=seed)
    rng, target = np.random.default_rng(seed), schema.target
    shuffled = learnt.copy()
    some = rng.permutation(len(learnt))[:len(learnt)//2]
    shuffled.iloc[some, shuffled.columns.get_loc(target)] = learnt[target].iloc[rng.permutation(some)].to_numpy()
    model = GradeModel(schema, params=params, seed=seed)
    half = len(learnt)//2
    rows = {"all": learnt, "eighth": learnt.iloc[:len(learnt)//8], "one half": learnt.iloc[:half],
            "other half": learnt.iloc[half:], "shuffled": shuffled, "100": learnt.iloc[:100], "800": learnt.iloc[:800]}
    said = {name: judge_by(clone(model).fit(part), parts.test) for name, part in rows.items()}
    said["majority"] = judge_by(GradeModel(schema, "majority").fit(learnt), parts.test)
    return said, parts.test


def thrice(said):
    "Each student three times"
    from dataclasses import replace
    return replace(said, y=np.tile(said.y, 3), p=np.tile(said.p, (3, 1)), predicted=np.tile(said.predicted, 3))


def judge(old, new, frame, schema, rules, units=None):
    "The rails that look at figures: names of those that do not hold"
    rails = [metric_rail(old, new, rules, units), calibration_rail(old, new, rules, units),
             group_rail(old, new, frame, schema, rules, units)]
    return [rail.name for rail in rails if not rail.passed]


def trial(schema, frame, seed, rules, params):
    "Case -> the rails that refuse the challenger"
    said, test = fit_all(schema, frame, seed, params)
    pairs = {"null": ("one half", "other half"), "eight times": ("eighth", "all"), "from 100 rows": ("100", "800"),
             "majority": ("majority", "all"), "half shuffled": ("all", "shuffled")}
    found = {case: judge(said[old], said[new], test, schema, rules) for case, (old, new) in pairs.items()}
    units, several = np.tile(np.arange(len(test)), 3), pd.concat([test]*3)
    old, new = thrice(said["one half"]), thrice(said["other half"])
    return found | {"clustered": judge(old, new, several, schema, rules, units)}


def rows_of(name, trials):
    "One line a case: promoted, with Wilson's interval, whether the bar holds, and which rail refused most"
    for case, (least, most) in BARS.items():
        refused = [found[case] for found in trials]
        promoted = sum(not rails for rails in refused)
        low, high = share_interval(promoted, len(trials))
        why = pd.Series([rail for rails in refused for rail in rails], dtype=object).value_counts()
        yield {"table": name, "case": case, "trials": len(trials), "promoted": f"{promoted/len(trials):.1%}",
               "95 % interval": f"{low:.1%} to {high:.1%}", "bar": f"{least:.0%} to {most:.0%}",
               "holds": "yes" if least <= promoted/len(trials) <= most else "no",
               "refused by": ", ".join(f"{rail} {count}" for rail, count in why.items()) or "–"}


def main(words=None):
    "Run the trials and print the table after each block of them"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", nargs="+", default=TABLES)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--data", help="folder with the tables; else GRADECLASS_REAL_DATA")
    parser.add_argument("--members", nargs="+", default=["linear"], help="parts of the ordinal family: few are fast")
    parser.add_argument("--json", type=Path, help="where each trial is kept as it comes; trials in it are not run again")
    asked = parser.parse_args(words)
    rules, params = Rules(resamples=400), {"members": asked.members}
    kept = json.loads(asked.json.read_text()) if asked.json and asked.json.is_file() else {}
    warnings.simplefilter("ignore")
    try: tables = {name: read(name, data_folder(asked.data)) for name in asked.tables}
    except GradeclassError as error: sys.exit(str(error))
    blocks = sorted({min(size, asked.trials) for size in (5, 20, 50, 100, 200, asked.trials)})
    for size in blocks:
        for name, (schema, frame) in tables.items():
            trials, began = kept.setdefault(name, []), time.time()
            while len(trials) < size:
                trials.append(trial(schema, frame, len(trials), rules, params))
                if asked.json: asked.json.write_text(json.dumps(kept))
            print(f"{name}: {len(trials)} trials, {time.time() - began:.0f} s", file=sys.stderr, flush=True)
        rows = [row for name in tables for row in rows_of(name, kept[name][:size])]
        print(f"\n## {size} trials a table\n\n{markdown(rows)}", flush=True)
    return int(any(row["holds"] == "no" for row in rows))


if __name__ == "__main__": sys.exit(main())

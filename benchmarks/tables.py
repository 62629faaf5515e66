"""The default model beside its peers, on tables that nobody tuned it for.

    python benchmarks/tables.py --tables FOLDER --json benchmarks/tables.json   # everything, an hour
    python benchmarks/tables.py bdf insteval --only logistic forest

Every model is fitted on the same folds and sees the same inputs: those of `gradeclass schema infer`, with the order of the grades set.
Probabilities are kept in --work, so that a run that was stopped goes on. Differences have 95 % bootstrap intervals over students."""
import os

os.environ["OMP_NUM_THREADS"] = "1"
import argparse
import json
import sys
import time
import warnings
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from common import FILES, BenchmarkError, data_folder, markdown, read_students, with_interval
from rivals import AutoGluon

from gradeclass.config import SEED, GradeclassError, setting
from gradeclass.data.dataset import clean
from gradeclass.data.sources import read_table
from gradeclass.drafting.infer import infer_schema
from gradeclass.evaluation.metrics import METRICS, check_predictions
from gradeclass.evaluation.resampling import bootstrap, interval
from gradeclass.models.decide import RULES, follow_rule, learn_rule
from gradeclass.models.features import Spreader, encode_frame, grade_index
from gradeclass.models.grade_model import GradeModel
from gradeclass.schema import Schema

BOOT = 300
OURS = "ordinal"
SHOWN = {"log_loss": "mode", "macro_f1": "macro_f1", "qwk": "qwk", "ece": "mode"}  # Metric -> our rule for it


class Table(NamedTuple):
    "Students, and the folds that every model meets"
    name: str
    schema: Schema
    frame: pd.DataFrame
    folds: list     # (repeat, training rows, held-out rows)

    @property
    def grades(self):
        "Grade index, shape (n,)"
        return grade_index(self.frame, self.schema)


def deal(frame, schema):
    "Five folds, three times below 1,000 rows"
    from sklearn.model_selection import StratifiedKFold
    grades, repeats = grade_index(frame, schema), 3 if len(frame) < 1000 else 1
    return [(repeat, *parts) for repeat in range(repeats)
            for parts in StratifiedKFold(5, shuffle=True, random_state=100 + repeat).split(grades, grades)]


def open_table(name, folder, data):
    "A known table, or one of the folder, its schema drafted"
    if name in FILES: schema, frame = read_students(name, data)
    else:
        about = json.loads((folder/"meta.json").read_text(encoding="utf-8"))[name]
        raw, _ = read_table(folder/f"{name}.csv")
        schema = infer_schema(raw, about["target"], name, ",".join(about["order"]))
        frame = clean(raw, schema)
    return Table(name, schema, frame, deal(frame, schema))


# ---------------------------------------------------------------- peers


class Peer:
    "Another library's classifier on our encoded inputs"

    def __init__(self, schema, make, spread=True, finish=()):
        self.schema, self.make, self.spread, self.finish = schema, make, spread, finish

    def matrix(self, frame):
        "Inputs as numbers; categories spread over 0/1 columns, or as their positions"
        encoded = encode_frame(frame, self.schema.inputs())
        return Spreader(self.schema.inputs())(encoded) if self.spread else encoded

    def fit(self, frame):
        "Fit; a grade that no row has keeps the probability 0"
        from sklearn.pipeline import make_pipeline
        self.model = make_pipeline(*(step() for step in self.finish), self.make(self.schema))
        self.model.fit(self.matrix(frame), grade_index(frame, self.schema))
        return self

    def predict_proba(self, frame):
        "Probabilities, shape (n, K)"
        said = np.zeros((len(frame), len(self.schema.grades.labels)))
        said[:, self.model.classes_.astype(int)] = self.model.predict_proba(self.matrix(frame))
        return said


def logistic(schema):
    "scikit-learn's multinomial regression, its strength chosen by cross-validated log loss"
    from sklearn.linear_model import LogisticRegressionCV
    return LogisticRegressionCV(Cs=5, cv=3, scoring="neg_log_loss", max_iter=1000)


def forest(schema):
    "scikit-learn's random forest; leaves of five, or its probabilities are 0 and 1"
    from sklearn.ensemble import RandomForestClassifier
    return RandomForestClassifier(300, min_samples_leaf=5, random_state=SEED)


def boosting(schema):
    "scikit-learn's histogram boosting, stopped early"
    from sklearn.ensemble import HistGradientBoostingClassifier
    coded = [column.kind == "category" for column in schema.inputs()]
    return HistGradientBoostingClassifier(learning_rate=0.05, early_stopping=True, categorical_features=coded,
                                          random_state=SEED)


def mord(schema):
    "mord's ordinal logistic regression"
    from mord import LogisticAT
    return LogisticAT(alpha=1.0)


class CatBoost(Peer):
    "CatBoost, stopped early on a seventh of the rows; it spreads categories in its own way"

    def cells(self, frame):
        "Categories as texts, other inputs as numbers"
        encoded = pd.DataFrame(self.matrix(frame))
        return encoded.astype(dict.fromkeys(self.coded, str))

    def fit(self, frame):
        "Fit, and keep the best number of rounds"
        from catboost import CatBoostClassifier
        from sklearn.model_selection import train_test_split
        self.coded = [place for place, column in enumerate(self.schema.inputs()) if column.kind == "category"]
        grades, cells = grade_index(frame, self.schema), self.cells(frame)
        parts = train_test_split(cells, grades, test_size=0.15, random_state=SEED, stratify=grades)
        self.model = CatBoostClassifier(500, learning_rate=0.05, loss_function="MultiClass", random_seed=SEED,
                                        thread_count=1, max_ctr_complexity=1, verbose=False,
                                        cat_features=self.coded, allow_writing_files=False)
        self.model.fit(parts[0], parts[2], eval_set=(parts[1], parts[3]), early_stopping_rounds=50)
        return self

    def predict_proba(self, frame):
        "Probabilities, shape (n, K)"
        said = np.zeros((len(frame), len(self.schema.grades.labels)))
        said[:, self.model.classes_.astype(int).ravel()] = self.model.predict_proba(self.cells(frame))
        return said


def filled():
    "Gaps at the mean"
    from sklearn.impute import SimpleImputer
    return SimpleImputer(keep_empty_features=True)


def scaled():
    "Columns on one scale"
    from sklearn.preprocessing import StandardScaler
    return StandardScaler()


PEERS = {  # Name -> what makes one from a schema, and the module that it needs
    "logistic": (partial(Peer, make=logistic, finish=(filled, scaled)), "sklearn"),
    "forest": (partial(Peer, make=forest, finish=(filled,)), "sklearn"),
    "boosting": (partial(Peer, make=boosting, spread=False), "sklearn"),
    "mord": (partial(Peer, make=mord, finish=(filled, scaled)), "mord"),
    "catboost": (partial(CatBoost, make=None, spread=False), "catboost"),
    "autogluon": (AutoGluon, "autogluon"),
}


def lacking(module):
    "Why a peer cannot be run, or an empty text"
    try: __import__(module)
    except ImportError as error: return f"{module} is not installed ({error})"
    return ""


# ---------------------------------------------------------------- running


def run_ours(table, train, held):
    "Probabilities, and the grades that each rule announces; what a rule learns it learns inside the training rows"
    model = GradeModel(table.schema, OURS).fit(table.frame.iloc[train])
    said, unseen = model.predict_proba(table.frame.iloc[held]), model.pipeline_["family"].out_of_fold_
    return said, {rule: follow_rule(rule, said, learn_rule(rule, unseen)) for rule in RULES}


def run_peer(name, table, train, held):
    "The same for a peer, which announces the most probable grade"
    model = PEERS[name][0](table.schema).fit(table.frame.iloc[train])
    return model.predict_proba(table.frame.iloc[held]), {}


def run_model(name, table, work):
    "Probabilities (repeats, n, K), announced grades and seconds a fit; read from the folder where they are there"
    path = work/f"{table.name}-{name}.npz"
    if path.is_file(): return dict(np.load(path))
    n, K = len(table.frame), len(table.schema.grades.labels)
    repeats = 1 + max(repeat for repeat, *_ in table.folds)
    found = {"said": np.full((repeats, n, K), np.nan)}
    began, run = time.perf_counter(), run_ours if name == OURS else partial(run_peer, name)
    for repeat, train, held in table.folds:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            said, announced = run(table, train, held)
        found["said"][repeat, held] = said
        for rule, grades in announced.items():
            found.setdefault(rule, np.zeros((repeats, n), int))[repeat, held] = grades
    found["seconds"] = (time.perf_counter() - began)/len(table.folds)
    np.savez_compressed(path, **found)
    return found


# ---------------------------------------------------------------- measuring


def cases_of(table, found, rule):
    "Checked predictions, one for each repeat"
    grades = table.grades
    return [check_predictions(grades, said, table.schema.grades, found[rule][i] if rule in found else said.argmax(axis=1))
            for i, said in enumerate(found["said"])]


def compare(table, ours, theirs, metric):
    "Our value, theirs, and the difference with its interval: the same students in both"
    rule, measure = SHOWN[metric], METRICS[metric].measure
    pair = cases_of(table, ours, rule), cases_of(table, theirs, "mode")
    def values(weights):
        return np.column_stack([np.mean([measure(case, weights) for case in cases], axis=0) for cases in pair])
    both = values(np.ones((1, len(table.frame))))[0]
    draws = bootstrap(len(table.frame), values, BOOT)
    low, high = interval(draws[:, 0] - draws[:, 1])
    return {"ours": both[0], "theirs": both[1], "gap": both[0] - both[1], "low": low, "high": high,
            "worse": bool(low > 0 if not METRICS[metric].higher else high < 0)}


def rule_costs(table, ours):
    "Metric of each rule, from the same folds"
    once = np.ones((1, len(table.frame)))
    return {rule: {metric: float(np.mean([METRICS[metric].measure(case, once)[0] for case in cases_of(table, ours, rule)]))
                   for metric in ("accuracy", "macro_f1", "qwk", "within_one")} for rule in RULES}


def measure_table(table, names, work):
    "Everything about one table, ready for JSON"
    ours = run_model(OURS, table, work)
    result = {"students": len(table.frame), "seconds": {OURS: float(ours["seconds"])}, "peers": {},
              "rules": rule_costs(table, ours)}
    for name in names:
        theirs = run_model(name, table, work)
        result["seconds"][name] = float(theirs["seconds"])
        result["peers"][name] = {metric: compare(table, ours, theirs, metric) for metric in SHOWN}
        print(f"{table.name}: {name}, {result['seconds'][name]:.1f} s a fit", file=sys.stderr, flush=True)
    return result


# ---------------------------------------------------------------- printing


def rows_of(results):
    "One row for each table, peer and metric"
    return [{"table": name, "peer": peer, "metric": METRICS[metric].label, "ours": f"{row['ours']:.3f}",
             "theirs": f"{row['theirs']:.3f}", "difference": with_interval(row["gap"], row["low"], row["high"]),
             "surely worse": "yes" if row["worse"] else ""}
            for name, result in results.items() for peer, metrics in result["peers"].items()
            for metric, row in metrics.items()]


def main(words=None):
    "Run what was asked for; 0 where the log loss of the default is surely worse than that of no peer"
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("table", nargs="*", help="tables; all unless given")
    parser.add_argument("--tables", type=Path, default=setting("GRADECLASS_TABLES"), metavar="FOLDER",
                        help="further tables with their meta.json; GRADECLASS_TABLES unless given")
    parser.add_argument("--data", metavar="FOLDER", help="the two published tables; GRADECLASS_REAL_DATA unless given")
    parser.add_argument("--only", nargs="+", choices=PEERS, default=list(PEERS), metavar="PEER", help="some peers")
    parser.add_argument("--work", type=Path, default=Path("outputs/tables"), metavar="FOLDER", help="kept probabilities")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the figures to this file too")
    asked = parser.parse_args(words)
    folder = Path(asked.tables) if asked.tables else None
    try:
        more = json.loads((folder/"meta.json").read_text(encoding="utf-8")) if folder else {}
        unknown = [name for name in asked.table if name not in [*FILES, *more]]
        if unknown: raise BenchmarkError(f"there is no table {unknown[0]}: name some of {', '.join([*FILES, *more])}")
        left_out = {name: lacking(PEERS[name][1]) for name in asked.only}
        names = [name for name, why in left_out.items() if not why]
        asked.work.mkdir(parents=True, exist_ok=True)
        results = {name: measure_table(open_table(name, folder, data_folder(asked.data)), names, asked.work)
                   for name in asked.table or [*FILES, *more]}
    except (GradeclassError, OSError) as error:
        print(f"tables: {error}", file=sys.stderr)
        return 1
    print(markdown(rows_of(results)))
    print("\n".join(f"\n{name} is left out: {why}" for name, why in left_out.items() if why))
    if asked.json: asked.json.write_text(json.dumps({"tables": results, "left_out": left_out}, indent=1) + "\n")
    return int(any(peer["log_loss"]["worse"] for result in results.values() for peer in result["peers"].values()))


if __name__ == "__main__":
    sys.exit(main())

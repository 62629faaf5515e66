"""How good the predictions are on the two published tables, beside simpler models and the projects that this one replaces.

    python benchmarks/quality.py                          # both tables, everything (minutes)
    python benchmarks/quality.py students --quick         # fewer deals, no large grid
    python benchmarks/quality.py higher_ed --only ordinal blend
    python benchmarks/quality.py --only balance           # resampling, weights and rules, with what they cost

Every fit is made on training rows alone. Intervals are 95 % bootstrap intervals over students of the mean over deals."""
import os

os.environ["OMP_NUM_THREADS"] = "1"  # Rows run side by side, each in one thread
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import argparse
import json
import sys
import time
import warnings
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
sys.path.append(str(Path(__file__).parents[1]/"nbs"/"studies"))
from common import FILES, BenchmarkError, data_folder, find_table, markdown, read_students, with_interval
from rare_grades import compare_ways, ways_sentence, ways_table
from rivals import AutoGluon, Blend, GridSearch, SmoteNet
from sklearn.base import clone

from gradeclass.config import SEED, GradeclassError
from gradeclass.data.split import split
from gradeclass.evaluation.metrics import METRICS
from gradeclass.evaluation.resampling import bootstrap, interval
from gradeclass.models.features import grade_index
from gradeclass.models.folds import deal_folds
from gradeclass.models.grade_model import FAMILIES, GradeModel
from gradeclass.schema import Schema
from gradeclass.training.search import TunedModel
from gradeclass.training.side_by_side import Comparison, resample_metric

BOOT = 500                                         # Resamples behind each interval
FOLDS = {"students": 4, "higher_ed": 5}
DEALS = {"students": 5, "higher_ed": 10}           # Deals into folds; their seeds are SEED, SEED + 1, ...
COURSE = "COURSE ID"
SHOWN = {  # (metric, rule) -> heading
    "students": {("accuracy", "mode"): "accuracy", ("macro_f1", "mode"): "macro-F1", ("log_loss", "mode"): "log loss",
                 ("ece", "mode"): "ECE"},
    "higher_ed": {("qwk", "distance"): "QWK, least distance",
                  ("within_one", "distance"): "within one grade, least distance",
                  ("accuracy", "mode"): "accuracy, most probable", ("log_loss", "mode"): "log loss"},
}
GAPS = {"students": (("accuracy", "mode"), ("macro_f1", "mode")),
        "higher_ed": (("qwk", "distance"), ("accuracy", "mode"))}


@dataclass
class Row:
    "One line of a table: a way to fit, and where it is measured"
    name: str
    title: str
    model: object
    frame: pd.DataFrame
    deals: int = 0                    # Deals of the cross-validation; 0: none
    split: bool = False               # Measured on the test part of the seed split too
    fold: np.ndarray | None = None    # A deal of its own, such as one fold for each course
    lacks: str = ""                   # Why it cannot be run here
    said: np.ndarray | None = None    # Out-of-fold probabilities, shape (deals, n, K)
    test: np.ndarray | None = None    # Probabilities of the test part, shape (m, K)
    seconds: list = field(default_factory=list)   # Of each fit with its prediction
    believed: list = field(default_factory=list)  # What a rival thought of its own accuracy


@dataclass(frozen=True)
class Bar:
    "A value that has to be reached"
    row: str
    plan: str      # 'split' or 'cv'
    metric: str
    rule: str
    limit: float

    def passed(self, value):
        "Whether a value reaches the bar"
        return bool(value >= self.limit if METRICS[self.metric].higher else value <= self.limit)


def bars_of(row, plan, rule="mode", **limits):
    "One bar for each metric"
    return [Bar(row, plan, metric, rule, limit) for metric, limit in limits.items()]


BARS = {
    "students": [*bars_of("ordinal", "split", accuracy=0.785, macro_f1=0.665),
                 *bars_of("ordinal", "cv", accuracy=0.77, macro_f1=0.66, log_loss=0.66, ece=0.04),
                 *bars_of("ordinal-no-score", "cv", accuracy=0.76, macro_f1=0.64, log_loss=0.70)],
    "higher_ed": [*bars_of("ordinal", "cv", "distance", qwk=0.66, within_one=0.66),
                  *bars_of("ordinal", "cv", accuracy=0.34)],
}

# ---------------------------------------------------------------- rows


def ignore_column(schema, name):
    "The schema with one column that no model sees"
    return Schema.model_validate(schema.model_dump()
                                 | {"columns": [column.model_dump()
                                                | ({"role": "ignored"} if column.name == name else {})
                                                for column in schema.columns]})


def lacking(module, what):
    "Why a row cannot be run, or an empty text"
    return "" if find_spec(module) else f"{what} is not installed"


def common_rows(schema, frame, deals, quick):
    "Families and rivals that both tables have"
    def family(name): return GradeModel(schema, name)
    one = {"deals": 1, "split": True}
    rows = [Row("majority", "shares of the grades", family("majority"), frame, deals, True),
            Row("logistic", "multinomial logistic", family("logistic") if "logistic" in FAMILIES else None, frame,
                deals, True,
                lacks="" if "logistic" in FAMILIES else "there is no family logistic"),
            Row("xgboost", "XGBoost, defaults", family("xgboost"), frame, deals, True),
            Row("grid4", "replaced project: XGBoost, grid of 4", GridSearch(schema, "grid4"), frame, **one),
            Row("neural", "neural family (nothing resampled)", family("neural"), frame, **one,
                lacks=lacking("keras", "TensorFlow") if "neural" in FAMILIES else "there is no family neural"),
            Row("smote-net", "replaced project: dense network, SMOTE before the validation split", SmoteNet(schema),
                frame, **one,
                lacks=lacking("keras", "TensorFlow")),
            Row("autogluon", "AutoGluon, medium quality, 60 s", AutoGluon(schema), frame, split=True,
                lacks=lacking("autogluon", "AutoGluon"))]
    large = [Row("grid216", "replaced project: XGBoost, grid of 216", GridSearch(schema, "grid216"), frame, **one),
             Row("xgboost-tuned", "XGBoost, 10 trials in each fold",
                 TunedModel(GradeModel(schema, "xgboost"), 10, 3), frame, **one)]
    return rows if quick else [*rows, *large]


def students_rows(schema, frame, quick):
    "Ours with and without the score column, with and without protected columns; then the others"
    deals, plain = 2 if quick else DEALS["students"], frame.drop(columns=schema.score)
    return [Row("ordinal", "**ours: ordinal, score in training**", GradeModel(schema, "ordinal"), frame, deals, True),
            Row("ordinal-audit", "the same, protected columns in", GradeModel(schema, "ordinal", audit=True), frame,
                deals, True),
            Row("ordinal-no-score", "**ours: ordinal, no score in training**", GradeModel(schema, "ordinal"), plain,
                deals, True),
            Row("ordinal-no-score-audit", "the same, protected columns in", GradeModel(schema, "ordinal", audit=True),
                plain, deals, True),
            *common_rows(schema, frame, deals, quick)]


def higher_ed_rows(schema, frame, quick):
    "Ours, with and without what a new course lacks; then the others"
    deals = 3 if quick else DEALS["higher_ed"]
    courses = frame[COURSE].cat.remove_unused_categories().cat.codes.to_numpy()
    without = ignore_column(schema, COURSE)
    rows = [Row("ordinal", "**ours: ordinal**", GradeModel(schema, "ordinal"), frame, deals),
            Row("ordinal-audit", "the same, protected columns in", GradeModel(schema, "ordinal", audit=True), frame,
                deals),
            Row("ordinal-no-course", f"ordinal, {COURSE} left out", GradeModel(without, "ordinal"), frame, deals),
            Row("course-out", "ordinal, each course left out in turn", GradeModel(schema, "ordinal"), frame, 1,
                fold=courses),
            Row("course-out-no-course", f"the same, {COURSE} left out", GradeModel(without, "ordinal"), frame, 1,
                fold=courses),
            Row("xgboost-no-course", f"XGBoost, defaults, {COURSE} left out", GradeModel(without, "xgboost"), frame,
                deals),
            Row("blend", "extra trees, ordinal logistic and XGBoost blended", Blend(schema), frame, deals)]
    others = common_rows(schema, frame, deals, quick)
    for row in others: row.split = False  # 22 test rows would say nothing
    for row in others: row.deals = row.deals or 1
    return [*rows, *others]


ROWS = {"students": students_rows, "higher_ed": higher_ed_rows}

# ---------------------------------------------------------------- fitting


def plan_row(row, name):
    "Training and held-out positions of every fit of a row: (kind, deal, train, held)"
    schema, tasks = row.model.schema, []
    for deal in range(row.deals):
        fold = deal_folds(row.frame, schema, FOLDS[name], SEED + deal) if row.fold is None else row.fold
        tasks += [("cv", deal, np.flatnonzero(fold != i), np.flatnonzero(fold == i)) for i in range(fold.max() + 1)]
    if row.split:
        train, held = split_positions(row.frame, schema)
        tasks.append(("split", 0, train, held))
    return tasks


def split_positions(frame, schema):
    "Positions of training with validation rows, and of test rows"
    parts = split(frame, schema)
    return tuple(frame.index.get_indexer(index)
                 for index in (parts.train.index.append(parts.validation.index), parts.test.index))


def run_fit(model, frame, train, held):
    "Probabilities of held-out rows, seconds, and what the model believes of itself"
    from threadpoolctl import threadpool_limits
    began = time.perf_counter()
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore")
        try: fitted = clone(model).fit(frame.iloc[train])
        except (GradeclassError, ImportError) as error: return None, 0.0, str(error)
        seconds = time.perf_counter() - began
        return fitted.predict_proba(frame.iloc[held]), seconds, getattr(fitted, "believed_", None)


def run_rows(rows, name, jobs, progress=True):
    "Fit every row on every part; the slowest first, so that no core is idle at the end"
    from joblib import Parallel, delayed
    from tqdm.auto import tqdm
    tasks = [(row, *task) for row in rows if not row.lacks for task in plan_row(row, name)]
    tasks.sort(key=lambda task: task[0].name not in ("autogluon", "grid216", "neural", "smote-net", "xgboost-tuned"))
    calls = (delayed(run_fit)(row.model, row.frame, train, held) for row, _, _, train, held in tasks)
    found = Parallel(jobs, return_as="generator")(calls)
    for (row, kind, deal, _, held), result in zip(tasks,
                                                  tqdm(found, name, len(tasks), disable=not progress, unit="fit"),
                                                  strict=True):
        keep_result(row, kind, deal, held, *result)
    return rows


def keep_result(row, kind, deal, held, said, seconds, believed):
    "Put the answer of one fit where it belongs"
    if said is None: row.lacks = believed
    if row.lacks: return
    row.seconds.append(seconds)
    if believed is not None: row.believed.append(believed)
    if kind == "split": row.test = said
    else:
        if row.said is None: row.said = np.full((row.deals, len(row.frame), said.shape[1]), np.nan)
        row.said[deal, held] = said


# ---------------------------------------------------------------- measuring


def as_comparison(row, said, rows=None):
    "A row's probabilities as `gradeclass.training.side_by_side` compares them"
    grades, schema = grade_index(row.frame, row.model.schema), row.model.schema
    return Comparison(grades if rows is None else grades[rows], {"it": said}, {}, schema.grades)


def measure(compared, wanted, base=None):
    "Metric and rule -> value, low, high; with a base: of the difference from it, the same students and deals in both"
    def values(weights):
        own = [resample_metric(compared, "it", metric, rule, weights) for metric, rule in wanted]
        if base is None: return np.column_stack(own)
        return np.column_stack(own) - np.column_stack([resample_metric(base, "it", metric, rule, weights)
                                                       for metric, rule in wanted])
    value, draws = values(np.ones((1, len(compared.grades))))[0], bootstrap(len(compared.grades), values, BOOT)
    return {key: (float(one), *interval(column)) for key, one, column in zip(wanted, value, draws.T, strict=True)}


def measure_row(row, name, base=None):
    "Figures of one row: 'cv', 'gap' (from XGBoost's defaults) and 'split', each where it was run"
    found, wanted = {}, list(SHOWN[name])
    if row.said is not None:
        own = as_comparison(row, row.said)
        found["cv"] = measure(own, wanted)
        if base is not None and row.fold is None and row.name != base.name:
            shared = min(len(row.said), len(base.said))
            pair = as_comparison(row, row.said[:shared]), as_comparison(base, base.said[:shared])
            found["gap"] = measure(pair[0], list(GAPS[name]), pair[1])
    if row.test is not None:
        held = split_positions(row.frame, row.model.schema)[1]
        found["split"] = measure(as_comparison(row, row.test[None], held), wanted)
    return found


def measure_rows(rows, name, jobs):
    "Row name -> figures, for the rows that were run"
    from joblib import Parallel, delayed
    base = next((row for row in rows if row.name == "xgboost" and row.said is not None), None)
    ran = [row for row in rows if row.said is not None or row.test is not None]
    return dict(zip([row.name for row in ran], Parallel(jobs)(delayed(measure_row)(row, name, base) for row in ran),
                    strict=True))


def if_exact(said, scale, draws=300, seed=SEED):
    "What the most probable grade would score if every probability were exact: accuracy, macro-F1 and log loss -> mean, low, high"
    rng, found = np.random.default_rng(seed), []
    steps = said.cumsum(axis=1)/said.sum(axis=1, keepdims=True)
    for _ in range(draws):
        grades = (rng.random((len(said), 1)) > steps[:, :-1]).sum(axis=1)
        drawn = Comparison(grades, {"it": said[None]}, {}, scale)
        found.append([resample_metric(drawn, "it", metric, "mode", np.ones((1, len(said))))[0]
                      for metric in ("accuracy", "macro_f1", "log_loss")])
    found = np.array(found)
    return {metric: (float(column.mean()), *interval(column))
            for metric, column in zip(("accuracy", "macro_f1", "log_loss"), found.T, strict=True)}


def sound_accuracy(row):
    "Rows before the first whose grade contradicts its score, how many contradict after it, accuracy on the sound rows"
    schema, grades = row.model.schema, grade_index(row.frame, row.model.schema)
    band = (row.frame[schema.score].to_numpy()[:, None] < np.array(schema.grades.cuts)).sum(axis=1)
    wrong = band != grades
    first = int(wrong.argmax()) if wrong.any() else len(wrong)
    hits = (row.said.argmax(axis=2) == grades)[:, :first].mean()
    return {"sound": first, "after": len(wrong) - first, "contradict": int(wrong.sum()), "accuracy": float(hits)}


def check_bars(name, figures):
    "Every bar with its measured value: (bar, value, low, high); value None where it was not measured"
    def value(bar): return figures.get(bar.row, {}).get(bar.plan, {}).get((bar.metric, bar.rule), (None, None, None))
    return [(bar, *value(bar)) for bar in BARS[name]]


# ---------------------------------------------------------------- printing


def table_of(rows, figures, name, plan):
    "One table: rows that were measured under a plan, 'cv' or 'split'"
    lines = []
    for row in rows:
        found = figures.get(row.name, {})
        if plan not in found: continue
        line = {"model": row.title} | {head: with_interval(*found[plan][key]) for key, head in SHOWN[name].items()}
        if plan == "cv":
            for key in GAPS[name]:
                line[f"{SHOWN[name][key]} − XGBoost"] = with_interval(*found.get("gap", {}).get(key, (None,)))
            line |= {"deals": "–" if row.fold is not None else row.deals, "s a fit": f"{np.mean(row.seconds):.2f}"}
        lines.append(line)
    return markdown(lines)


def bar_line(name, bar, value, low, high):
    "One bar as a line of text"
    sign = "≥" if METRICS[bar.metric].higher else "≤"
    what = (f"{name}, {bar.row}, {'seed split' if bar.plan == 'split' else 'cross-validation'}, "
            f"{METRICS[bar.metric].label} ({bar.rule}) {sign} {bar.limit:g}")
    return (f"- {'PASS' if bar.passed(value) else 'FAIL'}  {what}: {with_interval(value, low, high)}"
            if value is not None else f"- not measured  {what}")


def limits_text(row):
    "How near ours is to what noise allows, and where the noise is"
    top, sound = if_exact(row.said[0], row.model.schema.grades), sound_accuracy(row)
    own = measure(as_comparison(row, row.said), [(metric, "mode") for metric in top])
    lines = [{"metric": METRICS[metric].label, "measured": with_interval(*own[metric, "mode"]),
              "if exact": with_interval(*top[metric]),
              "measured − if exact": f"{own[metric, 'mode'][0] - top[metric][0]:+.3f}"} for metric in top]
    return (f"{markdown(lines)}\n\n*If exact* is what these very probabilities would score if each were true (300 sets of grades "
            f"drawn from them). It says how well they are calibrated; a model that knows more could score higher. "
            f"All {sound['contradict']} grades that contradict the GPA are in the last {sound['after']} rows; on the "
            f"{sound['sound']} rows before "
            f"them accuracy is {sound['accuracy']:.3f}.")


def notes_of(rows):
    "What was left out, and what rivals believed"
    notes = [f"- {row.title}: left out, {row.lacks}." for row in rows if row.lacks]
    return "\n".join(notes
                     + [f"- {row.title}: believed an accuracy of {np.mean(row.believed):.3f} on its validation part."
                        for row in rows if row.believed])


def report(name, rows, figures):
    "Everything about one table, in Markdown"
    n = len(rows[0].frame)
    deals = max(row.deals for row in rows)
    folds = FOLDS[name]
    parts = [f"## {name} ({n:,} students)"]
    if test := table_of(rows, figures, name, "split"):
        m = next(len(row.test) for row in rows if row.test is not None)
        parts += [f"### Seed split (seed {SEED}): fitted on {n - m:,} students, each model tested once on {m}", test]
    if cv := table_of(rows, figures, name, "cv"):
        parts += [f"### Up to {deals} × {folds}-fold cross-validation (deals with seeds {SEED} to {SEED + deals - 1})",
                  cv]
    ours = next((row for row in rows if row.name == "ordinal" and row.said is not None), None)
    if ours and ours.model.schema.score: parts += ["### What the model's own probabilities would score", limits_text(ours)]
    return "\n\n".join(filter(None, [*parts, notes_of(rows)]))


# ---------------------------------------------------------------- balance


def balance_report(name, schema, frame, quick, jobs):
    "What balancing the rows and other rules gain and cost, in Markdown, and the table itself"
    settings = {"xgboost": {}, "ordinal": {"members": ["linear"]}, "logistic": {}}
    models = {family: GradeModel(schema, family, params=params)
              for family, params in settings.items() if family in FAMILIES}
    repeats = 1 if quick else 3
    table = ways_table(compare_ways(models, frame, n_folds=FOLDS[name], repeats=repeats, jobs=jobs), BOOT)
    lines = [{"model": model, "way": way} | {column: with_interval(value) for column, value in row.items()}
             for (model, way), row in table.iterrows()]
    text = "\n".join(f"- {ways_sentence(table, model)}" for model in models)
    return (f"## {name}: rare grades, {repeats} × {FOLDS[name]}-fold, no score in "
            f"training\n\n{markdown(lines)}\n\n{text}", table)


# ---------------------------------------------------------------- command


def read_arguments(words=None):
    "The command line"
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0],
                                     formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("table", nargs="?", choices=[*FILES, "all"], default="all", help="which published table")
    parser.add_argument("--data", metavar="FOLDER",
                        help="where the tables are; GRADECLASS_REAL_DATA or data/raw unless given")
    parser.add_argument("--quick", action="store_true", help="fewer deals, no large grid, no tuning")
    parser.add_argument("--json", metavar="OUT", type=Path, help="write the figures to this file too")
    parser.add_argument("--only", metavar="NAME", nargs="+",
                        help="some rows, such as ordinal xgboost grid4; or balance")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    return parser.parse_args(words)


def choose_rows(tables, only):
    "The rows that are named, all of them where none is; a name that no table has is refused: {table: rows}"
    if not only: return tables
    names = list(dict.fromkeys(row.name for rows in tables.values() for row in rows))
    unknown = [name for name in only if name not in names and name != "balance"]
    if unknown: raise BenchmarkError(f"there is no row {unknown[0]}: name some of {', '.join([*names, 'balance'])}")
    return {table: [row for row in rows if row.name in only] for table, rows in tables.items()}


def plain(figures):
    "Figures with text keys, for JSON"
    return {row: {plan: {" ".join(key): dict(zip(("value", "low", "high"), values, strict=True))
                         for key, values in found.items()} for plan, found in plans.items()}
            for row, plans in figures.items()}


def run_table(name, schema, frame, rows, arguments):
    "Measure one table, print its report; returns figures for JSON, and bars"
    result, figures = {}, {}
    if rows:
        run_rows(rows, name, arguments.jobs, progress=sys.stderr.isatty())
        figures = measure_rows(rows, name, arguments.jobs)
        print(report(name, rows, figures), end="\n\n", flush=True)
        seconds = {row.name: float(np.mean(row.seconds)) for row in rows if row.seconds}
        result = {"figures": plain(figures), "seconds_a_fit": seconds,
                  "left_out": {row.name: row.lacks for row in rows if row.lacks}}
    if not arguments.only or "balance" in arguments.only:
        text, table = balance_report(name, schema, frame, arguments.quick, arguments.jobs)
        print(text, end="\n\n", flush=True)
        result["balance"] = {" ".join(pair): row.to_dict() for pair, row in table.iterrows()}
    return result, check_bars(name, figures) if rows else []


def read_and_choose(arguments):
    "Table -> schema, clean frame and rows to run"
    names, folder = list(FILES) if arguments.table == "all" else [arguments.table], data_folder(arguments.data)
    for name in names: find_table(name, folder)
    read = {name: read_students(name, folder) for name in names}
    rows = choose_rows({name: ROWS[name](*read[name], arguments.quick) for name in names}, arguments.only)
    return {name: (*read[name], rows[name]) for name in names}


def main(words=None):
    "Run what was asked for; 0 where every bar that was measured is reached"
    arguments, began = read_arguments(words), time.perf_counter()
    try: found = {name: run_table(name, *table, arguments) for name, table in read_and_choose(arguments).items()}
    except GradeclassError as error:
        print(f"quality: {error}", file=sys.stderr)
        return 1
    bars = [(name, *bar) for name, (_, checked) in found.items() for bar in checked]
    if bars: print("## Bars\n\n" + "\n".join(bar_line(*bar) for bar in bars))
    print(f"\n{time.perf_counter() - began:.0f} s in all, {arguments.jobs} processes")
    if arguments.json:
        arguments.json.write_text(json.dumps({name: result for name, (result, _) in found.items()}, indent=1) + "\n",
                                  encoding="utf-8")
    return int(any(value is not None and not bar.passed(value) for _, bar, value, *_ in bars))


if __name__ == "__main__":
    sys.exit(main())

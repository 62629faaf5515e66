"""Ways to find rare grades, tried on the same folds."""
from typing import NamedTuple
import time
import warnings

from sklearn.base import clone
import numpy as np
import pandas as pd

from gradeclass.config import GradeclassError, SEED
from gradeclass.evaluation.figures import COLOURS, new_figure, plot_style
from gradeclass.evaluation.metrics import METRICS, check_predictions, grade_rates
from gradeclass.evaluation.resampling import bootstrap, interval
from gradeclass.models.balance import METHODS
from gradeclass.models.decide import decide
from gradeclass.models.features import grade_index
from gradeclass.models.folds import deal_folds, out_of_fold
from gradeclass.models.grade_model import GradeModel
from gradeclass.schema import GradeScale


RULE_WAYS = {
    "rule": "rows as they are; grades picked for the highest expected macro-F1",
    "gains": "rows as they are; each grade's probability times a gain, learnt on out-of-fold predictions",
}
WAYS = METHODS | RULE_WAYS


def macro_f1_of(
    grades:np.ndarray,    # Grade index, shape (n,)
    predicted:np.ndarray, # Announced grade, shape (n,)
    n_grades:int,         # Grades of the scale
)->float:                 # From 0 to 1
    "Macro-F1 over the grades that are recorded, quickly"
    right = np.bincount(grades[grades == predicted], minlength=n_grades)
    recorded, announced = np.bincount(grades, minlength=n_grades), np.bincount(predicted, minlength=n_grades)
    there = recorded > 0
    return float((2*right[there]/(recorded + announced)[there]).mean())


FACTORS = np.geomspace(0.25, 4, 17)  # Gains that are tried for a grade

def learn_gains(
    grades:np.ndarray, # Grade index, shape (n,)
    said:np.ndarray,   # Out-of-fold probabilities of the same rows, shape (n, K)
    rounds:int=3,      # Times that every grade gets its turn
)->np.ndarray:         # Gain of each grade, shape (K,); the largest gain*probability is announced
    "Gains under which these rows have the highest macro-F1, one grade at a time"
    gains, best = np.ones(said.shape[1]), macro_f1_of(grades, said.argmax(axis=1), said.shape[1])
    for grade in np.tile(np.arange(said.shape[1]), rounds):
        for factor in FACTORS:
            tried = np.where(np.arange(len(gains)) == grade, factor, gains)
            found = macro_f1_of(grades, (tried*said).argmax(axis=1), len(gains))
            if found > best + 1e-9: gains, best = tried, found
    return gains


class Told(NamedTuple):
    "What one way said of held-out rows"
    said: np.ndarray      # Probabilities, shape (n, K)
    predicted: np.ndarray # Announced grade, shape (n,)
    seconds: float        # What it took


def announce(
    way:str,            # A name in `WAYS`
    model:GradeModel,   # How to fit
    train:pd.DataFrame, # Rows that the fold was fitted on
    said:np.ndarray,    # Probabilities of the held-out rows, shape (n, K)
    inner:int=3,        # Inner folds
)->np.ndarray:          # Grade index, shape (n,)
    "Pick grades by a rule that is learnt inside the training rows"
    if way not in RULE_WAYS: return said.argmax(axis=1)
    known = out_of_fold(model, train, inner, model.seed)
    if way == "rule": return decide(said, "macro_f1", known)
    return (learn_gains(grade_index(train, model.schema), known)*said).argmax(axis=1)


def try_way(
    way:str,            # A name in `WAYS`
    model:GradeModel,   # A family with its parameters
    frame:pd.DataFrame, # Students with grades, n of them
    fold:np.ndarray,    # Fold of each row, shape (n,)
)->Told:                # Every row, by a model that has not seen it
    "Fit and predict, fold by fold; rows are balanced inside the training part"
    if way not in WAYS: raise GradeclassError(f"no way {way}: use some of {', '.join(WAYS)}")
    began, way_model = time.perf_counter(), clone(model).set_params(balance=way if way in METHODS else "none")
    frame = frame.drop(columns=model.schema.score) if model.schema.score in frame else frame
    said, predicted = np.empty((len(frame), len(model.schema.grades.codes))), np.empty(len(frame), int)
    for i in range(fold.max() + 1):
        train, held = frame[fold != i], fold == i
        said[held] = way_model.fit(train).predict_proba(frame[held])
        predicted[held] = announce(way, way_model, train, said[held])
    return Told(said, predicted, time.perf_counter() - began)


class Ways(NamedTuple):
    "What several ways said of the same students"
    grades: np.ndarray # True grade index, shape (n,)
    told: dict         # (model, way) -> one `Told` for each deal
    scale: GradeScale  # The K grades


def compare_ways(
    models:dict,            # Name -> `GradeModel`
    frame:pd.DataFrame,     # Students with grades
    ways:tuple=tuple(WAYS), # Names in `WAYS`
    n_folds:int=5,          # Folds
    repeats:int=1,          # Deals into folds
    seed:int=SEED,          # The first deal's seed; the others count on from it
    jobs:int=1,             # Processes
)->Ways:                    # For `ways_table`
    "Every way with every model on the same folds"
    from joblib import Parallel, delayed
    schema = next(iter(models.values())).schema
    folds = [deal_folds(frame, schema, n_folds, seed + i) for i in range(repeats)]
    plan = [(name, way) for name in models for way in ways]
    runs = Parallel(jobs)(delayed(quiet_way)(way, models[name], frame, fold) for name, way in plan for fold in folds)
    told = {pair: runs[i*repeats:(i + 1)*repeats] for i, pair in enumerate(plan)}
    return Ways(grade_index(frame, schema), told, schema.grades)


def quiet_way(
    way:str,            # A name in `WAYS`
    model:GradeModel,   # A family with its parameters
    frame:pd.DataFrame, # Students with grades
    fold:np.ndarray,    # Fold of each row
)->Told:                # What `try_way` returns
    "`try_way` in one thread, without warnings"
    from threadpoolctl import threadpool_limits
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore")
        return try_way(way, model, frame, fold)


def way_metric(
    compared:Ways,      # What ways said
    pair:tuple,         # (model, way)
    metric:str,         # A name in `METRICS`
    weights:np.ndarray, # Weight of each student, shape (B, n)
)->np.ndarray:          # Mean over the deals, shape (B,)
    "One metric of one way, for every resample"
    cases = [check_predictions(compared.grades, told.said, compared.scale, told.predicted)
             for told in compared.told[pair]]
    return np.mean([METRICS[metric].measure(case, weights) for case in cases], axis=0)


def way_recalls(
    compared:Ways,        # What ways said
    pair:tuple,           # (model, way)
)->dict[str, float]:      # Grade -> share of the students who have it that is announced
    "Recall of each grade, mean over the deals"
    cases = [check_predictions(compared.grades, told.said, compared.scale, told.predicted)
             for told in compared.told[pair]]
    recall = np.mean([grade_rates(case, np.ones((1, len(case.y)))).recall[0] for case in cases], axis=0)
    return dict(zip(compared.scale.labels, recall.tolist(), strict=True))


def way_gap(
    compared:Ways,    # What ways said
    pair:tuple,       # (model, way)
    metric:str,       # A name in `METRICS`
    n_boot:int=500,   # Resamples
    seed:int=SEED,    # Seed of the resampling
)->tuple[float, float]: # Lower and upper end
    "95 % interval of what a way changes against `none`, the same students in both"
    def measure(weights):
        return way_metric(compared, pair, metric, weights) - way_metric(compared, (pair[0], "none"), metric, weights)
    return interval(bootstrap(len(compared.grades), measure, n_boot, seed))


WAY_METRICS = ("accuracy", "macro_f1", "brier", "ece", "log_loss")

def ways_table(
    compared:Ways,  # What ways said, `none` among them
    n_boot:int=500, # Resamples
)->pd.DataFrame:    # Index model, way: metrics, gap_low and gap_high of macro-F1 against `none`, recall of each grade, seconds
    "What each way gains and costs"
    once, rows = np.ones((1, len(compared.grades))), []
    for pair, told in compared.told.items():
        row = {metric: float(way_metric(compared, pair, metric, once)[0]) for metric in WAY_METRICS}
        row["gap_low"], row["gap_high"] = way_gap(compared, pair, "macro_f1", n_boot)
        rows.append(row | way_recalls(compared, pair) | {"seconds": float(np.mean([run.seconds for run in told]))})
    return pd.DataFrame(rows, index=pd.MultiIndex.from_tuples(compared.told, names=["model", "way"]))


def plot_recalls(
    table:pd.DataFrame, # What `ways_table` returned
    scale:GradeScale,   # The grades
)->object:              # matplotlib Figure
    "Recall of each grade under each way, one panel for each model"
    models = table.index.unique("model")
    with plot_style():
        figure, axes = new_figure(3.2*len(models) + 1, 3.4, ncols=len(models), sharey=True, squeeze=False)
        for ax, model in zip(axes[0], models, strict=True):
            part = table.loc[model]
            image = ax.imshow(100*part[scale.labels], cmap="Blues", vmin=0, vmax=100, aspect="auto")
            for (row, column), value in np.ndenumerate(100*part[scale.labels].to_numpy()):
                ax.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=8,
                        color="white" if value > 60 else "black")
            ax.set(title=model, xlabel="Recorded grade", yticks=range(len(part)), yticklabels=part.index)
            ax.set_xticks(range(len(scale.labels)), scale.labels)
            ax.grid(False)
        figure.colorbar(image, ax=axes, label="Announced, of those who have it (%)")
    return figure


def plot_costs(
    table:pd.DataFrame, # What `ways_table` returned
)->object:              # matplotlib Figure
    "Macro-F1 against Brier score and calibration error"
    markers = dict(zip(table.index.unique("model"), "osD^v", strict=False))
    colours = dict(zip(WAYS, [*COLOURS, "#cc78bc", "#ca9161"], strict=True))
    with plot_style():
        figure, axes = new_figure(8, 3.6, ncols=2)
        for ax, metric in zip(axes, ("brier", "ece"), strict=True):
            for (model, way), row in table.iterrows():
                ax.plot(row.macro_f1, row[metric], markers[model], color=colours[way], markersize=8, alpha=0.85)
            ax.set(xlabel="F1 (macro), more is better", ylabel=f"{METRICS[metric].label}, less is better")
        axes[0].set_title("What balancing gains and costs")
        keys = [*markers.items(), *((way, "o") for way in table.index.unique("way"))]
        handles = [axes[0].plot([], [], marker, color=colours.get(name, "black"), label=name)[0]
                   for name, marker in keys]
        figure.legend(handles=handles, loc="outside right center", frameon=False)
    return figure


def ways_sentence(
    table:pd.DataFrame, # What `ways_table` returned
    model:str,          # One of the models
)->str:                 # Two sentences
    "What the ways change for one model, in words"
    part = table.loc[model]
    plain, others = part.loc["none"], part.drop(index="none")
    best, rows = others.macro_f1.idxmax(), others.loc[[way for way in others.index if way in METHODS]]
    gain = others.loc[best]
    text = (f"**{model}**: macro-F1 is {plain.macro_f1:.3f} with the rows as they are and at most {gain.macro_f1:.3f} "
            f"otherwise ({best}; "
            f"95 % interval of the difference {gain.gap_low:+.3f} to {gain.gap_high:+.3f}).")
    if rows.empty: return text
    def moves(metric):
        ends = dict.fromkeys(f"{value:.3f}" for value in (rows[metric].min(), rows[metric].max()))
        return f"from {plain[metric]:.3f} to {'–'.join(ends)}"
    return (f"{text} Balancing the rows takes the Brier score {moves('brier')} and the calibration error "
            f"{moves('ece')}.")

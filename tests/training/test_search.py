"Tuning, comparing and choosing: nothing is repeated, nothing is seen that was not given, nothing is won by luck"
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import warnings
from dataclasses import replace

import nbformat
import numpy as np
import pandas as pd
import pytest

from gradeclass.training import choose, side_by_side
from gradeclass.config import GradeclassError, stage_notebooks
from gradeclass.models.features import grade_index
from gradeclass.models.folds import deal_folds
from gradeclass.models.grade_model import FAMILIES, GradeModel
from gradeclass.data.synthetic import synthesise
from gradeclass.schema import load_schema
from gradeclass.training.choose import choose_model, make_model, order_families, stack_gain
from gradeclass.training.search import (
    PRESETS, SPACES, Choice, Search, TunedModel, find_space, measure_once, nest, plot_history, plot_importance,
    study_name, tune,
)
from gradeclass.training.side_by_side import Comparison, leaderboard, repeated_cv

STUDENTS = load_schema("students")
FRAME = synthesise("students", 160, seed=3)
SMALL = {"rounds": 8, "patience": None}
MODEL = GradeModel(STUDENTS, "xgboost", params=SMALL)

def quick(model=MODEL, frame=FRAME, **more):
    "A search that takes a second"
    return tune(model, frame, **({"trials": 4, "folds": 2, "progress": False} | more))

def counts(storage):
    "Trials of a storage by state"
    with sqlite3.connect(storage) as base:
        return dict(base.execute("select state, count(*) from trials group by state"))

def shuffled(frame, seed=0):
    "The same students with each other's grades"
    grades = frame.GradeClass.sample(frac=1, random_state=seed)
    return frame.assign(GradeClass=grades.to_numpy())

@pytest.fixture
def seen(monkeypatch):
    "Labels of every row that a model is fitted on"
    rows, fit = set(), GradeModel.fit
    def remember(model, frame, *rest, **named):
        rows.update(frame.index)
        return fit(model, frame, *rest, **named)
    monkeypatch.setattr(GradeModel, "fit", remember)
    return rows

# Spaces

@pytest.mark.parametrize("family", SPACES)
def test_space_starts_from_the_defaults_of_the_family(family):
    if family == "neural": pytest.importorskip("keras")
    start = nest({name: choices.values[choices.start] if isinstance(choices, Choice) else choices.start
                  for name, choices in SPACES[family].items()})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        said = [GradeModel(STUDENTS, family, params=params).fit(FRAME).predict_proba(FRAME.head(20))
                for params in ({}, start)]
    np.testing.assert_allclose(*said, atol=1e-6)

@pytest.mark.parametrize("family", SPACES)
def test_space_holds_its_start(family):
    assert family in FAMILIES
    for choices in SPACES[family].values():
        assert choices.start in choices.values if isinstance(choices,
                                                             Choice) else choices.low <= choices.start <= choices.high

@pytest.mark.parametrize("name, points", [("grid216", 216), ("grid4", 4)])
def test_preset_has_the_number_of_points_in_its_name(name, points):
    assert np.prod([len(set(values)) for values in PRESETS[name].values()]) == points

def test_wrong_requests_are_refused_in_a_sentence():
    for message, ask in {
        "family majority has nothing to tune: use one of": lambda: quick(GradeModel(STUDENTS, "majority")),
        "no preset grid9: use one of grid216, grid4": lambda: quick(preset="grid9"),
        "preset grid4 is a grid for xgboost, not for ordinal": lambda: quick(GradeModel(STUDENTS, "ordinal"),
                                                                             preset="grid4"),
        "no metric luck: use one of accuracy": lambda: quick(metric="luck"),
        "at least 1 trial, 1 job and 2 folds": lambda: quick(trials=0),
        "every parameter that could be tuned is given": lambda: find_space(GradeModel(STUDENTS, "xgboost",
                                                                                      params={"params": dict.fromkeys(
            [name.split(".")[1] for name in SPACES["xgboost"]], 1)})),
    }.items():
        with pytest.raises(GradeclassError, match=message): ask()

# The search

def test_result_is_never_worse_than_the_defaults_on_the_inner_folds():
    tuned = quick(trials=6)
    search = Search(MODEL, FRAME, find_space(MODEL), 2, "log_loss")
    assert tuned.start == pytest.approx(np.mean(list(search.fold_values({}))), abs=1e-9)
    assert tuned.value <= tuned.start
    assert tuned.value == pytest.approx(np.mean(list(search.fold_values(tuned.params))), abs=1e-9)

def test_same_seed_finds_the_same_and_another_seed_searches_elsewhere():
    one = quick()
    two = quick()
    other = quick(GradeModel(STUDENTS, "xgboost", params=SMALL, seed=7))
    pd.testing.assert_frame_equal(one.trials.drop(columns="seconds"), two.trials.drop(columns="seconds"))
    assert not np.allclose(one.trials["params.learning_rate"][1:], other.trials["params.learning_rate"][1:])

def test_given_parameters_are_kept():
    tuned = quick(GradeModel(STUDENTS, "xgboost", params=SMALL | {"params": {"max_depth": 2}}))
    assert tuned.model.params["rounds"] == 8 and tuned.model.params["params"]["max_depth"] == 2
    assert "params.max_depth" not in tuned.trials

def test_more_is_better_where_the_metric_says_so():
    tuned = quick(metric="accuracy", trials=5)
    assert tuned.value == tuned.trials.value.max() >= tuned.start

def test_hopeless_trials_are_given_up_early():
    tuned = quick(trials=14, folds=3, frame=FRAME.head(90))
    assert (tuned.trials.state == "PRUNED").any() and tuned.trials.state[0] == "COMPLETE"
    assert tuned.trials.value.isna().sum() == (tuned.trials.state == "PRUNED").sum()

def test_no_trial_begins_after_the_time_but_the_defaults_are_tried():
    tuned = quick(trials=1000, seconds=1e-9)
    assert len(tuned.trials) == 1 and tuned.value == tuned.start

def test_full_grid_visits_every_point_once():
    tuned = quick(GradeModel(STUDENTS, "xgboost"), FRAME.head(80), preset="grid4")
    assert (tuned.trials.state == "COMPLETE").all()
    assert len(tuned.trials[list(PRESETS["grid4"])].drop_duplicates()) == len(tuned.trials) == 4
    assert tuned.model.params["patience"] is None

def test_importance_is_shared_out_among_the_parameters_after_enough_trials():
    tuned = quick(trials=9)
    assert tuned.importance.sum() == pytest.approx(1) and set(tuned.importance.index) == set(SPACES["xgboost"])
    assert quick(trials=2).importance.empty

# Kept, resumed, shared

def test_search_goes_on_where_it_stopped(tmp_path):
    first = quick(storage=tmp_path/"tuning.db", trials=3)
    second = quick(storage=tmp_path/"tuning.db", trials=5)
    third = quick(storage=tmp_path/"tuning.db", trials=5)
    pd.testing.assert_frame_equal(first.trials, second.trials.head(3))
    pd.testing.assert_frame_equal(second.trials, third.trials)
    assert counts(tmp_path/"tuning.db") == {"COMPLETE": 5}
    assert not second.trials.drop(columns=["state", "value", "seconds"]).duplicated().any()

KILLED = """
import sys
from gradeclass.models.grade_model import GradeModel
from gradeclass.data.synthetic import synthesise
from gradeclass.schema import load_schema
from gradeclass.training.search import tune
model = GradeModel(load_schema("students"), "xgboost", params={"rounds": 8, "patience": None})
tune(model, synthesise("students", 160, seed=3), trials=500, folds=2, progress=False, storage=sys.argv[1])
"""

def test_killed_search_keeps_its_trials_and_repeats_none(tmp_path):
    storage = tmp_path/"tuning.db"
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(storage)])
    for _ in range(600):
        time.sleep(0.1)
        try:
            if counts(storage).get("COMPLETE", 0) >= 4: break
        except sqlite3.OperationalError: continue
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    done = sum(number for state, number in counts(storage).items() if state in ("COMPLETE", "PRUNED"))
    assert done >= 4
    tuned = quick(storage=storage, trials=done + 2)
    assert len(tuned.trials) == done + 2
    assert not tuned.trials.drop(columns=["state", "value", "seconds"]).duplicated().any()

def test_two_processes_share_one_study_and_end_with_the_number_asked_for(tmp_path):
    tuned = quick(storage=tmp_path/"tuning.db", trials=7, jobs=2)
    assert len(tuned.trials) == 7 and sum(counts(tmp_path/"tuning.db").values()) == 7
    assert not tuned.trials.drop(columns=["state", "value", "seconds"]).duplicated().any()

def test_study_is_shared_by_equal_searches_alone():
    search = Search(MODEL, FRAME, find_space(MODEL), 2, "log_loss")
    others = [replace(search, frame=FRAME.head(150)), replace(search, frame=shuffled(FRAME)),
              replace(search, metric="brier"), replace(search, folds=3),
              replace(search, rule="distance"),
              replace(search, model=GradeModel(STUDENTS, "xgboost", params=SMALL, seed=1)),
              replace(search, model=GradeModel(STUDENTS, "xgboost", "weights", params=SMALL)),
              replace(search, space=find_space(MODEL) | {"rounds": None})]
    assert len({study_name(each) for each in [search, *others]}) == len(others) + 1
    assert study_name(search) == study_name(replace(search, frame=FRAME.copy(), until=0))

# Honest

def test_tuning_and_choosing_see_no_row_but_those_given(seen):
    train = FRAME.sample(100, random_state=1)
    make_model(train, STUDENTS, "xgboost", params=SMALL, tune_trials=2)
    assert seen == set(train.index)
    seen.clear()
    choose_model(train, STUDENTS, 60, families=["majority", "xgboost"], folds=2)
    assert seen == set(train.index)

def test_train_stage_hands_the_training_part_alone_to_the_search():
    cells = nbformat.read(stage_notebooks()/"30_train.ipynb", 4).cells
    calls = [cell.source for cell in cells if "make_model(" in cell.source]
    assert len(calls) == 1 and 'make_model(prepared.parts["train"],' in calls[0]
    assert "test" not in calls[0] and "validation" not in calls[0]

def test_no_trial_is_measured_on_rows_that_it_was_fitted_on(monkeypatch):
    pairs = []
    fit = GradeModel.fit
    predict = GradeModel.predict_proba
    monkeypatch.setattr(GradeModel, "fit", lambda model, frame, *rest,
                        **named: setattr(model, "rows", set(frame.index)) or fit(model, frame, *rest, **named))
    monkeypatch.setattr(GradeModel, "predict_proba", lambda model,
                        frame: pairs.append(model.rows & set(frame.index)) or predict(model, frame))
    quick(trials=2)
    assert pairs and not any(pairs)

def test_shuffled_grades_tune_to_chance():
    frame = shuffled(synthesise("students", 400, seed=5))
    nested = side_by_side.nested_cv(MODEL, frame, outer=3, inner=2, trials=5)
    grades = grade_index(frame, STUDENTS)
    shares = np.tile(np.bincount(grades, minlength=5)/len(grades), (len(grades), 1))
    chance = measure_once(grades, shares, STUDENTS.grades, "log_loss")
    assert leaderboard(nested, n_boot=20).log_loss.min() > chance - 0.02

def test_default_path_imports_no_optuna():
    code = ("import sys; from gradeclass.data.synthetic import synthesise; from gradeclass.schema import load_schema; "
            "from gradeclass.training.choose import make_model;"
            "made = make_model(synthesise('students', 50, seed=1), load_schema('students'), 'majority');"
            "assert not made.tables and not {'optuna', 'seaborn'} & set(sys.modules), 'imported'")
    subprocess.run([sys.executable, "-c", code], check=True)

# Side by side

def compare(*models):
    return repeated_cv({f"model {i}": model for i, model in enumerate(models)}, FRAME, 3, 2)

def test_model_and_its_copy_have_no_gap():
    board = leaderboard(compare(MODEL, MODEL), n_boot=100)
    assert (board[["gap", "gap_low", "gap_high"]] == 0).all(axis=None)

def test_leaderboard_puts_the_best_first_for_each_metric():
    compared = compare(GradeModel(STUDENTS, "majority"), MODEL)
    for metric in ("log_loss", "accuracy", "qwk"):
        board = leaderboard(compared, metric, n_boot=200)
        assert list(board.index) == ["model 1", "model 0"]
        assert (board.low <= board[metric]).all() and (board[metric] <= board.high).all()
    assert leaderboard(compared, "log_loss", n_boot=200).gap_low["model 0"] > 0

def test_leaderboard_is_the_mean_over_the_deals():
    compared = compare(MODEL)
    values = [measure_once(compared.grades, said, STUDENTS.grades, "macro_f1") for said in compared.said["model 0"]]
    assert leaderboard(compared, "macro_f1", n_boot=10).macro_f1.iloc[0] == pytest.approx(np.mean(values))

def test_decision_rule_changes_what_is_announced_and_not_the_probabilities():
    said = np.tile([0.4, 0.0, 0.0, 0.3, 0.3], (40, 1))
    compared = Comparison(np.repeat([0, 3, 4, 3], 10), {"one": said[None]}, {"one": 0.0}, STUDENTS.grades)
    mode, distance = (leaderboard(compared, "within_one", rule, n_boot=10).iloc[0] for rule in ("mode", "distance"))
    assert distance.within_one > mode.within_one and distance.log_loss == mode.log_loss

def test_tuned_model_is_an_estimator_that_can_be_cloned_and_compared():
    from sklearn.base import clone
    model = clone(TunedModel(MODEL, trials=2, folds=2))
    assert model.get_params(deep=False)["trials"] == 2
    board = leaderboard(repeated_cv({"plain": MODEL, "tuned": model}, FRAME, 2, 1), n_boot=10)
    assert set(board.index) == {"plain", "tuned"} and board.seconds["tuned"] > board.seconds["plain"]

def test_figures_have_titles_and_axes():
    tuned = quick(trials=9)
    for figure in (plot_history(tuned), plot_importance(tuned)):
        assert figure.axes[0].get_title(loc="left") and figure.axes[0].get_xlabel()

# Choosing

def test_families_that_would_not_end_in_time_are_left_out_and_said_so():
    chosen = choose_model(FRAME, STUDENTS, seconds=1e-6, families=["ordinal", "majority", "xgboost"], folds=2)
    assert list(chosen.table.index) == ["majority", "xgboost", "ordinal"]
    assert chosen.model.family == "xgboost" and "left out: it would have taken about" in chosen.table.note["ordinal"]
    assert chosen.table.log_loss.notna().tolist() == [True, True, False]

def test_family_that_cannot_be_fitted_is_left_out_with_its_reason(monkeypatch):
    def refuse(*_): raise ImportError("the neural family needs an extra")
    monkeypatch.setattr(FAMILIES["ordinal"], "_fit", refuse)
    chosen = choose_model(FRAME, STUDENTS, families=["ordinal", "majority"], folds=2)
    assert chosen.model.family == "majority" and "the neural family needs an extra" in chosen.table.note["ordinal"]

def test_every_single_family_is_tried_and_no_stack():
    assert set(order_families()) == set(FAMILIES) - {"stack"}
    with pytest.raises(GradeclassError, match="stack cannot be tried"): order_families(["stack"])

def test_stack_is_chosen_where_families_complement_each_other_and_not_by_luck():
    rng, fold = np.random.default_rng(1), np.arange(400) % 5
    half = np.where(rng.random(400) < 0.5, 0.9, 0.2)
    gain, error = stack_gain(np.column_stack([half, 1.1 - half]), fold)
    assert gain > error
    noise = np.exp(rng.normal(-0.5, 0.02, (400, 3)))
    gain, error = stack_gain(noise, fold)
    assert gain < 3*error and abs(gain) < 0.01

def test_chosen_stack_can_be_fitted(monkeypatch):
    monkeypatch.setattr(choose, "stack_gain", lambda *_: (1.0, 0.1))
    monkeypatch.setattr(choose, "learn_shares", lambda likelihood: np.full(likelihood.shape[1], 1/likelihood.shape[1]))
    chosen = choose_model(FRAME, STUDENTS, families=["majority", "xgboost"], folds=2)
    assert chosen.model.family == "stack" and chosen.table.share.tolist() == [
        0.5, 0.5] and "a stack of majority, xgboost" in chosen.reason
    assert chosen.model.fit(FRAME).predict_proba(FRAME.head(2)).sum() == pytest.approx(2)
    json.dumps(chosen.model.params)

def test_auto_is_tuned_where_the_choice_can_be(monkeypatch):
    monkeypatch.setattr(choose, "SINGLE_FAMILIES", {name: FAMILIES[name] for name in ("majority", "xgboost")})
    made = make_model(FRAME, STUDENTS, "auto", tune_trials=1)
    assert made.model.family == "xgboost" and len(made.tables) == 2 and "1 trials" in made.text
    with pytest.raises(GradeclassError, match="params belong to one family"):
        make_model(FRAME, STUDENTS, "auto", params=SMALL)

def test_higher_education_can_be_chosen_for_with_students_whole(real_data):
    from gradeclass.data.dataset import clean
    from gradeclass.data.sources import load
    dataset = load(real_data("student_prediction.csv"), "higher_ed")
    frame = clean(dataset.frame, dataset.schema)
    chosen = choose_model(frame, dataset.schema, 20, families=["majority", "xgboost"], folds=3)
    assert chosen.model.family == "xgboost" and deal_folds(frame, dataset.schema, 3).max() == 2

"Tuning: nothing is repeated, and nothing is measured on rows that it was fitted on"
import os
import signal
import sqlite3
import subprocess
import sys
import time
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from small_search import FRAME, MODEL, SMALL, STUDENTS, quick, shuffled

from gradeclass.config import GradeclassError
from gradeclass.models.grade_model import FAMILIES, GradeModel
from gradeclass.training.choose import make_model
from gradeclass.training.search import SPACES, Choice, Search, find_space, nest, study_name

def counts(storage):
    "Trials of a storage by state"
    with sqlite3.connect(storage) as base:
        return dict(base.execute("select state, count(*) from trials group by state"))

# Spaces

@pytest.mark.slow
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

def test_wrong_requests_are_refused_in_a_sentence():
    for message, ask in {
        "family majority has nothing to tune: use one of": lambda: quick(GradeModel(STUDENTS, "majority")),
        "no metric luck: use one of accuracy": lambda: quick(metric="luck"),
        "a search needs at least 1 trial and 2 folds": lambda: quick(trials=0),
        "every parameter that could be tuned is given": lambda: find_space(GradeModel(STUDENTS, "xgboost",
                                                                                      params={"params": dict.fromkeys(
            [name.split(".")[1] for name in SPACES["xgboost"]], 1)})),
    }.items():
        with pytest.raises(GradeclassError, match=message): ask()

# The search

@pytest.mark.slow
def test_result_is_never_worse_than_the_defaults_on_the_inner_folds():
    tuned = quick(trials=6)
    search = Search(MODEL, FRAME, find_space(MODEL), 2, "log_loss")
    assert tuned.start == pytest.approx(np.mean(list(search.fold_values({}))), abs=1e-9)
    assert tuned.value <= tuned.start
    assert tuned.value == pytest.approx(np.mean(list(search.fold_values(tuned.params))), abs=1e-9)

@pytest.mark.slow
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

@pytest.mark.slow
def test_hopeless_trials_are_given_up_early():
    tuned = quick(trials=14, folds=3, frame=FRAME.head(90))
    assert (tuned.trials.state == "PRUNED").any() and tuned.trials.state[0] == "COMPLETE"
    assert tuned.trials.value.isna().sum() == (tuned.trials.state == "PRUNED").sum()

def test_no_trial_begins_after_the_time_but_the_defaults_are_tried():
    tuned = quick(trials=1000, seconds=1e-9)
    assert len(tuned.trials) == 1 and tuned.value == tuned.start

# Kept and resumed

@pytest.mark.slow
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

@pytest.mark.process
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

def test_study_is_shared_by_equal_searches_alone():
    search = Search(MODEL, FRAME, find_space(MODEL), 2, "log_loss")
    others = [replace(search, frame=FRAME.head(150)), replace(search, frame=shuffled(FRAME)),
              replace(search, metric="brier"), replace(search, folds=3),
              replace(search, model=GradeModel(STUDENTS, "xgboost", params=SMALL, seed=1)),
              replace(search, model=GradeModel(STUDENTS, "xgboost", "weights", params=SMALL)),
              replace(search, space=find_space(MODEL) | {"rounds": None})]
    assert len({study_name(each) for each in [search, *others]}) == len(others) + 1
    assert study_name(search) == study_name(replace(search, frame=FRAME.copy()))

def test_model_comes_with_the_name_of_its_study(tmp_path):
    made = make_model(FRAME, STUDENTS, "xgboost", params=SMALL, tune_trials=1, storage=tmp_path/"tuning.db")
    with sqlite3.connect(tmp_path/"tuning.db") as base: names = base.execute("select study_name from studies")
    assert names.fetchall() == [(made.study,)] and made.study.startswith("xgboost-")

@pytest.mark.slow
def test_study_can_be_drawn_by_optuna():
    from optuna.importance import get_param_importances
    tuned = quick(trials=9)
    assert len(tuned.study.trials) == 9 and set(get_param_importances(tuned.study)) == set(SPACES["xgboost"])

def test_no_trial_is_measured_on_rows_that_it_was_fitted_on(monkeypatch):
    pairs = []
    fit = GradeModel.fit
    predict = GradeModel.predict_proba
    def remember(model, frame, *rest, **named):
        model.rows = set(frame.index)
        return fit(model, frame, *rest, **named)
    def compare(model, frame):
        pairs.append(model.rows & set(frame.index))
        return predict(model, frame)
    monkeypatch.setattr(GradeModel, "fit", remember)
    monkeypatch.setattr(GradeModel, "predict_proba", compare)
    quick(trials=2)
    assert pairs and not any(pairs)

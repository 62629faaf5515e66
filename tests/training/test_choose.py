"Choosing a family: within its time, from the rows that are given, and not by luck"
import json
import subprocess
import sys

import nbformat
import numpy as np
import pytest
from small_search import FRAME, SMALL, STUDENTS

from gradeclass.config import GradeclassError, stage_notebooks
from gradeclass.models.folds import deal_folds
from gradeclass.models.grade_model import FAMILIES, GradeModel
from gradeclass.training import choose
from gradeclass.training.choose import choose_model, make_model, order_families, stack_gain, weigh_families

@pytest.fixture
def seen(monkeypatch):
    "Labels of every row that a model is fitted on"
    rows, fit = set(), GradeModel.fit
    def remember(model, frame, *rest, **named):
        rows.update(frame.index)
        return fit(model, frame, *rest, **named)
    monkeypatch.setattr(GradeModel, "fit", remember)
    return rows

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

@pytest.mark.process
def test_default_path_imports_no_optuna():
    code = ("import sys; from gradeclass.data.synthetic import synthesise; from gradeclass.schema import load_schema; "
            "from gradeclass.training.choose import make_model;"
            "made = make_model(synthesise('students', 50, seed=1), load_schema('students'), 'majority');"
            "assert not made.tables and not {'optuna', 'seaborn'} & set(sys.modules), 'imported'")
    subprocess.run([sys.executable, "-c", code], check=True)

def test_families_beyond_the_counted_work_are_left_out_and_said_so():
    chosen = choose_model(FRAME, STUDENTS, seconds=1e-6, families=["ordinal", "majority", "xgboost"], folds=2)
    assert list(chosen.tables[0].index) == ["ordinal", "majority", "xgboost"]
    assert chosen.model.family == "ordinal"
    assert "left out: its work counts as" in chosen.tables[0].note["xgboost"]
    assert chosen.tables[0].log_loss.notna().tolist() == [True, False, False]

def test_choice_does_not_depend_on_the_clock(monkeypatch):
    "A machine on which every look at the clock takes an hour tries the same families"
    hours = iter(range(0, 10**9, 3600))
    monkeypatch.setattr(choose.time, "perf_counter", lambda: next(hours))
    chosen = choose_model(FRAME, STUDENTS, 60, families=["ordinal", "majority", "xgboost"], folds=2)
    assert chosen.tables[0].log_loss.notna().all()

def test_ties_go_to_the_default_and_a_surely_better_family_does_not():
    rng, fold = np.random.default_rng(3), np.arange(300) % 5
    base = rng.uniform(0.2, 0.9, 300)
    for seed in range(20):  # No better than the default but for noise, and sometimes the best of three by luck
        noise = np.exp(np.random.default_rng(seed).normal(-0.02, 0.2, (300, 2)))
        shares, text = weigh_families(["ordinal", "xgboost", "logistic"],
                                      np.column_stack([base, base[:, None]*noise]).clip(0.01, 1), fold)
        assert shares == {"ordinal": 1.0}, text
    better = np.column_stack([base, base**0.5])
    assert weigh_families(["ordinal", "xgboost"], better, fold)[0] == {"xgboost": 1.0}

def test_family_that_cannot_be_fitted_is_left_out_with_its_reason(monkeypatch):
    def refuse(*_): raise ImportError("the neural family needs an extra")
    monkeypatch.setattr(FAMILIES["ordinal"], "_fit", refuse)
    chosen = choose_model(FRAME, STUDENTS, families=["ordinal", "majority"], folds=2)
    assert chosen.model.family == "majority" and "the neural family needs an extra" in chosen.tables[0].note["ordinal"]

def test_every_single_family_is_tried_and_no_stack():
    assert set(order_families()) == set(FAMILIES) - {"stack"}
    with pytest.raises(GradeclassError, match="stack cannot be tried"): order_families(["stack"])

def test_stack_is_chosen_where_families_complement_each_other_and_not_by_luck():
    rng, fold = np.random.default_rng(1), np.arange(400) % 5
    half = np.where(rng.random(400) < 0.5, 0.9, 0.2)
    gain, error = stack_gain(np.column_stack([half, 1.1 - half]), fold, 0)
    assert gain > error
    noise = np.exp(rng.normal(-0.5, 0.02, (400, 3)))
    gain, error = stack_gain(noise, fold, 0)
    assert gain < 3*error and abs(gain) < 0.01

def test_chosen_stack_can_be_fitted(monkeypatch):
    monkeypatch.setattr(choose, "stack_gain", lambda *_: (1.0, 0.1))
    monkeypatch.setattr(choose, "learn_shares", lambda likelihood: np.full(likelihood.shape[1], 1/likelihood.shape[1]))
    chosen = choose_model(FRAME, STUDENTS, families=["majority", "xgboost"], folds=2)
    assert chosen.model.family == "stack" and chosen.tables[0].share.tolist() == [
        0.5, 0.5] and "a stack of majority, xgboost" in chosen.text
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

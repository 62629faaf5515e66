"Models side by side: the same folds for all, paired differences, and no gap where there is none"
import numpy as np
import pytest
from small_search import FRAME, MODEL, STUDENTS, shuffled

from gradeclass.data.synthetic import synthesise
from gradeclass.models.features import grade_index
from gradeclass.models.grade_model import GradeModel
from gradeclass.training.search import TunedModel, measure_once
from gradeclass.training.side_by_side import Comparison, leaderboard, repeated_cv

def compare(*models):
    return repeated_cv({f"model {i}": model for i, model in enumerate(models)}, FRAME, 3, 2)

@pytest.mark.slow
def test_shuffled_grades_tune_to_chance():
    frame = shuffled(synthesise("students", 400, seed=5))
    tuned = TunedModel(MODEL, trials=5, folds=2)
    nested = repeated_cv({"plain": MODEL, "tuned": tuned}, frame, n_folds=3, repeats=1)
    grades = grade_index(frame, STUDENTS)
    shares = np.tile(np.bincount(grades, minlength=5)/len(grades), (len(grades), 1))
    chance = measure_once(grades, shares, STUDENTS.grades, "log_loss")
    assert leaderboard(nested, n_boot=20).log_loss.min() > chance - 0.02

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

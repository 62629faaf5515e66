"Rules that pick one grade from probabilities"
import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score, f1_score

from gradeclass.models.decide import RULES, decide, follow_rule, learn_rule, macro_f1_gains

def test_each_rule_is_best_at_its_own_game():
    rng = np.random.default_rng(0)
    said = rng.dirichlet([4.0, 4.0, 4.0, 1.0], 4000)
    truth = (rng.random((4000, 1)) > said.cumsum(axis=1)).sum(axis=1)
    picked = {rule: decide(said, rule) for rule in RULES}
    steps = {rule: np.abs(grades - truth).mean() for rule, grades in picked.items()}
    hits = {rule: (grades == truth).mean() for rule, grades in picked.items()}
    f1 = {rule: f1_score(truth, grades, average="macro") for rule, grades in picked.items()}
    kappa = {rule: cohen_kappa_score(truth, grades, weights="quadratic") for rule, grades in picked.items()}
    best = [min(steps, key=steps.get), *(max(found, key=found.get) for found in (hits, f1, kappa))]
    assert best == ["distance", "mode", "macro_f1", "qwk"]

@pytest.mark.parametrize("rule", ["macro_f1", "qwk"])
def test_rule_for_one_student_is_learnt_from_others(rule):
    said = np.random.default_rng(0).dirichlet([4.0, 4.0, 1.0], 300)
    alone = np.concatenate([decide(said[[i]], rule, like=said) for i in range(20)])
    assert (alone == decide(said, rule)[:20]).all()
    sure = learn_rule(rule, np.array([[1.0, 0.0, 0.0]]))
    assert np.isfinite(sure).all() and follow_rule(rule, np.array([[1.0, 0.0, 0.0]]), sure) == [0]


def test_macro_f1_moves_one_grade_and_leaves_the_others():
    "All rows at once is not what one weight at a time does: the rare grade of the sample is announced"
    said = np.random.default_rng(1).dirichlet([6.0, 6.0, 6.0, 2.0], 3000)
    mode, rule = (np.bincount(decide(said, name), minlength=4) for name in ("mode", "macro_f1"))
    assert rule[3] > 3*mode[3] and macro_f1_gains(said)[3] > 1.2*macro_f1_gains(said)[:3].max()

"Rules that pick one grade from probabilities"
import numpy as np
from sklearn.metrics import f1_score

from gradeclass.models.decide import RULES, decide, macro_f1_gains

def test_each_rule_is_best_at_its_own_game():
    rng = np.random.default_rng(0)
    said = rng.dirichlet([4.0, 4.0, 4.0, 1.0], 4000)
    truth = (rng.random((4000, 1)) > said.cumsum(axis=1)).sum(axis=1)
    picked = {rule: decide(said, rule) for rule in RULES}
    steps = {rule: np.abs(grades - truth).mean() for rule, grades in picked.items()}
    hits = {rule: (grades == truth).mean() for rule, grades in picked.items()}
    f1 = {rule: f1_score(truth, grades, average="macro") for rule, grades in picked.items()}
    assert (min(steps, key=steps.get), max(hits, key=hits.get), max(f1, key=f1.get)) == ("distance", "mode", "macro_f1")

def test_macro_f1_rule_for_one_student_is_learnt_from_others():
    said = np.random.default_rng(0).dirichlet([4.0, 4.0, 1.0], 300)
    alone = np.concatenate([decide(said[[i]], "macro_f1", like=said) for i in range(20)])
    assert (alone == decide(said, "macro_f1")[:20]).all()
    assert np.isfinite(macro_f1_gains(np.array([[1.0, 0.0, 0.0]]))[0]).all()

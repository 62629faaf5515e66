"The ordinal family: weights, scores, members, gaps, small and large tables, files, and the published tables"
import json
import subprocess
import sys
import time

import numpy as np
import pytest
from ordinal_rows import CUTS, GROUPS, NEW, QUICK, SCORE, STUDENTS, X, Y, curved, encode, log_loss, without_column
from sklearn.metrics import cohen_kappa_score, f1_score
from sklearn.model_selection import StratifiedKFold
from sklearn.utils.estimator_checks import parametrize_with_checks

from gradeclass.config import GradeclassError
from gradeclass.data.dataset import clean
from gradeclass.data.sources import load
from gradeclass.data.synthetic import synthesise
from gradeclass.models.decide import decide
from gradeclass.schema import band_of
from gradeclass.models.ordinal import MEMBERS, OrdinalGrades, blend_weights, choose_members, strata_folds

# scikit-learn's own checks

FOLDS = "members are compared on folds, and the folds of repeated rows are not those of weighted rows"
ORDER = "its classes have no order, and no line alone can tell them apart"

def cannot(estimator):
    "What a line alone, or a comparison of members, cannot do by its nature"
    alone = len(estimator.members) == 1
    return {"check_classifiers_train": ORDER} if alone else {"check_sample_weight_equivalence_on_dense_data": FOLDS}

@pytest.mark.slow
@parametrize_with_checks([OrdinalGrades(**QUICK), OrdinalGrades(members=("linear",))], expected_failed_checks=cannot)
def test_ordinal_is_a_scikit_learn_classifier(estimator, check):
    check(estimator)

@pytest.mark.parametrize("cuts", [None, CUTS], ids=["grades", "score"])
def test_row_of_weight_two_counts_as_two_rows(cuts):
    weight = np.where(np.arange(600) < 100, 2.0, 1.0)
    twice = np.r_[np.arange(600), np.arange(100)]
    weighted = OrdinalGrades(5, cuts=cuts, members=("linear",)).fit(X, Y, weight, score=SCORE)
    repeated = OrdinalGrades(5, cuts=cuts, members=("linear",)).fit(X[twice], Y[twice], score=SCORE[twice])
    np.testing.assert_allclose(weighted.predict_proba(NEW), repeated.predict_proba(NEW), atol=1e-3)

def test_rows_of_weight_zero_do_not_count():
    weight = np.where(np.arange(600) < 100, 0.0, 1.0)
    a = OrdinalGrades(5, cuts=CUTS, **QUICK).fit(X, Y, weight, score=SCORE)
    b = OrdinalGrades(5, cuts=CUTS, **QUICK).fit(X[100:], Y[100:], score=SCORE[100:])
    np.testing.assert_array_equal(a.predict_proba(NEW), b.predict_proba(NEW))

# Any scale, any table

@pytest.mark.slow
@pytest.mark.parametrize("n_grades", [2, 3, 5, 8])
@pytest.mark.parametrize("scored", [True, False], ids=["score", "grades"])
def test_any_number_of_grades(n_grades, scored):
    cuts = np.quantile(SCORE, np.arange(1, n_grades)[::-1]/n_grades)
    y = band_of(SCORE, cuts)
    model = OrdinalGrades(n_grades, GROUPS, cuts if scored else None, **QUICK).fit(X, y, score=SCORE)
    said = model.predict_proba(X)
    assert said.shape == (600, n_grades) and (said >= 0).all()
    np.testing.assert_allclose(said.sum(axis=1), 1, atol=1e-6)
    assert np.abs(said.argmax(axis=1) - y).mean() < 0.7

@pytest.mark.parametrize("scored", [True, False], ids=["score", "grades"])
def test_columns_that_say_nothing_are_harmless(scored):
    more = np.c_[X, np.ones(600), np.full(600, np.nan)]
    cuts = CUTS if scored else None
    plain = OrdinalGrades(5, cuts=cuts, members=("linear",)).fit(X, Y, score=SCORE)
    model = OrdinalGrades(5, cuts=cuts, members=("linear",)).fit(more, Y, score=SCORE)
    np.testing.assert_allclose(model.predict_proba(more), plain.predict_proba(X), atol=0.01)

def test_score_that_the_columns_give_exactly_is_no_trouble():
    exact = X[:, 1]*0.1
    cuts = np.quantile(exact, [0.75, 0.5, 0.25])
    model = OrdinalGrades(4, cuts=cuts, members=("linear",)).fit(X, band_of(exact, cuts), score=exact)
    assert (model.predict(X) == band_of(exact, cuts)).mean() > 0.99

@pytest.mark.parametrize("n", [2, 5, 12, 21])
def test_few_rows_are_enough_to_answer(n):
    y = np.arange(n) % 2*4
    model = OrdinalGrades(5, cuts=CUTS).fit(X[:n], y, score=SCORE[:n])
    assert np.isfinite(model.predict_proba(NEW)).all()
    assert n > 20 or model.shares_ == {"linear": 1.0}

def test_grade_absent_from_training_keeps_its_column():
    for cuts in (CUTS, None):
        model = OrdinalGrades(5, cuts=cuts, **QUICK).fit(X[Y != 2], Y[Y != 2], score=SCORE[Y != 2])
        assert model.predict_proba(NEW).shape == (300, 5)

def test_order_of_the_scale_does_not_matter():
    model = OrdinalGrades(5, members=("linear",)).fit(X, Y)
    turned = OrdinalGrades(5, members=("linear",)).fit(X, 4 - Y)
    np.testing.assert_allclose(model.predict_proba(NEW), turned.predict_proba(NEW)[:, ::-1], atol=1e-3)

# Scores

def test_expected_score_is_in_the_units_of_the_score():
    model = OrdinalGrades(5, GROUPS, CUTS).fit(X, Y, score=SCORE)
    assert abs(model.latent(X).mean() - SCORE.mean()) < 0.02 and np.corrcoef(model.latent(X), SCORE)[0, 1] > 0.9

def test_high_latent_value_is_good_with_and_without_a_score():
    for cuts in (CUTS, None):
        model = OrdinalGrades(5, GROUPS, cuts, members=("linear",)).fit(X, Y, score=SCORE)
        assert np.corrcoef(model.latent(X), Y)[0, 1] < -0.7

def test_range_holds_as_many_scores_as_it_says():
    model = OrdinalGrades(5, GROUPS, CUTS).fit(X, Y, score=SCORE)
    frame = synthesise("students", 2000, seed=9)
    said, score = model.with_score(encode(frame, STUDENTS)[0], 0.8)
    assert (said == model.predict_proba(encode(frame, STUDENTS)[0])).all()
    assert abs(frame.GPA.between(score[:, 1], score[:, 2]).mean() - 0.8) < 0.05

def test_rows_without_a_score_are_left_out_of_the_score_alone():
    holes = np.where(np.arange(600) % 4 == 0, np.nan, SCORE)
    known = np.isfinite(holes)
    model = OrdinalGrades(5, cuts=CUTS, members=("linear",)).fit(X, Y, score=holes)
    fewer = OrdinalGrades(5, cuts=CUTS, members=("linear",)).fit(X[known], Y[known], score=SCORE[known])
    np.testing.assert_allclose(model.latent(NEW), fewer.latent(NEW), atol=0.01)
    assert np.isfinite(OrdinalGrades(5, cuts=CUTS, **QUICK).fit(X, Y, score=holes).predict_proba(NEW)).all()

def test_score_that_most_rows_lack_is_not_used():
    rare = np.where(np.arange(600) % 4 == 0, SCORE, np.nan)
    model = OrdinalGrades(5, cuts=CUTS, members=("linear",)).fit(X, Y, score=rare)
    np.testing.assert_array_equal(model.predict_proba(NEW),
                                  OrdinalGrades(5, members=("linear",)).fit(X, Y).predict_proba(NEW))

# Members

@pytest.mark.slow
def test_trees_are_chosen_where_the_score_is_curved_and_not_where_it_is_straight():
    rows, y, score, cuts = curved()
    bent = OrdinalGrades(5, cuts=cuts, forest={"trees": 30}).fit(rows, y, score=score)
    assert bent.shares_.get("boost", 0) > 0.5
    assert "boost" not in OrdinalGrades(5, cuts=CUTS, forest={"trees": 30}).fit(X, Y, score=SCORE).shares_

def test_terms_sum_to_the_expected_score_also_with_trees():
    rows, y, score, cuts = curved()
    for members in (("linear",), ("boost",)):
        model = OrdinalGrades(5, cuts=cuts, members=members).fit(rows, y, score=score)
        assert model.terms(rows).shape == (900, 5)
        np.testing.assert_allclose(model.terms(rows).sum(axis=1), model.latent(rows), atol=1e-4)

def test_forest_alone_still_has_an_expected_score():
    model = OrdinalGrades(5, cuts=CUTS, members=("forest",), forest={"trees": 20}).fit(X, Y, score=SCORE)
    assert model.shares_ == {"forest": 1.0} and np.corrcoef(model.latent(X), SCORE)[0, 1] > 0.9

def test_member_that_is_no_better_gets_half_and_a_useless_one_nothing():
    assert blend_weights(np.full((50, 2), 0.3), np.ones(50)).tolist() == [0.5, 0.5]
    assert choose_members({"linear": np.full(500, 0.9), "forest": np.full(500, 0.1)}, np.ones(500)) == {"linear": 1.0}

def test_each_fold_has_its_share_of_each_grade():
    fold = strata_folds(Y, 5, 0)
    for grade in range(5): assert np.ptp(np.bincount(fold[grade == Y], minlength=5)) <= 1

@pytest.mark.parametrize("wrong, said", [
    ({"members": ("oak",)}, "no member oak: use some of linear"), ({"members": ()}, "no members: use some of"),
    ({"groups": [0, 1]}, "groups has 2 numbers for"), ({"cuts": [3.0]}, "5 grades need 4 cuts, found 1"),
])
def test_setting_that_cannot_be_is_refused(wrong, said):
    with pytest.raises(GradeclassError, match=said): OrdinalGrades(5, **wrong).fit(X, Y, score=SCORE)

# Gaps

@pytest.mark.parametrize("scored", [True, False], ids=["score", "grades"])
def test_gap_makes_an_answer_less_certain(scored):
    model = OrdinalGrades(5, GROUPS, CUTS if scored else None, members=("linear",)).fit(X, Y, score=SCORE)
    gaps = without_column(NEW, 2)
    entropy = [-(p*np.log(p)).sum(axis=1).mean() for p in (model.predict_proba(NEW), model.predict_proba(gaps))]
    assert entropy[1] > entropy[0] + 0.1

@pytest.mark.parametrize("scored", [True, False], ids=["score", "grades"])
def test_gaps_in_training_do_not_spoil_complete_rows(scored):
    gaps = np.where(np.random.default_rng(0).random(X.shape) < 0.1, np.nan, X)
    fit = lambda rows: OrdinalGrades(5, GROUPS, CUTS if scored else None, members=("linear",)).fit(rows, Y, score=SCORE)
    frame = synthesise("students", 1000, seed=8)
    rows, y = encode(frame, STUDENTS)[:2]
    assert log_loss(fit(gaps).predict_proba(rows), y) < log_loss(fit(X).predict_proba(rows), y) + 0.06

def test_forest_that_saw_gaps_answers_them_better(monkeypatch):
    frame = synthesise("students", 1000, seed=8)
    rows, y = encode(frame, STUDENTS)[:2]
    gaps = without_column(rows, 2)
    fit = lambda: OrdinalGrades(5, GROUPS, members=("forest",), forest={"trees": 60}).fit(X, Y)
    seen = fit()
    monkeypatch.setattr("gradeclass.models.ordinal.BLANK_SHARE", 0.0)
    blind = fit()
    assert log_loss(seen.predict_proba(gaps), y) < log_loss(blind.predict_proba(gaps), y) - 0.2
    assert log_loss(seen.predict_proba(rows), y) < log_loss(blind.predict_proba(rows), y) + 0.05

# Files

@pytest.mark.parametrize("members", [("linear",), ("boost",), ("forest",), MEMBERS])
def test_files_give_the_same_model_and_are_the_same_each_time(members, tmp_path):
    for name in ("a", "b"):
        (tmp_path/name).mkdir()
        model = OrdinalGrades(5, GROUPS, CUTS, members=members, **QUICK).fit(X, Y, score=SCORE)
        model.write(tmp_path/name)
    back = OrdinalGrades.read(tmp_path/"a")
    np.testing.assert_array_equal(back.predict_proba(NEW), model.predict_proba(NEW))
    np.testing.assert_array_equal(back.latent(NEW), model.latent(NEW))
    np.testing.assert_array_equal(back.with_score(NEW)[1], model.with_score(NEW)[1])
    assert [p.read_bytes() for p in sorted((tmp_path/"a").iterdir())] == [
        p.read_bytes() for p in sorted((tmp_path/"b").iterdir())]
    assert "students" not in json.dumps(json.loads((tmp_path/"a"/"ordinal.json").read_text()))
    assert {p.suffix for p in (tmp_path/"a").iterdir()} <= {".json", ".ubj"}

# Large tables

@pytest.mark.slow
def test_large_table_is_fitted_in_seconds():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(200_000, 12))
    score = rows @ rng.normal(size=12) + rng.normal(size=200_000)
    cuts = np.quantile(score, [0.8, 0.6, 0.4, 0.2])
    began = time.process_time()
    model = OrdinalGrades(5, cuts=cuts, boost={"rounds": 5}, forest={"trees": 10}).fit(
        rows, band_of(score, cuts), score=score)
    assert model.predict_proba(rows).shape == (200_000, 5)
    assert time.process_time() - began < 60

# The published tables

def cross_validate(model, rows, y, score, folds, seed):
    said = np.zeros((len(y), model.n_grades))
    for a, b in StratifiedKFold(folds, shuffle=True, random_state=seed).split(rows, y):
        said[b] = model.fit(rows[a], y[a], score=None if score is None else score[a]).predict_proba(rows[b])
    return said

@pytest.mark.parametrize("scored", [True, False], ids=["score", "grades"])
def test_published_school_table_reaches_what_was_measured(real_data, scored):
    dataset = load(real_data("students_performance.csv"), "students")
    rows, y, score, groups = encode(clean(dataset.frame, dataset.schema), dataset.schema)
    model = OrdinalGrades(5, groups, CUTS if scored else None, members=("linear",))
    said = cross_validate(model, rows, y, score, 4, 200)
    assert (said.argmax(axis=1) == y).mean() > 0.76 and f1_score(y, said.argmax(axis=1), average="macro") > 0.645
    assert log_loss(said, y) < 0.665

def test_contradictions_in_the_published_school_table_are_drawn_evenly(real_data):
    dataset = load(real_data("students_performance.csv"), "students")
    rows, y, score, groups = encode(clean(dataset.frame, dataset.schema), dataset.schema)
    wrong = np.flatnonzero(band_of(score, CUTS) != y)
    assert len(wrong) == 168 and wrong.min() >= len(y) - 216
    model = OrdinalGrades(5, groups, members=("linear",)).fit(rows, y)
    assert abs(model.line_.mislabelled - 216/len(y)) < 0.03

@pytest.mark.slow
def test_published_university_table_reaches_what_was_measured(real_data):
    dataset = load(real_data("student_prediction.csv"), "higher_ed")
    rows, y, score, groups = encode(clean(dataset.frame, dataset.schema), dataset.schema)
    said = cross_validate(OrdinalGrades(8, groups, forest={"trees": 60}, folds=3), rows, y, None, 5, 200)
    picked = decide(said, "distance")
    assert cohen_kappa_score(y, picked, weights="quadratic") > 0.66 and (np.abs(picked - y) <= 1).mean() > 0.66
    assert (said.argmax(axis=1) == y).mean() > 0.3

def test_same_model_whatever_the_number_of_threads(monkeypatch):
    def said(threads):
        monkeypatch.setenv("OMP_NUM_THREADS", str(threads))
        return OrdinalGrades(5, GROUPS, CUTS, **QUICK).fit(X, Y, score=SCORE).predict_proba(NEW)
    alone = said(1)
    monkeypatch.setattr("gradeclass.models.family.usable_cores", lambda: 8)
    assert (said(8) == alone).all() and (said(3) == alone).all()


def test_a_model_without_trees_is_read_without_xgboost(tmp_path):
    made = OrdinalGrades(5, GROUPS, CUTS, members=("linear",)).fit(X, Y, score=SCORE)
    made.write(tmp_path)
    code = ("import sys; from gradeclass.models.ordinal import OrdinalGrades; "
            f"OrdinalGrades.read({str(tmp_path)!r}); sys.exit('xgboost' in sys.modules)")
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0

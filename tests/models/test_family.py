"Logistic regression as a family: scikit-learn's numbers, without scikit-learn at prediction time"
import json

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from gradeclass.models.family import LogisticGrades, add_absent_grades, column_statistics, softmax, standardise

@pytest.fixture
def rows():
    "Rows on different scales, and grades that follow from them"
    rng = np.random.default_rng(0)
    X = rng.normal(5, [1, 20, 0.1], (300, 3))
    return X, np.digitize((X - 5) @ [1, 0.05, 10] + rng.normal(0, 0.5, 300), [-1, 1])

@pytest.mark.parametrize("grades", [2, 3])
def test_probabilities_are_those_of_scikit_learn(rows, grades):
    X, y = rows
    y = np.minimum(y, grades - 1)
    reference = make_pipeline(StandardScaler(), LogisticRegression(C=0.3, tol=1e-8, max_iter=5_000)).fit(X, y)
    np.testing.assert_allclose(LogisticGrades(grades, C=0.3).fit(X, y).predict_proba(X), reference.predict_proba(X),
                               atol=1e-4)

def test_stronger_penalty_makes_smaller_coefficients(rows):
    weak, strong = (np.abs(LogisticGrades(3, C=C).fit(*rows).coef_).sum() for C in (10, 0.001))
    assert strong < weak/10

def test_blank_cell_counts_as_the_mean_of_its_column(rows):
    X, y = rows
    model = LogisticGrades(3).fit(X, y)
    blank, mean = X[:1].copy(), X[:1].copy()
    blank[0, 1], mean[0, 1] = np.nan, X[:, 1].mean()
    np.testing.assert_allclose(model.predict_proba(blank), model.predict_proba(mean))

def test_means_and_scales_count_weights_and_leave_gaps_out():
    mean, scale = column_statistics(np.array([[1.0, np.nan, 5.0], [4.0, np.nan, 5.0], [np.nan, np.nan, 5.0]]),
                                    np.array([2.0, 1.0, 9.0]))
    np.testing.assert_allclose(mean, [2, 0, 5])
    np.testing.assert_allclose(scale, [np.sqrt(2), 1, 1])

def test_constant_column_is_not_divided_by_rounding_noise():
    X = np.full((1000, 1), 0.1)
    assert np.abs(standardise(X, *column_statistics(X, None))).max() < 1e-6

def test_absent_grade_is_rare_and_not_impossible(rows):
    X, y = rows
    said = LogisticGrades(5).fit(X, y).predict_proba(X)
    assert (said[:, 3:] > 0).all() and said[:, 3:].mean() < 0.02

def test_grade_whose_rows_weigh_nothing_is_absent():
    rows, grades, weight = add_absent_grades(np.zeros((3, 1)), np.array([0, 1, 2]), np.array([1.0, 1, 0]), 3)
    assert list(grades) == [0, 1, 2, 2] and list(weight) == [1, 1, 0, 0.5] and len(rows) == 4

def test_weight_counts_as_so_many_rows(rows):
    X, y = rows
    weight = np.random.default_rng(1).integers(0, 4, len(y))
    weighted = LogisticGrades(3).fit(X, y, sample_weight=weight.astype(float))
    np.testing.assert_allclose(weighted.predict_proba(X),
                               LogisticGrades(3).fit(X.repeat(weight, 0), y.repeat(weight)).predict_proba(X), atol=1e-4)

def test_files_hold_numbers_and_give_the_same_answer(rows, tmp_path):
    model = LogisticGrades(4).fit(*rows)
    model.write(tmp_path)
    found = json.loads((tmp_path/"logistic.json").read_text())
    assert set(found) == {"coefficients", "intercepts", "means", "scales"} and np.shape(found["coefficients"]) == (4, 3)
    np.testing.assert_array_equal(LogisticGrades.read(tmp_path).predict_proba(rows[0]), model.predict_proba(rows[0]))

def test_softmax_of_huge_scores_is_finite():
    np.testing.assert_allclose(softmax(np.array([[1e5, 0.0], [-1e5, -1e5]])), [[1, 0], [0.5, 0.5]])


def test_rule_for_weights_that_scikit_learn_does_not_promise_is_there():
    from sklearn.utils.validation import _check_sample_weight
    assert _check_sample_weight([1.0, 2.0], np.zeros((2, 1))).tolist() == [1, 2]

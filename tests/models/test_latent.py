"The score beneath the grades: likelihood, sums, penalties, noise and gaps"
import numpy as np
import pytest
from ordinal_rows import CUTS, GROUPS, SCORE, X, Y
from scipy.optimize import check_grad

from gradeclass.models.latent import (
    Rows, Task, band_shares, column_scale, fit_line, fit_weights, missing_sources, noise_matrix, objective, row_terms, sum_products,
)
from gradeclass.schema import band_of

@pytest.mark.parametrize("n_grades", [2, 3, 8])
def test_derivatives_of_the_likelihood_agree_with_finite_differences(n_grades):
    rng = np.random.default_rng(n_grades)
    rows, y = rng.normal(size=(80, 3)), rng.integers(0, n_grades, 80)
    args = (rows, y, rng.random(80) + 0.2, np.full(3, 2.0), rng.random(80) + 0.5)
    theta = np.r_[rng.normal(size=3)/2, -1.0, rng.normal(size=n_grades - 2)/3, -1.5]
    assert check_grad(lambda t: objective(t, *args)[0], lambda t: objective(t, *args)[1], theta) < 1e-4

def test_probabilities_of_the_likelihood_are_those_of_the_prediction():
    cuts, latent = np.array([-1.0, 0.2, 1.5]), np.linspace(-3, 3, 4)
    each = np.column_stack([row_terms(latent, np.full(4, g), cuts, 0.0, np.ones(4)).recorded for g in range(4)])
    np.testing.assert_allclose(each, band_shares(latent, cuts, "logistic"), atol=1e-12)

def test_sums_over_blocks_are_the_sums_over_all_rows(monkeypatch):
    task = Task(5, GROUPS, CUTS, np.eye(5))
    rows = Rows(X, Y, np.ones(600), SCORE)
    line = fit_line(rows, task)
    whole = sum_products(line, X, SCORE, rows.weight)
    monkeypatch.setattr("gradeclass.models.latent.BLOCK", 7)
    np.testing.assert_allclose(sum_products(line, X, SCORE, rows.weight), whole, rtol=1e-9, atol=1e-9)

def test_penalty_of_a_useless_column_grows():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(400, 2))
    z = rows[:, 0] + rng.normal(0, 0.5, 400)
    beta, variance = fit_weights(np.c_[rows, z].T @ np.c_[rows, z], 400, np.arange(2))
    plain = np.linalg.lstsq(rows, z)[0]
    assert abs(beta[0] - 1) < 0.1 and abs(beta[1]) < abs(plain[1]) and abs(variance - 0.25) < 0.05

def test_rare_code_is_not_blown_up():
    rare = (np.arange(100) == 0).astype(float)
    rows = np.column_stack([rare, 1 - rare])
    assert (column_scale(rows, np.ones(100), np.array([0, 0]))[1] == 0.3).all()

def test_noise_matrix_never_says_impossible_and_finds_random_grades():
    rng = np.random.default_rng(0)
    band = rng.integers(0, 5, 5000)
    y = np.where(rng.random(5000) < 0.2, rng.integers(0, 5, 5000), band)
    found = noise_matrix(band, y, np.ones(5000), 5)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    np.testing.assert_allclose(found, 0.8*np.eye(5) + 0.04, atol=0.03)
    assert (noise_matrix(np.zeros(3, int), np.zeros(3, int), np.ones(3), 5) > 0).all()

def test_category_is_missing_where_any_of_its_columns_is():
    assert missing_sources(np.array([[np.nan, 1.0, np.nan]]), np.array([1, 0, 0])).tolist() == [[True, True]]

def test_score_at_a_cut_earns_the_better_grade():
    cuts = np.array([3.5, 3.0, 2.5, 2.0])
    assert band_of(np.array([4.0, 3.5, 3.49, 2.0, 0.0]), cuts).tolist() == [0, 0, 1, 3, 4]
    assert band_of(np.array([0.4, 0.5]), np.array([0.5])).tolist() == [1, 0]

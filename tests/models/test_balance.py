"Resampling: what it adds, what it leaves alone, and codes that stay codes"
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gradeclass.models.balance import METHODS, Balancer, fill_missing
from gradeclass.config import GradeclassError
from gradeclass.models.features import SchemaEncoder, grade_index
from gradeclass.models.grade_model import GradeModel
from gradeclass.data.synthetic import synthesise
from gradeclass.schema import load_schema

RESAMPLING = ["over", "smote"]
UNTOUCHED = sorted(set(METHODS) - set(RESAMPLING))

def rows_and_grades(counts, columns=4, seed=0):
    "Two numeric columns and the others codes from 0 to 3; so many rows of each grade"
    rng, n = np.random.default_rng(seed), sum(counts)
    X = np.column_stack([rng.normal(size=(n, 2)), rng.integers(0, 4, (n, columns - 2))])
    return X, np.repeat(np.arange(len(counts)), counts)

CODED = np.array([False, False, True, True])

@pytest.mark.parametrize("method", UNTOUCHED)
def test_methods_without_resampling_leave_rows_alone(method):
    X, y = rows_and_grades([30, 5, 2])
    X[3, 1] = np.nan
    same_X, same_y = Balancer(method, CODED).fit_resample(X, y)
    np.testing.assert_array_equal(same_X, X)
    np.testing.assert_array_equal(same_y, y)

@pytest.mark.parametrize("method", RESAMPLING)
def test_every_grade_is_filled_up_to_the_most_frequent_one(method):
    X, y = rows_and_grades([40, 9, 5, 2])
    before = X.copy()
    more_X, more_y = Balancer(method, CODED).fit_resample(X, y)
    assert np.bincount(more_y).tolist() == [40]*4 and len(more_X) == 160
    np.testing.assert_array_equal(more_X[:len(X)], X)
    np.testing.assert_array_equal(X, before)

@settings(max_examples=25)
@given(st.lists(st.integers(1, 25), min_size=2, max_size=5), st.sampled_from(RESAMPLING), st.integers(0, 5),
       st.sampled_from(["numbers", "codes", "both"]), st.booleans())
@example([1, 1, 1], "smote", 0, "both", True)
def test_codes_remain_codes_and_tiny_grades_are_no_trouble(counts, method, seed, kinds, gaps):
    X, y = rows_and_grades(counts, seed=seed)
    X, coded = {"numbers": (X[:, :2], CODED[:2]), "codes": (X[:, 2:], CODED[2:]), "both": (X, CODED)}[kinds]
    known = [set(np.unique(column)) for column in X.T]
    if gaps: X[np.random.default_rng(seed).random(X.shape) < 0.2] = np.nan
    more, grades = Balancer(method, coded, seed).fit_resample(X, y)
    assert set(np.bincount(grades)) == {max(counts)}
    assert set(np.unique(grades)) == set(range(len(counts)))
    for values, codes, is_code in zip(more.T, known, coded, strict=True):
        if is_code: assert set(values[~np.isnan(values)]) <= codes | {0}
        elif method == "smote": assert not np.isnan(values).any()

@pytest.mark.parametrize("method", RESAMPLING)
def test_same_seed_same_rows_and_another_seed_other_rows(method):
    X, y = rows_and_grades([40, 6])
    first, again, other = (Balancer(method, CODED, seed).fit_resample(X, y)[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)

def test_invented_numbers_lie_between_rows_of_the_same_grade():
    X, y = rows_and_grades([40, 6])
    more, grades = Balancer("smote", CODED).fit_resample(X, y)
    for grade in (0, 1):
        low, high = X[y == grade][:, :2].min(axis=0), X[y == grade][:, :2].max(axis=0)
        assert ((more[grades == grade][:, :2] >= low - 1e-9) & (more[grades == grade][:, :2] <= high + 1e-9)).all()

def test_gaps_are_filled_from_the_same_column_and_an_empty_column_with_zero():
    X = np.array([[1, 2, np.nan], [np.nan, np.nan, np.nan], [3, 2, np.nan], [8, 0, np.nan]])
    filled = fill_missing(X, np.array([False, True, True]))
    np.testing.assert_array_equal(filled, [[1, 2, 0], [3, 2, 0], [3, 2, 0], [8, 0, 0]])
    assert np.isnan(X[1, 0])

def test_unknown_method_is_refused_with_the_known_ones():
    with pytest.raises(GradeclassError, match="no balance undr: use one of none, weights, over, smote"):
        Balancer("undr").fit_resample(*rows_and_grades([4, 4]))

@pytest.mark.parametrize("name", ["students", "higher_ed"])
@pytest.mark.parametrize("method", METHODS)
def test_each_method_trains_on_each_schema_with_gaps(name, method):
    schema, frame = load_schema(name), synthesise(name, 90)
    frame.iloc[:30, 5] = np.nan
    model = GradeModel(schema, "majority", method).fit(frame)
    shares = model.predict_proba(frame.head(1))[0]
    present = np.unique(grade_index(frame, schema))
    if method == "none": assert np.ptp(shares[present]) > 0
    else: assert shares[present] == pytest.approx(np.full(len(present), 1/len(present)))

def test_encoded_students_keep_their_codes_in_smote():
    schema, frame = load_schema("students"), synthesise("students", 300)
    coded = np.array([column.kind != "numeric" for column in schema.inputs()])
    X, y = SchemaEncoder(schema).fit_transform(frame), grade_index(frame, schema)
    more, _ = Balancer("smote", coded).fit_resample(X, y)
    assert len(more) > len(X)
    for values, column, is_code in zip(more.T, schema.inputs(), coded, strict=True):
        if is_code: assert set(values) <= set(range(len(column.codes)))
        else: assert column.min <= values.min() and values.max() <= column.max

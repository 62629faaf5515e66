"One rule for a number and one for a band"
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradeclass.data.validation import is_finite, is_in_range, is_whole
from gradeclass.schema import Column, band_of


@given(number=st.floats(allow_nan=False), low=st.none() | st.integers(-5, 0), high=st.none() | st.integers(0, 5),
       whole=st.booleans())
def test_column_and_validation_say_the_same_of_a_number(number, low, high, whole):
    column = Column(name="Hours", kind="numeric", min=low, max=high, whole=whole)
    cells = pd.Series([number])
    fits = is_finite(cells)[0] and is_in_range(cells, column)[0] and (not whole or is_whole(cells)[0])
    assert (column.number_problem(number) == "") == fits

@pytest.mark.parametrize(("number", "problem"), [
    (0.0, ""), (30.0, ""), (30.5, "is out of range"), (-1.0, "is out of range"), (2.5, "is not a whole number"),
    (math.inf, "is not finite")])
def test_problem_of_a_number_in_words(number, problem):
    assert Column(name="Absences", kind="numeric", min=0, max=30, whole=True).number_problem(number) == problem

def test_range_is_said_in_words():
    assert Column(name="Absences", kind="numeric", min=0, max=30, unit="days").range_words == "from 0 to 30 days"
    assert Column(name="Absences", kind="numeric", max=30).range_words == "to 30"

@given(scores=st.lists(st.floats(0, 4), max_size=30), cuts=st.lists(st.floats(0, 4), max_size=5, unique=True))
def test_band_counts_the_cuts_above_a_score(scores, cuts):
    cuts = sorted(cuts, reverse=True)
    expected = [sum(score < cut for cut in cuts) for score in scores]
    assert band_of(np.array(scores), cuts).tolist() == expected

def test_low_scores_may_be_good():
    assert band_of([1.0, 1.5, 4.7], [1.5, 2.5, 3.5]).tolist() == [0, 0, 3]


def test_yes_is_read_in_other_languages_where_a_flag_says_yes_and_no():
    flag = lambda **codes: Column(name="Sport", kind="flag", codes=codes).lookup
    assert [flag(N="No", Y="Yes").get(word) for word in ("ja", "x", "1", "true", "non", "0", "maybe")] == ["Yes"]*4 + ["No"]*2 + [None]
    assert "ja" not in flag(a="absent", p="present") and "ja" not in flag(N="north", Y="yes")
    assert flag(no="n", x="no answer").get("ja") is None

"How the numbers of a column are written"
import pytest

from gradeclass.data import numbers
from gradeclass.data.numbers import NumberStyle, number_style, read_numbers, split_cell

COLUMNS = [["7", "12", "-3"], ["3.5", "12.25"], ["0.125", "1.250"], ["1.250", "2.500"], ["1234.500"], ["1.5", "2,5"],
           ["good", "bad"], ["good", "7"], ["1\n2", "3"], ["5 ", "6"], ["1,250", "2"], ["1:30", "2h"], ["7*", "8"], [],
           ["1"*70, "2"], ["town 5", "town 6"], ["EUR 5", "EUR 6"], ["kg_5", "AB_6"], ["٣", "4"], ["3 out of 20", "4/20"]]


@pytest.mark.parametrize("texts", COLUMNS)
@pytest.mark.parametrize("hint", ["", ",", "."])
def test_column_that_is_plain_at_a_glance_is_read_as_it_is_cell_by_cell(texts, hint, monkeypatch):
    quick = number_style(texts, hint)
    found = read_numbers(texts, quick)
    monkeypatch.setattr(numbers, "plain_style", lambda texts: None)
    slow = number_style(texts, hint)
    assert (quick, quick.sure) == (slow, slow.sure)
    assert str(found) == str(read_numbers(texts, slow))


def test_plain_columns_of_a_wide_table_are_not_taken_apart_cell_by_cell():
    looked_at = split_cell.cache_info().misses
    style = number_style([f"{number/10}" for number in range(4000)])
    assert style == NumberStyle() and style.sure
    assert len(number_style(["few", "some", "many"]).words) == 3
    assert split_cell.cache_info().misses == looked_at

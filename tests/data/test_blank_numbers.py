"A number that means no answer is none at any door"
import math

import pandas as pd
import pyarrow as pa
import pytest

from gradeclass.data.dataset import conform_cells
from gradeclass.schema import Column
from gradeclass.scoring.columns import DOUBT, read_numbers
from gradeclass.service.reader import make_field, read_value

HOURS = Column(name="Hours", kind="numeric", min=0, max=100, missing=["99", "-9", "ill"])


@pytest.mark.parametrize("cells", [["12", "99", "-9"], [12, 99, -9], [12.5, 99.0, -9.0], ["12", "99.0", "ill"]])
def test_table_with_a_number_that_means_no_answer(cells):
    read = conform_cells(pd.Series(cells), HOURS)
    assert read.dtype == "float64" and read.isna().tolist() == [False, True, True]


def test_large_files_and_single_requests_read_it_so_too():
    read = read_numbers(pa.array([12.0, 99.0, -9.0]), HOURS)
    assert read.tolist() == [12.0, DOUBT, DOUBT] # In doubt: read once more, cell by cell
    assert math.isnan(read_value(99, HOURS)) and read_value(12, HOURS) == 12
    field = make_field(0, HOURS)
    assert not field.low <= 99 <= field.high

"Which students training at size holds out"
import numpy as np
import pyarrow as pa

from gradeclass.training.survey import is_held_out, row_keys


def held_out(frame, want):
    "True for the rows that the stream holds out, from a clean table"
    keys = row_keys(pa.array(frame.StudentID, pa.string()), np.zeros((len(frame), 1)), want.seed)
    return is_held_out(keys, want.held_share)

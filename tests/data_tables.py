"Tables for tests of the data package"
import numpy as np
import pandas as pd
from hypothesis import HealthCheck, settings

from gradeclass.schema import load_schema

STUDENTS = load_schema("students")
QUICK = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])

def random_students(n, seed=0):
    "Random rows that follow the students schema"
    rng = np.random.default_rng(seed)
    columns = {"StudentID": 1001 + np.arange(n)}
    for column in STUDENTS.columns:
        if column.codes: columns[column.name] = rng.choice(list(column.codes), n)
        elif column.whole: columns[column.name] = rng.integers(column.min, column.max, n, endpoint=True)
        elif column.kind == "numeric": columns[column.name] = rng.uniform(column.min, column.max, n)
    return pd.DataFrame(columns | {"GradeClass": rng.choice(5, n, p=[.05, .11, .16, .17, .51]).astype(float)})

def save(path, text, encoding="utf-8"):
    "Write a text"
    path.write_bytes(text.encode(encoding))
    return path

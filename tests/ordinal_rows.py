"Encoded students for the tests of the ordinal family and of the score beneath it"
import numpy as np

from gradeclass.data.synthetic import synthesise
from gradeclass.models.features import SchemaEncoder, grade_index
from gradeclass.schema import band_of
from gradeclass.schema import load_schema

STUDENTS = load_schema("students")
CUTS = np.array(STUDENTS.grades.cuts)
QUICK = {"folds": 3, "boost": {"rounds": 10}, "forest": {"trees": 20}}

def encode(frame, schema):
    "Encoded rows, grade index, score (None without) and source column of each encoded column"
    encoder = SchemaEncoder(schema, one_hot=True).fit(frame)
    names = [name.split("=")[0] for name in encoder.get_feature_names_out()]
    score = frame[schema.score].to_numpy() if schema.score else None
    return encoder.transform(frame), grade_index(frame, schema), score, np.unique(names, return_inverse=True)[1]

X, Y, SCORE, GROUPS = encode(synthesise("students", 600, seed=5), STUDENTS)
NEW = encode(synthesise("students", 300, seed=6), STUDENTS)[0]

def curved(n=900, seed=1):
    "Rows whose score no weighted sum can follow"
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(n, 4))
    score = rows[:, 0]*rows[:, 1] + 1.5*np.abs(rows[:, 2]) + rows[:, 3] + 0.4*rng.normal(size=n)
    cuts = np.quantile(score, [0.8, 0.6, 0.4, 0.2])
    return rows, band_of(score, cuts), score, cuts

def without_column(rows, column):
    "The rows with one column blank"
    return np.where(np.arange(rows.shape[1]) == column, np.nan, rows)

def log_loss(said, y):
    return -np.log(np.maximum(said[np.arange(len(y)), y], 1e-12)).mean()

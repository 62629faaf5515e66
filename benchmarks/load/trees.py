"What the peers answer with: the booster of a bundle, without log, checks and calibration"
import os
from pathlib import Path

import numpy as np
import xgboost as xgb

from gradeclass.schema import load_schema

SCHEMA = load_schema(os.environ["PEER_SCHEMA"])
NAMES = [column.name for column in SCHEMA.inputs()]
BOOSTER = xgb.Booster({"nthread": 1}, model_file=Path(os.environ["PEER_BUNDLE"])/"model.ubj")

def answer(student:dict)->dict:
    "Codes in, a grade and its probabilities out"
    row = np.array([[student.get(name, np.nan) for name in NAMES]], np.float32)
    chances = BOOSTER.inplace_predict(row)[0]
    place = int(chances.argmax())
    return {"grade": SCHEMA.grades.labels[place], "grade_index": place,
            "probabilities": dict(zip(SCHEMA.grades.labels, chances.tolist(), strict=True))}

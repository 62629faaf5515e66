"Tables, verdicts and prediction logs that tests of drift share"
import json

import pandas as pd
from sqlalchemy import create_engine

from gradeclass.data.dataset import clean
from gradeclass.data.sources import load
from gradeclass.data.synthetic import sample_path, to_codes
from gradeclass.drift.compare import find_drift
from gradeclass.drift.profile import take_profile
from gradeclass.models.bundle import bundle_digest, load_model, save_model
from gradeclass.models.grade_model import GradeModel

DATASET = load(sample_path("students"), "students")
SCHEMA, STUDENTS = DATASET.schema, clean(DATASET.frame, DATASET.schema)
THEN, NOW = STUDENTS.head(600), STUDENTS.tail(400)


def verdict(then, now, schema=SCHEMA, **options):
    return find_drift(take_profile(then, schema, name="then"), take_profile(now, schema, name="now"), schema, **options)


def row(found, name):
    return found.table.set_index("name").loc[name]


def rough(frame):
    "The same cells as a careless file has them"
    return to_codes(frame, SCHEMA).astype(object)


def make_bundle(folder):
    "A bundle of a small model with the profile of its students"
    model = GradeModel(SCHEMA, "xgboost", params={"rounds": 20, "patience": None}).fit(STUDENTS.tail(400))
    profile = take_profile(THEN, SCHEMA, model.predict_proba(THEN)).as_dict()
    save_model(model, folder, {"reference.json": profile})
    return folder


def write_log(path, bundle, frame, outcomes=None, digest=None):
    "A prediction log as a service writes it"
    model, labels = load_model(bundle), SCHEMA.grades.labels
    inputs = to_codes(frame, SCHEMA)[[column.name for column in SCHEMA.inputs(True)]]
    said = model.predict_proba(frame)
    rows = [{"id": i + 1, "time": f"2026-03-01T08:00:{i/1000:09.6f}+00:00", "model": "students",
             "digest": digest or bundle_digest(bundle), "student": f"s{i}",
             "inputs": inputs.iloc[[i]].to_json(orient="records")[1:-1],
             "outputs": json.dumps({"grade": labels[p.argmax()], "grade_index": int(p.argmax()),
                                    "probabilities": dict(zip(labels, p.tolist(), strict=True))})}
            for i, p in enumerate(said)]
    engine = create_engine(f"sqlite:///{path}")
    pd.DataFrame(rows).to_sql("predictions", engine, index=False)
    if outcomes is not None: outcomes.to_sql("outcomes", engine, index=False)
    engine.dispose()
    return f"sqlite:///{path}"


def evidently_values(run):
    "Column -> the effect that Evidently has computed"
    return {metric["config"]["column"]: float(metric["value"]) for metric in run.dict()["metrics"]
            if "column" in metric["config"]}

"What somebody writes who uses gradeclass from Python; a type checker must accept it, and see more than `Any`"
from pathlib import Path
from typing import assert_type

import pandas as pd

from gradeclass import (
    Client, GradeclassError, GradeModel, Schema, infer_schema, load, load_model, load_schema, open_bundle, predict_table,
    promote, rollback, run_pipeline, sample_path, save_model, score, split, synthesise, validate,
)


def train(folder: Path) -> GradeModel:
    dataset = load(sample_path("students"))
    assert_type(dataset.schema, Schema)
    students = validate(dataset).accepted
    parts = split(students, dataset.schema, seed=1)
    model = GradeModel(dataset.schema).fit(parts.train)
    assert_type(save_model(model, folder/"bundle"), str)
    return load_model(folder/"bundle")


def draft(table: pd.DataFrame) -> list[str]:
    schema = infer_schema(table, "Grade", best="A")
    assert_type(schema, Schema)
    return [column.name for column in schema.columns if column.role == "feature"]


def grade(bundle: Path, students: pd.DataFrame) -> pd.DataFrame:
    assert_type(load_schema("students").grades.labels, list[str])
    assert_type(open_bundle(bundle).schema, Schema)
    return predict_table(load_model(bundle), students)


def serve_anew(outputs: Path) -> str:
    try: run = run_pipeline("sample", outputs=outputs, on_event=lambda event: print(event["stage"]))
    except GradeclassError as error: return str(error)
    promote(outputs, 2, "Ann", "reads better")
    rollback(outputs, "Ann", "it was better before")
    assert_type(score(outputs/"champion", "new.csv", "graded.csv").graded, int)
    return str(run.report)


def ask(address: str) -> object:
    with Client(address) as service: return service.predict({"Absences": 3})


def make(rows: int) -> pd.DataFrame:
    return synthesise("students", rows, seed=3)

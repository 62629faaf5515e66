"A schema and a class of students that come in through every door"
import numpy as np
import pandas as pd

from gradeclass.schema import parse_schema

DOORS = parse_schema("""
name: doors
columns:
  Schülernr: {role: id}
  Stunden: {kind: numeric, min: 0, max: 100}
  Punkte: {kind: numeric, min: 0, max: 30000, whole: true}
  Förderung: {kind: flag, codes: {nein: nein, ja: ja}}
  Note: {role: target}
grades: {codes: {A: A, B: B, C: C, F: F}, at_risk: [F]}
""", "doors.yaml")


def make_class(rows, seed):
    "Students whose grade follows from hours and points; numbers begin with zeros"
    rng = np.random.default_rng(seed)
    hours, points = rng.uniform(1, 40, rows).round(1), rng.integers(200, 25_000, rows)
    merit = hours/40 + points/25_000 + rng.normal(0, 0.1, rows)
    grade = pd.cut(merit, [-9, 0.6, 0.9, 1.3, 9], labels=["F", "C", "B", "A"]).astype(str)
    return pd.DataFrame({"Schülernr": [f"{number:05}" for number in rng.permutation(rows) + 1], "Stunden": hours,
                         "Punkte": points, "Förderung": rng.choice(["nein", "ja"], rows), "Note": grade})

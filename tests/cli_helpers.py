"Tables and checks that tests of the command share"
import json
import re

import numpy as np
import pandas as pd


def words_table(n=240, seed=3):
    "Semicolons, German words, decimal commas, ids in letters; the grade is a word that follows from effort and absences"
    rng = np.random.default_rng(seed)
    effort = rng.choice(["rarely", "sometimes", "often", "always"], n)
    away = rng.uniform(0, 12, n)
    bus = rng.choice(["bus", "bike", "on foot"], n)
    merit = pd.Series(effort).map({"rarely": 0, "sometimes": 1, "often": 2, "always": 3}) - away/4 + rng.normal(
        0, 0.5, n)
    result = pd.cut(merit, [-9, -1.5, 0, 1.2, 9], labels=["fail", "pass", "good", "excellent"]).astype(str)
    away = [f"{days:.1f}".replace(".", ",") for days in away]
    return pd.DataFrame({"Pupil id": [f"P-{number:04}" for number in rng.permutation(n)], "Effort": effort,
                         "Days away": away, "Way to school": bus,
                         "Final": result})


def codes_table(n=260, columns=30, seed=4):
    "Thirty columns of whole numbers with gaps, three grades as numbers"
    rng = np.random.default_rng(seed)
    table = pd.DataFrame({f"Q{number}": rng.integers(1, 6, n) for number in range(1, columns + 1)})
    merit = table.Q1 + table.Q2 + rng.normal(0, 0.6, n)
    gaps = table.astype("Int64").mask(rng.random(table.shape) < 0.1)
    return gaps.assign(OUTCOME=np.digitize(merit, [5, 7]) + 1)


def check_predictions(graded, table, name, grades):
    "The documented columns, one row for each student, in their order"
    shares = [f"p_{grade}" for grade in grades]
    assert list(graded) == [*([name] if name else []), "grade", "grade_index", *shares, "at_risk"]
    assert len(graded) == len(table)
    if name: assert graded[name].tolist() == table[name].tolist()
    assert np.allclose(graded[shares].astype(float).sum(axis=1), 1, atol=1e-5)
    assert [grades[int(position)] for position in graded.grade_index] == graded.grade.tolist()


def run_json(ask, *words):
    "Run the pipeline: what it prints, which must be JSON alone"
    code, printed, said = ask("run", *words, "--json", "--outputs", "outputs")
    assert code == 0, said
    return json.loads(printed)


def assert_report(path):
    "Smaller than 5 MB, and nothing in it is fetched from elsewhere"
    page = path.read_text(encoding="utf-8")
    assert path.stat().st_size < 5_000_000
    fetched = (r"""<(?:script|img|link|iframe|source|video|audio|embed|object)\b[^>]*?\b(?:src|href|data)\s*=\s*["']?(?:https?:)?//""")
    assert not re.search(fetched, page, re.IGNORECASE)
    assert not re.search(r"@import|url\(\s*[\"']?(?:https?:)?//", page, re.IGNORECASE)

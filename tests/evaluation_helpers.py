"""Students whose grades and probabilities are drawn, for the tests of `gradeclass.evaluation`."""
import numpy as np

from gradeclass.evaluation.associations import ExploreError


def example(n=120, grades=5, seed=0, present=None, digits=None):
    """Random grades and probabilities that know something of them."""
    rng = np.random.default_rng(seed)
    y = rng.choice(present if present is not None else grades, n)
    p = rng.dirichlet(np.ones(grades), n) + 0.6*np.eye(grades)[(y + rng.integers(-1, 2, n)).clip(0, grades - 1)]
    p = p if digits is None else p.round(digits) + 0.01
    return y, p/p.sum(axis=1, keepdims=True)


def normalised(values):
    return values/values.sum(axis=1, keepdims=True)


def draw(n, seed=0, sharpness=2.0):
    "Students whose probabilities are exactly right"
    rng = np.random.default_rng(seed)
    middle = rng.uniform(0, 4, n)
    p = normalised(np.exp(-sharpness*np.abs(middle[:, None] - np.arange(5))) + 0.01)
    return p, (p.cumsum(axis=1) < rng.random(n)[:, None]).sum(axis=1)


def poor_tables(students):
    """Tables of students that lack something, by name."""
    return {"empty": students.head(0), "one": students.head(1), "two": students.head(2),
            "one grade": students[students["GradeClass"] == "F"], "constant": students.assign(Absences=3.0),
            "empty column": students.assign(Tutoring=students["Tutoring"].mask(students["Age"] > 0)),
            "columns missing": students.drop(columns=["GPA", "Sports"]),
            "no grade": students.drop(columns="GradeClass")}


def check_result(call):
    """A figure that can be drawn, a table or a text; or a refusal in one sentence."""
    try:
        made = call()
    except ExploreError as error:
        assert str(error) and "\n" not in str(error)
        return
    if hasattr(made, "canvas"): made.canvas.draw()

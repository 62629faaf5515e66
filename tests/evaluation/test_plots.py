"""Figures of `gradeclass.evaluation.plots`."""
import warnings

import numpy as np
import pytest
from evaluation_helpers import example

from gradeclass.evaluation import plots
from gradeclass.evaluation.figures import save_figure
from gradeclass.evaluation.resampling import headline, per_grade
from gradeclass.schema import GradeScale, load_schema

SCALE = load_schema("students").grades
HIGHER = load_schema("higher_ed").grades


def draw_all(y, p, scale):
    """Every figure, by name."""
    predicted, table = p.argmax(1), headline(y, p, scale, n_boot=30)
    return {
        "confusion": plots.plot_confusion(y, predicted, scale),
        "per_grade": plots.plot_per_grade(per_grade(y, p, scale)),
        "reliability": plots.plot_reliability(y, p), "top_k": plots.plot_top_k(y, p, scale, k=1),
        "intervals": plots.plot_intervals(table), "shares": plots.plot_grade_shares(y, predicted, scale),
    }


@pytest.mark.slow
@pytest.mark.parametrize("case", [
    (*example(n=305, seed=24), SCALE),
    (*example(n=29, grades=8, present=[0, 3, 5], seed=25), HIGHER),
    (np.array([1]), np.array([[0.3, 0.7]]), GradeScale(codes={1: "pass", 0: "fail"}, at_risk=["fail"])),
], ids=["students", "eight-grades", "one-row"])
def test_every_figure_is_drawn_titled_and_small(case, tmp_path):
    import matplotlib.pyplot as plt
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.simplefilter("error", RuntimeWarning)
        figures = draw_all(*case)
        for name, figure in figures.items():
            png, svg = save_figure(figure, tmp_path, name)
            assert figure.axes[0].get_title(loc="left"), name
            assert png.stat().st_size < 60_000 and svg.stat().st_size < 200_000, name
    assert plt.get_fignums() == []

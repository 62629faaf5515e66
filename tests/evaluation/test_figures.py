"""One style, and files that are whole and the same each time: `gradeclass.evaluation.figures`."""
import pytest
from evaluation_helpers import example

from gradeclass.evaluation import plots
from gradeclass.evaluation.figures import save_figure
from gradeclass.schema import load_schema

SCALE = load_schema("students").grades


def test_saved_figures_are_the_same_bytes_each_time(tmp_path):
    y, p = example(seed=26)
    first, second = (save_figure(plots.plot_reliability(y, p), tmp_path/folder, "figure") for folder in "ab")
    assert [path.name for path in first] == ["figure.png", "figure.svg"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_a_figure_that_cannot_be_written_leaves_the_old_file(tmp_path):
    (tmp_path/"figure.png").write_text("old")

    def savefig(path, **about):
        path.write_text("half")
        raise OSError("disk full")

    broken = plots.plot_grade_shares([0, 4], [0, 4], SCALE)
    broken.savefig = savefig
    with pytest.raises(OSError, match="disk full"): save_figure(broken, tmp_path, "figure")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"figure.png": "old"}


def test_style_does_not_leak_into_other_figures():
    import matplotlib
    before = dict(matplotlib.rcParams)
    plots.plot_grade_shares([0, 4], [0, 4], SCALE)
    assert dict(matplotlib.rcParams) == before

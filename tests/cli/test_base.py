"Progress: bars on a terminal, lines elsewhere"
import io
import re

import pytest

from gradeclass.cli.base import Bars


class Terminal(io.StringIO):
    "Keeps what is drawn on it"
    def isatty(self): return True


def test_stages_are_lines_without_a_terminal(capsys):
    with Bars("prepare", "train") as bars:
        bars.show_stage({"stage": "prepare", "event": "started"})
        bars.show_stage({"stage": "prepare", "event": "done", "seconds": 1.5})
        bars.show_stage({"stage": "train", "event": "cached", "seconds": 9.0})
        bars.show_stage({"stage": "track", "event": "warning", "message": "no stage of the run"})
    assert capsys.readouterr() == ("", "prepare   done in 1.5 s\ntrain     cached\n")


def test_stages_are_bars_on_a_terminal(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with Bars("prepare", "train") as bars:
        bars.show_stage({"stage": "prepare", "event": "done", "seconds": 1.5})
        bars.show_stage({"stage": "train", "event": "failed"})
    drawn = terminal.getvalue()
    assert all(word in drawn for word in ("prepare", "done", "train", "failed")) and "done in" not in drawn


def test_runs_count_failures(capsys):
    with Bars() as bars:
        for place, state in enumerate(("done", "failed", "kept"), 1): bars.show_run(place, 3, state)
    assert bars.progress.tasks[0].fields["state"] == "3 of 3, 1 failed"
    assert capsys.readouterr().err == "1 of 3 done\n2 of 3 failed\n3 of 3 kept\n"


def test_rows_without_a_known_number_are_counted():
    with Bars(transient=True) as bars: bars.show("rows", 50_000, None)
    task = bars.progress.tasks[0]
    assert (task.fields["state"], task.total) == ("50,000", None)


@pytest.mark.parametrize("wish, coloured", [("", True), ("1", False)])
def test_no_color_is_heeded(monkeypatch, wish, coloured):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    for name, value in {"TERM": "xterm-256color", "NO_COLOR": wish}.items(): monkeypatch.setenv(name, value)
    with Bars("prepare") as bars: bars.show("prepare", 1, 2)
    assert bool(re.search(r"\x1b\[[\d;]*3[\d;]*m", terminal.getvalue())) == coloured and "prepare" in terminal.getvalue()

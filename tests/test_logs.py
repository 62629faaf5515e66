"""Logs of a run: valid lines, no personal data, half a line passed over, a full disk survived."""
import json
import multiprocessing
import os
import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradeclass.config import GradeclassError
from gradeclass.logs import FIELDS, find_log, log_event, open_log, read_run_log, safe_fields, safe_message
from gradeclass.settings import SettingsError

EVENTS = [{"stage": "prepare", "event": "started"}, {"stage": "prepare", "event": "cell", "done": 1, "cells": 9},
          {"stage": "prepare", "event": "done", "seconds": 1.5}, {"stage": "train", "event": "cached", "seconds": 9.0},
          {"stage": "evaluate", "event": "failed", "message": "stage evaluate: the disk is full"}]

@pytest.fixture
def path(tmp_path, monkeypatch):
    "Where a run's log goes; nothing is set"
    for name in ("GRADECLASS_LOG_LEVEL", "GRADECLASS_LOG_FORMAT"): monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GRADECLASS_HOME", str(tmp_path))
    return tmp_path/"outputs"/"runs"/"r1"/"log.jsonl"

def write(path, events=EVENTS):
    "A log of some events"
    with open_log(path) as log:
        for event in events: log_event(log, event)

def test_every_line_is_a_json_object_with_utc_time(path):
    write(path)
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert [r["event"] for r in records] == [e["event"] for e in EVENTS]
    assert [r["level"] for r in records] == ["info", "debug", "info", "info", "error"]
    assert all(list(r) == ["time", "level", "event", "run_id", "stage", "fields"] and r["run_id"] == "r1"
               for r in records)
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", r["time"]) for r in records)
    assert records[2]["fields"] == {"seconds": 1.5} and read_run_log(path) == records

def test_terminal_shows_warnings_unless_told_otherwise(path, monkeypatch, capfd):
    "What ended the run is not among them: the command's last line says it"
    write(path, [*EVENTS, {"stage": "train", "event": "retry", "message": "once more"}])
    told = capfd.readouterr().err
    assert "once more" in told and "started" not in told and "the disk is full" not in told
    monkeypatch.setenv("GRADECLASS_LOG_LEVEL", "info")
    write(path)
    told = capfd.readouterr().err
    assert "started" in told and "the disk is full" in told and "cell" not in told

def test_terminal_can_show_json(path, monkeypatch, capfd):
    monkeypatch.setenv("GRADECLASS_LOG_FORMAT", "json")
    write(path)
    assert json.loads(capfd.readouterr().err)["event"] == "failed"

def test_wrong_level_is_refused_before_anything_is_written(path, monkeypatch):
    monkeypatch.setenv("GRADECLASS_LOG_LEVEL", "loud")
    with pytest.raises(SettingsError, match="GRADECLASS_LOG_LEVEL"): write(path)
    assert not path.exists()

@given(tail=st.integers(1, 60))
def test_torn_last_line_is_passed_over_and_the_next_run_writes_on_a_line_of_its_own(tmp_path_factory, tail):
    path = tmp_path_factory.mktemp("torn")/"log.jsonl"
    write(path, EVENTS[:3])
    path.write_bytes(path.read_bytes()[:-tail])
    whole = ["started", "cell", "done"]
    assert [r["event"] for r in read_run_log(path)] == (whole if tail == 1 else whole[:2])
    write(path, EVENTS[3:4])
    assert [r["event"] for r in read_run_log(path)][-1] == "cached"

def test_line_breaks_and_percent_signs_stay_in_their_record(path):
    write(path, [{"stage": "a\nb", "event": "100 %s done", "key": "x\u2028y\n"}])
    assert [(r["stage"], r["event"], r["fields"])
            for r in read_run_log(path)] == [("a\nb", "100 %s done", {"key": "x\u2028y\n"})]

@given(event=st.dictionaries(st.text(max_size=8),
                             st.text(max_size=8) | st.integers() | st.none() | st.lists(st.integers(), max_size=2)))
def test_only_listed_fields_are_kept(event):
    assert set(safe_fields({**event, "event": "done"})) <= set(FIELDS)

@pytest.mark.parametrize("message", [
    "stage prepare: 2 of 9 rows refused (22.2%; 5% may be); the first is row 3: Gender: Ann Smith is not an answer "
    "(executed notebook: n.ipynb)",
    "stage train failed in cell 4: KeyError: 'Ann Smith' (executed notebook: n.ipynb)",
    "stage train failed in cell 4: ValueError: row of\nAnn Smith (executed notebook: n.ipynb)",
    "stage train failed: ValueError: Ann Smith (executed notebook: n.ipynb)"])
def test_cells_of_the_table_are_not_logged(message):
    assert ("Ann" not in safe_message(message) and "n.ipynb" in safe_message(message)
            and safe_message(message).startswith("stage "))

def test_full_disk_is_reported_once_and_does_not_stop_the_run(path, monkeypatch, capfd):
    if not os.path.exists("/dev/full"): pytest.skip("needs /dev/full")
    path.parent.mkdir(parents=True)
    path.symlink_to("/dev/full")
    write(path, EVENTS[:4])
    assert capfd.readouterr().err.count("cannot be written") == 1

def test_folder_in_the_way_gets_a_sentence(path):
    path.mkdir(parents=True)
    with pytest.raises(GradeclassError, match="cannot be written"): write(path)

def send(queue, name):
    "A worker that tells the driver what it does"
    for number in range(200): queue.put({"stage": name, "event": "cell", "done": number, "cells": 200})
    queue.put(None)

@pytest.mark.process
def test_driver_writes_events_of_two_workers_without_a_torn_line(path):
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    workers = [context.Process(target=send, args=(queue, name)) for name in ("one", "two")]
    for worker in workers: worker.start()
    with open_log(path) as log:
        ended = 0
        while ended < 2:
            event = queue.get(timeout=60)
            if event is None: ended += 1
            else: log_event(log, event)
    for worker in workers: worker.join()
    assert len(path.read_text().splitlines()) == len(read_run_log(path)) == 400

def test_newest_run_is_found_and_an_unknown_one_refused(path):
    write(path)
    write(path.parent.parent/"r2"/"log.jsonl")
    assert find_log().parent.name == "r2" and find_log("r1") == path
    with pytest.raises(GradeclassError, match="newest is r2"): find_log("../r1")

def test_command_prints_lines_or_json(path):
    write(path)
    program = ["-c", "import sys; from gradeclass.cli.main import main; sys.argv[0] = 'gradeclass'; main()"]
    ask = lambda *words: subprocess.run([sys.executable, *program, "logs", *words], capture_output=True, text=True,
                                        env=os.environ)
    assert "prepare   done seconds=1.5" in ask().stdout and "cell" not in ask().stdout
    assert json.loads(ask("r1", "--json").stdout) == read_run_log(path)
    missing = ask("r9")
    assert missing.returncode == 1 and missing.stderr.startswith("gradeclass: there is no log of a run r9")

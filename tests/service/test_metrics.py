"""Counts of several processes."""
import os
import socket
import subprocess
import sys
import time

import httpx
import psutil
import pytest

from service_helpers import OLD_STUDENT, key_to_everything, put_champion, rows_of, running, running_here

pytestmark = pytest.mark.process


def ask_each(client, path, workers=2):
    "The answers of all workers; a request id names the worker"
    found = {}
    end = time.monotonic() + 30
    while len(found) < workers and time.monotonic() < end:
        with httpx.Client(base_url=client.base_url, timeout=30) as fresh: reply = fresh.get(path)
        found[reply.headers["x-request-id"].split("-")[0]] = reply.text
    return list(found.values())


def test_two_workers_stop_and_count_together(bundles, tmp_path):
    client_key = {"x-api-key": key_to_everything(tmp_path/"outputs")}
    with running(tmp_path/"outputs", "--model", bundles["students"], "--workers", 2, "--open",
                 settings={"poll": 0.05}) as (client, process):
        client.headers.update(client_key)
        for _ in range(40):
            with httpx.Client(base_url=client.base_url, timeout=30) as fresh:
                assert fresh.post("/predict", json=OLD_STUDENT).status_code == 200
        client.post("/suspend", json={"reason": "odd grades", "by": "head"})
        time.sleep(1)
        for _ in range(10):
            with httpx.Client(base_url=client.base_url, timeout=30) as fresh:
                assert fresh.post("/predict", json=OLD_STUDENT).json()["error"] == "suspended"
        told = ask_each(client, "/metrics")
        assert len(told) == 2
        for text in told:
            for line in ('gradeclass_requests_total{route="/predict",status="200"} 40.0',
                         'gradeclass_requests_total{route="/predict",status="503"} 10.0',
                         'gradeclass_request_seconds_count{route="/predict"} 50.0',
                         "gradeclass_log_written 40.0", "gradeclass_log_waiting 0.0", "gradeclass_log_failing 0.0",
                         "gradeclass_suspended 1.0", "gradeclass_models 1.0"):
                assert line in text.splitlines(), line
            assert [line for line in text.splitlines() if line.startswith("gradeclass_model_info{")][0].endswith(" 1.0")
        memory = [float(line.split()[1]) for line in told[0].splitlines() if line.startswith("process_resident_memory_bytes ")]
        workers = psutil.Process(process.pid).children(recursive=True)
        least = sum(worker.memory_info().rss for worker in workers if "spawn_main" in " ".join(worker.cmdline()))
        assert len(memory) == 1 and memory[0] > 0.8*least > 0
        client.post("/resume", json={})
    ids = rows_of(tmp_path/"outputs").id
    assert len(ids) == ids.nunique() == 40


def test_workers_of_a_killed_parent_end_and_leave_no_counts(bundles, tmp_path):
    place = tmp_path/"scratch"
    place.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(place))
        with running(tmp_path/"outputs", "--model", bundles["students"], "--workers", 2) as (client, process):
            assert list(place.glob("gradeclass-serve-*"))
            workers = psutil.Process(process.pid).children(recursive=True)
            process.kill()
            assert not psutil.wait_procs(workers, 60)[1], "workers live on without their parent"
            with pytest.raises(httpx.TransportError): client.get("/health")
    assert not list(place.glob("gradeclass-serve-*"))


PROGRAM = """
from gradeclass.service.metrics import Counts
counts = Counts()
for seconds in (0.0001, 0.3, 60.0): counts.request("/predict", 200, seconds)
counts.grades.labels("students", "B").inc(2)
counts.gauges["log_waiting"].set(5)
counts.gauges["log_written"].set(7)
print(counts.text().decode())
"""


def test_what_a_process_has_counted_outlives_it_and_its_queue_does_not(tmp_path):
    for _ in range(2):
        text = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True,
                              env=os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}).stdout
    for line in ('gradeclass_requests_total{route="/predict",status="200"} 6.0',
                 'gradeclass_request_seconds_bucket{le="0.001",route="/predict"} 2.0',
                 'gradeclass_request_seconds_bucket{le="10.0",route="/predict"} 4.0',
                 'gradeclass_request_seconds_bucket{le="+Inf",route="/predict"} 6.0',
                 'gradeclass_predictions_total{grade="B",model="students"} 4.0',
                 "gradeclass_log_written 14.0", "gradeclass_log_waiting 5.0"):
        assert line in text.splitlines(), line


def test_models_and_what_cannot_be_read_are_counted(bundles, tmp_path):
    "By whoever has a key to the metrics alone"
    from gradeclass.service.api_keys import make_key
    outputs = tmp_path/"outputs"
    outputs.mkdir()
    put_champion(outputs, bundles["students"])
    key = make_key(outputs/"keys.json", "prometheus", ["metrics"])
    with running_here(outputs, settings={"poll": 0.05}) as client:
        client.headers["x-api-key"] = key
        assert client.post("/predict", json=OLD_STUDENT).status_code == 403
        for sent in (b"no http at all\r\n\r\n", b"GET / HTTP/1.1\r\nx: " + b"y"*70_000):
            with socket.create_connection((client.base_url.host, client.base_url.port)) as broken:
                broken.sendall(sent)
                assert broken.recv(1_000)[9:12] in (b"400", b"431")
        put_champion(outputs, bundles["other"])
        end = time.monotonic() + 30
        info = lambda: sorted(line[-3:] for line in client.get("/metrics").text.splitlines()
                              if line.startswith("gradeclass_model_info{"))
        while info() != ["0.0", "1.0"] and time.monotonic() < end: time.sleep(0.05)
        lines = client.get("/metrics").text.splitlines()
        assert info() == ["0.0", "1.0"]
        assert 'gradeclass_requests_total{route="unreadable",status="400"} 1.0' in lines
        assert 'gradeclass_requests_total{route="unreadable",status="431"} 1.0' in lines
        assert any(line.startswith("process_cpu_seconds_total ") for line in lines)


def send_raw(client, sent):
    "Open a connection and send bytes that are no whole request"
    connection = socket.create_connection((client.base_url.host, client.base_url.port), timeout=60)
    connection.sendall(sent)
    return connection


def refusals(text):
    "Route and status -> number, of all that was not answered with 2xx"
    lines = [line.split() for line in text.splitlines() if line.startswith("gradeclass_requests_total{")]
    return {name.partition("{")[2]: int(float(number)) for name, number in lines if 'status="2' not in name}


def test_two_workers_agree_on_all_that_was_refused_unread(bundles, tmp_path):
    client_key = {"x-api-key": key_to_everything(tmp_path/"outputs")}
    head = b"POST /predict HTTP/1.1\r\nhost: 127.0.0.1\r\n"
    long = head + b"content-type: application/json\r\ncontent-length: 9999999\r\n\r\n"
    with running(tmp_path/"outputs", "--model", bundles["students"], "--workers", 2, "--open") as (client, _):
        client.headers.update(client_key)
        slow = [send_raw(client, head) for _ in range(3)]
        for _ in range(8):
            broken = {b"400": b"no http at all\r\n\r\n", b"431": head + b"x: " + b"y"*70_000, b"413": long}
            for status, sent in broken.items():
                with send_raw(client, sent) as connection: assert connection.recv(1_000)[9:12] == status
        for connection in slow:
            with connection: assert connection.recv(1_000)[9:12] == b"408"
        known = {'route="unreadable",status="400"}': 8, 'route="unreadable",status="431"}': 8,
                 'route="/predict",status="413"}': 8, 'route="unreadable",status="408"}': 3}
        told = ask_each(client, "/metrics")
        assert [refusals(text) for text in told] == [known, known]
    log = (tmp_path/"outputs"/"serve.log").read_text()
    assert log.count('"route":"unreadable","status":400') == 8 and log.count('"route":"unreadable","status":408') == 3


def test_a_refusal_is_counted_once_and_under_its_address(bundles, tmp_path, monkeypatch):
    "Also where the key or the content type is wrong, or the body never comes"
    from gradeclass.service.guard import GuardedProtocol, Patience
    monkeypatch.setattr(GuardedProtocol, "patience", Patience(body=1.0))
    with running_here(tmp_path/"outputs", bundles["students"], keyed=True) as client:
        assert client.post("/predict/batch", json=[], headers={"x-api-key": ""}).status_code == 401
        assert client.post("/models/students/predict/file", content=b"x",
                           headers={"content-type": "text/plain"}).status_code == 415
        assert client.post("/nowhere", json=[], headers={"x-api-key": ""}).status_code == 401
        header = (b"POST /predict/batch HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
                  b"x-api-key: %b\r\n" % client.headers["x-api-key"].encode())
        with send_raw(client, header + b"content-length: 9\r\n\r\n[") as connection:
            assert connection.recv(1_000)[9:12] == b"408"
        with send_raw(client, header + b"transfer-encoding: chunked\r\n\r\n1\r\n[\r\nz\r\n") as connection:
            assert connection.recv(1_000)[9:12] == b"400"
        known = {'route="/predict/batch",status="401"}': 1, 'route="unknown",status="401"}': 1,
                 'route="/models/{name}/predict/file",status="415"}': 1, 'route="/predict/batch",status="408"}': 1,
                 'route="/predict/batch",status="400"}': 1}
        end = time.monotonic() + 20
        while (found := refusals(client.get("/metrics").text)) != known and time.monotonic() < end: time.sleep(0.05)
        assert found == known

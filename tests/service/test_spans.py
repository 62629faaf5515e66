"""Spans for OpenTelemetry, where a collector is named."""
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from service_helpers import OLD_STUDENT, running, running_here

TRACE, SENDER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
FOLLOW = {"traceparent": f"00-{TRACE}-{SENDER}-01"}


@pytest.mark.process
def test_requests_about_students_become_spans_below_the_callers(bundles, tmp_path, monkeypatch):
    memory = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter").InMemorySpanExporter()
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from gradeclass.service import engine
    from gradeclass.service.metrics import Spans
    monkeypatch.setattr(engine, "open_spans", lambda: Spans(SimpleSpanProcessor(memory)))
    with running_here(tmp_path/"outputs", bundles["students"]) as client:
        csv = {"content": b"Absences\n3\n", "headers": FOLLOW | {"content-type": "text/csv"}}
        replies = [client.post("/predict", json=OLD_STUDENT, headers=FOLLOW),
                   client.post("/predict?reasons=true", json=OLD_STUDENT, headers=FOLLOW),
                   client.post("/predict/batch", json=[OLD_STUDENT], headers=FOLLOW),
                   client.post("/predict/file", **csv),
                   client.post("/models/students/predict", json={"Absences": 99}, headers=FOLLOW)]
        client.get("/models", headers=FOLLOW)
        client.post("/predict", json=OLD_STUDENT, headers={"traceparent": f"00-{TRACE}-{SENDER}-00"})  # Not sampled
        client.post("/predict", json=OLD_STUDENT)
    # A file's span is made once its last byte has gone: the next request's may come before it
    *followed, alone = sorted(memory.get_finished_spans(), key=lambda span: span.start_time)
    assert [span.name for span in followed] == ["POST /predict", "POST /predict", "POST /predict/batch",
                                                "POST /predict/file", "POST /models/{name}/predict"]
    assert [span.attributes["http.response.status_code"] for span in followed] == [200, 200, 200, 200, 422]
    for span, reply in zip(followed, replies, strict=True):
        named = f"00-{span.context.trace_id:032x}-{span.context.span_id:016x}-01"
        assert named == reply.headers["traceparent"] and f"{span.parent.span_id:016x}" == SENDER
        assert f"{span.context.trace_id:032x}" == TRACE and span.end_time > span.start_time
        assert span.resource.attributes["service.name"] == "gradeclass"
    assert alone.parent is None and f"{alone.context.trace_id:032x}" != TRACE


@pytest.mark.process
def test_spans_reach_the_collector_that_is_named(bundles, tmp_path, monkeypatch):
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
    class Collector(BaseHTTPRequestHandler):
        taken = []
        def do_POST(self):
            Collector.taken.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()
        def log_message(self, *words): pass
    server = HTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "grades-of-our-school")
    with running(tmp_path/"outputs", "--model", bundles["students"]) as (client, _):
        assert client.post("/predict", json=OLD_STUDENT, headers=FOLLOW).status_code == 200
    server.shutdown()
    server.server_close()
    path, content = Collector.taken[0]
    assert path == "/v1/traces" and bytes.fromhex(TRACE) in content and b"grades-of-our-school" in content


PROGRAM = """
import sys
from gradeclass.service.metrics import open_spans
import gradeclass.service.app
if sys.argv[1:]: sys.modules["opentelemetry.exporter"] = None
print(open_spans(), any(name.startswith("opentelemetry.sdk") for name in sys.modules))
"""


@pytest.mark.parametrize("named", [False, True])
def test_nothing_is_imported_where_no_collector_is_named_and_a_missing_extra_is_said(monkeypatch, named):
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    if named: monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    command = [sys.executable, "-c", PROGRAM, *["missing"]*named]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.stdout.split() == ["None", "False"], done.stderr
    assert ("pip install 'gradeclass[otel]'" in done.stderr) == named

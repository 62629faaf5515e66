"""The connection that answers by itself, against the ordinary way."""
import json
import socket
import time

import pytest

from service_helpers import OLD_STUDENT

pytestmark = pytest.mark.process


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
        header = b"%b %b HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n" % (method, path)
        return header + b"content-length: %d\r\n\r\n%b" % (len(body), body)
    sent = [request(b"/predict", b'{"Absences": %d}' % days) for days in (1, 12, 29)]
    sent = [sent[0], request(b"/health", b"", b"GET"), sent[1],
            request(b"/predict?reasons=false", b'{"Absences": 12}'), sent[2], request(b"/predict", b"[")]
    with socket.create_connection((client.base_url.host, client.base_url.port), timeout=20) as connection:
        whole = b"".join(sent)
        connection.sendall(whole[:-200])
        time.sleep(0.2)
        connection.sendall(whole[-200:])
        received = b""
        while received.count(b"HTTP/1.1 ") < 6 or not received.endswith(b"}"): received += connection.recv(65_536)
    bodies = [json.loads(part.split(b"\r\n\r\n", 1)[1]) for part in received.split(b"HTTP/1.1 ")[1:]]
    alone = [client.post("/predict", json={"Absences": days}).json()["probabilities"] for days in (1, 12, 29)]
    said = [body.get("probabilities", body.get("alive", body.get("error"))) for body in bodies]
    assert said == [alone[0], True, alone[1], alone[1], alone[2], "invalid_input"]

"""Bodies within limits, and the headers that every answer has."""
import pytest

from service_helpers import OLD_STUDENT

pytestmark = pytest.mark.process


def test_a_body_that_is_too_long_is_refused_while_it_is_sent(client):
    def pieces():
        for _ in range(100): yield b" "*2**20
    for path in ("/predict", "/predict/batch", "/models/students/predict", "/outcomes"):
        reply = client.post(path, content=pieces(), headers={"content-type": "application/json"})
        assert reply.status_code == 413, path
        assert client.post(path, content=b" "*20_000_000,
                           headers={"content-type": "application/json"}).status_code == 413, path
    assert client.post("/predict", json=OLD_STUDENT).status_code == 200


def test_every_answer_carries_the_safe_headers_and_its_id(client):
    for reply in (client.post("/predict", json=OLD_STUDENT), client.get("/features"), client.get("/nowhere"),
                  client.post("/predict", content=b"")):
        assert (reply.headers["x-content-type-options"] == "nosniff"
                and "default-src 'none'" in reply.headers["content-security-policy"])
        assert "server" not in reply.headers and "access-control-allow-origin" not in reply.headers
    assert client.get("/features", headers={"x-request-id": "abc-1"}).headers["x-request-id"] == "abc-1"
    assert client.get("/features", headers={"x-request-id": "a b\tc"}).headers["x-request-id"] != "a b\tc"

"""The service as `gradeclass serve` puts it together."""
import json

import pytest

from service_helpers import OLD_STUDENT, running_here

pytestmark = pytest.mark.process


def test_pages_of_a_named_origin_may_ask_and_others_may_not(bundles, tmp_path):
    "Requests without an origin go the short way all the same, and are answered alike"
    with running_here(tmp_path, bundles["students"], settings={"cors": "https://school.example"}) as client:
        replies = {}
        for origin in ("https://school.example", "https://evil.example", ""):
            headers = {"origin": origin} if origin else {}
            reply = client.post("/predict", content=json.dumps(OLD_STUDENT),
                                headers={"content-type": "application/json", **headers})
            assert reply.status_code == 200
            replies[origin] = reply
        allowed = {origin: reply.headers.get("access-control-allow-origin") for origin, reply in replies.items()}
        assert allowed == {"https://school.example": "https://school.example", "https://evil.example": None, "": None}
        assert len({reply.json()["at_risk"] for reply in replies.values()}) == 1


def test_a_page_of_a_named_origin_may_send_keys_delete_and_read_the_headers_of_answers(bundles, tmp_path):
    with running_here(tmp_path, bundles["students"], settings={"cors": "https://school.example"}) as client:
        for header in ("authorization", "x-api-key", "x-request-id", "content-type"):
            for method in ("POST", "DELETE"):
                asked = {"origin": "https://school.example", "access-control-request-method": method,
                         "access-control-request-headers": header}
                assert client.options("/predict", headers=asked).status_code == 200, (method, header)
        shown = client.get("/health", headers={"origin": "https://school.example"})
        exposed = shown.headers["access-control-expose-headers"].lower().split(", ")
        assert {"x-request-id", "retry-after", "x-notes"} <= set(exposed)

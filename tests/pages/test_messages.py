"What a page and its process say to each other over a real websocket, whoever writes it"
import asyncio
import json
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from gradeclass.pages.door import Channels, is_whole, kind_of
from pages_helpers import PATIENCE, Line, Server, fetch, finish


@pytest.fixture(scope="module")
def small(trained, tmp_path_factory):
    "A server of its own: no other test closes its door by wrong tokens"
    outputs = tmp_path_factory.mktemp("messages")/"outputs"
    outputs.mkdir()
    server = Server(outputs, pool=0, model=str(trained))
    yield server
    server.close()


def written(kind):
    "A message in each of the three ways in which Jupyter writes one, and whether it is of the newer kind"
    from jupyter_server.services.kernels.connection import base
    parts = {"header": {"msg_type": kind}, "parent_header": {}, "metadata": {}, "content": {"text": "Traceback"}}
    packed = base.serialize_msg_to_ws_v1([json.dumps(part).encode() for part in parts.values()], "iopub")
    return [(json.dumps(parts), False), (base.serialize_binary_message(parts | {"buffers": [b"a file"]}), False),
            (packed, True)]


@pytest.mark.parametrize("kind, told", [("stream", False), ("error", False), ("comm_msg", True), ("status", True)])
def test_visitor_is_told_no_trace_of_what_fails_in_the_process(kind, told, monkeypatch):
    sent = []
    monkeypatch.setattr(Channels.__base__, "write_message", lambda self, message, binary: sent.append(message))
    for message, packed in written(kind):
        assert kind_of(message, packed) == kind and is_whole(message, packed)
        channels = object.__new__(Channels)
        channels.connection = type("Connection", (), {"subprotocol": packed or None})
        channels.write_message(message)
    assert len(sent) == 3*told


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.parametrize("packed", [True, False])
def test_what_fails_in_a_process_shows_no_trace_whatever_the_messages_look_like(packed, small):
    async def fail():
        line = await Line(small, "about").connect(packed=packed)
        opened = {"comm_id": "own", "target_name": "jupyter.widget", "data": {"state": {"_model_name": 3}}}
        received = [*await line.ask("comm_open", opened), *await line.ask("comm_open", opened, version="2.1.0"),
                 *await line.ask("comm_open", opened | {"target_name": "os.system"}),
                 *await line.ask("comm_msg", {"comm_id": "own", "data": {"method": "update"}}),
                 *await line.ask("comm_info_request", {})]
        line.leave()
        return "".join(received)
    received = finish(fail())
    assert "comm_info_reply" in received
    for word in ("Traceback", "site-packages", "gradeclass/", ".py"): assert word not in received


UNREADABLE = {True: [b"\xff"*8, b"\x01", b"", "{}"],
              False: [b"\x7f" + b"\xff"*7, b"", "[1]", '{"header": {}}', "no JSON"]}


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.parametrize("packed", UNREADABLE)
def test_message_that_nobody_can_read_ends_its_own_connection_alone(packed, small):
    line = Line(small, "about")
    async def send(message):
        await line.connect(packed=packed)
        await line.socket.write_message(message, binary=isinstance(message, bytes))
        while await asyncio.wait_for(line.socket.read_message(), PATIENCE) is not None: pass
        return line.socket.close_code
    for message in UNREADABLE[packed]: assert finish(send(message)) == 1003, message
    line.leave()
    assert fetch(f"{small.base}/healthz")[0] == 200 and "Uncaught" not in Path(small.log.name).read_text()


@pytest.mark.process
@pytest.mark.slow
def test_process_of_a_page_listens_to_its_own_browser_alone(small):
    from tornado.httpclient import HTTPClientError
    mine, other = Line(small, "about"), Line(small, "about")
    async def listen():
        with pytest.raises(HTTPClientError, match="404"): await other.connect(mine.kernel)
        assert not json.loads(other.get(f"leave/{mine.kernel}"))["there"]
        xsrf = next(cookie.value for cookie in other.cookies if cookie.name == "_xsrf")
        for method in ("GET", "DELETE"):
            asked = urllib.request.Request(f"{small.base}/api/kernels/{mine.kernel}", None, {"X-XSRFToken": xsrf}, method=method)
            with pytest.raises(urllib.error.HTTPError, match="404"): other.browser.open(asked, timeout=PATIENCE)
        assert json.loads(mine.get(f"api/kernels/{mine.kernel}"))["id"] == mine.kernel
        await asyncio.gather(mine.connect(), other.connect())
        received = await mine.ask("comm_info_request", {})
        mine.leave(), other.leave()
        return "".join(received)
    assert "comm_info_reply" in finish(listen())

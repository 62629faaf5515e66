"""Slow, long, broken and hostile connections."""
import ast
import inspect
import socket
import textwrap
import time

import pytest

from service_helpers import ASK, OLD_STUDENT, WHO, key_to_everything, running_here

pytestmark = pytest.mark.process


def talk(client, *parts, pause=0.05):
    "Send pieces over one connection, close our half of it, and read the statuses"
    with socket.create_connection((client.base_url.host, client.base_url.port), timeout=20) as connection:
        for part in parts:
            connection.sendall(part)
            time.sleep(pause)
        connection.shutdown(socket.SHUT_WR)
        received = b""
        while more := connection.recv(65_536): received += more
    return [int(part[:3]) for part in received.split(b"HTTP/1.1 ")[1:]]


OFFER = b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n"


def named(thing, owner="self"):
    "The attributes of `owner` that the source of a class or function names"
    tree = ast.walk(ast.parse(textwrap.dedent(inspect.getsource(thing))))
    return {node.attr for node in tree if isinstance(node, ast.Attribute) and ast.unparse(node.value) == owner}


def test_uvicorn_has_the_private_parts_that_connections_use():
    from uvicorn.protocols.http.flow_control import FlowControl
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
    from gradeclass.service.http import Direct
    from gradeclass.service.guard import GuardedProtocol, OneByOne
    calls = {"connection_made", "data_received", "on_message_begin", "on_headers_complete", "on_message_complete",
             "on_response_complete", "connection_lost", "eof_received", "pause_writing", "resume_writing", "shutdown",
             "_start_asgi_task", "_unset_keepalive_if_required", "send_400_response"}
    holds = {"app", "connections", "cycle", "client", "expect_100_continue", "flow", "headers", "loop",
             "parser", "pipeline", "scope", "server_state", "transport", "url"}
    used = named(GuardedProtocol) | named(GuardedProtocol, "super()") | named(Direct, "connection")
    own = {name for name in vars(GuardedProtocol) if not hasattr(HttpToolsProtocol, name)} | {
        "begun", "received", "in_header", "header_bytes", "ended", "leaving", "stuck", "untaken", "direct", "running",
        "inside", "got", "piece", "chunked", "seen"}
    assert used - own <= calls | holds
    assert calls <= set(dir(HttpToolsProtocol)) and holds <= named(HttpToolsProtocol)
    assert set(vars(OneByOne)) - {"__doc__", "__init__", "__module__"} <= set(dir(FlowControl))
    assert {"read_paused", "write_paused"} <= named(FlowControl)
    assert named(HttpToolsProtocol, "self.cycle") <= set(Direct.__slots__)


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
    ([b"GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\nhost: evil\r\n\r\n"], [400]),
    ([b"GET /health HTTP/1.1\r\n\r\n"], [400]),
    ([b"GET /health HTTP/1.0\r\n\r\n"], [200]),
    ([b"GET http://evil/health HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"], [400]),
    ([b"GET HTTP://127.0.0.1/health HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"], [200]),
    ([b"GET http://127.0.0.1@evil/health HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"], [400]),
    ([b"GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\nx: " + b"y"*40_000 + b"\r\n\r\n"], [431]),
    ([b"GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\nx: " + b"y"*30_000 + b"\r\n\r\n"], [200]),
    ([b"CONNECT 127.0.0.1:1 HTTP/1.1\r\nhost: 127.0.0.1:1\r\n\r\n"], [400])])
def test_one_message_is_one_request(client, parts, statuses):
    "Bodies are never read as requests, and a client that has closed its half still gets its answer"
    assert talk(client, *parts) == statuses


def in_chunks(*head):
    "A request about one student, up to the fields after its last chunk"
    return ASK + b"".join(head) + b"transfer-encoding: chunked\r\n\r\nf\r\n" + WHO + b"\r\n0\r\n"


def test_fields_after_a_body_are_no_headers(bundles, tmp_path):
    from gradeclass.service.api_keys import make_key
    key = b"x-api-key: " + make_key(tmp_path/"keys.json", "office").encode() + b"\r\n"
    with running_here(tmp_path, bundles["students"]) as client:
        assert talk(client, in_chunks() + key + b"\r\n") == [401]
        assert talk(client, in_chunks(key) + b"x-api-key: wrong\r\n\r\n") == [200]
        for end in (b"", b"a: b\r\n"*10):
            assert talk(client, (in_chunks(key) + end + b"\r\n")*2 + ASK + key + b"content-length: 15\r\n\r\n" + WHO) == [200]*3


@pytest.mark.parametrize("flood", [b"a: b\r\n"*2_000, b"a"*12_000])
@pytest.mark.parametrize("keyed", [False, True])
def test_endless_fields_after_a_body_are_cut_off(bundles, tmp_path, flood, keyed):
    "Many short ones or one long one, also where the request has been refused before they come"
    if keyed: key_to_everything(tmp_path)
    with running_here(tmp_path, bundles["students"]) as client:
        connection = socket.create_connection((client.base_url.host, client.base_url.port), timeout=60)
        connection.sendall(in_chunks() + b"a: ")
        with connection, pytest.raises(OSError, match="reset|[Pp]ipe"):
            for _ in range(2_000): connection.sendall(flood)


@pytest.mark.parametrize("size", [1, 1_000, 300_000])
def test_a_long_file_in_chunks_of_any_size_is_no_header(client, size):
    content = b"Absences\n" + b"3\n"*(300 if size == 1 else 300_000)
    pieces = (content[start:start + size] for start in range(0, len(content), size))
    reply = client.post("/predict/file", content=pieces, headers={"content-type": "text/csv"})
    assert reply.status_code == 200 and reply.text.count("\n") == content.count(b"\n")


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
    monkeypatch.setattr(GuardedProtocol, "patience", Patience(silence=4.0))
    content = b"Absences\n" + b"3\n"*100_000
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        connection.connect((client.base_url.host, client.base_url.port))
        connection.sendall(b"POST /predict/file HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: "
                           b"text/csv\r\ncontent-length: %d\r\n\r\n" % len(content) + content)
        received = b""
        while not received.endswith(b"\r\n0\r\n\r\n"):
            more = connection.recv(65_536)
            assert more, "cut off"
            received += more
            time.sleep(len(more)/3_000_000)
    assert received.count(b"\n") > 100_000


def test_a_longer_body_is_taken_where_the_setting_allows_it(bundles, tmp_path):
    with running_here(tmp_path/"outputs", bundles["students"], settings={"max_body": 300_000}) as client:
        assert client.post("/predict", content=WHO[:-1] + b" "*200_000 + b"}",
                           headers={"content-type": "application/json"}, timeout=10).status_code == 200

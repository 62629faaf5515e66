"Fetching the published tables"
import csv
import io
import threading
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pandas as pd
import pytest

from gradeclass.data.fetch import FetchError, fetch, table_in_zip, values_digest
from gradeclass.disk import digest_text
from gradeclass.schema import Column, GradeScale, Schema, SchemaError, Source, load_schema, schema_names


class QuietHandler(SimpleHTTPRequestHandler):
    "Serves a folder without a log, and counts what was asked"
    asked: list = []

    def log_message(self, *args): self.asked.append(self.path)


class ShortHandler(QuietHandler):
    "Promises more bytes than it sends"

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b"PK half a file")


@pytest.fixture
def serve(tmp_path):
    "Start a server for a folder; it stops when the test ends"
    servers = []

    def start(folder, handler=QuietHandler):
        handler.asked = []
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


TABLE = "ID,Hours,Grade\nS1,3,1\nS2,4.5,0\n"


def small_schema(url="https://example.org/files/table.zip", table=TABLE):
    "A schema whose published table has two rows"
    rows = list(csv.reader(io.StringIO(table)))[1:]
    schema = Schema(
        name="small",
        columns=[Column(name="ID", role="id"), Column(name="Hours", kind="numeric"),
                 Column(name="Grade", role="target")],
        grades=GradeScale(codes={0: "pass", 1: "fail"}, at_risk=["fail"]))
    source = Source(title="Small", doi="10.1/small", files=["small table.csv", "small.csv"], sha256=digest_text(table),
                    url=url,
                    values_sha256=values_digest(rows, schema))
    return schema.model_copy(update={"source": source})


def zip_of(path, **members):
    "Write a zip file; '__' in a name is a dot"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name.replace("__", "."), text)
    return path


@pytest.fixture
def published(tmp_path):
    "A folder to serve and a folder to fetch into"
    (tmp_path/"served").mkdir()
    return tmp_path/"served", tmp_path/"raw"


def fetch_from(address, schema, folder):
    "Fetch a table from a server of ours"
    url = f"{address}/{schema.source.url.rsplit('/', 1)[-1]}"
    source = schema.source.model_copy(update={"url": url})
    return fetch(schema.model_copy(update={"source": source}), folder)


def test_fetch_downloads_once_and_keeps_the_bytes(published, serve):
    served, raw = published
    zip_of(served/"table.zip", **{"small table__csv": TABLE, "notes__csv": "x"})
    path = fetch_from(serve(served), small_schema(), raw)
    assert path == raw/"small.csv" and path.read_text() == TABLE
    assert fetch_from("http://127.0.0.1:9", small_schema(), raw) == path
    assert len(QuietHandler.asked) == 1


def test_fetch_accepts_a_table_that_was_put_there_by_hand(published):
    _, raw = published
    raw.mkdir()
    (raw/"small table.csv").write_text(TABLE)
    assert fetch_from("http://127.0.0.1:9", small_schema(), raw) == raw/"small table.csv"


def test_fetch_gives_a_numbered_header_our_names(published, serve):
    served, raw = published
    zip_of(served/"table.zip", DATA__csv="STUDENT ID,1,GRADE\r\nSTUDENT1,3.0,1\r\nSTUDENT2,4.5,0\r\n")
    path = fetch_from(serve(served), small_schema(), raw)
    assert path.read_text().splitlines() == ["ID,Hours,Grade", "STUDENT1,3.0,1", "STUDENT2,4.5,0"]
    assert fetch_from("http://127.0.0.1:9", small_schema(), raw) == path


def test_fetch_uses_the_url_of_the_schema(published, serve):
    served, raw = published
    zip_of(served/"table.zip", DATA__csv=TABLE)
    assert fetch(small_schema(url=f"{serve(served)}/table.zip"), raw).is_file()


@pytest.mark.parametrize("member, message", [
    (TABLE.replace("4.5", "4.6"), "a table of 2 rows is not the published one"),
    (TABLE + "S3,1,1\n", "a table of 3 rows is not the published one"),
    ("", "a table of 0 rows is not the published one"),
    ("a"*200_000, "a table of 0 rows is not the published one"),
    (b"\xff\xfe\x00\x01", "is not the published one"),
    ("\0a" * 50, "is not the published one"),
])
def test_fetch_refuses_another_table_and_leaves_nothing(published, serve, member, message):
    served, raw = published
    zip_of(served/"table.zip", DATA__csv=member)
    with pytest.raises(FetchError, match=message): fetch_from(serve(served), small_schema(), raw)
    assert not raw.exists()


@pytest.mark.parametrize("damage",
                         [lambda whole: whole[:len(whole)//2], lambda whole: b"<html>sign in</html>", lambda whole: b"",
                                    lambda whole: whole.replace(b"PK\x03\x04", b"PK\x03\x05"),
                                    lambda whole: whole[:45] + bytes([whole[45] ^ 255]) + whole[46:]])
def test_fetch_refuses_a_damaged_zip_file(published, serve, damage):
    served, raw = published
    path = zip_of(served/"table.zip", DATA__csv=TABLE)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(FetchError,
                       match="not a whole zip file; get 'Small' by hand from https://doi.org/10.1/small and put "
                             "small.csv"):
        fetch_from(serve(served), small_schema(), raw)
    assert not raw.exists()


def test_fetch_says_what_the_server_answered(published, serve):
    served, raw = published
    with pytest.raises(FetchError, match=r"the server answered 404\): get 'Small' by hand"):
        fetch_from(serve(served), small_schema(), raw)
    assert not raw.exists()


def test_fetch_offline_says_what_to_do_by_hand(published):
    _, raw = published
    with pytest.raises(FetchError, match=r"\(no connection\): get 'Small' by hand .* and put small.csv into .*raw"):
        fetch_from("http://127.0.0.1:9", small_schema(), raw)
    assert not raw.exists()


def test_fetch_notices_a_download_that_breaks_off(published, serve):
    served, raw = published
    with pytest.raises(FetchError, match="the download broke off"):
        fetch_from(serve(served, ShortHandler), small_schema(), raw)
    assert not raw.exists()


def test_fetch_never_overwrites_another_table(published, serve):
    served, raw = published
    raw.mkdir()
    (raw/"small.csv").write_text("mine\n")
    zip_of(served/"table.zip", DATA__csv=TABLE)
    with pytest.raises(FetchError, match="move the file away and fetch again"):
        fetch_from(serve(served), small_schema(), raw)
    assert (raw/"small.csv").read_text() == "mine\n"


def test_fetch_refuses_a_download_that_is_too_large(published, serve, monkeypatch):
    served, raw = published
    monkeypatch.setattr("gradeclass.data.fetch.MOST_BYTES", 100)
    zip_of(served/"table.zip", DATA__csv=TABLE)
    with pytest.raises(FetchError, match="the download is larger than"):
        fetch_from(serve(served), small_schema(), raw)
    assert not raw.exists()


def test_zip_with_a_huge_table_is_refused_before_it_is_read(tmp_path, monkeypatch):
    path = zip_of(tmp_path/"bomb.zip", DATA__csv="0"*100_000)
    monkeypatch.setattr("gradeclass.data.fetch.MOST_BYTES", 10_000)
    assert path.stat().st_size < 10_000
    with pytest.raises(FetchError, match="the table in the download is larger"): table_in_zip(path.read_bytes(), [])


def test_member_that_climbs_out_of_the_folder_lands_in_it(published, serve, tmp_path):
    served, raw = published
    zip_of(served/"table.zip", **{"../../outside__csv": TABLE})
    before = {path.name for path in tmp_path.iterdir()}
    assert fetch_from(serve(served), small_schema(), raw) == raw/"small.csv"
    assert {path.name for path in tmp_path.iterdir()} == before | {"raw"} and [
        p.name for p in raw.iterdir()] == ["small.csv"]


def test_schema_without_a_source_cannot_be_fetched(tmp_path):
    schema = small_schema().model_copy(update={"source": Source()})
    with pytest.raises(SchemaError, match="schema small needs a source with url, sha256 and files"):
        fetch(schema, tmp_path)


@pytest.mark.parametrize("name", schema_names())
def test_known_digests_belong_to_the_published_table(name, real_data, tmp_path, serve):
    schema = load_schema(name)
    table = real_data(schema.source.files[-1])
    content = table.read_bytes()
    assert digest_text(content) == schema.source.sha256
    header, *rows = list(csv.reader(io.StringIO(content.decode("utf-8-sig"))))
    text = io.StringIO()
    csv.writer(text).writerows([["STUDENT ID", *range(1, len(header))], *rows])
    (tmp_path/"served").mkdir()
    zip_of(tmp_path/"served"/schema.source.url.rsplit("/", 1)[-1], DATA__csv=text.getvalue())
    path = fetch_from(serve(tmp_path/"served"), load_schema(name), tmp_path/"raw")
    assert pd.read_csv(path).equals(pd.read_csv(table))

"""Files in, files out."""
import gzip
import io
import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gradeclass.models.bundle import bundle_digest, load_model
from service_helpers import read_sample, running, running_here

pytestmark = pytest.mark.process


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


def test_a_file_under_way_ends_when_a_person_stops_the_service(bundles, tmp_path):
    with running_here(tmp_path, bundles["students"], keyed=True) as client:
        content = b"Absences\n" + b"3\n"*2_000_000
        with (pytest.raises(httpx.RemoteProtocolError),
              client.stream("POST", "/predict/file", content=content, headers={"content-type": "text/csv"}) as reply):
            for place, _ in enumerate(reply.iter_raw()):
                if place == 0: httpx.post(client.base_url.join("/suspend"), json={"reason": "odd grades"},
                                               headers=client.headers)
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
    from gradeclass.service import uploads
    monkeypatch.setattr(uploads, "SPARE", 2**62)
    assert client.post("/predict/file", content=b"Absences\n3\n",
                       headers={"content-type": "text/csv"}).json()["error"] == "no_space"


def parquet(**columns):
    "A table as a Parquet file with one row group; only texts are written as codes"
    out = io.BytesIO()
    coded = [name for name, cells in columns.items() if "dictionary" in str(cells.type)]
    pq.write_table(pa.table(columns), out, compression="zstd", row_group_size=2**30, use_dictionary=coded)
    return out.getvalue()


PARQUET = {"content-type": "application/vnd.apache.parquet"}


def test_files_that_unfold_are_refused_before_memory_is_spent(client):
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


def peak_megabytes(process):
    "Most memory that a process has had"
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0])/1024


def same_text(text, rows):
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), text)


def thrift(number, length):
    "A 64-bit field of a footer, the number written in so many bytes"
    groups = [2*number >> 7*place & 127 for place in range(length)]
    return b"\x16" + bytes([*(group | 128 for group in groups[:-1]), groups[-1]])


def lying(content, true, claimed):
    "Copies of a file: in each another field of its footer says something else, in the last one all of them do"
    footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    length = next(length for length in range(1, 10) if true < 2**(7*length - 1))
    found = [match.start() for match in re.finditer(re.escape(thrift(true, length)), content) if match.start() > footer]
    assert found
    for places in (*([place] for place in found), found):
        copy = bytearray(content)
        for place in places: copy[place:place + length + 1] = thrift(claimed, length)
        yield bytes(copy)


@pytest.mark.parametrize("claimed", [0, 999, 1_001, 8_000])
def test_a_footer_that_lies_about_rows_is_refused_or_at_least_believed_nowhere_else(client, claimed):
    honest = parquet(Absences=pa.array(np.arange(1_000)%30), Sports=pa.array(np.ones(1_000)))
    *some, every = lying(honest, 1_000, claimed)
    assert len(some) == 4 # Of the file, of its row group, of two columns
    for content in some:
        reply = client.post("/predict/file", content=content, headers=PARQUET)
        assert reply.status_code == 422 and "how many rows" in reply.json()["message"]
    reply = client.post("/predict/file?format=csv", content=every, headers=PARQUET)
    if claimed < 1_000: assert reply.status_code == 422 if not claimed else reply.text.count("\n") == 1 + claimed
    else: assert reply.status_code == 422 and "1,000 are there" in reply.json()["message"]


@pytest.mark.parametrize("encoding", ["DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY"])
def test_texts_in_an_encoding_that_hides_their_size_are_refused_for_what_they_are(client, encoding):
    made = io.BytesIO()
    pq.write_table(pa.table({"Sports": ["Yes", "No"]*500}), made, use_dictionary=False, column_encoding={"Sports": encoding})
    reply = client.post("/predict/file", content=made.getvalue(), headers=PARQUET)
    assert reply.status_code == 422 and "the texts of Sports are written in a DELTA encoding" in reply.json()["message"]


def test_small_files_and_bodies_that_unfold_to_gigabytes_stay_small(bundles, tmp_path):
    "A Parquet file is refused by what its pages say, a packed body once it is too long"
    zeros = np.zeros(21_000_000, np.int8)
    plain = pa.array(np.zeros(12_000_000))
    texts = same_text(pa.array(["9"*1_500_000]), 60)
    wide = same_text(pa.array([b"9"*200_000], pa.binary(200_000)), 60_000)
    bombs = {"21,000,000 rows; allowed: 20,000,000": parquet(Absences=pa.array(zeros)),
             "type fixed_size_binary": parquet(Absences=wide),
             "once unpacked": parquet(StudyTimeWeekly=plain, Absences=plain, Sports=plain),
             "too long for an answer": parquet(Sports=texts, Music=texts, Tutoring=texts)}
    size = pq.ParquetFile(io.BytesIO(bombs["once unpacked"])).metadata.row_group(0).column(0).total_uncompressed_size
    *_, bombs["MB once unpacked"] = lying(bombs["once unpacked"], size, 1_000)
    settings = {"max_file": 400*2**20}
    with running(tmp_path/"outputs", "--model", bundles["students"], settings=settings) as (client, process):
        client.timeout = 200
        before = peak_megabytes(process)
        for reason, content in bombs.items():
            begun = time.monotonic()
            reply = client.post("/predict/file", content=content, headers=PARQUET)
            assert reply.status_code == 422 and reason in reply.json()["message"], (reason, reply.text[:300])
            assert time.monotonic() - begun < 60
        packed = gzip.compress(b"3\n"*250_000_000, 1)
        for path, kind in (("/predict/file", "text/csv"), ("/predict/batch", "application/json")):
            reply = client.post(path, content=packed, headers={"content-type": kind, "content-encoding": "gzip"})
            assert reply.status_code == 413
        assert peak_megabytes(process) - before < 600
        assert client.post("/predict/file", content=parquet(Absences=pa.array([3])), headers=PARQUET).status_code == 200


@pytest.mark.parametrize("cells", [
    pa.array([3, 25]).dictionary_encode(), pa.array(["3", "25"], pa.large_string()),
    pa.array(["3", "25"], pa.string_view()),
    pa.array([b"3", b"25"]), pa.array([3, 25], pa.decimal128(9, 2)), pa.array(["3", "25"]).dictionary_encode(),
    pa.array([3, 25], pa.float16())], ids=lambda cells: str(cells.type))
def test_numbers_come_in_whatever_type_a_program_writes(client, cells):
    ask = lambda column: client.post("/predict/file?format=csv", content=parquet(Absences=column), headers=PARQUET)
    assert ask(cells).text == ask(pa.array([3, 25])).text and ask(cells).text.count("\n") == 3


def test_the_first_files_may_come_at_once(bundles, tmp_path):
    "What is imported for the first file is imported by one thread"
    with running(tmp_path/"outputs", "--model", bundles["students"]) as (client, _), ThreadPoolExecutor(4) as threads:
        ask = lambda _: client.post("/predict/file", content=b"Absences\n3\n", headers={"content-type": "text/csv"})
        assert [reply.status_code for reply in threads.map(ask, range(4))] == [200]*4

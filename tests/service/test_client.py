"""The Python client against a service."""
import asyncio
import threading

import pytest

from gradeclass.service.client import AsyncClient, Client, ClientError
from service_helpers import as_sent, key_to_everything, read_sample, running_here

pytestmark = pytest.mark.process


@pytest.fixture
def asking(client):
    "A client of the service that the tests share"
    with Client(str(client.base_url)) as asking: yield asking


def test_one_student_and_several_get_the_same_answers(asking):
    schema, students = read_sample("students")
    rows = students[["Absences", "StudyTimeWeekly", "Sports"]].astype(object).head(5).to_dict("records")
    several = asking.predict_many(rows)
    assert [answer.grade for answer in several] == [asking.predict(as_sent(row)).grade for row in rows]
    assert several[0].model == "students" and "Tutoring" in several[0].missing


def test_a_refusal_says_what_is_wrong(asking):
    with pytest.raises(ClientError, match="out of range") as refused: asking.predict({"Absences": 99})
    assert refused.value.status == 422 and refused.value.problems[0]["field"] == "Absences" and refused.value.request_id


def test_a_file_that_is_refused_leaves_no_answer(asking, tmp_path):
    (tmp_path/"empty.csv").write_text("")
    with pytest.raises(ClientError, match="empty"): asking.predict_file(tmp_path/"empty.csv", tmp_path/"answer.csv")
    assert not (tmp_path/"answer.csv").exists()


def test_a_client_that_waits_for_many_gets_the_same_answers(client, asking, tmp_path):
    "One after the other and at once, of single students and of a file"
    students = [{"Absences": days} for days in range(0, 30, 5)]
    async def ask_all():
        async with AsyncClient(str(client.base_url)) as waiting:
            alone = await asyncio.gather(*map(waiting.predict, students))
            together = await waiting.predict_many(students)
            (tmp_path/"asked.csv").write_text("Absences\n" + "\n".join(str(one["Absences"]) for one in students) + "\n")
            await waiting.predict_file(tmp_path/"asked.csv", tmp_path/"answer.csv")
            with pytest.raises(ClientError, match="out of range"): await waiting.predict({"Absences": 99})
            return alone, together
    alone, together = asyncio.run(ask_all())
    grades = [asking.predict(student).grade for student in students]
    assert [one.grade for one in alone] == [one.grade for one in together] == grades
    assert [line.split(",")[1].strip('"') for line in (tmp_path/"answer.csv").read_text().splitlines()[1:]] == grades


@pytest.fixture
def busy():
    "A service that is busy as often as it is told, and counts what it is asked"
    from http.server import BaseHTTPRequestHandler, HTTPServer
    class Busy(BaseHTTPRequestHandler):
        left, asked, after, status = 2, 0, "0", 503
        def do_POST(self):
            Busy.asked += 1
            self.rfile.read(int(self.headers.get("content-length") or 0))
            ready = Busy.asked > Busy.left
            body = b'{"predictions": []}' if ready else b'{"message": "too busy", "error": "overloaded"}'
            self.send_response(200 if ready else Busy.status)
            if not ready: self.send_header("retry-after", Busy.after)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        def log_message(self, *words): pass
    server = HTTPServer(("127.0.0.1", 0), Busy)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield Busy, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_service_is_asked_again(busy, status, tmp_path):
    counts, url = busy
    counts.status = status
    with Client(url) as asking:
        assert asking.predict_many([{}]) == [] and counts.asked == 3
        counts.asked = 0
        (tmp_path/"a.csv").write_text("Absences\n3\n")
        assert asking.predict_file(tmp_path/"a.csv", tmp_path/"b.csv").is_file() and counts.asked == 3
    counts.asked = 0
    async def ask():
        async with AsyncClient(url) as waiting: return await waiting.predict_many([{}])
    assert asyncio.run(ask()) == [] and counts.asked == 3


def test_a_service_that_stays_busy_is_not_asked_for_ever(busy):
    counts, url = busy
    counts.left = 99
    with Client(url, retries=2) as asking, pytest.raises(ClientError, match="too busy"): asking.predict_many([{}])
    assert counts.asked == 3
    counts.asked, counts.after = 0, "60"  # As a service says that a person has stopped
    with Client(url) as asking, pytest.raises(ClientError, match="too busy"): asking.predict_many([{}])
    assert counts.asked == 1


def test_a_client_reads_deletes_stops_and_resumes(bundles, tmp_path):
    key = key_to_everything(tmp_path/"outputs")
    with running_here(tmp_path/"outputs", bundles["students"]) as client, Client(str(client.base_url), key) as asking:
        answer = asking.predict({"Absences": 3, "StudentID": 1001})
        other = asking.predict({"Absences": 4, "StudentID": 1002})
        asking.outcome("A", answer.prediction_id)
        kept = asking.access(1001)
        assert len(kept["predictions"]) == len(kept["outcomes"]) == 1
        assert asking.delete_student(1001) == 2 and asking.access(1001)["predictions"] == []
        assert asking.delete_prediction(other.prediction_id) == 1
        assert asking.suspend("odd grades", "head")["suspended"] is True
        with pytest.raises(ClientError, match="odd grades"): asking.predict({"Absences": 3})
        assert asking.resume() == {"suspended": False} and asking.predict({"Absences": 3}).grade


def test_a_client_asks_a_version_of_a_model(client, asking):
    version = asking.predict({"Absences": 3}).version
    with Client(str(client.base_url), model="students", version=version) as named:
        assert named.predict({"Absences": 3}).version == version and named.model()["version"] == version
    with pytest.raises(ClientError, match="named model"): Client(version="1")


def test_files_are_given_more_time():
    with Client(timeout=5) as asking:
        assert asking.http.timeout.read == 5 and asking.file_timeout.read == asking.file_timeout.write == 600

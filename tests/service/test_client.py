"""The Python client against a service."""
import pytest

from gradeclass.service.client import Client, ClientError
from service_helpers import as_sent, read_sample

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

"""What a body may hold, and what is said of one that cannot be read."""
import time

import pytest

pytestmark = pytest.mark.process


def test_codes_labels_and_texts_mean_the_same(client):
    replies = [client.post("/predict",
                           json={"Absences": 4, "ParentalSupport": value, "Sports": yes}).json()["probabilities"]
               for value, yes in ((3, 1), ("High", "Yes"), ("3", True), (3.0, "yes"))]
    assert all(reply == replies[0] for reply in replies)


BAD_BODIES = {"not JSON": b"Absences=3", "a list": b"[1]", "a number": b"3", "nothing": b"",
              "NaN": b'{"Absences": NaN}',
              "infinity": b'{"Absences": -Infinity}',
              "too large": b'{"Absences": 1e999}', "twice": b'{"Absences": 3, "Absences": 4}',
              "twice, escaped": b'{"Absences": 3, "\\u0041bsences": 4}',
              "deep": b'{"a":'*10_000, "deep list": b"["*60_000, "Latin-1": '{"Absences": "é"}'.encode("latin-1"),
              "UTF-16": '{"Absences": 3}'.encode("utf-16"),
              "half a sign": b'{"Absences": "\\ud800"}', "unknown": b'{"Absence": 3}',
              "out of range": b'{"Absences": 99}', "not whole": b'{"Absences": 2.5}',
              "a word": b'{"Absences": "many"}', "an object": b'{"Absences": {"a": 1}}',
              "long number": b'{"Absences": ' + b"9"*5_000 + b"}",
              "strange name": b'{"\\ud800": 1}', "only protected": b'{"Age": 16}', "true": b'{"Absences": true}'}


@pytest.mark.parametrize("body", BAD_BODIES.values(), ids=BAD_BODIES.keys())
@pytest.mark.parametrize("path", ["/predict", "/predict/batch", "/api/predict"])
def test_bad_bodies_are_refused_cleanly(client, path, body):
    reply = client.post(path, content=b"[" + body + b"]" if path.endswith("batch") else body,
                        headers={"content-type": "application/json"})
    assert reply.status_code == 422
    found = reply.json()
    assert (found["error"] == "invalid_input" and found["message"]
            and found["request_id"] == reply.headers["x-request-id"])
    assert "Traceback" not in reply.text and ".py" not in reply.text


def test_a_refusal_names_field_value_and_what_is_allowed(client):
    (problem,) = client.post("/predict", json={"Absences": 99}).json()["problems"]
    assert (problem["field"], problem["value"]) == ("Absences", 99) and "to 30" in problem["allowed"]
    (problem,) = client.post("/predict/batch", json=[{"Absences": 3}, {"Sports": "perhaps"}]).json()["problems"]
    assert problem["field"] == "[1].Sports" and "Yes" in problem["allowed"]
    assert "Absences meant" in client.post("/predict", json={"Absence": 3}).json()["message"]


@pytest.mark.parametrize("body",
                         [",".join(f'"n{i}": 1' for i in range(200_000)) + ', "z": 1, "z": 2',
                          ",".join(f'"n{i}": 1' for i in range(200_000))],
                         ids=["one twice", "all unknown"])
def test_a_body_full_of_wrong_names_keeps_nobody_waiting(client, body):
    start = time.monotonic()
    reply = client.post("/predict/batch", content=f"[{{{body}}}]", headers={"content-type": "application/json"})
    assert reply.status_code == 422 and len(reply.json()["problems"]) <= 50
    assert time.monotonic() - start < 20


def test_one_field_in_two_spellings_is_refused(client):
    assert "given twice" in client.post("/predict", json={"absences": 1, "ABSENCES": 29}).json()["message"]


def test_a_number_without_end_is_no_number(tmp_path):
    from gradeclass.service.reader import InputError, StudentReader, read_object
    from gradeclass.schema import load_schema
    schema = load_schema("students").model_copy(deep=True)
    column = schema.by_name["Absences"]
    column.min = column.max = None
    for number in (b"1e999", b"9"*400):
        with pytest.raises(InputError, match="Absences"):
            StudentReader(schema, False).read(read_object(b'{"Absences": %b}' % number))

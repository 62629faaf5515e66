"""The protocols of other model servers, with the requests that their documentation shows."""
import gzip
import json

import pytest

from gradeclass.registry.versions import promote, register_bundle
from service_helpers import running_here

pytestmark = pytest.mark.process
ROWS = [{"Absences": 3, "StudyTimeWeekly": 12.5, "Sports": 1}, {"Absences": 25, "StudyTimeWeekly": 1.0, "Sports": 0}]


@pytest.fixture(scope="module")
def said(client):
    "What `/predict/batch` says of the two"
    return client.post("/predict/batch", json=ROWS).json()["predictions"]


def by_name(reply):
    return {tensor["name"]: tensor for tensor in reply.json()["outputs"]}


def columns(**more):
    tensors = [{"name": "Absences", "shape": [2], "datatype": "INT64", "data": [3, 25]},
               {"name": "StudyTimeWeekly", "shape": [2, 1], "datatype": "FP64", "data": [[12.5], [1.0]]},
               {"name": "Sports", "shape": [2], "datatype": "BYTES", "data": ["yes", "no"]}]
    return {"id": "42", "inputs": tensors, **more}


def test_health_and_metadata_answer_as_kserve_asks(client):
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True}
    assert {"name", "version", "extensions"} == set(client.get("/v2").json())
    about = client.get("/v2/models/students").json()
    assert about["name"] == "students" and about["platform"] and about["versions"]
    assert {"name": "Absences", "datatype": "INT64", "shape": [-1]} in about["inputs"]
    assert {"name": "probabilities", "datatype": "FP64", "shape": [-1, 5]} in about["outputs"]
    version = about["versions"][0]
    assert client.get(f"/v2/models/students/versions/{version}/ready").json() == {"name": "students", "ready": True}
    assert client.get("/v2/models/nobody/ready").status_code == 404


def test_tensors_get_the_answers_of_the_batch(client, said):
    reply = client.post("/v2/models/students/infer", json=columns())
    assert reply.status_code == 200
    assert reply.json()["id"] == "42" and reply.json()["model_name"] == "students"
    assert reply.json()["model_version"] == said[0]["version"]
    found = by_name(reply)
    assert found["grade"]["data"] == [one["grade"] for one in said] and found["grade"]["shape"] == [2]
    assert found["probabilities"]["shape"] == [2, 5]
    assert found["probabilities"]["data"] == [p for one in said for p in one["probabilities"].values()]
    assert found["at_risk"]["data"] == [one["at_risk"] for one in said]
    assert found["prediction_id"]["data"][1] == found["prediction_id"]["data"][0] + 1


def test_one_tensor_holds_all_columns_and_outputs_can_be_chosen(client):
    order = [feature["name"] for feature in client.get("/models/higher_ed/features").json()]
    sent = {"inputs": [{"name": "predict", "shape": [1, len(order)], "datatype": "FP32", "data": [[1.0]*len(order)]}],
            "outputs": [{"name": "grade"}]}
    found = by_name(client.post("/v2/models/higher_ed/infer", json=sent))
    plain = client.post("/models/higher_ed/predict", json=dict.fromkeys(order, 1)).json()
    assert list(found) == ["grade"] and found["grade"]["data"] == [plain["grade"]]


@pytest.mark.parametrize("change,why", [
    ({"inputs": []}, "at least one tensor"), ({"inputs": [{"name": "Absences"}]}, "shape must be"),
    ({"outputs": [{"name": "colour"}]}, "outputs may name"),
    ({"inputs": [{"name": "Absences", "shape": [2], "datatype": "INT64", "data": [3]}]}, "means 2 values"),
    ({"inputs": [{"name": "Absences", "shape": [1], "datatype": "INT64", "data": [99]}]}, "out of range"),
    ({"inputs": [{"name": "Absences", "shape": [1], "datatype": "INT64", "data": ["3"]}]}, "not of the datatype INT64"),
    ({"inputs": [{"name": "Absences", "shape": [10**9], "datatype": "INT64", "data": []}]}, "data holds 0"),
    ({"inputs": [{"name": "Absences", "shape": [1], "datatype": "INT64", "parameters": {"binary_data_size": 8}}]},
     "binary tensors")])
def test_wrong_tensors_are_refused_in_a_sentence(client, change, why):
    reply = client.post("/v2/models/students/infer", json=columns(**change))
    assert reply.status_code == 422 and why in reply.json()["message"]
    assert isinstance(reply.json()["error"], str)


WIDTH = 30  # Columns of the university's model


@pytest.mark.parametrize("sent", [
    {"inputs": [{"name": "input-0", "shape": [2, WIDTH], "datatype": "FP32", "data": [[1.0]*WIDTH, [1.0]*WIDTH]}]},
    {"inputs": [{"name": "input-0", "shape": [2, WIDTH], "datatype": "FP32", "data": [1]*2*WIDTH}]},
    {"id": "req-1", "parameters": {"content_type": "np"},
     "inputs": [{"name": "predict", "shape": [2, WIDTH], "datatype": "INT64", "parameters": {"content_type": "np"},
                 "data": [1]*2*WIDTH}]},
    {"id": "1", "inputs": [{"name": "INPUT0", "shape": [2, WIDTH], "datatype": "INT32", "data": [[1]*WIDTH]*2}],
     "outputs": [{"name": "grade", "parameters": {"binary_data": False, "classification": 0}}]}],
    ids=["KServe's quick start", "flat", "MLServer with codecs", "Triton with outputs"])
def test_requests_as_other_servers_document_them_are_answered(client, sent):
    "One tensor with all columns, as the guides of KServe, MLServer and Triton show it"
    order = [feature["name"] for feature in client.get("/models/higher_ed/features").json()]
    plain = client.post("/models/higher_ed/predict", json=dict.fromkeys(order, 1)).json()
    assert len(order) == WIDTH
    reply = client.post("/v2/models/higher_ed/infer", json=sent)
    assert reply.status_code == 200, reply.text
    found = reply.json()
    assert found["model_name"] == "higher_ed" and found.get("id") == sent.get("id")
    assert by_name(reply)["grade"] == {"name": "grade", "datatype": "BYTES", "shape": [2], "data": [plain["grade"]]*2}
    for tensor in found["outputs"]: assert {"name", "datatype", "shape", "data"} == set(tensor)


def test_a_frame_of_columns_as_mlserver_sends_it(client, said):
    "A tensor for each column with `content_type: pd`; texts are BYTES with their own content type"
    sent = columns(parameters={"content_type": "pd"})
    for tensor in sent["inputs"]: tensor["parameters"] = {"content_type": "str"}
    found = by_name(client.post("/v2/models/students/infer", json=sent))
    assert found["grade"]["data"] == [one["grade"] for one in said]


def test_tensors_in_binary_are_refused_in_a_sentence(client):
    "As Triton's client sends them unless it is told not to"
    head = {"inputs": [{"name": "Absences", "shape": [1], "datatype": "INT64", "parameters": {"binary_data_size": 8}}]}
    content = json.dumps(head).encode()
    headers = {"content-type": "application/octet-stream", "inference-header-content-length": str(len(content))}
    reply = client.post("/v2/models/students/infer", content=content + bytes(8), headers=headers)
    assert reply.status_code == 415 and "send application/json" in reply.json()["message"]


@pytest.mark.parametrize("sent,kind", [
    ({"inputs": [[16, *[1]*11], [16, *[1]*11]]}, "application/json;"),
    ({"instances": [[16, *[1]*11]]*2}, "application/json; charset=utf-8"),
    ({"instances": [{"Absences": 1}]*2, "params": {"temperature": 0.1}}, "application/json"),
    ({"inputs": {"Absences": [1, 1]}, "signature_name": "serving_default"}, "application/json"),
    ({"dataframe_split": {"columns": ["Absences"], "data": [[1], [1]]}}, "application/json"),
    ({"dataframe_records": [{"Absences": 1}, {"Absences": None, "Sports": 1}]}, "application/json")])
def test_mlflow_requests_as_its_guide_shows_them_are_answered(client, sent, kind):
    reply = client.post("/invocations", content=json.dumps(sent), headers={"content-type": kind})
    assert reply.status_code == 200, reply.text
    assert list(reply.json()) == ["predictions"] and len(reply.json()["predictions"]) == 2


SPLIT = {"columns": list(ROWS[0]), "index": [0, 1], "data": [list(row.values()) for row in ROWS]}


@pytest.mark.parametrize("sent", [
    {"dataframe_split": SPLIT}, {"dataframe_records": ROWS}, {"instances": ROWS},
    {"inputs": {name: [row[name] for row in ROWS] for name in ROWS[0]}}, {"inputs": ROWS, "params": {}}])
def test_mlflow_forms_get_the_answers_of_the_batch(client, said, sent):
    reply = client.post("/invocations", json=sent)
    assert reply.status_code == 200, reply.text
    rows = reply.json()["predictions"]
    assert [row["grade"] for row in rows] == [one["grade"] for one in said]
    assert [row["p_A"] for row in rows] == [one["probabilities"]["A"] for one in said]


def test_mlflow_csv_gets_the_same_answers(client, said):
    content = "Absences,StudyTimeWeekly,Sports\n3,12.5,yes\n25,1.0,0\n"
    reply = client.post("/invocations", content=content, headers={"content-type": "text/csv"})
    assert [row["at_risk"] for row in reply.json()["predictions"]] == [one["at_risk"] for one in said]


@pytest.mark.parametrize("content,kind,why", [
    ('{"rows": []}', "application/json", "dataframe_split, dataframe_records, instances, inputs"),
    ('{"instances": [], "inputs": []}', "application/json", "with one of"), ("[]", "application/json", "with one of"),
    ('{"dataframe_split": {"data": [[1]]}}', "application/json", "columns must be a list of names"),
    ('{"instances": [[1, 2]]}', "application/json", "values are needed"),
    ('{"instances": [{"Absences": 99}]}', "application/json", "student 0: Absences: 99 is out of range"),
    ("Absences,Sports\n3\n", "text/csv", "row 0"), ("", "text/csv", "0 students"), ('"a\n', "text/csv", "not CSV")])
def test_wrong_scoring_requests_are_refused_in_a_sentence(client, content, kind, why):
    reply = client.post("/invocations", content=content, headers={"content-type": kind})
    assert reply.status_code == 422 and why in reply.json()["message"]


def test_ping_and_version_answer(client):
    import gradeclass
    assert client.get("/ping").status_code == 200 and client.get("/version").text == gradeclass.__version__


def test_a_version_is_asked_by_its_number(bundles, tmp_path):
    outputs = tmp_path/"outputs"
    outputs.mkdir()
    old, new = (register_bundle(outputs, bundles[name]) for name in ("students", "other"))
    for version in (old, new): promote(outputs, version.number, "a person", "to test")
    with running_here(outputs) as client:
        latest = client.post("/predict", json=ROWS[0]).json()
        first = client.post("/models/champion/versions/1/predict", json=ROWS[0]).json()
        assert latest["digest"] == new.digest and first["digest"] == old.digest
        for same in ("2", new.digest[:12]):
            assert client.post(f"/models/champion/versions/{same}/predict", json=ROWS[0]).json()["digest"] == new.digest
        assert client.get("/models/champion/versions/1").json()["digest"] == old.digest
        tensors = client.post("/v2/models/champion/versions/1/infer", json=columns()).json()
        assert tensors["model_version"] == old.digest[:12]
        refused = client.post("/models/champion/versions/7/predict", json=ROWS[0])
        assert refused.status_code == 404 and "there are 1, 2" in refused.json()["message"]
        assert client.get("/v2/models/champion").json()["versions"][1:] == ["1", "2"]


def test_bodies_and_answers_may_be_packed(client):
    packed = {"content-type": "application/json", "content-encoding": "gzip"}
    plain = client.post("/predict", json=ROWS[0]).json()
    reply = client.post("/predict", content=gzip.compress(json.dumps(ROWS[0]).encode()), headers=packed)
    assert reply.status_code == 200 and reply.json()["at_risk"] == plain["at_risk"]
    many = client.post("/predict/batch", content=gzip.compress(json.dumps(ROWS*20).encode()), headers=packed)
    assert many.headers["content-encoding"] == "gzip" and len(many.json()["predictions"]) == 40
    bare = client.post("/predict/batch", json=ROWS*20, headers={"accept-encoding": "identity"})
    assert "content-encoding" not in bare.headers
    bomb = client.post("/predict", content=gzip.compress(b" "*50_000_000), headers=packed)
    assert bomb.status_code == 413
    cut = client.post("/predict", content=gzip.compress(b"{}")[:-4], headers=packed)
    assert cut.status_code == 422 and "not valid gzip" in cut.json()["message"]


def test_a_form_brings_a_file_of_any_kind(client, tmp_path):
    import pandas as pd
    content = "Absences,Sports\n3,yes\n25,no\n"
    plain = client.post("/predict/file", content=content, headers={"content-type": "text/csv"}).text
    assert client.post("/predict/file", files={"file": ("a.csv", content)}, data={"term": "spring"}).text == plain
    pd.DataFrame({"Absences": [3, 25], "Sports": [1, 0]}).to_excel(tmp_path/"a.xlsx", index=False)
    book = client.post("/predict/file", files={"file": ("a.xlsx", (tmp_path/"a.xlsx").read_bytes())}).text
    grades = lambda text: [line.split(",")[1] for line in text.splitlines()]
    assert grades(book) == grades(plain)
    none = client.post("/predict/file", data={"term": "spring"}, files={"other": (None, "x")})
    assert none.status_code == 422 and "holds no whole file" in none.json()["message"]


def test_refusals_are_problem_details(client):
    for reply in (client.post("/predict", json={"Absences": 99}), client.get("/nowhere"), client.put("/predict"),
                  client.post("/predict/batch", json=[{"Absences": 99}])):
        found = reply.json()
        assert reply.headers["content-type"] == "application/problem+json"
        assert found["status"] == reply.status_code and found["detail"] == found["message"] and found["title"]
        assert found["request_id"] == reply.headers["x-request-id"]


def test_a_trace_goes_on(client):
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    for ask in (lambda headers: client.post("/predict", json=ROWS[0], headers=headers),
                lambda headers: client.get("/models", headers=headers)):
        sent = f"00-{trace}-00f067aa0ba902b7-01"
        back = ask({"traceparent": sent}).headers["traceparent"]
        assert back.startswith(f"00-{trace}-") and back.endswith("-01") and back != sent
        assert "traceparent" not in ask({"traceparent": "00-zz-00f067aa0ba902b7-01"}).headers


def test_a_path_that_only_reads_says_so_whatever_is_sent(client):
    for path in ("/health", "/models", "/v2"): assert client.post(path, content=b"x").status_code == 405

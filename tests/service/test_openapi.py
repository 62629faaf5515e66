"""The description, and answers that keep to it."""
import importlib
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import pytest

from service_helpers import OLD_STUDENT, running_here

pytestmark = pytest.mark.process


def test_docs_need_no_other_server(client):
    page = client.get("/docs").text
    assert "<script" not in page and "https://" not in page and "ParentalSupport" in page and "Very High" in page
    properties = client.get("/openapi.json").json()["components"]["schemas"]["Student_students"]["properties"]
    assert {"minimum": 0, "maximum": 30, "type": "integer"} in properties["Absences"]["anyOf"]


def test_no_request_of_the_contract_surprises(client, tmp_path):
    "Schemathesis over the whole document; benchmarks/load/contract.py runs ten thousand cases"
    schemathesis = pytest.importorskip("schemathesis")
    assert schemathesis
    sys.path.insert(0, str(Path(__file__).parents[2]/"benchmarks"/"load"))
    from contract import check_contract
    done = check_contract(str(client.base_url), cases=5, folder=tmp_path)
    assert done.returncode == 0, done.stdout[-6000:]


def test_answers_are_as_they_are_described(client):
    "The service writes its answers without pydantic"
    from gradeclass.service.openapi import OrderedPrediction, Prediction, Refused
    for body in ({"Absences": 25}, OLD_STUDENT):
        for query in ("", "?reasons=true"):
            reply = client.post(f"/predict{query}", json=body).json()
            assert set(reply) | {"reasons"} == set(Prediction.model_fields)
            assert Prediction.model_validate(reply, strict=True).model_dump(exclude_unset=True) == reply
    ordered = client.post("/api/predict", json={"features": [1]*30}).json()
    assert OrderedPrediction.model_validate(ordered, strict=True).model_dump() == ordered
    refused = client.post("/predict", json={"Absences": 99}).json()
    assert Refused.model_validate(refused).model_dump() == refused


def test_the_document_says_how_a_key_is_sent(client):
    document = client.get("/openapi.json").json()
    schemes = document["components"]["securitySchemes"]
    assert schemes["key"]["name"] == "X-API-Key" and schemes["bearer"]["scheme"] == "bearer"
    of = lambda verb, path: document["paths"][path][verb]
    assert of("get", "/health")["security"] == [] and {} not in of("post", "/suspend").get("security", document["security"])
    assert "401" in of("post", "/predict")["responses"] and "401" not in of("get", "/health")["responses"]
    assert not {"413", "415"} & set(of("get", "/models")["responses"])
    assert list(of("post", "/predict")["responses"]["422"]["content"]) == ["application/problem+json"]
    names = [about["operationId"] for verbs in document["paths"].values() for about in verbs.values()]
    assert len(names) == len(set(names)) and {"predict", "predict_of_model", "model_infer", "get_student"} <= set(names)


def test_typed_answers_are_as_they_are_described(client):
    from pydantic import TypeAdapter
    from gradeclass.service import openapi
    kinds = {"/features": list[openapi.Feature], "/models": list[openapi.ModelName], "/model": openapi.ModelCard,
             "/health": openapi.Health, "/ready": openapi.Readiness, "/api/features": openapi.OrderedFeatures,
             "/v2/models/students": openapi.ModelMetadata, "/v2": openapi.ServerMetadata}
    for path, kind in kinds.items():
        found = client.get(path).json()
        adapter = TypeAdapter(kind)
        assert adapter.dump_python(adapter.validate_python(found, strict=True), by_alias=True, exclude_unset=True) == found


def test_a_generated_client_asks_with_a_key(bundles, tmp_path, monkeypatch):
    "openapi-python-client makes a package of the document, and the package is used"
    pytest.importorskip("openapi_python_client")
    with running_here(tmp_path/"outputs", bundles["students"], keyed=True) as client:
        (tmp_path/"openapi.json").write_bytes(client.get("/openapi.json").content)
        made = subprocess.run([sys.executable, "-m", "openapi_python_client", "generate", "--path", "openapi.json", "--meta",
                               "none", "--output-path", "made_client"], cwd=tmp_path, capture_output=True, text=True)
        assert made.returncode == 0, made.stdout + made.stderr
        monkeypatch.syspath_prepend(str(tmp_path))
        found = lambda name: importlib.import_module(f"made_client.{name}")
        key = client.headers["x-api-key"]
        asking = found("client").AuthenticatedClient(base_url=str(client.base_url), token=key)
        student = found("models").StudentStudents.from_dict(OLD_STUDENT)
        ask = found("api.default.predict").sync
        assert ask(client=asking, body=student).grade == client.post("/predict", json=OLD_STUDENT).json()["grade"]
        wrong = ask(client=asking, body=found("models").StudentStudents.from_dict({"Absences": 99}))
        assert wrong.status == 422 and "out of range" in wrong.message
        stranger = found("client").AuthenticatedClient(base_url=str(client.base_url), token="gc_no")
        assert ask(client=stranger, body=student).error == "no_key"
        assert found("api.default.get_features").sync(client=asking)[0].name == "Age"
        assert found("api.default.get_health").sync(client=asking).alive is True
        assert found("api.default.get_model").sync(client=asking).schema == "students"
        file = found("types").File(BytesIO(b"Absences\n3\n"), "a.csv", "text/csv")
        body = found("models").PredictFileFilesBody(file=file)
        assert found("api.default.predict_file").sync_detailed(client=asking, body=body).status_code == 200

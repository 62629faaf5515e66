"""The description, and answers that keep to it."""
import sys
from pathlib import Path

import pytest

from service_helpers import OLD_STUDENT

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

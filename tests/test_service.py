"""The service as its clients meet it: old bodies, bad bodies, switches, an end in the middle of work, and its log."""
import json
import os
import socket
import subprocess
import sys
import time

import httpx
import pandas as pd
import pytest

TEN = {"Age": 16, "Gender": 1, "Ethnicity": 0, "ParentalEducation": 2, "Tutoring": 1, "ParentalSupport": 3, "Extracurricular": 0, "Sports": 1,
       "Music": 0, "Volunteering": 0, "StudentID": 123}
START = "from gradeclass.cli import main; main()"

def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listening: return listening.getsockname()[1]

def start(outputs, *words, **variables):
    "A service of its own process; its address and the process"
    port = free_port()
    environment = os.environ | {"GRADECLASS_OUTPUTS": str(outputs), "GRADECLASS_SERVE_ACCESS_LOG": "false"} | variables
    process = subprocess.Popen([sys.executable, "-c", START, "serve", "--port", str(port), *map(str, words)], env=environment, stderr=subprocess.PIPE)
    url, end = f"http://127.0.0.1:{port}", time.monotonic() + 60
    while time.monotonic() < end:
        assert process.poll() is None, process.stderr.read().decode()
        try:
            httpx.get(f"{url}/health")
            return url, process
        except httpx.TransportError: time.sleep(0.05)
    process.kill()
    raise AssertionError("the service did not start")

def end(process):
    process.terminate()
    process.wait(60)
    process.stderr.close()

@pytest.fixture(scope="module")
def higher(tmp_path_factory):
    "A bundle of the other schema"
    from gradeclass.data import clean, load
    from gradeclass.model import GradeModel, save_model
    from gradeclass.samples import sample_path
    dataset, folder = load(sample_path("higher_ed"), "higher_ed"), tmp_path_factory.mktemp("higher")/"bundle"
    save_model(GradeModel(dataset.schema, "logistic").fit(clean(dataset.frame, dataset.schema)), folder)
    return folder

@pytest.fixture(scope="module")
def service(trained, higher, tmp_path_factory):
    "A client of a running service with two models"
    url, process = start(tmp_path_factory.mktemp("outputs"), "--model", trained, "--model", f"higher_ed={higher}")
    with httpx.Client(base_url=url, timeout=30) as client: yield client
    end(process)

def test_old_client_with_ten_features_reads_its_grade(service):
    reply = service.post("/predict", json=TEN)
    said = reply.json()
    assert reply.status_code == 200 and said["grade_class"] == said["grade"] == list("ABCDF")[said["grade_class_index"]]
    assert {"StudyTimeWeekly", "Absences"} <= set(said["missing"]) and "person" in said["advice"]

def test_old_client_with_thirty_integers_reads_prediction_and_meaning(service):
    listed = service.get("/api/features").json()
    assert listed["count"] == 30 and not {"STUDENTID", "EXP_GPA"} & set(listed["order"])
    said = service.post("/api/predict", json={"features": [row["options"][0]["code"] for row in listed["features"]]}).json()
    meaning = {"Fail": "Fail", "DD": "Poor", "DC": "Poor", "CC": "Average", "CB": "Average", "BB": "Good", "BA": "Good", "AA": "Excellent"}
    assert said["meaning"] == meaning[said["prediction"]]

def test_answers_equal_the_model_and_its_calibration(service, trained):
    from gradeclass.calibration import load_calibration
    from gradeclass.data import clean, load
    from gradeclass.model import load_model
    from gradeclass.samples import sample_path
    dataset = load(sample_path("students"), "students")
    rows, model = clean(dataset.frame, dataset.schema).head(40), load_model(trained)
    told = load_calibration(trained).probabilities(model.predict_proba(rows))
    names = [column.name for column in dataset.schema.inputs(audit=True)]
    people = [{name: value for name, value in row.items() if pd.notna(value)} for row in rows[names].astype(object).to_dict("records")]
    said = service.post("/predict/batch", json=json.loads(json.dumps(people, default=str))).json()["predictions"]
    assert [[*one["probabilities"].values()] for one in said] == [pytest.approx(row, abs=1e-9) for row in told.tolist()]

@pytest.mark.parametrize("body, status", [
    (b'{"Absences": NaN}', 422), (b'{"Absences": Infinity}', 422), (b'{"Absences": 1e999}', 422), (b'{"Absences": 1, "Absences": 2}', 422),
    (b"[" * 20_000, 422), ('{"Absences": "ä"}'.encode("latin-1"), 422), ('{"Absences": 3}'.encode("utf-16"), 422), (b"", 422), (b"null", 422),
    (b'{"Absences": 99}', 422), (b'{"Absence": 3}', 422), (b"{}", 422), (b'{"Absences": [3]}', 422), (b" " * 70_000, 413)])
def test_bad_body_is_refused_with_a_reason(service, body, status):
    reply = service.post("/predict", content=body, headers={"content-type": "application/json"})
    assert reply.status_code == status and reply.json()["message"] and reply.json()["request_id"] == reply.headers["x-request-id"]

def test_refusal_names_field_value_and_what_is_allowed(service):
    problem = service.post("/predict", json={"Absences": 99}).json()["problems"][0]
    assert (problem["field"], problem["value"]) == ("Absences", 99) and "30" in problem["allowed"]

def test_wrong_content_type_and_coding_are_refused(service):
    assert service.post("/predict", content=b"Absences=3", headers={"content-type": "text/plain"}).status_code == 415
    coded = {"content-type": "application/json", "content-encoding": "gzip"}
    assert service.post("/predict", content=b"x", headers=coded).status_code == 415

def test_page_of_another_site_cannot_ask(service):
    assert service.post("/predict", json=TEN, headers={"host": "evil.example"}).status_code == 403

def test_docs_need_no_network(service):
    page = service.get("/docs")
    assert page.status_code == 200 and "http://" not in page.text and "https://" not in page.text and "<script" not in page.text

def test_service_for_others_needs_a_key(trained, tmp_path):
    made = subprocess.run([sys.executable, "-c", START, "serve", "--host", "0.0.0.0", "--model", trained], capture_output=True, text=True,
                          env=os.environ | {"GRADECLASS_OUTPUTS": str(tmp_path)}, timeout=60)
    assert made.returncode == 1 and "gradeclass key make" in made.stderr

def test_key_opens_what_its_scope_names(trained, tmp_path):
    from gradeclass.keys import make_key
    key = make_key(tmp_path/"keys.json", "office")
    url, process = start(tmp_path, "--model", trained)
    try:
        asked = [httpx.post(f"{url}/predict", json=TEN, headers=headers).status_code for headers in ({}, {"x-api-key": key}, {"x-api-key": f"{key}x"})]
        assert asked == [401, 200, 401] and httpx.post(f"{url}/suspend", json={"reason": "x"}, headers={"x-api-key": key}).status_code == 403
    finally: end(process)

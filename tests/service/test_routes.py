"""The addresses, also for clients of the services that this one replaces."""
import pytest

from service_helpers import OLD_STUDENT, running_here

pytestmark = pytest.mark.process


MEANINGS = {"Fail": "Fail", "DD": "Poor", "DC": "Poor", "CC": "Average", "CB": "Average", "BB": "Good", "BA": "Good",
            "AA": "Excellent"}


def test_replaced_students_client_works_unchanged(client):
    reply = client.post("/predict", json=OLD_STUDENT)
    assert reply.status_code == 200
    found = reply.json()
    assert found["grade_class"] == found["grade"] == ["A", "B", "C", "D", "F"][found["grade_class_index"]]
    assert found["missing"] == ["StudyTimeWeekly", "Absences"]


def test_replaced_university_client_works_unchanged(client):
    features = client.get("/api/features").json()
    assert features["count"] == len(features["order"]) == 30 and "EXP_GPA" not in features["order"]
    found = client.post("/api/predict", json={"features": [1]*30}).json()
    assert MEANINGS[found["prediction"]] == found["meaning"]


def test_reasons_come_on_request(client):
    assert "reasons" not in client.post("/predict", json={"Absences": 25}).json()
    assert any("Absences" in reason
               for reason in client.post("/predict?reasons=true", json={"Absences": 28}).json()["reasons"])


def test_every_answer_says_that_a_person_decides(client):
    assert "person" in client.post("/predict", json={"Absences": 25}).json()["advice"]
    assert "person" in client.post("/api/predict", json={"features": [1]*30}).json()["advice"]


def test_a_wrong_query_predicts_nothing(client):
    before = client.post("/predict", json=OLD_STUDENT).json()["prediction_id"]
    assert client.post("/predict?reasons=perhaps", json=OLD_STUDENT).status_code == 422
    assert client.post("/predict", json=OLD_STUDENT).json()["prediction_id"] == before + 1


@pytest.mark.parametrize("wrong",
                         ['"reason": "\\ud800"', '"reason": "x", "\\ud800": 1',
                          '"reason": "x", "prediction_id": ' + "9"*400,
                                   '"reason": "' + "x"*5_000 + '"', '"reason": "x", "student": "  "'])
def test_strange_texts_about_predictions_are_refused_in_json(client, wrong):
    student = "" if "student" in wrong else '"student": 7, '
    reply = client.post("/overrides", content=f'{{{student}"grade": "B", "decided_by": "head", {wrong}}}',
                        headers={"content-type": "application/json"})
    assert reply.status_code == 422 and reply.json()["error"] == "invalid_input" and len(reply.content) < 2_000


def test_an_order_to_stop_that_cannot_be_written_stops_this_process(bundles, tmp_path, monkeypatch):
    from gradeclass.service import routes
    def full(path): raise OSError(28, "No space left on device")
    with running_here(tmp_path, bundles["students"], keyed=True) as client:
        monkeypatch.setattr(routes, "whole_file", full)
        assert client.post("/suspend", json={"reason": "odd grades"}).json()["error"] == "not_written"
        assert client.post("/predict", json=OLD_STUDENT).json()["error"] == "suspended"

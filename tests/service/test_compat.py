"""The older web API: what its page and its script read of each answer."""
import json
import os
import subprocess
import sys

import pytest

from conftest import QUICK
from gradeclass.data.synthetic import sample_path
from gradeclass.registry.versions import champion_of, list_versions, promote
from service_helpers import OLD_STUDENT, key_to_everything, running_here

pytestmark = pytest.mark.process
GRADES = ["Fail", "DD", "DC", "CC", "CB", "BB", "BA", "AA"]


@pytest.fixture(scope="module")
def page(bundles, tmp_path_factory):
    "A service as the page of the university asks it"
    with running_here(tmp_path_factory.mktemp("compat")/"outputs", bundles["higher_ed"], settings={"compat": True}) as page:
        yield page


def test_the_form_is_filled_and_answered(page):
    "As the script does: a select for each feature, an option for each value, and the chosen values in their order"
    features = page.get("/api/features").json()["features"]
    assert len(features) == 30 and all(isinstance(feature["feature"], str) for feature in features)
    chosen = [int(feature["options"][0]["value"]) for feature in features]
    assert all(isinstance(option["label"], str) for feature in features for option in feature["options"])
    found = page.post("/api/predict", json={"features": chosen}).json()
    assert found["prediction"] in GRADES and found["meaning"]


def test_a_form_for_numbers_offers_them(client):
    features = {feature["name"]: feature for feature in client.get("/api/features").json()["features"]}
    assert features
    from gradeclass.schema import load_schema
    from gradeclass.service.openapi import describe_features
    from gradeclass.service.routes import with_choices
    rows = {row["name"]: with_choices(row) for row in describe_features(load_schema("students"), False)}
    assert [option["value"] for option in rows["Absences"]["options"]] == list(range(31))


def test_the_first_figures_can_be_drawn(page):
    figures = page.get("/api/visualizations/default").json()
    assert [figure["plot_data"]["type"] for figure in figures] == ["histogram", "scatter", "boxplot", "barplot"]
    assert all(figure["title"] and figure["interpretation"] for figure in figures)
    scatter = figures[1]["plot_data"]
    assert "Output Grade" in scatter["features"] and set(scatter["color"]) <= set(GRADES)


@pytest.mark.parametrize("kind", ["scatter", "boxplot", "barplot", "histogram", "pairplot"])
def test_each_figure_has_what_the_script_draws(page, kind):
    features = ["Mother's Education", "Reading Frequency (Non-Scientific)"]
    data = page.post("/api/visualizations/custom", json={"plot_type": kind, "features": features}).json()["plot_data"]
    assert data["type"] == kind and data["features"] == features
    if kind == "scatter":
        assert len(data["x"]) == len(data["y"]) == len(data["color"]) > 100
        assert [data["x_label"], data["y_label"]] == features
    elif kind == "pairplot":
        assert data["data"][0]["grade_label"] in GRADES and len(data["data"][0]) == 3
    elif kind == "histogram": assert data["data"][features[0]]["bins"] and len(data["data"][features[0]]["values"]) > 100
    else: assert all(list(data["data"][name]) == GRADES for name in features)


@pytest.mark.parametrize("sent", [{}, {"plot_type": "pie"}, {"plot_type": "scatter", "features": ["Gender"]}, [],
                                  {"plot_type": "boxplot", "features": ["Shoe size"]}, {"plot_type": "boxplot", "features": 3}])
def test_a_figure_that_cannot_be_drawn_is_refused(page, sent):
    assert page.post("/api/visualizations/custom", json=sent).status_code == 422


def test_what_changes_something_needs_a_key(page):
    for path, sent in (("/api/retrain", {}), ("/api/save_retrain", True)):
        refused = page.post(path, json=sent)
        assert refused.status_code == 401 and refused.headers["www-authenticate"].startswith("Basic")
    assert page.post("/api/upload", files={"file": ("a.csv", "AGE\n1\n")}).status_code == 401


def test_a_key_that_may_only_predict_sees_no_students(bundles, tmp_path):
    "Figures show what single students have, so they need the scope of those who look after them"
    from gradeclass.service.api_keys import make_key
    outputs = tmp_path/"outputs"
    outputs.mkdir()
    keys = {scope: make_key(outputs/"keys.json", scope, [scope]) for scope in ("predict", "review", "operate")}
    with running_here(outputs, bundles["higher_ed"], settings={"compat": True}) as page:
        order = {"plot_type": "histogram", "features": ["Gender"]}
        for ask in (lambda key: page.get("/api/visualizations/default", headers=key),
                    lambda key: page.post("/api/visualizations/custom", json=order, headers=key),
                    lambda key: page.get("/api/evaluate", headers=key)):
            for scope in ("predict", "operate"):
                refused = ask({"x-api-key": keys[scope]})
                assert refused.status_code == 403 and "lacks the scope review" in refused.json()["message"]
            assert ask({"x-api-key": keys["review"]}).status_code in (200, 404)  # The model has no run, so no evaluation
        assert page.get("/api/visualizations/default", headers={"x-api-key": keys["review"]}).status_code == 200


def test_the_older_addresses_are_there_on_demand_only(client):
    for path in ("/api/visualizations/default", "/api/evaluate"): assert client.get(path).status_code == 404


def test_the_first_client_finds_its_status_and_may_send_more(bundles, client, tmp_path):
    sent = OLD_STUDENT | {"Shoe size": 38}
    assert client.post("/predict", json=sent).status_code == 422
    with running_here(tmp_path/"outputs", bundles["students"], settings={"compat": True}) as old:
        assert old.get("/health").json()["status"] == "ok"
        assert old.post("/predict", json=sent).json()["grade_class"] == old.post("/predict", json=OLD_STUDENT).json()["grade"]
        assert old.post("/predict", json={"Shoe size": 38}).status_code == 422


@pytest.mark.slow
def test_students_are_added_a_model_is_trained_kept_and_taken_back(tmp_path, monkeypatch):
    outputs = tmp_path/"outputs"
    outputs.mkdir()
    monkeypatch.setenv("GRADECLASS_HOME", str(tmp_path))
    monkeypatch.setenv("GRADECLASS_OUTPUTS", str(outputs))
    options = [word for name, value in QUICK.items() for word in ("-p", f"{name}={value}")]
    command = [sys.executable, "-c", "from gradeclass.cli.main import main; main()", "run", "--data", "sample", "--schema",
               "higher_ed", "--promote", "never", "--json", *options]
    first = json.loads(subprocess.run(command, env=os.environ, cwd=tmp_path, capture_output=True, check=True).stdout)
    promote(outputs, first["registration"]["version"], "a person", "to test")
    key = key_to_everything(outputs)
    with running_here(outputs, settings={"compat": True, "poll": 0.05}) as client:
        client.timeout = 600
        client.auth = ("anybody", key)  # As a browser sends it that has asked for the key
        before = client.get("/api/evaluate").json()
        assert before["confusion_matrix"]["type"] == "confusion_matrix" and before["confusion_matrix"]["labels"] == GRADES
        assert sum(map(sum, before["confusion_matrix"]["confusion_matrix"])) > 0
        assert {"precision", "recall", "f1-score", "support"} == set(before["metrics"]["classification_report"]["AA"])
        header, *rows = sample_path("higher_ed").read_text().splitlines()
        fresh = "\n".join([header, "NEW1," + rows[0].partition(",")[2], *rows[1:]])
        said = client.post("/api/upload", files={"file": ("students.csv", fresh)})
        assert said.status_code == 200 and "new students added" in said.json()["message"], said.text
        wrong = client.post("/api/upload", files={"file": ("students.csv", "a,b\n1,2\n")})
        assert wrong.status_code == 422 and wrong.json()["message"]
        away = client.post("/api/save_retrain", json=True, headers={"sec-fetch-site": "cross-site"})
        assert away.status_code == 403
        trained = client.post("/api/retrain", json={}, timeout=600)
        assert trained.status_code == 200, trained.text
        assert set(trained.json()["old_metrics"]) == set(trained.json()["new_metrics"]) >= {"accuracy", "f1_score"}
        assert champion_of(outputs).number == 1 and len(list_versions(outputs)) == 2
        assert client.post("/api/save_retrain", json=False).json()["message"] and champion_of(outputs).number == 1
        assert client.post("/api/save_retrain", json=True).json()["message"] and champion_of(outputs).number == 2
        assert client.post("/api/save_retrain", json=False).json()["message"] and champion_of(outputs).number == 1
        assert client.post("/api/save_retrain", json="yes").status_code == 422

"""Keys: what they open, and what is closed without them."""
import os
import subprocess
import sys
import time

import pytest

from gradeclass.service.api_keys import KeysError, read_keys
from service_helpers import OLD_STUDENT, running, running_here

pytestmark = pytest.mark.process


def test_keys_open_what_their_scopes_say(bundles, tmp_path):
    from gradeclass.service.api_keys import make_key, remove_key
    outputs = tmp_path/"outputs"
    outputs.mkdir()
    asking = make_key(outputs/"keys.json", "office")
    running_it = make_key(outputs/"keys.json", "ops", ["operate"])
    with running(outputs, "--host", "0.0.0.0", "--model", bundles["students"],
                 settings={"poll": 0.05, "rate": 5}) as (client, _):
        assert client.post("/predict", json=OLD_STUDENT).status_code == 401
        assert client.post("/predict", json=OLD_STUDENT, headers={"x-api-key": asking[:-1]}).status_code == 401
        assert client.post("/predict", json=OLD_STUDENT,
                           headers={"authorization": f"Bearer {asking}"}).status_code == 200
        assert client.get("/metrics", headers={"x-api-key": asking}).status_code == 403
        assert client.get("/metrics", headers={"x-api-key": running_it}).status_code == 200
        assert client.post("/predict", json=OLD_STUDENT, headers={"x-api-key": running_it}).status_code == 403
        statuses = [client.post("/predict", json=OLD_STUDENT, headers={"x-api-key": asking}).status_code
                    for _ in range(30)]
        assert 429 in statuses and 200 in statuses
        remove_key(outputs/"keys.json", asking)
        time.sleep(1)
        assert client.post("/predict", json=OLD_STUDENT, headers={"x-api-key": asking}).status_code == 401
        (outputs/"keys.json").unlink()
        time.sleep(0.5)
        assert client.get("/features", headers={"host": f"10.0.0.1:{client.base_url.port}"}).status_code in (401, 403)
    log = (outputs/"serve.log").read_text()
    assert asking not in log and asking[12:] not in log


def ask_nothing(client, verb, place, key):
    "A request that only its key can open"
    if verb == "get": return client.get(place, headers=key)
    kind = "text/csv" if place.endswith("/file") else "application/json"
    return client.request(verb, place, content=b"{}", headers=key | {"content-type": kind})


def test_a_key_for_one_model_opens_no_address_of_another(bundles, tmp_path):
    from gradeclass.service.api_keys import make_key
    outputs = tmp_path/"outputs"
    outputs.mkdir()
    keys = {name: {"x-api-key": make_key(outputs/"keys.json", name, models=[name])} for name in ("students", "higher_ed")}
    every = {"x-api-key": make_key(outputs/"keys.json", "every")}
    settings = {"root_path": "/grades", "compat": True}
    with running_here(outputs, bundles["students"], bundles["higher_ed"], settings=settings) as client:
        shown = client.get("/openapi.json").json()["paths"]
        of_model = [(verb, path) for path, verbs in shown.items() for verb in verbs if "{name}" in path]
        assert len(of_model) > 15 and {"/v2/models/{name}/infer", "/models/{name}/versions/{version}"} <= shown.keys()
        default = [("post", path) for path in ("/predict", "/predict/batch", "/predict/file", "/invocations")]
        default += [("get", "/model"), ("get", "/features")]
        either = [("post", "/api/predict"), ("get", "/api/features")]
        for verb, path in of_model + default + either:
            for prefix in ("", "/grades"):
                place = prefix + path.replace("{name}", "%68igher_ed").replace("{version}", "1")
                held = keys["higher_ed" if (verb, path) in default else "students"]
                refused = ask_nothing(client, verb, place, held)
                assert (refused.status_code, refused.json()["error"]) == (403, "wrong_key"), (verb, place)
                assert "this key is for " in refused.json()["message"]
                assert ask_nothing(client, verb, place, every).status_code != 403
        for name, path in (("students", "/predict"), ("students", "/grades/models/students/predict"),
                           ("higher_ed", "/models/higher_ed/predict")):
            sent = OLD_STUDENT if name == "students" else {"STUDY_HRS": 2}
            assert client.post(path, json=sent, headers=keys[name]).status_code == 200
        assert client.get("/models", headers=keys["higher_ed"]).status_code == 200


def test_a_file_of_keys_that_breaks_changes_nothing_and_is_said(bundles, tmp_path):
    "A wrong edit neither lets anybody in nor ends the service, nor a worker that starts then"
    from gradeclass.service.api_keys import make_key
    outputs = tmp_path/"outputs"
    outputs.mkdir()
    file = outputs/"keys.json"
    key = {"x-api-key": make_key(file, "office")}
    kept = file.read_text()
    for broken in (kept[:-20], "[" * 100_000, kept.replace('"predict"\n', '7'), kept.replace('"expires": ""', '"expires": "soon"'),
                   kept.replace('"expires": ""', '"expires": "2030-01-01"'), kept.replace('"models": []', '"models": "all"'),
                   kept.replace('"scopes": [', '"scopes": "operate", "x": ['), '{"keys": null}'):
        assert broken != kept
        file.write_text(broken)
        with pytest.raises(KeysError, match="restore it"): read_keys(file)
    file.write_text(kept)
    with running(outputs, "--model", bundles["students"], settings={"poll": 0.05}) as (client, _):
        file.write_text(kept[:-20])
        end = time.monotonic() + 30
        while "keys not read" not in (outputs/"serve.log").read_text():
            assert time.monotonic() < end
            time.sleep(0.05)
        assert client.post("/predict", json=OLD_STUDENT, headers=key).status_code == 200
        assert client.post("/predict", json=OLD_STUDENT).status_code == 401
    with running_here(outputs, bundles["students"]) as client:
        assert client.post("/predict", json=OLD_STUDENT, headers=key).status_code == 401


def test_other_computers_need_a_key(bundles, tmp_path):
    command = [sys.executable, "-c", "from gradeclass.cli.main import main; main()", "serve", "--host", "0.0.0.0",
               "--model", str(bundles["students"])]
    ended = subprocess.run(command, env=os.environ | {"GRADECLASS_OUTPUTS": str(tmp_path)}, capture_output=True,
                           text=True, timeout=60)
    assert ended.returncode == 1 and "make a key first" in ended.stderr and "Traceback" not in ended.stderr


def test_the_last_key_that_is_removed_opens_nothing(bundles, tmp_path):
    from gradeclass.service.api_keys import make_key, remove_key
    outputs = tmp_path/"outputs"
    outputs.mkdir()
    key = make_key(outputs/"keys.json", "office")
    with running_here(outputs, bundles["students"], settings={"poll": 0.05}) as client:
        assert client.post("/predict", json=OLD_STUDENT, headers={"x-api-key": key}).status_code == 200
        for step in (lambda: remove_key(outputs/"keys.json", key), (outputs/"keys.json").unlink):
            step()
            time.sleep(0.5)
            reply = client.post("/predict", json=OLD_STUDENT)
            assert reply.status_code == 401 and "no key is left" in reply.json()["message"]

"""Keys: what they open, and what is closed without them."""
import os
import subprocess
import sys
import time

import pytest

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

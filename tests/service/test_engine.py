"""Who is let in, and which model answers."""
import shutil
import threading
import time

import httpx
import numpy as np
import pandas as pd
import pytest

from gradeclass.models.bundle import bundle_digest, load_model
from service_helpers import OLD_STUDENT, put_champion, rows_of, running_here

pytestmark = pytest.mark.process


@pytest.mark.parametrize("kind",
                         ["text/plain", "application/x-www-form-urlencoded", "", "application/xml"])
def test_other_content_types_are_refused(client, kind):
    for path in ("/predict", "/predict/batch", "/outcomes", "/predict/file"):
        assert client.post(path, content=b'{"Absences": 3}', headers={"content-type": kind}).status_code == 415


def test_a_form_is_refused_from_a_page_of_another_site(client):
    "Forms need no preflight, so what the browser says of the page decides; JSON has no such way"
    send = lambda **headers: client.post("/predict/file", files={"file": ("a.csv", "Absences\n3\n")}, headers=headers)
    own = f"http://127.0.0.1:{client.base_url.port}"
    assert [send(origin="http://evil.example").status_code, send(**{"sec-fetch-site": "cross-site"}).status_code] == [403]*2
    assert [send().status_code, send(origin=own).status_code, send(**{"sec-fetch-site": "same-origin"}).status_code] == [200]*3
    for path in ("/predict", "/predict/batch", "/outcomes"):
        assert client.post(path, files={"file": ("a.csv", "Absences\n3\n")}).status_code == 415


def test_other_hosts_are_refused_without_keys(client):
    "A page of another site cannot reach the service by a name that it points at this computer"
    for path in ("/features", "/metrics"): assert client.get(path, headers={"host": "evil.example"}).status_code == 403
    assert client.post("/predict", json=OLD_STUDENT, headers={"host": "evil.example:9696"}).status_code == 403


def test_champions_switch_under_load_without_a_failure(bundles, tmp_path):
    outputs = tmp_path/"outputs"
    seen = []
    failed = []
    outputs.mkdir()
    put_champion(outputs, bundles["students"])
    student = {"Absences": 12, "StudyTimeWeekly": 5.5, "ParentalSupport": 2}
    want = {bundle_digest(bundles[name]): load_model(bundles[name]).predict_proba(pd.DataFrame([student]))[0]
            for name in ("students", "other")}
    with running_here(outputs, settings={"poll": 0.02}) as client:
        stop = threading.Event()
        def press():
            with httpx.Client(base_url=client.base_url, timeout=30) as own:
                while not stop.is_set():
                    reply = own.post("/predict", json=student)
                    if reply.status_code != 200: failed.append(reply.text)
                    else: seen.append((reply.json()["digest"], list(reply.json()["probabilities"].values())))
        threads = [threading.Thread(target=press) for _ in range(4)]
        for thread in threads: thread.start()
        for turn in range(30):
            put_champion(outputs, bundles["other" if turn % 2 == 0 else "students"])
            time.sleep(0.1)
        stop.set()
        for thread in threads: thread.join(30)
    assert not failed and {digest for digest, _ in seen} == set(want)
    assert all(np.abs(np.array(found) - want[digest]).max() < 1e-9 for digest, found in seen)
    assert set(rows_of(outputs).digest) == set(want)


def test_a_bad_bundle_is_refused_and_the_old_one_stays(bundles, tmp_path):
    outputs = tmp_path/"outputs"
    outputs.mkdir()
    put_champion(outputs, bundles["students"])
    with running_here(outputs, settings={"poll": 0.05}) as client:
        broken = tmp_path/"broken"
        shutil.copytree(bundles["other"], broken)
        (broken/"ordinal.json").write_text("{}")
        put_champion(outputs, broken, "broken")
        end = time.monotonic() + 20
        while not client.get("/ready").json()["refused"] and time.monotonic() < end: time.sleep(0.05)
        assert "was changed" in client.get("/ready").json()["refused"]["champion"]
        assert client.post("/predict", json=OLD_STUDENT).json()["digest"] == bundle_digest(bundles["students"])
        put_champion(outputs, bundles["other"])
        end = time.monotonic() + 20
        wanted = bundle_digest(bundles["other"])
        while client.post("/predict", json=OLD_STUDENT).json()["digest"] != wanted and time.monotonic() < end:
            time.sleep(0.05)
        assert client.get("/ready").json()["refused"] == {} or time.monotonic() < end


def test_a_service_without_a_model_waits_for_one(bundles, tmp_path):
    outputs = tmp_path/"outputs"
    outputs.mkdir()
    with running_here(outputs, settings={"poll": 0.05}, ready="/health") as client:
        assert client.get("/ready").status_code == 503
        assert client.post("/predict", json=OLD_STUDENT).json()["error"] == "no_model"
        put_champion(outputs, bundles["students"])
        end = time.monotonic() + 20
        while client.get("/ready").status_code != 200 and time.monotonic() < end: time.sleep(0.05)
        assert client.post("/predict", json=OLD_STUDENT).status_code == 200


@pytest.mark.parametrize("text", ["null", "[]", '"later"', "{", "\udcff"])
def test_an_order_to_stop_that_cannot_be_read_stops(bundles, tmp_path, text):
    (tmp_path/"suspended.json").write_bytes(text.encode(errors="surrogateescape"))
    with running_here(tmp_path, bundles["students"], ready="/health") as client:
        assert client.post("/predict", json=OLD_STUDENT).json()["error"] == "suspended"

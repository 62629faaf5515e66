"""A service to talk to, and what is said to it."""
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import httpx
import pandas as pd
import pytest

from gradeclass.data.dataset import clean
from gradeclass.data.sources import load
from gradeclass.data.synthetic import sample_path
from gradeclass.models.bundle import bundle_digest, save_model
from gradeclass.models.grade_model import GradeModel

OLD_STUDENT = {"Age": 16, "Gender": 1, "Ethnicity": 0, "ParentalEducation": 2, "Tutoring": 1, "ParentalSupport": 3,
               "Extracurricular": 0, "Sports": 1, "Music": 0, "Volunteering": 0, "StudentID": 123}


def read_sample(name):
    "Schema and clean students of a built-in sample"
    dataset = load(sample_path(name), name)
    return dataset.schema, clean(dataset.frame, dataset.schema)


def train_linear(name, folder, seed=42):
    "A bundle of the ordinal family's line: fast to fit"
    schema, students = read_sample(name)
    model = GradeModel(schema, "ordinal", seed=seed, params={"members": ["linear"]})
    save_model(model.fit(students.sample(frac=0.9, random_state=seed)), folder)
    return folder


def key_to_everything(outputs):
    "A key with all scopes in the usual file"
    from gradeclass.service.api_keys import SCOPES, make_key
    outputs.mkdir(exist_ok=True)
    return make_key(outputs/"keys.json", "tests", list(SCOPES))


@contextmanager
def running_here(outputs, *models, settings=None, ready="/ready", keyed=False):
    "The same server in a thread of this process, which starts faster; yields a client, with a key or without"
    import uvicorn
    from gradeclass.service.guard import GuardedProtocol
    from gradeclass.service.app import make_app
    from gradeclass.service.settings import ServiceSettings
    outputs.mkdir(exist_ok=True)
    headers = {"x-api-key": key_to_everything(outputs)} if keyed else {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADECLASS_OUTPUTS", str(outputs))
        given = {"models": " ".join(map(str, models)), "access_log": False, **(settings or {})}
        app = make_app(ServiceSettings(**given))
        listening = socket.create_server(("127.0.0.1", 0))
        config = uvicorn.Config(app, http=GuardedProtocol, loop="uvloop", ws="none", log_level="error",
                                access_log=False, server_header=False, proxy_headers=False)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{listening.getsockname()[1]}", timeout=60,
                              headers=headers) as client:
                end = time.monotonic() + 180
                while not (server.started and client.get(ready).status_code == 200):
                    assert thread.is_alive() and time.monotonic() < end, "not ready in three minutes"
                    time.sleep(0.02)
                yield client
        finally:
            server.should_exit = True
            thread.join(60)
            listening.close()


@contextmanager
def running(outputs, *arguments, settings=None, ready="/ready"):
    "`gradeclass serve` on a free port, a process of its own; yields a client and the process"
    with socket.create_server(("127.0.0.1", 0)) as free: port = free.getsockname()[1]
    environment = os.environ | {"GRADECLASS_OUTPUTS": str(outputs)} | {
        f"GRADECLASS_SERVE_{key.upper()}": str(value) for key, value in (settings or {}).items()}
    outputs.mkdir(exist_ok=True)
    command = [sys.executable, "-c", "from gradeclass.cli.main import main; main()", "serve", "--port", str(port),
               *map(str, arguments)]
    with open(outputs/"serve.log", "a") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            end = time.monotonic() + 180
            while True:
                try:
                    if client.get(ready).status_code == 200: break
                except httpx.TransportError: pass
                assert process.poll() is None, (outputs/"serve.log").read_text()
                assert time.monotonic() < end, "not ready in three minutes"
                time.sleep(0.05)
            yield client, process
    finally:
        if process.poll() is None: process.terminate()
        process.wait(30)


def rows_of(outputs, table="predictions"):
    "A table of the prediction log"
    with sqlite3.connect(outputs/"predictions.db") as connection:
        return pd.read_sql(f"SELECT * FROM {table}", connection)


def as_sent(row):
    "A row of a clean table as a client sends it"
    return {name: value for name, value in row.items() if value is not None and value == value}


def put_champion(outputs, bundle, name=""):
    "As the registry does it: a relative link, replaced by one rename"
    kept = outputs/"registry"/"bundles"/(name or bundle_digest(bundle)[:16])
    if not kept.exists(): shutil.copytree(bundle, kept)
    link = outputs/f".champion.{time.monotonic_ns()}"
    link.symlink_to(kept.relative_to(outputs))
    os.replace(link, outputs/"champion")


ASK = b"POST /predict HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
WHO = b'{"Absences": 3}'

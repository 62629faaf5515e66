"What the tests of the pages share: a server of its own, what a visitor does, and bundles"
import asyncio
import http.cookiejar
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import numpy as np
import pandas as pd
import psutil

from gradeclass.data.dataset import clean, make_dataset
from gradeclass.models.bundle import save_model
from gradeclass.models.grade_model import GradeModel
from gradeclass.processes import free_port
from gradeclass.scoring.answer import open_bundle

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync"]
TOKEN, MANAGE = "a-token-for-tests", "another-token"
PATIENCE = 60  # Seconds that a test waits for what will come, however busy the machine is


def fetch(address):
    "Status and text of an address"
    try:
        with urllib.request.urlopen(address, timeout=30) as answer: return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error: return error.code, error.read().decode()


class Server:
    "The pages, served from a folder of outputs by a process of their own"
    def __init__(self, outputs, **options):
        self.outputs = outputs
        outputs.mkdir(exist_ok=True)
        given = {"port": free_port(), "token": TOKEN, "manage_token": MANAGE, "pool": 1, **options}
        code = f"from gradeclass.pages.server import Options, serve_pages; serve_pages(Options(**{given!r}))"
        env = os.environ | {"GRADECLASS_OUTPUTS": str(outputs), "GRADECLASS_HOME": str(outputs.parent)}
        self.log = (outputs.parent/"server.log").open("w+")
        self.process = subprocess.Popen([sys.executable, "-c", code], env=env, stdout=self.log, stderr=self.log)
        self.base = f"http://127.0.0.1:{given['port']}"
        try: self.wait()
        except BaseException:
            self.close()
            raise

    def wait(self):
        "Until it answers"
        for _ in range(1200):
            try: return fetch(f"{self.base}/healthz")
            except OSError: time.sleep(0.1)
            assert self.process.poll() is None, Path(self.log.name).read_text()
        raise AssertionError("the server did not start")

    def kernel(self, page):
        "The process behind a page"
        name = json.loads(page.text_content("#jupyter-config-data"))["kernelId"]
        address = json.loads(next(Path(tempfile.gettempdir()).glob(f"voila_*/kernel-{name}.json")).read_text())["ip"]
        children = psutil.Process(self.process.pid).children(recursive=True)
        return next(child for child in children
                    if any(str(known.laddr).startswith(address) for known in child.net_connections("unix")))

    def close(self):
        "End it, and what it started; what had to be killed"
        children = psutil.Process(self.process.pid).children(recursive=True)
        self.process.terminate()
        try: self.process.wait(30)
        except subprocess.TimeoutExpired: self.process.kill()
        left = psutil.wait_procs(children, 5)[1]
        for child in left: child.kill()
        return left


def finish(coroutine):
    "What a coroutine returns, also where a browser's own loop is running"
    with ThreadPoolExecutor(1) as pool: return pool.submit(asyncio.run, coroutine).result()


PACKED = "v1.kernel.websocket.jupyter.org"


class Line:
    "What a browser and the process of its page say to each other, without the browser"
    def __init__(self, server, name, token=TOKEN):
        self.base, self.cookies = server.base, http.cookiejar.CookieJar()
        self.browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.cookies))
        self.kernel = re.search(rb'"kernelId": ?"([\w-]+)"', self.get(f"{name}?token={token}"))[1].decode()

    async def connect(self, kernel="", packed=True):
        "Open the websocket, of another kernel if one is named"
        from tornado.httpclient import HTTPRequest
        from tornado.websocket import websocket_connect
        cookie = "; ".join(f"{cookie.name}={cookie.value}" for cookie in self.cookies)
        place = f"api/kernels/{kernel or self.kernel}/channels?session_id={uuid4()}"
        address = f"{self.base.replace('http', 'ws', 1)}/{place}"
        self.packed, self.socket = packed, await websocket_connect(
            HTTPRequest(address, headers={"Cookie": cookie}), subprotocols=[PACKED] if packed else None)
        return self

    async def ask(self, kind, content, **metadata):
        "Send a message; all that comes until the process is done with it, as text"
        from jupyter_server.services.kernels.connection.base import serialize_msg_to_ws_v1
        name = str(uuid4())
        header = {"msg_id": name, "username": "", "session": name, "msg_type": kind, "version": "5.3",
                  "date": "2026-09-01T08:00:00Z"}
        parts = {"header": header, "parent_header": {}, "metadata": metadata, "content": content}
        if self.packed:
            packed = serialize_msg_to_ws_v1([json.dumps(part).encode() for part in parts.values()], "shell")
            await self.socket.write_message(packed, binary=True)
        else: await self.socket.write_message(json.dumps(parts | {"buffers": [], "channel": "shell"}))
        received = []
        while not received or not (name in received[-1] and '"idle"' in received[-1]):
            message = await asyncio.wait_for(self.socket.read_message(), PATIENCE)
            assert message is not None, "the connection has ended"
            received.append(message if isinstance(message, str) else message.decode(errors="replace"))
        return received

    async def widgets(self):
        "The state of each widget of the process by the id of its comm"
        opened = {"comm_id": str(uuid4()), "target_name": "jupyter.widget.control", "data": {}}
        await self.ask("comm_open", opened, version="1.0.0")
        received = await self.ask("comm_msg", {"comm_id": opened["comm_id"], "data": {"method": "request_states"}})
        found = json.loads(next(text for text in received if "update_states" in text))["content"]["data"]["states"]
        return {name: widget["state"] for name, widget in found.items()}

    async def put(self, name, value):
        "Give a widget a value, as a browser does"
        data = {"method": "update", "state": {"value": value}, "buffer_paths": []}
        return await self.ask("comm_msg", {"comm_id": name, "data": data})

    def get(self, address, body=None):
        "What an address of the server says to this visitor"
        return self.browser.open(f"{self.base}/{address}", body, timeout=PATIENCE).read()

    def leave(self):
        "Give the process back, as a browser does"
        self.socket.close()
        xsrf = next(cookie.value for cookie in self.cookies if cookie.name == "_xsrf")
        self.get(f"leave/{self.kernel}?_xsrf={urllib.parse.quote(xsrf)}", b"")


def serve_copy(run, home, **options):
    "Serve the pages on a copy of a run's outputs, which tests may change"
    source = run.report.parent.parent.parent
    shutil.copytree(source, home/"outputs", symlinks=True, ignore=shutil.ignore_patterns(".*.part"))
    server = Server(home/"outputs", **options)
    yield server
    server.close()


def unlock(page):
    "Open the door of Manage"
    page.get_by_label("Token for this page").fill(MANAGE)
    page.keyboard.press("Enter")
    page.wait_for_selector("text=History, newest first", timeout=60_000)


def expect(place):
    "What a place of a page will show, sooner or later"
    from playwright.sync_api import expect
    expect.set_options(timeout=1000*PATIENCE)
    return expect(place)


def until(page, script, arg=None):
    "Wait until something is true on a page; Playwright's own way makes code from text, which these pages forbid"
    from playwright.sync_api import Error
    last = time.monotonic() + PATIENCE
    while True:
        with suppress(Error): # Another page may be on its way
            if page.evaluate(script, arg): return
        assert time.monotonic() < last, script
        page.wait_for_timeout(50)


def choose_file(page, path, label="Choose a file"):
    "Upload a file"
    with page.expect_file_chooser() as chooser: page.get_by_role("button", name=label).click()
    chooser.value.set_files(path)


def fit_bundle(schema, frame, folder, **params):
    "A bundle of a model of a table"
    save_model(GradeModel(schema, **params).fit(clean(make_dataset(frame, schema).frame, schema)), folder/"bundle")
    return open_bundle(folder/"bundle")


def unknown_table(n=200, seed=2):
    "Columns that no schema knows, one with a script in its name"
    rng = np.random.default_rng(seed)
    effort, days = rng.choice(["low", "middle", "high"], n), rng.uniform(0, 12, n).round(1)
    merit = pd.Series(effort).map({"low": 0, "middle": 1, "high": 2}) - days/6 + rng.normal(0, 0.4, n)
    return pd.DataFrame({"<script>alert(1)</script>": effort, "Days away": days, "Bus?": rng.choice(["yes", "no"], n),
                         "Grade": np.array(["A", "B", "C"])[np.digitize(-merit, [-0.5, 0.7])]})

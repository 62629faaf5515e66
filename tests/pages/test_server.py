"The server of the pages: who may enter, what it shows, and the processes that it starts and ends"
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from gradeclass.config import find_shipped
from gradeclass.kernels.client import ForkServer, fork_call, server_key
from gradeclass.processes import free_port
from kernel_helpers import wait_until
from pages_helpers import PATIENCE, TOKEN, Server, expect, fetch


def test_server_shows_nothing_but_the_pages():
    pages = pytest.importorskip("gradeclass.pages.server")
    config = pages.page_config(pages.Options(token="x"), pages.app_folder())
    assert config.VoilaConfiguration.file_allowlist == [] and config.VoilaConfiguration.show_tracebacks is False
    assert config.Voila.ip == "127.0.0.1" and not any(part in str(pages.SHOWN)
                                                      for part in ("tree", "contents", "files"))
    look = pages.app_folder()/"look"/"voila"/"templates"/"gradeclass"
    for path in look.rglob("*"):
        if path.suffix in (".j2", ".html", ".css", ".js"):
            assert not re.search(r"https?://(?!www\.w3\.org)", path.read_text(encoding="utf-8")), path.name


def test_process_that_only_starts_keeps_nobody_out():
    pages = pytest.importorskip("gradeclass.pages.server")
    from datetime import UTC, datetime

    from jupyter_server.services.kernels.kernelmanager import MappingKernelManager

    from gradeclass.pages.door import Places
    mine = pages.PageKernel(kernel_name="python3", last_activity=datetime.now(UTC), execution_state="idle")
    manager = MappingKernelManager()
    manager._kernels = {"starting": pages.PageKernel(kernel_name="python3"), "mine": mine}
    manager._kernel_connections = {"mine": 2}
    places = Places(3)
    places.give("mine", "a browser")
    server = SimpleNamespace(kernel_manager=manager, places=places)
    assert pages.PageServer.connected(server) == {"mine": 2}


def test_page_notebooks_are_a_few_cells():
    for path in Path(find_shipped("nbs/app", "notebooks/app")).glob("*.ipynb"):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        assert len(cells) <= 4 and all(len(cell["source"]) <= 4 for cell in cells)


@pytest.mark.process
@pytest.mark.parametrize("page", ["predict", "class", "explore", "about", "manage"])
def test_page_imports_neither_arrow_nor_models_that_it_does_not_serve(page):
    heavy = ("pyarrow", "hypothesis", "xgboost", "sklearn.ensemble", "evidently", "mlflow", "optuna", "papermill",
             "mapie")
    cells = json.loads((find_shipped("nbs/app", "notebooks/app")/f"{page}.ipynb").read_text(encoding="utf-8"))["cells"]
    imports = "".join("".join(cell["source"]) for cell in cells if "import" in "".join(cell["source"]))
    code = f"{imports}\nimport sys; print([name for name in sys.argv[1:] if sys.modules.get(name)])"
    done = subprocess.run([sys.executable, "-c", code, *heavy], env=os.environ | {"GRADECLASS_THIN": "1"},
                          capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr[-800:]


@pytest.mark.process
def test_server_imports_nothing_that_only_its_pages_need():
    pytest.importorskip("voila")
    code = ("import sys, gradeclass.pages.server; "
            "print([name for name in ('sklearn', 'pandas', 'rfc3987_syntax') if sys.modules.get(name)])")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr[-800:]


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="processes are copies on Linux alone")
def test_what_other_pages_need_is_imported_while_nobody_asks(tmp_path, monkeypatch):
    pages = pytest.importorskip("gradeclass.pages.server")
    monkeypatch.chdir(tmp_path)
    Path("calls.py").write_text("import sys\ndef main(): print(*(name for name in sys.argv[1:] "
                                "if name not in sys.modules))\n")
    python, env = [sys.executable], os.environ | {"GRADECLASS_THIN": "1"}
    server = ForkServer(python, pages.AHEAD, env, server_key(python, env), pages.MEANWHILE)

    def lacking(names):
        with (tmp_path/"errors").open("w+") as errors:
            process = fork_call(server.address, "calls:main", list(names), env, errors)
            return process.communicate(timeout=PATIENCE)[0].split()
    try:
        assert not lacking(pages.AHEAD)
        assert wait_until(lambda: not lacking(pages.MEANWHILE), 2*PATIENCE)
    finally: server.close()


@pytest.mark.browser
@pytest.mark.process
@pytest.mark.slow
def test_without_token_there_is_a_door_and_nothing_else(server):
    status, text = fetch(f"{server.base}/predict")
    assert "Access code" in text and "jupyter-config-data" not in text
    for path in ("voila/tree", "voila/api/contents", "voila/files/predict.ipynb", "voila/render/predict.ipynb",
                 "files/predict.ipynb", "paper/report/x?key=1"):
        status, text = fetch(f"{server.base}/{path}?token={TOKEN}".replace("?key=1?", "?key=1&"))
        assert status in (403, 404), path
        assert "Traceback" not in text and "/nbs/" not in text


@pytest.mark.browser
@pytest.mark.process
@pytest.mark.slow
@pytest.mark.parametrize("place", ["", "gradeclass", "gradeclass/static", "gradeclass/static/", "gradeclass/static/%00",
                                   "gradeclass/static/../../x", "..%2f..%2f/x", "gradeclass/./x", "gradeclass/static/x"])
def test_address_that_names_no_file_of_the_look_is_not_there(place, server):
    status, words = fetch(f"{server.base}/voila/templates/{place}")
    assert status == 404 and "There is no such page" in words


def test_killed_process_is_told_and_the_next_visitor_is_served(visit, server):
    page = visit("predict")
    server.kernel(page).kill()
    page.wait_for_selector(".gc-lost:not([hidden])", timeout=60_000)
    expect(page.locator(".gc-lost")).to_contain_text("Load it again")
    expect(visit("predict").locator(".gc-grade")).not_to_be_empty()


@pytest.mark.browser
@pytest.mark.process
@pytest.mark.slow
def test_process_ends_with_its_visit(visit, server):
    page = visit("about")
    kernel = server.kernel(page)
    page.goto("about:blank")
    assert psutil.wait_procs([kernel], 60)[0]


@pytest.mark.browser
@pytest.mark.process
@pytest.mark.slow
@pytest.mark.parametrize("forked", [True, False])
def test_page_left_alone_loses_its_process_and_the_end_of_the_server_leaves_none(browser, trained, tmp_path, forked):
    outputs = tmp_path/"outputs"
    outputs.mkdir()
    server = Server(outputs, pool=0, idle=6, model=str(trained), forked=forked)
    try:
        page, other = browser.new_page(), browser.new_page()
        page.goto(f"{server.base}/about?token={TOKEN}")
        page.wait_for_selector(".gc-facts", timeout=60_000)
        kernel = server.kernel(page)
        assert ("fork_server" in " ".join(kernel.cmdline())) == forked
        assert psutil.wait_procs([kernel], 60)[0]
        page.wait_for_selector(".gc-lost:not([hidden])", timeout=60_000)
        other.goto(f"{server.base}/predict?token={TOKEN}")
        other.wait_for_selector(".gc-grade", timeout=60_000)
        page.close(), other.close()
    finally: left = server.close()
    assert not left


@pytest.mark.process
@pytest.mark.slow
def test_page_whose_process_ends_as_it_starts_comes_to_an_end_and_a_silent_connection_too(trained, tmp_path):
    with closing(Server(tmp_path/"outputs", pool=0, model=str(trained), forked=False)) as server:
        process, answers = psutil.Process(server.process.pid), []
        silent = socket.create_connection(server.base.removeprefix("http://").split(":"), timeout=2*PATIENCE)
        silent.sendall(b"GET /login HTTP/1.1\r\nHost: ")
        visitor = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        load = lambda: answers.append(visitor.open(f"{server.base}/about?token={TOKEN}").read().decode())
        loading = threading.Thread(target=load)
        loading.start()
        assert wait_until(lambda: process.children(), PATIENCE)
        process.children()[0].kill()  # It is still importing
        loading.join(3*PATIENCE)
        assert answers[0].endswith("Please try again in a moment.</p>")
        assert silent.recv(1) == b""
        silent.close()


@pytest.mark.browser
@pytest.mark.process
@pytest.mark.slow
def test_visitors_who_left_hold_no_connection_of_the_server(browser, trained, tmp_path):
    outputs = tmp_path/"outputs"
    outputs.mkdir()
    server = Server(outputs, pool=0, model=str(trained))
    process, held = psutil.Process(server.process.pid), []
    try:
        for _ in range(7):
            page = browser.new_page()
            page.goto(f"{server.base}/about?token={TOKEN}")
            page.wait_for_selector(".gc-facts", timeout=1000*PATIENCE)
            kernel = server.kernel(page)
            page.close()
            assert psutil.wait_procs([kernel], PATIENCE)[0]
            held.append(process.num_fds())
        assert wait_until(lambda: process.num_fds() <= held[1] + 4, 20), held # Each that stays holds three
        assert "WARN" not in (said := Path(server.log.name).read_text()) and "ping" not in said
    finally: server.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("kernels", [0, 1])
def test_server_that_is_ended_while_processes_start_leaves_nothing(number, kernels, trained, tmp_path):
    code = ("import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
            "from gradeclass.cli.main import main; sys.argv[0] = 'gradeclass'; main()")
    command = [sys.executable, "-c", code, "app", "--port", str(free_port()), "--model", str(trained)]
    env = os.environ | {"TMPDIR": str(tmp_path), "GRADECLASS_OUTPUTS": str(tmp_path.parent)}
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          start_new_session=True) as served:
        assert served.stdout.readline().startswith("pages ")
        running = psutil.Process(served.pid)
        while len(running.children(recursive=True)) < kernels and served.poll() is None: time.sleep(0.05)
        below = running.children(recursive=True)
        for _ in range(2): served.send_signal(number)
        _, said = served.communicate(timeout=120)
    assert served.returncode == 0 and "internal error" not in said and "WARNING" not in said, said
    assert not psutil.wait_procs(below, 30)[1] and not list(tmp_path.iterdir())

"The pages as a person meets them: in a browser, with a keyboard, with messy files, and with what can go wrong"
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import psutil
import pytest

from gradeclass.data.sources import load
from gradeclass.data.synthetic import sample_path
from gradeclass.scoring.answer import ADVICE

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]
TOKEN, MANAGE = "a-token-for-tests", "another-token"
PAGES = {"predict": "One student", "class": "A class", "explore": "Explore", "about": "About this model",
         "manage": "Manage"}
pytestmark = [pytest.mark.browser, pytest.mark.process, pytest.mark.slow,
              pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")]


def free_port():
    "A port that nobody uses at the moment"
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def fetch(address):
    "Status and text of an address"
    try:
        with urllib.request.urlopen(address, timeout=30) as answer: return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error: return error.code, error.read().decode()


class Server:
    "The pages, served from a folder of outputs by a process of their own"
    def __init__(self, outputs, **options):
        self.outputs = outputs
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


@pytest.fixture(scope="module")
def server(finished_run, tmp_path_factory):
    "The pages on the outputs of a quick run, in a copy that these tests may change"
    home = tmp_path_factory.mktemp("pages")
    source = finished_run.report.parent.parent.parent
    shutil.copytree(source, home/"outputs", symlinks=True, ignore=shutil.ignore_patterns(".*.part"))
    server = Server(home/"outputs")
    yield server
    server.close()


@pytest.fixture(scope="module")
def browser():
    "Headless Chromium"
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser, server):
    "Open a page as a new visitor; what the browser complained about is in `page.complaints`"
    opened = []
    def open_page(name, width=1280, scheme="light", wait=".gc-page, .gc-stack"):
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme,
                                      accept_downloads=True)
        opened.append(context)
        page = context.new_page()
        page.complaints, page.requested = [], []
        page.on("console", lambda message: page.complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.on("request", lambda request: page.requested.append(request.url))
        page.goto(f"{server.base}/{name}?token={TOKEN}")
        page.wait_for_selector(wait, timeout=60_000)
        return page
    yield open_page
    for context in opened: context.close()


def unlock(page):
    "Open the door of Manage"
    page.get_by_label("Token for this page").fill(MANAGE)
    page.keyboard.press("Enter")
    page.wait_for_selector("text=How it came about", timeout=60_000)


def choose_file(page, path, label="Choose a file"):
    "Upload a file"
    with page.expect_file_chooser() as chooser: page.get_by_role("button", name=label).click()
    chooser.value.set_files(path)


@pytest.mark.parametrize("name", PAGES)
def test_page_loads_on_a_phone_with_nothing_from_elsewhere_and_no_complaint(name, visit, server):
    page = visit(name, width=390)
    assert page.locator("h1").first.inner_text() == PAGES[name]
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert not page.complaints
    assert all(url.startswith((server.base, "data:", "blob:")) for url in page.requested)
    text = page.inner_text("body")
    assert "Traceback" not in text and "In [" not in text and "show_page(" not in text


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_page_has_no_serious_accessibility_violation(name, scheme, visit):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
    page = visit(name, scheme=scheme)
    if name == "predict":
        page.get_by_label("Not known: Absences").check()
        page.wait_for_selector(".gc-unknown")
        page.get_by_role("button", name="What if").click()
        page.wait_for_selector(".gc-panel table, .gc-panel .gc-small")
    if name == "explore": page.wait_for_function("document.querySelectorAll('.gc-figure img').length === 5")
    if name == "class":
        page.get_by_role("button", name="Try the sample").click()
        page.wait_for_selector("text=places.")
    if name == "manage": unlock(page)
    time.sleep(0.3)
    context = page.context.new_cdp_session(page)
    context.send("Page.setBypassCSP", {"enabled": True})
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 900})
        time.sleep(0.3)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        found = axe.Axe().run(page).response["violations"]
        serious = [(v["id"], [node["html"][:160] for node in v["nodes"][:3]]) for v in found
                   if v["impact"] in ("serious", "critical")]
        assert not serious, (width, serious)


def test_form_answers_the_keyboard_and_says_why(visit):
    page = visit("predict")
    slider = page.get_by_role("slider", name="Absences")
    slider.focus()
    before = page.inner_text(".gc-grade")
    for _ in range(2): page.keyboard.press("Home")
    page.wait_for_function("before => document.querySelector('.gc-grade').innerText !== before", arg=before)
    assert page.get_by_role("status").first.inner_text()
    page.keyboard.press("End")
    page.wait_for_function("document.querySelector('.gc-grade').innerText.startsWith('F')")
    assert "Absences" in page.inner_text(".gc-reasons") and "−" in page.inner_text(".gc-reasons")
    assert ADVICE in page.inner_text(".gc-advice")
    assert "Might need support" in page.inner_text(".gc-support")


def test_number_can_be_unknown_and_the_answer_says_so(visit):
    page = visit("predict")
    unknown = page.get_by_label("Not known: Absences")
    unknown.focus()
    page.keyboard.press("Space")
    page.wait_for_selector("text=Not known: Absences. The answer does without")
    assert unknown.is_checked() and page.locator(".gc-unset").count() == 1
    unknown.uncheck()
    page.wait_for_function("!document.querySelector('.gc-unknown')")
    page.get_by_label("Not known: Study time").check()
    page.wait_for_selector("text=Not known: Study time")
    page.get_by_role("button", name="Start again").click()
    page.wait_for_function("!document.querySelector('.gc-unknown')")


def test_what_if_compares_without_touching_the_form(visit):
    page = visit("predict")
    page.get_by_role("button", name="What if").click()
    slider = page.locator(".gc-panel").get_by_role("slider", name="Absences")
    slider.focus()
    page.keyboard.press("Home")
    page.wait_for_selector("text=With the changes")
    assert page.locator(".gc-form").get_by_role("slider", name="Absences").get_attribute("aria-valuenow") != "0.0"
    assert "does not say what a change would do" in page.inner_text(".gc-panel")


def test_messy_file_is_explained_ranked_and_saved_so_that_it_opens_again(visit, tmp_path):
    lines = sample_path("students").read_text().splitlines()
    header = lines[0].split(",")
    broken = dict(zip(header, lines[4].split(","), strict=True)) | {"Absences": "many"}
    formula = dict(zip(header, lines[5].split(","), strict=True)) | {"StudentID": "=cmd|' /C calc'!A0"}
    evil = "<img src=x onerror=window.hit=1><script>window.hit=1</script>"
    rows = [[*header, evil], *([*line.split(","), "1"] for line in lines[1:4]), [*broken.values(), "1"],
            [*formula.values(), evil]]
    (tmp_path/"messy <b>class.csv").write_text("\n".join(",".join(row) for row in rows))
    page = visit("class")
    choose_file(page, tmp_path/"messy <b>class.csv")
    page.wait_for_selector("text=Problems by row")
    text = page.inner_text("#rendered_cells")
    assert "5 rows read, 4 students ranked, 1 row left out" in text and "many" in text
    assert page.evaluate("window.hit") is None and not page.complaints
    page.get_by_role("slider", name="How many can be helped").focus()
    page.keyboard.press("End")
    page.wait_for_selector("text=4 places.")
    with page.expect_download() as saved: page.get_by_role("link", name="Save this list").click()
    saved.value.save_as(tmp_path/"list.csv")
    assert "'=cmd" in (tmp_path/"list.csv").read_text()
    again = load(tmp_path/"list.csv", "students")
    assert len(again.frame) == 4 and formula["StudentID"] in again.frame.StudentID.tolist()
    with page.expect_download() as left: page.get_by_role("link", name="Save the rows").click()
    left.value.save_as(tmp_path/"left.csv")
    assert "allowed: a whole number" in (tmp_path/"left.csv").read_text()


def test_class_of_2392_is_ranked_in_two_seconds_and_loses_no_row(visit, tmp_path):
    from gradeclass.data.synthetic import synthesise_file
    synthesise_file("students", 2392, tmp_path/"class.csv", 5)
    page = visit("class")
    times = []
    for _ in range(3):
        started = time.perf_counter()
        choose_file(page, tmp_path/"class.csv")
        page.wait_for_selector("text=2,392 students ranked, none left out")
        page.wait_for_selector("text=places.")
        times.append(time.perf_counter() - started)
        page.get_by_role("button", name="Try the sample").click()
        page.wait_for_selector("text=1,000 students ranked")
    assert min(times) < 2, times


def test_files_that_are_no_tables_get_a_sentence_and_the_page_goes_on(visit, tmp_path):
    page = visit("class")
    (tmp_path/"large.csv").write_bytes(b"x"*10_500_000)
    choose_file(page, tmp_path/"large.csv")
    page.wait_for_selector("text=use the command line")
    (tmp_path/"noise.csv").write_bytes(os.urandom(9_000_000))
    choose_file(page, tmp_path/"noise.csv")
    page.wait_for_selector("text=it holds binary data", timeout=60_000)
    (tmp_path/"book.xlsx").write_bytes(b"PK\x03\x04 no workbook")
    choose_file(page, tmp_path/"book.xlsx")
    page.wait_for_selector("text=not an Excel workbook")
    page.get_by_role("button", name="Try the sample").click()
    page.wait_for_selector("text=1,000 students ranked")


def test_custom_figure_is_drawn_and_an_impossible_one_explained(visit):
    page = visit("explore")
    page.wait_for_function("document.querySelectorAll('.gc-figures img').length === 4")
    page.wait_for_function("document.querySelectorAll('.gc-figure img').length === 5")
    page.get_by_label("Figure").select_option("Histogram: one column")
    page.get_by_role("button", name="Draw").click()
    page.wait_for_function("[...document.querySelectorAll('.gc-figure img')].some(image => image.alt.startsWith('Study "
                           "time, '))")
    page.get_by_label("Figure").select_option("Bar: count of answers")
    page.get_by_role("button", name="Draw").click()
    page.wait_for_selector("text=a bar figure needs a column of answers")


def test_without_token_there_is_a_door_and_nothing_else(server):
    status, text = fetch(f"{server.base}/predict")
    assert "Open the address that the server printed" in text and "jupyter-config-data" not in text
    for path in ("voila/tree", "voila/api/contents", "voila/files/predict.ipynb", "voila/render/predict.ipynb",
                 "files/predict.ipynb", "paper/report/x?key=1"):
        status, text = fetch(f"{server.base}/{path}?token={TOKEN}".replace("?key=1?", "?key=1&"))
        assert status in (403, 404), path
        assert "Traceback" not in text and "/nbs/" not in text


def test_killed_process_is_told_and_the_next_visitor_is_served(visit, server):
    page = visit("predict")
    server.kernel(page).kill()
    page.wait_for_selector(".gc-lost:not([hidden])", timeout=20_000)
    assert "Load it again" in page.inner_text(".gc-lost")
    assert visit("predict").inner_text(".gc-grade")


def test_process_ends_with_its_visit(visit, server):
    page = visit("about")
    kernel = server.kernel(page)
    page.goto("about:blank")
    assert psutil.wait_procs([kernel], 20)[0]


def test_manage_runs_a_pipeline_and_a_person_promotes_and_reverts(visit, server):
    page = visit("manage")
    page.get_by_label("Token for this page").fill("wrong")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=That is not the token")
    assert page.get_by_role("button", name="Run the pipeline").count() == 0
    unlock(page)
    page.get_by_label("Table").fill("sample")
    page.get_by_label("Model type").select_option("xgboost")
    page.get_by_label("Further parameters").fill("params={rounds: 5, patience: null}, resamples=40")
    page.get_by_role("button", name="Run the pipeline").click()
    page.wait_for_selector(".gc-steps progress", timeout=20_000)
    page.wait_for_selector(".gc-note-good", timeout=120_000)
    page.get_by_role("button", name="Let this version serve").click()
    page.wait_for_selector("text=a decision needs a name and a reason")
    page.get_by_label("Your name").fill("A. Teacher")
    for version in ("1", "2"):
        page.get_by_label("Version").select_option(version)
        page.get_by_label("Reason").fill(f"Version {version} is what we want")
        page.get_by_role("button", name="Let this version serve").click()
        page.wait_for_selector(f"text=Version {version} serves now", timeout=20_000)
    assert "A. Teacher" in page.inner_text("#rendered_cells")
    page.get_by_label("Reason").fill("Only a try")
    page.get_by_role("button", name="Restore previous model").click()
    page.wait_for_selector("text=Version 1 serves now", timeout=20_000)
    link = page.get_by_role("link", name="Report of the newest run").get_attribute("href")
    assert fetch(f"{server.base}/{link}&token={TOKEN}")[0] == 200


def test_damaged_bundle_leaves_the_old_model_and_a_new_one_is_taken_without_a_restart(browser, trained, tmp_path):
    from gradeclass.models.bundle import extend_bundle
    outputs = tmp_path/"outputs"
    outputs.mkdir()
    extend_bundle(trained, outputs/"champion")
    server = Server(outputs, pool=0)
    try:
        page = browser.new_page()
        page.goto(f"{server.base}/predict?token={TOKEN}")
        page.wait_for_selector(".gc-grade", timeout=60_000)
        with (outputs/"champion"/"schema.yaml").open("a") as file: file.write("\n")
        os.utime(outputs/"champion"/"bundle.json")
        page.wait_for_selector("text=the one before goes on answering", timeout=20_000)
        assert str(outputs) not in page.inner_text("body")
        shutil.rmtree(outputs/"champion")
        extend_bundle(trained, outputs/"champion", {"note.txt": "new"})
        page.wait_for_selector("text=A newer model answers", timeout=20_000)
        shutil.rmtree(outputs/"champion")
        other = browser.new_page()
        other.goto(f"{server.base}/predict?token={TOKEN}")
        other.wait_for_selector("text=Train on the built-in sample", timeout=60_000)
        page.close(), other.close()
    finally: server.close()


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
        assert psutil.wait_procs([kernel], 30)[0]
        page.wait_for_selector(".gc-lost:not([hidden])", timeout=20_000)
        other.goto(f"{server.base}/predict?token={TOKEN}")
        other.wait_for_selector(".gc-grade", timeout=60_000)
        page.close(), other.close()
    finally: left = server.close()
    assert not left

"Fixtures of the tests of the pages: a browser, a server, and bundles of three schemas"
import shutil

import pytest

from gradeclass.drafting.infer import infer_schema
from gradeclass.data.sources import load
from gradeclass.data.synthetic import sample_path
from gradeclass.models.bundle import extend_bundle
from pages_helpers import FLAGS, PATIENCE, TOKEN, Server, fit_bundle, serve_copy, unknown_table

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="package")
def server(finished_run, tmp_path_factory):
    "The pages on the outputs of a quick run"
    yield from serve_copy(finished_run, tmp_path_factory.mktemp("pages"))


@pytest.fixture
def champion(trained, tmp_path):
    "Folder of a champion that a test may change, and the pages that serve it"
    outputs = tmp_path/"outputs"
    outputs.mkdir()
    extend_bundle(trained, outputs/"champion")
    server = Server(outputs, pool=0)
    yield outputs/"champion", server
    server.close()


@pytest.fixture(scope="module")
def browser():
    "Headless Chromium; for one module, as its event loop runs until it is closed"
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None: pytest.skip("chromium is not installed")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser, server):
    "Open a page as a new visitor; what the browser complained about is in `page.complaints`"
    opened, complaints = [], []
    def open_page(name, width=1280, scheme="light", wait=".gc-page, .gc-stack"):
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme,
                                      accept_downloads=True)
        opened.append(context)
        context.set_default_timeout(1000*PATIENCE)
        page = context.new_page()
        page.complaints, page.requested = [], []
        complaints.append(page.complaints)
        page.on("console", lambda message: page.complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.on("request", lambda request: page.requested.append(request.url))
        page.goto(f"{server.base}/{name}?token={TOKEN}")
        page.wait_for_selector(wait)
        return page
    yield open_page
    for context in opened: context.close()
    # What the pages' policy forbids, such as code made from text, no part of a page may need
    assert not [text for said in complaints for text in said if "Content Security Policy" in text]


@pytest.fixture(scope="module", params=["students", "higher_ed", "unknown"])
def served(request, tmp_path_factory):
    "A bundle of a shipped schema, or of one that was inferred"
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "unknown":
        return fit_bundle(infer_schema(unknown_table(), "Grade", "unknown"), unknown_table(), folder)
    dataset = load(sample_path(request.param), request.param)
    return fit_bundle(dataset.schema, dataset.raw, folder,
                      family="ordinal" if request.param == "students" else "xgboost",
                      **({} if request.param == "students" else {"params": {"rounds": 5, "patience": None}}))

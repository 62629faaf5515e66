"""The documentation: every command and snippet is run, the reference is complete, every link leads somewhere."""
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from gradeclass.pipeline.stages import STAGES, known_parameters
from gradeclass.processes import free_port
from gradeclass.service.settings import ServiceSettings, serve_variable, service_markdown
from gradeclass.settings import Settings, settings_markdown, variable

ROOT = Path(__file__).parents[2]
DOCS, SITE = ROOT/"docs", ROOT/"docs"/"_build"/"html"
PAGES = [ROOT/"README.md", *sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts)]
FIRST = ["docs/start/tutorial.md", "docs/how-to/monthly.md"]  # The other pages begin where these two end
BLOCK = re.compile(r"^(?P<indent> *)(?:<!-- (?P<mark>[^>]*) -->\n(?P=indent))?```(?P<kind>bash|python)\n"
                   r"(?P<text>.*?)^(?P=indent)```$", re.M | re.S)
PRINTED = re.compile(r"^```python\n(.*?)^```\n+```text\n(.*?)^```$", re.M | re.S)  # A snippet and what it prints
pytestmark = pytest.mark.skipif(not DOCS.is_dir(), reason="needs the checkout")

def short(page): return page.relative_to(ROOT).as_posix()

def blocks(page):
    "Mark, language and text of each block that is shown as something to run"
    for found in BLOCK.finditer(page.read_text(encoding="utf-8")):
        yield found["mark"] or "", found["kind"], re.sub(f"^{found['indent']}", "", found["text"], flags=re.M)

def to_run(page): return [block for block in blocks(page) if not block[0].startswith("not run: ")]

def wait_for_address(process, log):
    "Until the address that a server prints answers"
    end = time.monotonic() + 120
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text()
        found = re.search(r'http://[^\s"]+', log.read_text())
        with suppress(OSError):
            if found: return urllib.request.urlopen(found[0], timeout=30).close()
        time.sleep(0.1)
    raise AssertionError(f"no address answers:\n{log.read_text()}")

def run_page(page, home):
    "Run the blocks of a page in a folder, in order; servers run until the page ends"
    port, printed = str(free_port()), dict(PRINTED.findall(page.read_text(encoding="utf-8")))
    env = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "200",
                        "GRADECLASS_HOME": str(home), "GRADECLASS_SERVE_PORT": port}
    env.pop("GRADECLASS_OUTPUTS", None)
    servers = []
    try:
        for mark, kind, text in to_run(page):
            text = text.replace("127.0.0.1:9696", f"127.0.0.1:{port}")
            command = ["bash", "-euo", "pipefail", "-c", text] if kind == "bash" else [sys.executable, "-c", text]
            options = {"cwd": home, "env": env, "stdin": subprocess.DEVNULL, "stderr": subprocess.STDOUT}
            if mark == "runs until stopped":
                log = home/f"server-{len(servers)}.log"
                with log.open("w") as file:
                    servers.append(subprocess.Popen(command, stdout=file, start_new_session=True, **options))
                wait_for_address(servers[-1], log)
                continue
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=300, **options)
            assert done.returncode == 0, f"{short(page)}:\n{text}\n{done.stdout[-3000:]}"
            shown = printed.get(text, done.stdout)
            assert done.stdout == shown, f"{short(page)} shows something else than:\n{done.stdout}"
    finally:
        for server in servers:
            with suppress(ProcessLookupError): os.killpg(server.pid, signal.SIGTERM)
            server.wait(60)

@pytest.fixture(scope="module")
def school(make_once):
    "A folder in which somebody has done what the first two pages say"
    def fill(folder):
        home, done = folder/"home", folder/"done"  # Versions know where their run was, so the folder stays where it is
        if done.exists(): return home
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir()
        for path in (DOCS/"start").iterdir():
            if path.suffix != ".md": shutil.copy(path, home)
        for name in FIRST: run_page(ROOT/name, home)
        done.touch()
        return home
    return make_once("school", fill)

@pytest.mark.process
@pytest.mark.slow
def test_first_pages_give_what_they_promise(school):
    assert (school/"expected.csv").read_text().startswith("Student No,grade,grade_index,p_A")
    assert len((school/"expected.csv").read_text().splitlines()) == 61
    assert len([*school.glob("outputs/runs/*/report.html")]) == 2
    assert "confirm" in (school/"draft.yaml").read_text() and "confirm" not in (school/"school.yaml").read_text()

@pytest.mark.process
@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if to_run(page) and short(page) not in FIRST], ids=short)
def test_what_a_page_shows_can_be_run(page, school, tmp_path):
    home = shutil.copytree(school, tmp_path/"home", symlinks=True)
    run_page(page, home)

@pytest.mark.parametrize("page", PAGES, ids=short)
def test_marks_are_known_and_what_is_not_run_says_why(page):
    shown = re.findall(r"^ *```(?:bash|python)$", page.read_text(encoding="utf-8"), re.M)
    marks = [mark for mark, _, _ in blocks(page)]
    assert len(marks) == len(shown)
    assert not [mark for mark in marks if mark not in ("", "runs until stopped") and len(mark) < len("not run: ") + 15]

@pytest.fixture(scope="module")
def build():
    "The script that writes the reference"
    spec = importlib.util.spec_from_file_location("docs_build", DOCS/"build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

def test_every_setting_is_in_the_reference(build):
    page = build.settings_page()
    assert settings_markdown() in page and service_markdown() in page
    names = [*map(variable, Settings.model_fields), *map(serve_variable, ServiceSettings.model_fields)]
    assert not [name for name in names if f"| `{name}` |" not in page]

def test_every_parameter_and_its_meaning_is_in_the_reference(build):
    rows = dict(re.findall(r"^\| `(\w+)` \| `.*?` \| (.+?) \|", build.parameters_page(), re.M))
    assert set(rows) == set(known_parameters([*STAGES.values()]))
    assert not [name for name, meaning in rows.items() if len(meaning) < 10]

def test_every_command_and_option_is_in_the_reference(build):
    page = build.commands_page()
    from typer.main import get_command

    from gradeclass.cli.main import app
    def walk(command, name):
        yield name, command
        for below, part in getattr(command, "commands", {}).items(): yield from walk(part, f"{name} {below}")
    for name, command in walk(get_command(app), "gradeclass"):
        if name == "gradeclass": continue
        assert re.search(rf"^#+ {name}$", page, re.M), f"{name} is missing"
        text = re.split(rf"^#+ {name}$", page, flags=re.M)[1].split("\n#")[0]
        options = [option for one in command.params for option in one.opts if option.startswith("-")]
        assert not [option for option in options if option != "--help" and f"`{option}`" not in text]

def test_every_word_of_a_schema_has_a_meaning(build):
    from gradeclass import schema
    page = build.schema_page()
    for part in (schema.Schema, schema.Column, schema.GradeScale, schema.Source, schema.Effect):
        for name in part.model_fields:
            assert re.search(rf"^\| `{name}` \| `.+?` \| .* \| \S.{{4,}} \|$", page, re.M), name

def test_every_address_is_in_the_reference(build):
    page, document = build.http_page(), build.openapi()
    wanted = {f"### {method.upper()} {path}" for path, methods in document["paths"].items() for method in methods}
    assert len(wanted) > 20 and wanted <= set(page.splitlines())

class Links(HTMLParser):
    "What a page links to, what it loads, and the anchors that it has"
    def __init__(self, path):
        super().__init__()
        self.links, self.loaded, self.anchors = [], [], {""}
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        said = dict(attributes)
        self.anchors |= {said.get("id"), said.get("name") if tag == "a" else None}
        place = said.get("href") or said.get("src")
        if not place: return
        if tag == "a": self.links.append(place)
        elif tag in ("script", "img", "iframe") or "stylesheet" in (said.get("rel") or ""): self.loaded.append(place)

@pytest.fixture(scope="module")
def site():
    "The pages of the built site"
    if not (SITE/"index.html").is_file(): pytest.skip("the site is not built: make docs")
    return {path.resolve(): Links(path) for path in SITE.rglob("*.html") if "_static" not in path.parts}

def test_every_link_of_the_site_leads_somewhere(site):
    broken, counted = [], 0
    for path, page in site.items():
        for link in {*page.links, *page.loaded}:
            part = urlsplit(link)
            if part.scheme or part.netloc: continue
            target = (path.parent/unquote(part.path)).resolve() if part.path else path
            counted += 1
            anchors = site[target].anchors if target in site else {unquote(part.fragment)}
            if not target.exists() or unquote(part.fragment) not in anchors:
                broken.append(f"{path.relative_to(SITE)}: {link}")
    assert counted > 5_000 and not broken, broken[:20]

def test_site_loads_nothing_from_elsewhere(site):
    assert not [(path.name, place) for path, page in site.items() for place in page.loaded if urlsplit(place).netloc]

def test_site_shows_what_notebooks_keep_and_can_be_searched(site):
    lesson = (SITE/"lessons"/"models"/"05_ordinal.html").read_text(encoding="utf-8")
    assert "<img" in lesson and "cell_output" in lesson and "nbdev_export" not in lesson and "#| export" not in lesson
    assert "Time zone of --cron" in (SITE/"reference"/"commands.html").read_text(encoding="utf-8")
    index = (SITE/"searchindex.js").read_text(encoding="utf-8")
    assert index.startswith("Search.setIndex(") and '"lessons/models/05_ordinal"' in index


def test_every_place_that_the_code_writes_to_is_in_the_list_of_what_is_kept_where():
    "Who has to erase a student looks there"
    said = (DOCS/"about"/"files.md").read_text(encoding="utf-8")
    code = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT/"gradeclass").rglob("*.py"))
    places = set(re.findall(r"""find_outputs\(\)\)?\s*/\s*["']([\w-]+)""", code))
    assert len(places) > 6 and not [place for place in places if f"`outputs/{place}" not in said]

"The page for a head teacher: complete, self-contained, and proof against hostile data"
import html
import json
import os
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pandas as pd
import pytest
from conftest import QUICK

from gradeclass.config import GradeclassError
from gradeclass.pipeline.report import (
    describe_version, find_browser, group_list, make_card, print_report, render_markdown, render_output,
    write_report,
)
from gradeclass.pipeline.cache import read_json
from gradeclass.pipeline.runner import run_pipeline
from gradeclass.data.synthetic import sample_path, synthesise_file
from gradeclass.schema import load_schema, schema_yaml

SCRIPT = "<script>alert(1)</script>"
IMAGE = "<img src=x onerror=alert(1)>"
EMPTY = {"meta", "img", "br", "hr", "link", "input", "col", "source", "wbr"}

class Page(HTMLParser):
    "Collects tags, attributes and text, and what is not closed"
    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.tags = []
        self.attributes = []
        self.open = []
        self.mistakes = []
        self.words = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in EMPTY: self.open.append(tag)

    def handle_endtag(self, tag):
        if tag in EMPTY: return
        if self.open and self.open[-1] == tag: self.open.pop()
        else: self.mistakes.append(f"</{tag}> closes {self.open[-1:]}")

    def handle_data(self, data):
        if not {"style", "script"} & set(self.open): self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())

    def outside(self):
        "Addresses that are not within the page"
        asks = {"src", "srcset", "data", "poster", "action", "background"}
        found = [value for tag, name, value in self.attributes if name in asks or (tag == "link" and name == "href")]
        return [value for value in found if not value.startswith(("data:", "#"))]

    def active(self):
        "Whatever a browser would run"
        handlers = [(tag, name) for tag, name, _ in self.attributes if name.startswith("on")]
        links = [value for _, name,
                 value in self.attributes if name == "href" and not value.startswith(("#", "https://", "http://"))]
        return [*({"script", "iframe", "object", "embed", "form", "base"} & set(self.tags)), *handlers, *links]

@pytest.fixture(scope="module")
def text(finished_run):
    return finished_run.report.read_text(encoding="utf-8")

@pytest.fixture(scope="module")
def page(text):
    return Page(text)

@pytest.mark.process
@pytest.mark.slow
def test_page_is_well_formed(page):
    assert not page.mistakes and not page.open
    assert page.tags.count("h1") == 1 and page.tags.count("section") >= 4
    ids = [value for _, name, value in page.attributes if name == "id"]
    assert len(set(ids)) == len(ids)
    inner = [value[1:] for _, name, value in page.attributes if name == "href" and value.startswith("#")]
    assert set(inner) <= set(ids)

@pytest.mark.process
@pytest.mark.slow
def test_page_needs_nothing_from_outside_and_is_small(page, text):
    assert not page.outside() and not page.active()
    style = " ".join(re.findall(r"<style.*?</style>", text, re.S))
    assert "url(" not in style and "@import" not in style
    assert len(text.encode()) < 5_000_000

@pytest.mark.process
@pytest.mark.slow
def test_every_picture_says_what_it_is(page):
    said = [value for tag, name, value in page.attributes if tag == "img" and name == "alt" and value]
    assert len(said) == page.tags.count("img") >= 4

@pytest.mark.process
@pytest.mark.slow
def test_page_says_what_a_head_teacher_asks(page, finished_run):
    for said in ("A prediction is advice to a person who decides", "synthetic sample", "95 % interval",
                 "Who would come first on a list for help",
                 "Use with care", "Protected attributes (Age, Gender, Ethnicity) are no inputs", "How it was made",
                 "Content digest"):
        assert said in page.text, said
    accuracy = finished_run.metrics["accuracy"]
    assert f"{round(100*accuracy['value'])} %" in page.text
    assert f"{round(100*accuracy['low'])}–{round(100*accuracy['high'])} %" in page.text

@pytest.mark.process
@pytest.mark.slow
def test_list_for_help_shows_students_by_falling_risk(text, finished_run):
    table = next(part for part in re.findall(r"<table.*?</table>", text.partition('id="more"')[2], re.S)
                 if "Risk of F" in part)
    ids = re.findall(r"<td>(\d{4})</td>", table)
    predicted = pd.read_csv(finished_run.folder("evaluate")/"predictions.csv",
                            dtype={"StudentID": str}).set_index("StudentID")
    sign = -1 if "Steps below" in table else 1
    expected = [sign*float(number) for number in re.findall(r"<td>(\d\.\d\d)</td>", table)]
    risks = predicted.at_risk.loc[ids].round(2)
    order = list(zip(-risks, expected, strict=True)) # Among equals in whole percent, the lowest score or grade first
    assert len(ids) == 20 and order == sorted(order) and risks.iloc[0] == predicted.at_risk.round(2).max()

@pytest.mark.process
@pytest.mark.slow
def test_page_names_no_folder_of_this_computer(text, finished_run):
    assert str(finished_run.bundle.parents[2]) not in text and os.path.expanduser("~") + "/" not in text

# Hostile data

def hostile_schema():
    "The students schema with labels, codes and titles written by an attacker"
    schema = load_schema("students")
    columns = {column.name: column.model_copy() for column in schema.columns}
    columns["Absences"].label = f"Absences {SCRIPT}"
    columns["StudentID"].label = f"Number {IMAGE}"
    columns["Music"].label = ("Music ![pixel](https://example.org/pixel.png) [press](javascript:alert(1)) "
                              "[here](https://example.org)")
    columns["Gender"].label = f"Gender {SCRIPT}"
    columns["Tutoring"].codes = {0: f"No {SCRIPT}", 1: "Yes"}
    grades = schema.grades.model_copy(update={"codes": {0: "A", 1: "B", 2: "C", 3: "D", 4: f"F{SCRIPT}"},
                                              "at_risk": [f"F{SCRIPT}"], "meanings": {}})
    source = schema.source.model_copy(update={"title": SCRIPT, "authors": IMAGE})
    return schema.model_copy(update={"columns": [*columns.values()], "grades": grades, "title": f"School {SCRIPT}",
                                     "name": "hostile", "source": source})

def run_hostile(folder):
    "A run over a table whose names, cells, ids and file name are written by an attacker"
    (folder/"hostile.yaml").write_text(schema_yaml(hostile_schema()), encoding="utf-8")
    path = folder/f"students {IMAGE} ![pixel](https:example.org).csv"
    synthesise_file("students", 300, path)
    table = pd.read_csv(path, dtype=str)
    table["StudentID"] = table.StudentID.map(lambda number: f"{SCRIPT}{number}")
    table.loc[3, "ParentalSupport"] = SCRIPT
    table.loc[4, "Absences"] = f"{IMAGE} | ![pixel](https://example.org/pixel.png)"
    table.rename(columns={"Sports": "sports "}).assign(**{f"Extra {SCRIPT}": "1"}).to_csv(path, index=False)
    return run_pipeline(str(path), str(folder/"hostile.yaml"), QUICK | {"family": "majority", "params": {}},
                        folder/"outputs")

@pytest.fixture(scope="module")
def hostile_run(make_once):
    return make_once("hostile_run", run_hostile)

@pytest.mark.process
@pytest.mark.slow
def test_hostile_data_are_shown_and_not_run(hostile_run):
    text = hostile_run.report.read_text(encoding="utf-8")
    page = Page(text)
    assert not page.active() and SCRIPT not in text and "<img src=x" not in text
    assert not page.mistakes and not page.open
    assert html.escape(SCRIPT) in text and SCRIPT in page.text

@pytest.mark.process
@pytest.mark.slow
def test_hostile_data_cannot_fetch_a_picture_or_set_a_link(hostile_run):
    page = Page(hostile_run.report.read_text(encoding="utf-8"))
    assert not page.outside()
    assert not [value for _, name, value in page.attributes if name == "href" and not value.startswith("#")]

@pytest.mark.parametrize("source",
                         [SCRIPT, IMAGE, f"**bold** {SCRIPT}", f"[a](javascript:alert(1)) {IMAGE}", f"- {SCRIPT}\n- x",
                          f"| a |\n|---|\n| {SCRIPT} |",
                                    "<a href='javascript:alert(1)'>x</a>", "[a](data:text/html;base64,AAAA)",
                          "```\n</code></pre><script>x</script>\n```"])
def test_markdown_runs_nothing(source):
    page = Page(render_markdown(source))
    links = [value for _, name, value in page.attributes if name == "href"]
    assert not {"script", "img",
                "iframe"} & set(page.tags) and not [value for value in links
                                                    if re.match(r"(javascript|data|vbscript):", value)]

def test_texts_of_outputs_are_escaped():
    for output in ({"output_type": "stream", "name": "stdout", "text": [SCRIPT]},
                   {"output_type": "execute_result", "data": {"text/plain": [SCRIPT]}}):
        assert render_output(output, "x") == f"<pre>{html.escape(SCRIPT)}</pre>"
    assert 'alt="&quot;&gt;' in render_output({"output_type": "display_data", "data": {"image/png": ["AAAA"]}}, '">')
    assert render_output({"output_type": "stream", "name": "stderr", "text": ["a warning"]}, "x") == ""

def test_figure_that_cannot_be_computed_is_said_so():
    assert make_card({"value": None, "low": None, "high": None}, "words")["value"] == "–"
    assert make_card({"value": 0.456, "low": 0.4, "high": 0.5}, "words")["range"] == "95 % interval 40–50 %"

# In a browser

def browse(path, folder):
    "The page as a browser has it after loading, and what it logged"
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if not browser: pytest.skip("no chromium on this computer")
    switches = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--enable-logging=stderr",
                f"--user-data-dir={folder}"]
    done = subprocess.run([browser, *switches, "--dump-dom", path.as_uri()], capture_output=True, text=True, timeout=60)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]

@pytest.mark.process
@pytest.mark.slow
@pytest.mark.browser
def test_page_opens_in_a_browser_without_a_complaint(finished_run, tmp_path):
    document, logged = browse(finished_run.report, tmp_path)
    assert not logged
    assert ("Grade report: High-school students</h1>" in document and document.count("<h2") >= 4
            and document.count("<img") >= 4)

# On paper

COLUMNS = ["Student", "Risk of F", "Expected GPA", "Predicted grade", "Actual grade"]

def test_list_for_help_writes_equal_risks_once_and_equal_students_in_one_row():
    data = [["a", "94 %", 0.31, "F", "F"], ["b", "94 %", 0.33, "F", "D"], ["c", "94 %", 0.52, "D", "F"],
            ["d", "90 %", 0.5, "F", "F"]]
    rows = group_list({"columns": COLUMNS, "data": data})["rows"]
    assert [(row["risk"], row["span"], row["place"], row["who"]) for row in rows] == [
        ("94 %", 2, "1–2", "a, b"), ("94 %", 0, "3", "c"), ("90 %", 1, "4", "d")]
    assert rows[0]["answers"] == ["F", "1 F, 1 D"] and rows[1]["answers"] == ["D", "F"]

@pytest.mark.process
@pytest.mark.slow
def test_first_part_lists_every_place_once_by_falling_risk_then_rising_score(text, finished_run):
    front = text.partition('id="more"')[0]
    table = next(part for part in re.findall(r"<table.*?</table>", front, re.S) if "Risk of F" in part)
    ids = [one for cell in re.findall(r'<td class="who">(.*?)</td>', table) for one in cell.split(", ")]
    predicted = pd.read_csv(finished_run.folder("evaluate")/"predictions.csv", dtype={"StudentID": str})
    risks = predicted.set_index("StudentID").at_risk.round(2)
    assert len(ids) == len(set(ids)) == min(30, finished_run.metrics["at_risk"]["places"])
    assert risks.loc[ids].is_monotonic_decreasing and risks.loc[ids].iloc[0] == risks.max()
    shown = re.findall(r'<td class="risk" rowspan="(\d+)">(\d+) %</td>', table)
    assert len({risk for _, risk in shown}) == len(shown) == risks.loc[ids].nunique()

@pytest.mark.parametrize("outcome, said", [
    ({"version": 2, "after": 2, "gate": None}, "version 2 of the model, which is in use."),
    ({"version": 2, "after": 1, "gate": {"rails": [{"name": "metric", "passed": True}, {"name": "drift", "passed": False}]}},
     "which is not in use; version 1 is. The reason: the students have changed."),
    ({"version": 1, "after": None, "gate": {"rails": []}}, "which is not in use. The reason: a person has to decide.")])
def test_page_says_which_model_it_is_about_and_why_it_is_not_in_use(outcome, said):
    assert describe_version(outcome).endswith(said)

@pytest.mark.process
@pytest.mark.slow
def test_first_part_says_it_where_nobody_was_at_risk_and_holds_no_line_of_a_schema(finished_run, tmp_path):
    evaluated = shutil.copytree(finished_run.folder("evaluate"), tmp_path/"evaluate")
    metrics = read_json(evaluated/"metrics.json")
    metrics["at_risk"] |= {"at_risk": 0, "places": 1}
    metrics["cautions"] = ['guessed that A is the best: `codes` in another order if not; guessed that help is for F.']
    (evaluated/"metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    folders = {name: finished_run.folder(name) for name in ("prepare", "train")} | {"evaluate": evaluated}
    front = write_report(folders, tmp_path/"report.html").read_text(encoding="utf-8").partition('id="more"')[0]
    words = " ".join(front.split())
    assert "has 1 place here. None of the" in words and "perfect list reaches" not in words
    assert "How many of the students at risk" not in words
    assert "guessed that A is the best; guessed that help is for F." in words

def pages_of(pdf):
    "How many sheets a PDF has"
    return len(re.findall(rb"/Type\s*/Page\b(?!s)", pdf.read_bytes()))

def needs_browser():
    "Skip where nothing can print"
    try: find_browser()
    except GradeclassError as error: pytest.skip(str(error))

@pytest.fixture(scope="module")
def higher_ed_run(make_once):
    return make_once("higher_ed_run", lambda folder: run_pipeline(str(sample_path("higher_ed")), "higher_ed", QUICK, folder))

@pytest.mark.process
@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.parametrize("name", ["finished_run", "higher_ed_run", "hostile_run"])
def test_report_prints_on_two_pages_even_with_the_details_open(name, request, tmp_path):
    needs_browser()
    text = request.getfixturevalue(name).report.read_text(encoding="utf-8")
    for number, state in enumerate(("", " open")):
        page = tmp_path/f"report{number}.html"
        page.write_text(text.replace('<details class="more"', f'<details class="more"{state}'), encoding="utf-8")
        assert pages_of(print_report(page)) == 2, state

@pytest.mark.process
@pytest.mark.slow
@pytest.mark.browser
def test_tables_of_the_first_part_fit_a_phone(finished_run):
    from playwright.sync_api import sync_playwright
    needs_browser()
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=find_browser(), args=["--no-sandbox", "--disable-dev-shm-usage"])
        page = browser.new_page(viewport={"width": 390, "height": 844})
        page.goto(finished_run.report.as_uri())
        tables = page.locator("#list .table, #sure .table")
        fits = tables.evaluate_all("tables => tables.map(table => table.scrollWidth <= table.clientWidth)")
        browser.close()
    assert fits == [True, True]

def test_missing_browser_is_one_sentence(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(GradeclassError, match="a PDF needs Chromium, Chrome or Edge on this computer"): find_browser()

@pytest.mark.process
@pytest.mark.slow
@pytest.mark.browser
def test_hostile_page_runs_nothing_in_a_browser(hostile_run, tmp_path):
    document, logged = browse(hostile_run.report, tmp_path)
    assert "<h1>Grade report: School" in document and not Page(document).active()
    assert not logged

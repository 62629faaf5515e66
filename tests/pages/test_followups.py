"What a person decides on the pages, in a browser: who may, how many clicks it takes, and what stays off"
import json
import sqlite3
from datetime import date, timedelta

import pytest

from gradeclass.data.synthetic import sample_path
from gradeclass.service.api_keys import remove_key
from gradeclass.service.followups.records import open_follow_ups
from gradeclass.service.followups.visitors import Visitor, make_visitor, visitors_file
from pages_helpers import TOKEN, Line, choose_file, expect, fetch, finish, serve_copy, until

pytestmark = [pytest.mark.browser, pytest.mark.process, pytest.mark.slow]
SOON = str(date.today() + timedelta(7))
CLICKS = """addEventListener('click', event => {
    if (event.isTrusted) sessionStorage.clicks = 1 + +(sessionStorage.clicks || 0); }, true)"""


@pytest.fixture(scope="module")
def keeping(finished_run, tmp_path_factory):
    "A server that keeps follow-ups"
    yield from serve_copy(finished_run, tmp_path_factory.mktemp("keeping"), follow_ups=True)


@pytest.fixture
def come(browser, keeping, monkeypatch):
    "Open a page with the token of a person, or that of all visitors; the context, page and token"
    monkeypatch.setenv("GRADECLASS_OUTPUTS", str(keeping.outputs))
    opened = []
    def open_page(name, role="", width=1280):
        token = make_visitor(f"Ms Adler {role}", role) if role else TOKEN
        context = browser.new_context(viewport={"width": width, "height": 900})
        opened.append(context)
        page = context.new_page()
        page.add_init_script(CLICKS)
        page.goto(f"{keeping.base}/{name}?token={token}")
        return page, token
    yield open_page
    for context in opened: context.close()


def decisions(server):
    with sqlite3.connect(server.outputs/"predictions.db") as connection:
        return connection.execute("SELECT grade, reason, state, decided_by FROM follow_ups ORDER BY id").fetchall()


@pytest.mark.parametrize("width", [1280, 390])
def test_worst_student_is_overridden_and_the_list_printed_in_twelve_clicks(come, keeping, width, tmp_path):
    before = len(decisions(keeping))
    page, _ = come("class", "adviser", width)
    page.wait_for_selector("h2:has-text('Follow-ups')", timeout=60_000)
    choose_file(page, sample_path("students"))
    worst = page.locator(".gc-list a").first
    worst.wait_for()
    number = page.locator(".gc-list tbody tr").first.locator("td").nth(1).inner_text()
    worst.click()
    page.wait_for_selector("text=Your decision", timeout=60_000)
    until(page, f"[...document.querySelectorAll('input')].some(made => made.value === '{number}')")
    expect(page.locator(".gc-reasons tbody tr").first).to_be_visible()
    expect(page.locator(".gc-reasons")).to_contain_text("Absences")
    page.get_by_label("Your grade").click()
    page.get_by_label("Your grade").select_option("B")
    page.get_by_label("Reason").click()
    page.keyboard.type("<img src=x onerror=window.hit=1> was ill")
    page.get_by_label("Look again on").fill(SOON)
    page.get_by_role("button", name="Save the decision").click()
    page.wait_for_selector("text=Saved.")
    page.get_by_role("link", name="A class").click()
    page.wait_for_selector(f".gc-follow td:has-text('{number}')", timeout=60_000)
    page.evaluate("window.print = () => { window.printed = true }")
    page.get_by_role("button", name="Print").click()
    assert page.evaluate("window.printed") and page.evaluate("window.hit") is None
    assert int(page.evaluate("sessionStorage.clicks")) <= 12
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.emulate_media(media="print")
    assert page.locator(".gc-follow").is_visible() and not page.get_by_label("Open one to edit").is_visible()
    grade, reason, state, who = decisions(keeping)[before]
    assert (grade, state, who) == ("B", "open", "Ms Adler adviser") and "was ill" in reason


def test_follow_up_is_found_by_number_edited_and_closed(come, keeping):
    page, _ = come("predict", "adviser")
    page.get_by_label("Student number").fill("S-77")
    page.get_by_label("Note").fill("ask again")
    page.get_by_role("button", name="Save the decision").click()
    page.wait_for_selector("text=Saved.")
    page.get_by_role("link", name="A class").click()
    page.get_by_label("Student number").fill("S-77")
    page.keyboard.press("Enter")
    page.wait_for_selector(".gc-follow td:has-text('S-77')", timeout=60_000)
    page.get_by_label("Open one to edit").select_option(index=1)
    page.get_by_label("Agreed").fill("tutoring on Mondays")
    page.get_by_role("button", name="Save the change").click()
    page.wait_for_selector(".gc-follow td:has-text('tutoring on Mondays')")
    page.get_by_label("Open one to edit").select_option(index=1)
    page.get_by_role("button", name="Close it").click()
    page.wait_for_selector("text=0 open follow-ups")
    assert decisions(keeping)[-1][2] == "closed"


def test_viewer_reads_and_has_no_button_and_a_removed_token_keeps_nothing(come, keeping):
    page, token = come("predict", "adviser")
    page.get_by_label("Student number").fill("S-78")
    page.get_by_label("Note").fill("only for advisers")
    page.get_by_role("button", name="Save the decision").click()
    page.wait_for_selector("text=Saved.")
    viewer, _ = come("class")
    viewer.wait_for_selector(".gc-follow td", timeout=60_000)
    words = viewer.inner_text("#rendered_cells")
    assert "only for advisers" not in words and "Open one to edit" not in words and "Keep this list" not in words
    page.get_by_label("Note").fill("after the end")
    kept = len(decisions(keeping))
    remove_key(visitors_file(), token)
    page.get_by_role("button", name="Save the decision").click()
    page.wait_for_selector("text=that needs a token of an adviser")
    assert len(decisions(keeping)) == kept
    page.goto(f"{keeping.base}/predict")
    page.wait_for_selector("text=Access code")


def test_forged_ticket_opens_nothing_and_nobody_gets_one_for_anothers_page(come, keeping):
    page, _ = come("manage")
    page.get_by_label("Token for this page").wait_for(timeout=60_000)
    adviser, _ = come("predict", "manager")
    adviser.wait_for_selector("text=Your decision", timeout=60_000)
    theirs = json.loads(adviser.text_content("#jupyter-config-data"))["kernelId"]
    ticket = adviser.evaluate(f"fetch('/ticket/{theirs}').then(answer => answer.json())")["ticket"]
    assert page.evaluate(f"fetch('/ticket/{theirs}').then(answer => answer.status)") == 404
    assert "Access code" in fetch(f"{keeping.base}/ticket/{theirs}?token=wrong")[1]
    put = """ticket => { const input = document.querySelector('.gc-ticket input'); input.value = ticket;
             for (const kind of ['input', 'change']) input.dispatchEvent(new Event(kind, {bubbles: true})); }"""
    page.evaluate(put, ticket)
    page.get_by_label("Token for this page").fill("wrong")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=That is not the token")
    assert page.get_by_role("button", name="Run the pipeline").count() == 0
    page.goto(f"{keeping.base}/manage?token={make_visitor('Dr Head', 'manager')}")
    page.get_by_role("button", name="Run the pipeline").wait_for(timeout=60_000)


PRESSED = {"adviser": {"Save the decision", "Save the change", "Close it", "Open it again", "Keep this list"},
           "manager": {"Run the pipeline", "Stop the run", "Use this version", "Go back to the previous model",
                       "Run on this table", "Add to the store", "Choose a file with final grades"}}


@pytest.mark.parametrize("role, mine", [("", []), ("viewer", []), ("adviser", ["adviser"]),
                                        ("manager", ["adviser", "manager"])])
def test_process_of_a_visitor_holds_no_button_that_the_role_does_not_allow(role, mine, keeping, monkeypatch):
    monkeypatch.setenv("GRADECLASS_OUTPUTS", str(keeping.outputs))
    token = make_visitor(f"Ms Adler {role}", role) if role else TOKEN

    async def look(name):
        line = await Line(keeping, name, token).connect(packed=False)
        put = next(comm for comm, state in (await line.widgets()).items()
                   if "gc-ticket" in state.get("_dom_classes", ()))
        await line.put(put, json.loads(line.get(f"ticket/{line.kernel}"))["ticket"])
        found = {state.get("description") for state in (await line.widgets()).values()}
        line.leave()
        return found
    found = set().union(*(finish(look(name)) for name in ("predict", "class", "manage")))
    for needed, buttons in PRESSED.items(): assert found & buttons == (buttons if needed in mine else set())


def test_manager_whose_token_is_removed_does_nothing_more_on_an_open_page(come, keeping, tmp_path):
    page, token = come("manage", "manager")
    page.get_by_role("button", name="Run the pipeline").wait_for(timeout=60_000)
    remove_key(visitors_file(), token)
    files = lambda: {path: path.read_bytes() for path in keeping.outputs.rglob("*")
                     if path.is_file() and path.suffix != ".log"}
    before = files()
    expect(page.get_by_label("Your name")).to_be_disabled()
    page.get_by_label("Reason").fill("still here")
    refused = page.locator("text=that needs a token of a manager")
    for words in ("Run the pipeline", "Use this version", "Go back to the previous model"):
        page.get_by_role("button", name=words).click()
        expect(refused.first).to_be_visible()
    for words in ("Choose a table with grades", "Choose a file with final grades"):
        shown = refused.count()
        choose_file(page, sample_path("students"), words)
        expect(refused).to_have_count(shown + 1)
    assert files() == before


def test_about_says_how_kept_lists_turned_out(come):
    page, _ = come("about")
    page.wait_for_selector("text=Too little has come in to say how past lists turned out", timeout=60_000)


def test_manager_gives_grades_that_came_in_and_about_says_how_lists_turned_out(come, keeping, tmp_path):
    adler, store = Visitor("0a", "Ms Adler", "adviser"), open_follow_ups()
    store.keep_list(adler, "abc", [(number, "F" if number < 9040 else "B", number < 9040)
                                   for number in range(9000, 9100)])
    store.engine.dispose()
    grades = tmp_path/"end of year.csv"
    rows = [f"{number},{'F' if number % 4 and number < 9060 else 'B'}" for number in range(9000, 9100)]
    grades.write_text("\n".join(["StudentID,GradeClass", *rows]))
    page, _ = come("manage", "manager")
    choose_file(page, grades, "Choose a file with final grades")
    expect(page.locator("#rendered_cells")).to_contain_text("end of year.csv: 100 grades added.")
    expect(page.locator("#rendered_cells")).to_contain_text("40 were flagged; of those, 30 needed help in the end")
    (tmp_path/"names.csv").write_text("StudentID,Name\n1,Ada\n")
    choose_file(page, tmp_path/"names.csv", "Choose a file with final grades")
    expect(page.locator("#rendered_cells")).to_contain_text("names.csv has no column GradeClass")
    page, _ = come("about")
    expect(page.locator("#rendered_cells")).to_contain_text("15 who needed help were not flagged")
    page, _ = come("manage", "adviser")
    page.wait_for_selector("text=Token for this page", timeout=60_000)
    assert page.get_by_role("button", name="Choose a file with final grades").count() == 0


def test_without_the_switch_nothing_shows_and_nothing_is_written(visit, server):
    page = visit("predict")
    assert page.locator(".gc-ticket").count() == 0 and "decision" not in page.inner_text("body").casefold()
    page = visit("class")
    choose_file(page, sample_path("students"))
    link = page.locator(".gc-list a").first.get_attribute("href")
    assert "student=" not in link and "Follow-ups" not in page.inner_text("body")
    assert not (server.outputs/"predictions.db").exists()

"The page of a class in a browser: messy files, large ones, and files that are no tables"
import os
import re

import numpy as np
import pandas as pd
import pytest

from gradeclass.data.sources import load
from gradeclass.data.synthetic import sample_path
from pages_helpers import choose_file, expect, until

pytestmark = [pytest.mark.browser, pytest.mark.process, pytest.mark.slow]


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
    for words in ("5 rows read, 4 students ranked, 1 row left out", "many"):
        expect(page.locator("#rendered_cells")).to_contain_text(words)
    assert page.evaluate("window.hit") is None and not page.complaints
    page.get_by_role("slider", name="How many students can you support").focus()
    page.keyboard.press("End")
    page.wait_for_selector("text=Top 4.")
    with page.expect_download() as saved: page.get_by_role("link", name="Save this list").click()
    saved.value.save_as(tmp_path/"list.csv")
    assert (tmp_path/"list.csv").read_bytes().startswith(b"\xef\xbb\xbf")
    assert "'=cmd" in (tmp_path/"list.csv").read_text()
    again = load(tmp_path/"list.csv", "students")
    assert len(again.frame) == 4 and formula["StudentID"] in again.frame.StudentID.tolist()
    with page.expect_download() as left: page.get_by_role("link", name="Save the rows").click()
    left.value.save_as(tmp_path/"left.csv")
    assert "allowed: a whole number" in (tmp_path/"left.csv").read_text()


def test_class_of_2392_is_ranked_again_and_again_and_loses_no_row(visit, tmp_path):
    from gradeclass.data.synthetic import synthesise_file
    synthesise_file("students", 2392, tmp_path/"class.csv", 5)
    page = visit("class")
    for _ in range(3):
        choose_file(page, tmp_path/"class.csv")
        page.wait_for_selector("text=2,392 students ranked, none left out")
        page.wait_for_selector("text=Top ")
        page.get_by_role("button", name="Try the sample").click()
        page.wait_for_selector("text=1,000 students ranked")


@pytest.fixture
def named_class(tmp_path):
    "Thirty students with names and forms; the strongest input goes by another name, 45 days are one too many"
    frame = pd.read_csv(sample_path("students")).head(30)
    frame.loc[3, "Absences"] = 45
    frame.insert(0, "Last name", [f"Muñoz{place}" for place in range(30)])
    frame["Form"] = np.where(np.arange(30) % 2, "10A", "10B")
    frame.rename(columns={"Absences": "Days away"}).to_csv(tmp_path/"class.csv", index=False)
    return tmp_path/"class.csv"


def test_list_survives_reload_another_page_and_back_and_leads_to_the_student(visit, named_class):
    page = visit("class")
    choose_file(page, named_class)
    page.wait_for_selector(".gc-live:has-text('it is the strongest input, so the list is much less certain')")
    page.get_by_label("Absences").select_option("Days away")
    page.get_by_role("button", name="Use these columns").click()
    page.wait_for_selector(".gc-note-good:has-text('30 students ranked, none left out')")
    page.wait_for_selector("text=45 counted as 30")
    page.get_by_label("Group").select_option("Form: 10A")
    page.get_by_label("Search").fill("muñoz3")
    page.wait_for_selector("text=found in the whole file")
    expect(page.locator(".gc-list tbody tr")).to_have_count(1)
    expect(page.locator(".gc-list")).to_contain_text("Muñoz3")
    page.reload()
    page.wait_for_selector("text=found in the whole file", timeout=60_000)
    expect(page.locator(".gc-list tbody tr")).to_have_count(1)
    expect(page.locator(".gc-list")).to_contain_text("Muñoz3")
    assert page.get_by_label("Group").input_value()
    page.get_by_role("link", name="Open").first.click()
    page.wait_for_selector(".gc-predict", timeout=60_000)
    page.wait_for_selector(".gc-headline")
    until(page, "document.querySelector('.gc-kept input').value.includes('\"Absences\": 30')")
    assert "#" not in page.url and not [address for address in page.requested if "inputs" in address]
    page.go_back()
    page.wait_for_selector("text=found in the whole file", timeout=60_000)
    page.get_by_role("button", name="Remove the file").click()
    page.wait_for_selector("text=The file is forgotten")
    page.reload()
    page.wait_for_selector("text=Get a template")
    page.wait_for_timeout(1500)
    assert "Muñoz" not in page.content() and not page.evaluate("JSON.stringify(sessionStorage)").count("class.csv")
    assert not page.complaints


def test_paper_holds_the_whole_list_from_its_first_line_and_no_button(visit, tmp_path):
    page = visit("class", scheme="dark")
    page.get_by_role("button", name="Try the sample").click()
    page.wait_for_selector("text=1,000 students ranked")
    page.wait_for_selector(".gc-listlink a")
    whole = page.locator(".gc-paper tbody tr")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    listed = page.evaluate("+document.querySelector('.widget-readout').textContent")
    assert listed > 25
    expect(whole).to_have_count(listed)
    page.emulate_media(media="print")
    seen = page.inner_text("body").strip()
    assert seen.startswith("Who to talk to first") and not re.search("Choose a file|Search|Next|Save|Open", seen)
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    expect(whole).to_have_count(0)


def test_names_of_a_hundred_signs_push_nothing_off_the_paper_and_a_phone_shows_whole_reasons(visit, tmp_path):
    frame = pd.read_csv(sample_path("students")).head(30)
    frame.insert(0, "Name", ["A"*100, *(f"Ada {place}" for place in range(29))])
    frame.to_csv(tmp_path/"long.csv", index=False)
    page = visit("class", width=390)
    choose_file(page, tmp_path/"long.csv")
    page.wait_for_selector(".gc-list a")
    reasons = "[...document.querySelectorAll('.gc-list tbody td')].every(cell => cell.scrollWidth <= cell.clientWidth)"
    until(page, reasons)
    page.set_viewport_size({"width": 703, "height": 1000}) # A4 without its margins
    page.get_by_label("Search").fill("AAAA")
    page.wait_for_selector("text=found in the whole file")
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    until(page, "document.querySelectorAll('.gc-listed tbody tr').length === 1")
    wide, room = page.evaluate("""['.gc-listed', '.gc-class'].map(
        name => document.querySelector(name).getBoundingClientRect().right)""")
    assert wide <= room + 1
    risk, score = page.locator(".gc-listed tbody td").all_inner_texts()[3:5]
    assert risk.isdecimal() and re.fullmatch(r"\d\.\d\d", score)


def test_files_that_are_no_tables_get_a_sentence_and_the_page_goes_on(visit, tmp_path):
    page = visit("class")
    (tmp_path/"large.csv").write_bytes(b"x"*10_500_000)
    choose_file(page, tmp_path/"large.csv")
    page.wait_for_selector("text=this page takes 10")
    (tmp_path/"noise.csv").write_bytes(os.urandom(9_000_000))
    choose_file(page, tmp_path/"noise.csv")
    page.wait_for_selector("text=it holds binary data", timeout=60_000)
    (tmp_path/"book.xlsx").write_bytes(b"PK\x03\x04 no workbook")
    choose_file(page, tmp_path/"book.xlsx")
    page.wait_for_selector("text=is not a workbook")
    page.get_by_role("button", name="Try the sample").click()
    page.wait_for_selector("text=1,000 students ranked")


DROP = """([place, files]) => { const given = new DataTransfer();
    for (const [name, text] of files) given.items.add(new File([text], name));
    const event = new DragEvent('drop', {dataTransfer: given, bubbles: true, cancelable: true});
    document.querySelector(place).dispatchEvent(event); return event.defaultPrevented }"""
KEPT_FILE = "Object.keys(sessionStorage).some(name => name.endsWith(':file') && sessionStorage[name])"


def class_of(n):
    "A class file as text"
    return pd.read_csv(sample_path("students")).sample(n, random_state=n, replace=True).to_csv(index=False)


def test_file_that_is_chosen_last_is_the_one_that_is_read_and_kept(visit, tmp_path):
    (tmp_path/"long.csv").write_text(class_of(40_000))
    (tmp_path/"short.csv").write_text(class_of(30))
    page = visit("class")
    for wait in (0, 400):
        choose_file(page, tmp_path/"long.csv")
        page.wait_for_timeout(wait)
        choose_file(page, tmp_path/"short.csv")
        page.wait_for_selector("text=short.csv: 30 rows read")
    page.wait_for_timeout(3000) # By now the first one would be there
    expect(page.locator("#rendered_cells")).not_to_contain_text("long.csv")
    page.reload()
    page.wait_for_selector("text=short.csv: 30 rows read")
    assert not page.complaints


@pytest.mark.parametrize("leave", ["reload", "other page", "back"])
def test_upload_that_is_left_in_its_midst_is_there_again_or_asked_for(leave, visit, tmp_path, server):
    (tmp_path/"long.csv").write_text(class_of(40_000))
    page = visit("about", wait=".gc-facts")
    for kept_first in (True, False):
        page.goto(f"{server.base}/class")
        page.wait_for_selector("text=Get a template")
        choose_file(page, tmp_path/"long.csv")
        if kept_first: until(page, KEPT_FILE)
        if leave == "reload": page.reload()
        else:
            page.go_back() if leave == "back" else page.goto(f"{server.base}/predict")
            page.wait_for_selector(".gc-page")
            page.go_forward() if leave == "back" else page.goto(f"{server.base}/class")
        again, asked = page.locator("text=long.csv: 40,000 rows read"), page.locator("text=Choose long.csv again")
        (again if kept_first else again.or_(asked)).first.wait_for()
        page.evaluate("sessionStorage.clear()")


@pytest.mark.parametrize("wait", [0, 300, 1000, 3000])
def test_cancelled_file_is_gone_whenever_it_is_cancelled(wait, visit, tmp_path):
    (tmp_path/"long.csv").write_text(class_of(40_000))
    page = visit("class")
    choose_file(page, tmp_path/"long.csv")
    page.wait_for_timeout(wait)
    page.get_by_role("button", name=re.compile("Cancel|Remove the file")).click()
    page.wait_for_selector("text=/Cancelled: no file was read|The file is forgotten/")
    page.wait_for_timeout(1500)
    assert not page.evaluate(KEPT_FILE) and page.locator(".gc-list").count() == 0
    page.reload()
    page.wait_for_selector("text=Get a template")
    page.wait_for_timeout(1000)
    assert "long.csv" not in page.inner_text("body")


def test_one_dropped_file_is_read_and_what_cannot_be_taken_is_said(visit):
    page = visit("class")
    assert page.evaluate(DROP, ["body", [["a.csv", "x"], ["b.csv", "y"]]])
    page.wait_for_selector("text=2 files were dropped: drop one")
    assert page.evaluate(DROP, [".gc-card", [["dropped.csv", class_of(20)]]])
    page.wait_for_selector("text=dropped.csv: 20 rows read")
    expect(page.locator(".gc-said")).to_have_count(0)
    page.reload()
    page.wait_for_selector("text=dropped.csv: 20 rows read")
    assert page.evaluate(DROP, ["body", [["large.csv", "x"*10_500_000]]])
    page.wait_for_selector("text=large.csv has 10.5 MB")
    page = visit("about", wait=".gc-facts")
    assert page.evaluate(DROP, ["body", [["a.csv", "x"]]])
    page.wait_for_selector("text=This page takes no file")


def test_file_that_is_gone_when_it_is_sent_is_asked_for_again(visit, tmp_path):
    (tmp_path/"gone.csv").write_text(class_of(20))
    page = visit("class")
    page.evaluate("document.body.append(Object.assign(document.createElement('input'), {type: 'file', id: 'own'}))")
    page.locator("#own").set_input_files(tmp_path/"gone.csv")
    (tmp_path/"gone.csv").unlink()
    page.evaluate("""() => { const given = new DataTransfer(); given.items.add(document.querySelector('#own').files[0]);
        document.body.dispatchEvent(new DragEvent('drop', {dataTransfer: given, bubbles: true, cancelable: true})) }""")
    page.wait_for_selector("text=gone.csv cannot be read: it may have been moved, changed or removed")
    choose_file(page, sample_path("students"))
    page.wait_for_selector("text=1,000 students ranked")
    expect(page.locator(".gc-said")).to_have_count(0)


@pytest.mark.parametrize("name, shown", [
    ('"><script>window.hit=1</script>\'.csv', ""), ("a\u202evsc.csv", "a_vsc.csv"),
    ("\u0627\u0644\u0635\u0641.csv", ""),
    ("x"*196 + ".csv", "x"*56 + ".csv"), (" .csv", "csv is of an unknown kind"), ("..", "file is of an unknown kind"),
    ("Mu\u0308ller.csv", "M\u00fcller.csv")])
def test_file_may_be_called_anything_and_fits_the_narrowest_screen(name, shown, visit):
    page = visit("class", width=320)
    for text, said in ((class_of(20), "20 rows read"), ("x"*10_500_000, "10.5 MB")):
        with page.expect_file_chooser() as chooser: page.get_by_role("button", name="Choose a file").click()
        chooser.value.set_files({"name": name, "mimeType": "text/csv", "buffer": text.encode()})
        page.wait_for_selector(f"text=/{said}|unknown kind/")
        expect(page.locator("#rendered_cells")).to_contain_text(shown)
        assert page.evaluate("document.scrollingElement.scrollWidth <= innerWidth")
    assert page.evaluate("window.hit") is None and not page.complaints


@pytest.mark.parametrize("ends", ["list", "refusal", "no connection", "no process"])
def test_file_on_a_slow_line_is_said_to_be_on_its_way_until_it_is_answered(ends, visit, tmp_path, server):
    page, held, lines = visit("about"), [], []
    def hold(line):
        there = line.connect_to_server()
        lines.append(line)
        line.on_message(lambda message: held.append((there, message)) if len(message) > 20_000 else there.send(message))
    page.route_web_socket("**/channels**", hold)
    page.goto(page.url.split("?")[0].replace("about", "class"))
    page.wait_for_selector(".gc-class")
    students = "\n".join(sample_path("students").read_text().splitlines()[:601])
    (tmp_path/"year.csv").write_text(students if ends != "refusal" else "x"*30_000)
    choose_file(page, tmp_path/"year.csv")
    page.wait_for_selector(".gc-sending:has-text('Sending year.csv')")
    until(page, "document.querySelector('.gc-sending progress')")
    if ends == "no connection":
        lines[0].close()
        page.wait_for_selector("text=The connection ended before year.csv had arrived. Choose it again.")
    elif ends == "no process": server.kernel(page).kill()
    else:
        while not held: page.wait_for_timeout(50)
        held[0][0].send(held[0][1])
        page.wait_for_selector("text=600 students ranked" if ends == "list" else ".gc-note-bad")
    expect(page.locator(".gc-sending")).to_have_count(0)

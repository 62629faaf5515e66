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
    page.wait_for_selector("text=use the command line")
    (tmp_path/"noise.csv").write_bytes(os.urandom(9_000_000))
    choose_file(page, tmp_path/"noise.csv")
    page.wait_for_selector("text=it holds binary data", timeout=60_000)
    (tmp_path/"book.xlsx").write_bytes(b"PK\x03\x04 no workbook")
    choose_file(page, tmp_path/"book.xlsx")
    page.wait_for_selector("text=is not a workbook")
    page.get_by_role("button", name="Try the sample").click()
    page.wait_for_selector("text=1,000 students ranked")

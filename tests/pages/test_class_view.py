"The page of a class in a browser: messy files, large ones, and files that are no tables"
import os
import time

import pytest

from gradeclass.data.sources import load
from gradeclass.data.synthetic import sample_path
from pages_helpers import choose_file

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
    page.wait_for_selector("text=is not a workbook")
    page.get_by_role("button", name="Try the sample").click()
    page.wait_for_selector("text=1,000 students ranked")

"The page of figures in a browser"
import pytest

from pages_helpers import expect, until

pytestmark = [pytest.mark.browser, pytest.mark.process, pytest.mark.slow]


def test_custom_figure_is_drawn_and_an_impossible_one_explained(visit):
    page = visit("explore")
    until(page, "document.querySelectorAll('.gc-figures img').length === 4")
    until(page, "document.querySelectorAll('.gc-figure img').length === 6")
    page.get_by_label("Figure").select_option("Histogram: one column")
    page.get_by_role("button", name="Draw").click()
    until(page, "[...document.querySelectorAll('.gc-figure img')].some(image => image.alt.startsWith('Study "
                           "time, '))")
    page.get_by_label("Figure").select_option("Bar: shares by group")
    page.get_by_role("button", name="Draw").click()
    page.wait_for_selector("text=a bar figure needs a column of answers")
    expect(page.locator(".gc-stack .gc-note-bad")).to_have_count(1)
    page.get_by_label("Horizontal axis").select_option("Tutoring")
    page.get_by_role("button", name="Draw").click()
    until(page, "!document.querySelector('.gc-note-bad')")
    page.get_by_label("Do better grades go with").select_option("Tutoring")
    until(page, "document.body.innerText.includes('Tutoring') && /No clear link|Yes/.test(document.body.innerText)")

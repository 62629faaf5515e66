"The page of figures in a browser"
import pytest

pytestmark = [pytest.mark.browser, pytest.mark.process, pytest.mark.slow]


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

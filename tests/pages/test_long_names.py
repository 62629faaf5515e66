"Names of students, columns and answers that are long and have no blank, on a phone and on paper"
import numpy as np
import pandas as pd
import pytest

from gradeclass.drafting.infer import infer_schema
from pages_helpers import MANAGE, Server, choose_file, fit_bundle, until

pytestmark = [pytest.mark.browser, pytest.mark.process, pytest.mark.slow]


def long(word):
    "A hundred signs without a blank"
    return (word + "Donaudampfschifffahrtsgesellschaft"*3)[:100]


@pytest.fixture
def long_class(tmp_path):
    "A class file with long names of students, columns and answers; a bundle of its model lies beside it"
    rng, n = np.random.default_rng(1), 120
    effort, days = rng.choice([long("low"), long("high")], n), rng.uniform(0, 12, n).round(1)
    grades = np.array([long("A"), long("B"), long("C")])
    merit = (effort == long("high")) - days/6 + rng.normal(0, 0.4, n)
    frame = pd.DataFrame({"StudentID": np.arange(1000, 1000 + n), long("Effort"): effort, long("Days"): days,
                          "Grade": grades[np.digitize(-merit, [0.2, 1.2])]})
    fit_bundle(infer_schema(frame, "Grade", "long", ",".join(grades)), frame, tmp_path)
    frame.assign(**{"Name": [long(f"Ada{place}") for place in range(n)], long("Form"): rng.choice([long("10A"), long("10B")], n)}
                 ).to_csv(tmp_path/"class.csv", index=False)
    return tmp_path/"class.csv"


WIDE = """width => [...document.querySelectorAll('main *')].filter(made => { const box = made.getBoundingClientRect();
    return box.width > 2 && !made.closest('.gc-unseen, thead, .gc-cardtext table, .gc-scroll > table:not(.gc-cards)') &&
        (box.right > width + 1 || (made.matches('td, th, p, dd, li, h2, button, label, .widget-label') &&
                                   made.scrollWidth > made.clientWidth + 1 && made.clientWidth)) })
    .map(made => made.outerHTML.slice(0, 140))"""


def fits(page, width):
    "Nothing is wider than the screen, and no text than its place"
    page.set_viewport_size({"width": width, "height": 640})
    until(page, "width => document.scrollingElement.scrollWidth <= width", width)
    assert page.evaluate(WIDE, width) == []


@pytest.fixture
def server(long_class):
    "A server whose model knows long names alone"
    (long_class.parent/"outputs").mkdir()
    server = Server(long_class.parent/"outputs", model=str(long_class.parent/"bundle"))
    yield server
    server.close()


def test_names_of_a_hundred_signs_fit_the_narrowest_screen_and_the_paper(visit, long_class):
    page = visit("class", width=320)
    choose_file(page, long_class)
    page.wait_for_selector(".gc-list a")
    for width in (320, 390): fits(page, width)
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    fits(page, 703)  # A4 without its margins
    page.emulate_media(media="screen")
    page.locator(".gc-list a").first.click()
    page.wait_for_selector(".gc-headline")
    for width in (320, 390): fits(page, width)
    page.get_by_role("button", name="What if").click()  # Nothing lies on it
    page.emulate_media(media="print")
    fits(page, 703)
    page = visit("manage", width=320)
    page.get_by_label("Token for this page").fill(MANAGE)
    page.keyboard.press("Enter")
    page.wait_for_selector("text=Run the pipeline")
    choose_file(page, long_class, "Choose a table with grades")
    page.wait_for_selector("text=120 rows")
    page.evaluate("document.querySelectorAll('details').forEach(made => { made.open = true })")
    for width in (320, 390): fits(page, width)
    page = visit("explore", width=320)
    choose_file(page, long_class, "Or choose a file")
    page.wait_for_selector(".gc-figures img")
    for width in (320, 390): fits(page, width)
    page = visit("about", width=320, wait=".gc-facts")
    for width in (320, 390): fits(page, width)

"Every page in a browser: on a phone, in the dark, and without a complaint"
import time

import pytest

from pages_helpers import expect, unlock, until

pytestmark = [pytest.mark.browser, pytest.mark.process, pytest.mark.slow]
PAGES = {"predict": "One student", "class": "A class", "explore": "Explore", "about": "About this model",
         "manage": "Manage"}


@pytest.mark.parametrize("name", PAGES)
def test_page_loads_on_a_phone_with_nothing_from_elsewhere_and_no_complaint(name, visit, server):
    page = visit(name, width=390)
    expect(page.locator("h1").first).to_have_text(PAGES[name], use_inner_text=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert not page.complaints
    assert all(url.startswith((server.base, "data:", "blob:")) for url in page.requested)
    text = page.inner_text("body")
    assert "Traceback" not in text and "In [" not in text and "show_page(" not in text


def test_tables_of_the_card_break_no_word_on_a_phone(visit):
    page = visit("about", width=390)
    page.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
    narrow = page.evaluate("""[...document.querySelectorAll('.gc-cardtext :is(th, td)')].filter(cell => {
        const pen = document.createElement('canvas').getContext('2d'), style = getComputedStyle(cell);
        pen.font = style.font;
        const widest = Math.max(...cell.textContent.split(/[^A-Za-z]/).map(word => pen.measureText(word).width));
        return widest > cell.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight) + 1}).length""")
    assert narrow == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_page_has_no_serious_accessibility_violation(name, scheme, visit):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
    page = visit(name, scheme=scheme)
    if name == "predict":
        page.get_by_label("Unknown: Absences").check()
        page.wait_for_selector(".gc-unknown")
        page.get_by_role("button", name="What if").click()
        page.wait_for_selector(".gc-panel table, .gc-panel .gc-small")
    if name == "explore": until(page, "document.querySelectorAll('.gc-figure img').length === 6")
    if name == "class":
        page.get_by_role("button", name="Try the sample").click()
        page.wait_for_selector("text=Top ")
    if name == "manage": unlock(page)
    time.sleep(0.3)
    context = page.context.new_cdp_session(page)
    context.send("Page.setBypassCSP", {"enabled": True})
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 900})
        time.sleep(0.3)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        found = axe.Axe().run(page).response["violations"]
        serious = [(v["id"], [node["html"][:160] for node in v["nodes"][:3]]) for v in found
                   if v["impact"] in ("serious", "critical")]
        assert not serious, (width, serious)


KEYS = """() => { const at = document.activeElement; const shown = getComputedStyle(at);
    return [at.tagName, shown.outlineStyle !== 'none' || shown.boxShadow !== 'none' || shown.borderStyle !== 'none',
            at.getBoundingClientRect().width > 0] }"""
NAMELESS = """() => [...document.querySelectorAll('a, button, input, select, textarea, summary')].filter(made =>
    made.offsetParent && made.type !== 'hidden' && !made.closest('.gc-kept, .gc-ticket') && !made.title &&
    !(made.innerText || made.getAttribute('aria-label') || made.labels?.length || made.querySelector('[alt]') ||
      made.getAttribute('aria-labelledby'))).map(made => made.outerHTML.slice(0, 160))"""


@pytest.mark.parametrize("name", PAGES)
def test_page_is_used_by_keyboard_alone_at_twice_the_size_without_motion(name, visit):
    page = visit(name)
    page.emulate_media(reduced_motion="reduce")
    page.set_viewport_size({"width": 640, "height": 400})  # 200 % on a screen of 1280 by 800
    if name == "manage": unlock(page)
    until(page, "document.documentElement.scrollWidth <= innerWidth")
    assert not page.evaluate(NAMELESS)
    assert page.locator("main").count() == page.locator("h1").count() == 1 and page.title().startswith(PAGES[name])
    moving = "[...document.querySelectorAll('*')].filter(made => parseFloat(getComputedStyle(made).transitionDuration))"
    assert page.evaluate(f"{moving}.length") == 0 and page.evaluate("document.getAnimations().length") == 0
    page.locator(".gc-skip").focus()
    page.keyboard.press("Enter")  # To the content
    assert page.evaluate("document.activeElement.id") == "rendered_cells"
    reached = set()
    for _ in range(150):
        page.keyboard.press("Tab")
        tag, seen, there = page.evaluate(KEYS)
        if tag == "BODY": break
        if tag in ("INPUT", "SELECT", "BUTTON", "TEXTAREA"):
            assert seen and there, page.evaluate("document.activeElement.outerHTML")
        reached.add(page.evaluate("[...document.querySelectorAll('*')].indexOf(document.activeElement)"))
    wanted = page.evaluate("""[...document.querySelectorAll('main button, main select, main textarea, main summary')]
        .filter(made => made.offsetParent && !made.disabled && !made.closest('.gc-kept, .gc-ticket'))
        .map(made => [...document.querySelectorAll('*')].indexOf(made))""")
    assert set(wanted) <= reached
    assert not page.complaints


@pytest.mark.parametrize("name", PAGES)
def test_foot_of_a_page_says_what_is_kept(name, visit):
    kept = "Decisions are kept with your name and reason" if name == "manage" else "The server keeps nothing that you enter here"
    expect(visit(name).locator(".gc-foot")).to_contain_text(kept)


PAINTED = """places => places.map(place => { const made = document.querySelector(place), shown = getComputedStyle(made);
    return shown.backgroundImage + shown.backgroundColor + made.getBoundingClientRect().width })"""


def test_bars_and_sliders_are_there_in_forced_colours(visit):
    page = visit("predict")
    page.emulate_media(forced_colors="active")
    back = page.evaluate("getComputedStyle(document.body).backgroundColor")
    for painted in page.evaluate(PAINTED, [".gc-track span", ".gc-risk .gc-track span", ".gc-both span", ".noUi-base"]):
        assert painted.startswith("repeating") or painted.split("none", 1)[1].startswith("rgb") and back not in painted
        assert not painted.endswith(")0")


def test_page_without_a_model_starts_no_run(tmp_path, monkeypatch):
    import ipywidgets as widgets
    from gradeclass.pages.manage_view import ManageView
    from gradeclass.pages.page import Page
    monkeypatch.setenv("GRADECLASS_OUTPUTS", str(tmp_path))
    monkeypatch.setenv("GRADECLASS_MODEL", "")
    monkeypatch.setattr("gradeclass.pages.manage_model.time.sleep", lambda seconds: None)
    widgets.Widget.close_all()
    manage, page = ManageView(), Page(lambda served: widgets.HTML("a view"))
    manage.token.value = "wrong"
    buttons = [made.description for made in widgets.widget._instances.values() if isinstance(made, widgets.Button)]
    assert buttons == ["Open"] and not manage.inside.children and "No model yet" in page.body.children[0].children[0].value

"The page that runs the pipeline and promotes, in a browser"
import pytest

from pages_helpers import TOKEN, fetch, serve_copy, unlock

pytestmark = [pytest.mark.browser, pytest.mark.process, pytest.mark.slow]


@pytest.fixture
def server(finished_run, tmp_path):
    "A server of its own: this page changes which model serves"
    yield from serve_copy(finished_run, tmp_path)


def test_manage_runs_a_pipeline_and_a_person_promotes_and_reverts(visit, server):
    page = visit("manage")
    page.get_by_label("Token for this page").fill("wrong")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=That is not the token")
    assert page.get_by_role("button", name="Run the pipeline").count() == 0
    unlock(page)
    page.get_by_label("Table").fill("sample")
    page.get_by_label("Model type").select_option("xgboost")
    page.get_by_label("Further parameters").fill("params={rounds: 5, patience: null}, resamples=40")
    page.get_by_role("button", name="Run the pipeline").click()
    page.wait_for_selector(".gc-steps progress", timeout=20_000)
    page.wait_for_selector(".gc-note-good", timeout=120_000)
    page.get_by_role("button", name="Let this version serve").click()
    page.wait_for_selector("text=a decision needs a name and a reason")
    page.get_by_label("Your name").fill("A. Teacher")
    for version in ("1", "2"):
        page.get_by_label("Version").select_option(version)
        page.get_by_label("Reason").fill(f"Version {version} is what we want")
        page.get_by_role("button", name="Let this version serve").click()
        page.wait_for_selector(f"text=Version {version} serves now", timeout=20_000)
    assert "A. Teacher" in page.inner_text("#rendered_cells")
    page.get_by_label("Reason").fill("Only a try")
    page.get_by_role("button", name="Restore previous model").click()
    page.wait_for_selector("text=Version 1 serves now", timeout=20_000)
    link = page.get_by_role("link", name="Report of the newest run").get_attribute("href")
    assert fetch(f"{server.base}/{link}&token={TOKEN}")[0] == 200

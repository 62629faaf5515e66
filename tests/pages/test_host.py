"Which model a page serves, and what it says when that is damaged"
import os
import shutil

import pytest

from gradeclass.models.bundle import extend_bundle
from gradeclass.pages.host import Host, without_paths
from pages_helpers import TOKEN


def test_message_of_a_damaged_bundle_names_no_folder(trained, tmp_path):
    extend_bundle(trained, tmp_path/"bundle")
    host = Host(lambda: tmp_path/"bundle")
    (tmp_path/"bundle"/"schema.yaml").write_text("name: other")
    os.utime(tmp_path/"bundle"/"bundle.json", (1, 1))
    assert not host.refresh() and host.served is not None
    assert "schema.yaml" in host.problem and str(tmp_path) not in host.problem
    assert without_paths("see /srv/x/y.json") == "see y.json"


@pytest.mark.browser
@pytest.mark.process
@pytest.mark.slow
def test_damaged_bundle_leaves_the_old_model_and_a_new_one_is_taken_without_a_restart(browser, champion, trained):
    folder, server = champion
    page = browser.new_page()
    page.goto(f"{server.base}/predict?token={TOKEN}")
    page.wait_for_selector(".gc-grade", timeout=60_000)
    with (folder/"schema.yaml").open("a") as file: file.write("\n")
    os.utime(folder/"bundle.json")
    page.wait_for_selector("text=the one before goes on answering", timeout=60_000)
    assert str(folder.parent) not in page.inner_text("body")
    shutil.rmtree(folder)
    extend_bundle(trained, folder, {"note.txt": "new"})
    page.wait_for_selector("text=A newer model answers", timeout=60_000)
    shutil.rmtree(folder)
    other = browser.new_page()
    other.goto(f"{server.base}/predict?token={TOKEN}")
    other.wait_for_selector("text=No model yet", timeout=60_000)
    page.close(), other.close()

"""Take the pictures of the documentation anew, of the model and the class of the tutorial; needs Chromium."""
import os
import subprocess
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from gradeclass.pipeline.report import find_browser

DOCS = Path(__file__).resolve().parent
WIDE, HIGH = 1280, 900  # Of a picture, in pixels


def one_student(page, base, token):
    "Predict, as it opens"
    page.goto(f"{base}/predict?token={token}")
    page.wait_for_selector(".gc-reasons")
    return {"clip": {"x": 0, "y": 0, "width": WIDE, "height": HIGH}}


def one_class(page, base, token):
    "The list of a class, from the line that says how its file was read"
    page.goto(f"{base}/class?token={token}")
    with page.expect_file_chooser() as chooser: page.get_by_role("button", name="Choose a file").click()
    chooser.value.set_files(DOCS/"start"/"this_year.csv")
    page.wait_for_selector(".gc-list a")
    top = page.locator(".gc-note-good").bounding_box()["y"] - 16
    return {"full_page": True, "clip": {"x": 0, "y": top, "width": WIDE, "height": HIGH}}


PICTURES = {"predict-wide-light": one_student, "class-wide-light": one_class}


def take(base, token):
    "All pictures, from pages that are served"
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=find_browser(), args=["--no-sandbox"])
        for name, visit in PICTURES.items():
            page = browser.new_page(viewport={"width": WIDE, "height": HIGH}, color_scheme="light")
            shown = visit(page, base, token)
            page.wait_for_timeout(1000)  # Until bars have grown and the mouse has left its mark
            page.screenshot(path=DOCS/"img"/f"{name}.png", **shown)
            print(DOCS/"img"/f"{name}.png")
            page.close()
        browser.close()


def main():
    with tempfile.TemporaryDirectory() as home:
        settings = os.environ | {"GRADECLASS_OUTPUTS": f"{home}/outputs", "GRADECLASS_HOME": home}
        start = DOCS/"start"
        learn = ["gradeclass", "run", "--data", start/"last_year.csv", "--schema", start/"school.yaml"]
        subprocess.run(learn, env=settings, check=True)
        served = subprocess.Popen(["gradeclass", "app", "--pool", "1"], env=settings, stdout=subprocess.PIPE, text=True)
        try:
            address = next(line.split()[1] for line in served.stdout if line.startswith("pages"))
            take(*address.split("/?token="))
        finally:
            served.terminate()
            served.wait()


if __name__ == "__main__": main()

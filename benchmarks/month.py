"A month of a school on the pages: weekly uploads, decisions, two promotions, restarts; exit code 1 where one is lost"
import argparse
import csv
import os
import shutil
import sys
import tempfile
import time
from datetime import date, timedelta
from pathlib import Path

import psutil
from app import FLAGS, held, serve, train, until
from playwright.sync_api import sync_playwright

WEEKS = 4


def write_classes(folder, teachers, students):
    "A file for each teacher, of an equal part of the school"
    from gradeclass.data.synthetic import synthesise_file
    synthesise_file("students", students, folder/"school.csv", 5)
    header, *rows = list(csv.reader((folder/"school.csv").open(newline="")))
    files = []
    for number in range(teachers):
        files.append(folder/f"class-{number}.csv")
        with files[-1].open("w", newline="") as file: csv.writer(file).writerows([header, *rows[number::teachers]])
    return files


def upload(page, base, token, file):
    "Open the page of a class and choose a file; seconds until the list and the follow-ups are there"
    started = time.perf_counter()
    page.goto(f"{base}/class?token={token}")
    page.wait_for_selector("h2:has-text('Follow-ups')", timeout=60_000)
    with page.expect_file_chooser() as chooser: page.get_by_role("button", name="Choose a file").click()
    chooser.value.set_files(file)
    page.locator(".gc-list a").first.wait_for()
    return time.perf_counter() - started


def decide(page, place, due, note):
    "Open a student of the list and keep a decision; the number"
    page.locator(".gc-list a").nth(place).click()
    page.wait_for_selector("text=Your decision", timeout=60_000)
    field = page.get_by_label("Student number")
    until(page, "[...document.querySelectorAll('.gc-stack input')].some(made => /^[0-9]+$/.test(made.value))")
    number = field.input_value()
    page.get_by_label("Note").fill(note)
    page.get_by_label("Look again on").fill(due)
    page.get_by_role("button", name="Save the decision").click()
    page.wait_for_selector("text=Saved.", timeout=60_000)
    return number


def close_newest(page, number):
    "Close the follow-up of a student on the page of the class"
    page.get_by_role("link", name="A class").click()
    page.wait_for_selector("h2:has-text('Follow-ups')", timeout=60_000)
    page.get_by_label("Student number").fill(number)
    page.keyboard.press("Enter")
    page.wait_for_selector(f".gc-follow td:has-text('{number}')", timeout=60_000)
    page.get_by_label("Open one to edit").select_option(index=1)
    page.get_by_role("button", name="Close it").click()
    page.wait_for_selector("text=Closed.", timeout=60_000)


def teach_a_week(browser, base, process, week, people, kept, seconds, between):
    "Each teacher uploads once and decides, every third closes it again; half way `between` is done; memory in MB"
    memory = []
    for number, (token, file) in enumerate(people):
        context = browser.new_context()
        page = context.new_page()
        seconds.append(upload(page, base, token, file))
        if number == len(people)//2: between()
        due, note = str(date.today() + timedelta(1 + (number*7 + week) % 60)), f"week {week}, teacher {number}"
        student = decide(page, week % page.locator(".gc-list a").count(), due, note)
        kept[note] = [student, due, "open"]
        if number % 3 == week % 3:
            close_newest(page, student)
            min((row for row in kept.values() if row[::2] == [student, "open"]), key=lambda row: row[1])[2] = "closed"
        context.close()
        memory.append(process.memory_info().rss/1e6)
    return memory


def find_wrong(kept):
    "Decisions that the database lacks or holds otherwise, and whether those that are open stand in order"
    from gradeclass.service.followups.records import open_follow_ups
    store = open_follow_ups()
    there = {row.decision.note: [row.student, row.decision.due, row.decision.state]
             for row in store.find(state="", most=10**6)}
    wrong = [note for note, (student, due, state) in kept.items()
             if there.get(note) != [store.hash(student), due, state]]
    due = [row.decision.due for row in store.find(most=10**6)]
    store.engine.dispose()
    return wrong, due == sorted(due), len(there)


def main():
    "Live through the month and compare"
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--teachers", type=int, default=40)
    parser.add_argument("--students", type=int, default=1_200)
    given = parser.parse_args()
    if not shutil.which("chromium"): sys.exit("month.py needs chromium: apt-get install chromium")
    from gradeclass.models.bundle import extend_bundle
    from gradeclass.registry.versions import promote, register_bundle
    from gradeclass.service.followups.visitors import make_visitor
    kept, seconds, growth, left = {}, [], [], []
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as started:
        folder = Path(folder)
        os.environ["GRADECLASS_OUTPUTS"] = str(folder/"outputs")
        bundle = train(folder/"work")
        (folder/"outputs").mkdir()
        promote(folder/"outputs", register_bundle(folder/"outputs", bundle).number, "month.py", "the first model")
        files = write_classes(folder, given.teachers, given.students)
        people = [(make_visitor(f"Teacher {number}"), file) for number, file in enumerate(files)]
        browser = started.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        for week in range(WEEKS): # The server is restarted each week
            with serve("", folder/"outputs", follow_ups=True) as (base, process):
                def promote_newer(week=week):
                    extend_bundle(bundle, folder/f"week-{week}", {"note.txt": f"week {week}"})
                    version = register_bundle(folder/"outputs", folder/f"week-{week}").number
                    promote(folder/"outputs", version, "month.py", "a newer model")
                between = promote_newer if week in (1, 3) else lambda: None
                memory = teach_a_week(browser, base, process, week, people, kept, seconds, between)
                growth.append(memory[-1]/memory[0])
                print(f"week {week + 1}: server {memory[0]:.0f} MB after the first teacher, {memory[-1]:.0f} after the "
                      f"last; all visitors' processes {held(process):.0f} MB (PSS)", flush=True)
            left += serve.left
        browser.close()
        wrong, ordered, there = find_wrong(kept)
    seconds.sort()
    print(f"{given.teachers} teachers, {given.students} students, {len(seconds)} uploads, {len(kept)} decisions, "
          f"2 promotions, {WEEKS - 1} restarts; decisions in the database {there}, lost or different {len(wrong)}, "
          f"open ones in order: {'yes' if ordered else 'no'}")
    print(f"upload to list and follow-ups: median {seconds[len(seconds)//2]:.2f} s, slowest {seconds[-1]:.2f} s; "
          f"memory of the server grew by at most {100*max(growth) - 100:.0f} %; processes left {len(left)}; "
          f"load {os.getloadavg()[0]:.1f} on {psutil.cpu_count()} cores")
    sys.exit(0 if not wrong and ordered and there == len(kept) and max(growth) < 1.1 and not left else 1)


if __name__ == "__main__":
    main()

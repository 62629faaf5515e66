"How quick the pages are and how much memory they take, in headless Chromium; each bar with PASS or FAIL, exit code 1 where one fails"
import argparse
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from playwright.sync_api import sync_playwright

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]
TOKEN = "benchmark"


def train(folder):
    "A bundle of the built-in sample, by the stages that make one"
    from gradeclass.config import find_home
    from gradeclass.runner import Pipeline, choose_data, make_outputs, needed_by
    make_outputs(folder)
    return Pipeline({"data": choose_data("sample", "", find_home())}, folder, needed_by(["evaluate"])).run()["evaluate"].folder/"bundle"


@contextmanager
def serve(bundle, folder, pool, idle):
    "The pages, in a process of their own: their address and that process"
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    options = {"port": port, "token": TOKEN, "manage_token": "second", "pool": pool, "idle": idle, "most": 40, "model": str(bundle)}
    code = f"from gradeclass.pages import Options, serve_pages; serve_pages(Options(**{options!r}))"
    env = os.environ | {"GRADECLASS_OUTPUTS": str(folder)}
    process = subprocess.Popen([sys.executable, "-c", code], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(600):
            with suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5).close()
                break
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}", psutil.Process(process.pid)
    finally:
        children = psutil.Process(process.pid).children(recursive=True)
        process.terminate()
        process.wait(60)
        for child in psutil.wait_procs(children, 5)[1]: child.kill()


def kernels(process):
    "The processes of visitors, and those kept ready"
    found = []
    for child in process.children(recursive=True):
        with suppress(psutil.Error):
            if any("ipykernel" in word for word in child.cmdline()): found.append(child)
    return found


def resident(process):
    "Resident memory of the visitors' processes, MB"
    found = []
    for child in kernels(process):
        with suppress(psutil.Error): found.append(child.memory_info().rss/1e6)
    return found


def cpu_seconds(process):
    "Processor time that the visitors' processes have used so far"
    used = 0.0
    for child in kernels(process):
        with suppress(psutil.Error): used += child.cpu_times().user
    return used


def wait_for_pool(process, wanted, seconds=90):
    "Until the processes that are kept ready have nothing more to do"
    quiet, until = 0, time.time() + seconds
    while quiet < 3 and time.time() < until:
        before = cpu_seconds(process)
        time.sleep(1)
        quiet = quiet + 1 if len(kernels(process)) >= wanted and abs(cpu_seconds(process) - before) < 0.2 else 0


def load_page(browser, base):
    "A new visitor on Predict: the page, seconds to the first paint, seconds until the form answers"
    page = browser.new_context().new_page()
    started = time.perf_counter()
    page.goto(f"{base}/predict?token={TOKEN}", wait_until="commit")
    page.wait_for_selector(".gc-form .noUi-handle", timeout=60_000)
    usable = time.perf_counter() - started
    return page, page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")/1000, usable


def change(page, key):
    "Seconds from a key on a slider to the new answer on the screen"
    return page.evaluate("""key => new Promise(resolve => {
        const handle = document.querySelectorAll('.gc-form .noUi-handle')[1], answer = document.querySelector('.gc-answer .widget-html-content');
        const began = performance.now();
        const seen = new MutationObserver(() => { seen.disconnect(); requestAnimationFrame(() => resolve((performance.now() - began)/1000)); });
        seen.observe(answer, {childList: true, subtree: true, characterData: true});
        handle.dispatchEvent(new KeyboardEvent('keydown', {key, bubbles: true, cancelable: true}));
        setTimeout(() => { seen.disconnect(); resolve(5); }, 5000);
    })""", key)


def measure(base, process, visits, changes, sessions):
    "Every figure: name -> value"
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        paints, usables = [], []
        for _ in range(visits):
            wait_for_pool(process, 6)
            page, paint, usable = load_page(browser, base)
            paints.append(paint), usables.append(usable)
            if len(usables) < visits: page.context.close()
        answers = [change(page, "ArrowLeft" if number//10 % 2 else "ArrowRight") for number in range(changes)]
        pages = [page, *(load_page(browser, base)[0] for _ in range(sessions - 1))]
        worked = sum(change(one, "ArrowLeft") < 5 for one in pages)
        memory = resident(process)
        before = len(memory)
        for one in pages: one.close(run_before_unload=False)
        browser.close()
    return paints, usables, answers, worked, memory, before


def report(name, value, bar, unit):
    "One line, and whether the bar is met"
    met = value <= bar
    print(f"{'PASS' if met else 'FAIL'}  {name}: {value:.3f} {unit} (bar {bar:g})", flush=True)
    return met


def main():
    "Measure and compare with the bars"
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", help="bundle to serve; without it one is trained on the sample")
    parser.add_argument("--visits", type=int, default=7)
    parser.add_argument("--changes", type=int, default=100)
    parser.add_argument("--sessions", type=int, default=10)
    given = parser.parse_args()
    if not shutil.which("chromium"): sys.exit("app.py needs chromium: apt-get install chromium")
    with tempfile.TemporaryDirectory() as folder:
        bundle = given.model or train(Path(folder))
        with serve(bundle, Path(folder), 2, 120) as (base, process):
            paints, usables, answers, worked, memory, before = measure(base, process, given.visits, given.changes, given.sessions)
            until = time.time() + 240
            while len(kernels(process)) > 6 and time.time() < until: time.sleep(1)
            after = len(kernels(process))
    ordered = sorted(answers)
    met = [report("first paint of Predict, median", statistics.median(paints), 1.0, "s"),
           report("Predict answers, median", statistics.median(usables), 2.5, "s"),
           report("a change is answered, median", statistics.median(answers), 0.150, "s"),
           report("a change is answered, 95 of 100", ordered[int(0.95*len(ordered))], 0.300, "s"),
           report("sessions at once that do not work", given.sessions - worked, 0, f"of {given.sessions}"),
           report("resident memory of the largest process", max(memory), 250, "MB"),
           report(f"processes left after visitors have gone, {before} before", after, 6, "")]
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    sys.exit(0 if all(met) else 1)


if __name__ == "__main__":
    main()

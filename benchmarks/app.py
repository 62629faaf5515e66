"How quick the pages are and how much memory they take, in headless Chromium; each bar with PASS or FAIL, exit code 1 where one fails"
import argparse
import json
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
from playwright.sync_api import Error, sync_playwright

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]
TOKEN, SECOND = "benchmark", "second"
READY = {"predict": ".gc-form .noUi-handle", "class": ".widget-upload", "explore": ".gc-figure img",
         "about": ".gc-cardtext", "manage": "input[type=password]"}


def train(folder):
    "A bundle of the built-in sample, by the stages that make one"
    from gradeclass.config import find_home
    from gradeclass.data.choice import choose_data
    from gradeclass.pipeline.runner import Pipeline, make_outputs
    from gradeclass.pipeline.stages import needed_by
    make_outputs(folder)
    return Pipeline({"data": choose_data("sample", "", find_home())}, folder,
                    needed_by(["evaluate"])).run()["evaluate"].folder/"bundle"


@contextmanager
def serve(bundle, folder, **given):
    "The pages, in a process of their own: their address and that process"
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    options = {"port": port, "token": TOKEN, "manage_token": SECOND, "most": 40, "model": str(bundle), **given}
    code = f"from gradeclass.pages.server import Options, serve_pages; serve_pages(Options(**{options!r}))"
    env = os.environ | {"GRADECLASS_OUTPUTS": str(folder)}
    process = subprocess.Popen([sys.executable, "-c", code], env=env, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
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
        serve.left = psutil.wait_procs(children, 5)[1]
        for child in serve.left: child.kill()


def kernels(process):
    "The processes of visitors, and those kept ready: ordinary ones, or copies, which have a fork server as parent"
    found, forks = [], {child.pid for child in process.children() if "fork_server" in " ".join(child.cmdline())}
    for child in process.children(recursive=True):
        with suppress(psutil.Error):
            if child.ppid() in forks or "ipykernel_launcher" in child.cmdline(): found.append(child)
    return found


def kernel_of(page, process):
    "The process behind a page, by the socket that it listens on"
    name = json.loads(page.text_content("#jupyter-config-data"))["kernelId"]
    address = json.loads(next(Path(tempfile.gettempdir()).glob(f"voila_*/kernel-{name}.json")).read_text())["ip"]
    return next(child for child in kernels(process)
                if any(str(known.laddr).startswith(address) for known in child.net_connections("unix")))


def shared(process):
    "Memory of one process, what it shares with others counted by its part (PSS), MB"
    with suppress(OSError):
        for line in Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"): return int(line.split()[1])*1024/1e6
    return 0.0


def held(process):
    "Memory of all processes below the server, MB (PSS)"
    return sum(shared(child) for child in process.children(recursive=True))


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


def open_page(browser, base, name="predict"):
    "A new visitor: the page, seconds to the first paint, seconds until it can be used"
    page = browser.new_context().new_page()
    started = time.perf_counter()
    page.goto(f"{base}/{name}?token={TOKEN}", wait_until="commit")
    page.wait_for_selector(READY[name], timeout=60_000)
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


def until(page, script, arg=None):
    "Wait until something is true on a page; Playwright's own way makes code from text, which these pages forbid"
    last = time.monotonic() + 60
    while True:
        with suppress(Error): # Another page may be on its way
            if page.evaluate(script, arg): return
        if time.monotonic() > last: raise TimeoutError(script)
        page.wait_for_timeout(20)


def draw(page, number):
    "Draw another kind of figure and wait for it"
    before = page.locator(".gc-figure img").last.get_attribute("src")
    page.get_by_label("Figure").select_option(index=number)
    page.get_by_role("button", name="Draw").click()
    until(page, "before => [...document.querySelectorAll('.gc-figure img')].at(-1).src !== before", before)


def use(page, name, table):
    "Do what one does on a page; whether it answered"
    if name == "predict": return change(page, "ArrowRight") < 5
    if name == "class":
        with page.expect_file_chooser() as chooser: page.get_by_role("button", name="Choose a file").click()
        chooser.value.set_files(table)
        page.wait_for_selector("text=2,392 students ranked", timeout=60_000)
    if name == "explore":
        for number in (3, 4, 0): draw(page, number)
    if name == "manage":
        page.get_by_label("Token for this page").fill(SECOND)
        page.keyboard.press("Enter")
        page.wait_for_selector("text=Status", timeout=60_000)
    return True


def measure_heated(bundle, folder, visits, changes, sessions, table, **given):
    "With processes kept ready: speed of Predict, sessions at once, memory of each page, and what is left when visitors have gone"
    with serve(bundle, folder, pool=2, idle=60, **given) as (base, process), sync_playwright() as started:
        browser = started.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        paints, usables = [], []
        for _ in range(visits):
            wait_for_pool(process, 6)
            page, paint, usable = open_page(browser, base)
            paints.append(paint), usables.append(usable)
            if len(usables) < visits: page.context.close()
        answers = [change(page, "ArrowLeft" if number//10 % 2 else "ArrowRight") for number in range(changes)]
        page.context.close()
        wait_for_pool(process, 6)
        before, names = held(process), [name for name in READY for _ in range(max(1, sessions//len(READY)))]
        pages = [(name, open_page(browser, base, name)[0]) for name in names]
        worked = sum(use(page, name, table) for name, page in pages)
        memory = {}
        for name, page in pages: memory[name] = max(memory.get(name, 0), kernel_of(page, process).memory_info().rss/1e6)
        full = held(process)
        for _, page in pages: page.close(run_before_unload=False)
        browser.close()
        until = time.time() + 180
        while len(kernels(process)) > 6 and time.time() < until: time.sleep(1)
        wait_for_pool(process, 6, 20)
        left, after = len(kernels(process)), held(process)
    return {"paints": paints, "usables": usables, "answers": answers, "sessions": len(names), "worked": worked,
            "memory": memory,
            "before": before, "full": full, "after": after, "left": left, "orphans": len(serve.left)}


def measure_cold(bundle, folder, forked, sessions, table):
    "Without processes kept ready: seconds until each page can be used, and memory of so many sessions"
    with serve(bundle, folder, pool=0, idle=600, forked=forked) as (base, process), sync_playwright() as started:
        browser = started.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        open_page(browser, base)[0].context.close()
        pages, seconds = [], {}
        for name in READY:
            for _ in range(max(1, sessions//len(READY))):
                page, _, usable = open_page(browser, base, name)
                seconds.setdefault(name, []).append(usable)
                pages.append((name, page))
        for name, page in pages: use(page, name, table)
        time.sleep(2)
        memory = held(process)
        browser.close()
    return {"usables": {name: statistics.median(taken) for name, taken in seconds.items()}, "memory": memory,
            "orphans": len(serve.left)}


def report(name, value, bar, unit):
    "One line, and whether the bar is met"
    met = value <= bar
    print(f"{'PASS' if met else 'FAIL'}  {name}: {value:.3f} {unit} (bar {bar:g})", flush=True)
    return met


def judge_heated(found):
    "The bars of pages with processes kept ready"
    ordered = sorted(found["answers"])
    return [report("first paint of Predict, median", statistics.median(found["paints"]), 1.0, "s"),
            report("Predict answers, median", statistics.median(found["usables"]), 2.5, "s"),
            report("a change is answered, median", statistics.median(ordered), 0.150, "s"),
            report("a change is answered, 95 of 100", ordered[int(0.95*len(ordered))], 0.300, "s"),
            report("sessions at once that do not work", found["sessions"] - found["worked"], 0,
                   f"of {found['sessions']}"),
            *(report(f"resident memory of a process of {name}, after use", value, 250, "MB")
              for name, value in found["memory"].items()),
            report("processes left after visitors have gone", found["left"], 6, ""),
            report(f"memory then, {found['before']:.0f} MB before and {found['full']:.0f} with all visitors (PSS)",
                   found["after"], 1.15*found["before"], "MB"),
            report("processes left after the server has ended", found["orphans"], 0, "")]


def judge_cold(ordinary, copies):
    "The bars of copies: quick without a process kept ready, and half the memory"
    for name, taken in ordinary["usables"].items():
        print(f"      {name} answers with an ordinary process, none kept ready: {taken:.3f} s")
    quick = [report(f"{name} answers with a copy, none kept ready", taken, 3.0, "s")
             for name, taken in copies["usables"].items()]
    return [*quick,
            report(f"memory of ten sessions with copies, ordinary {ordinary['memory']:.0f} MB (PSS)", copies["memory"],
                   ordinary["memory"]/2, "MB"),
            report("processes left after both servers have ended", ordinary["orphans"] + copies["orphans"], 0, "")]


def main():
    "Measure and compare with the bars"
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", help="bundle to serve; without it one is trained on the sample")
    parser.add_argument("--visits", type=int, default=7)
    parser.add_argument("--changes", type=int, default=100)
    parser.add_argument("--sessions", type=int, default=10)
    parser.add_argument("--only", choices=["heated", "cold"], help="half of it")
    parser.add_argument("--ordinary", action="store_true", help="heat ordinary processes, no copies")
    given = parser.parse_args()
    if not shutil.which("chromium"): sys.exit("app.py needs chromium: apt-get install chromium")
    from gradeclass.data.synthetic import synthesise_file
    met, ordinary = [], {"forked": False} if given.ordinary else {}
    with tempfile.TemporaryDirectory() as folder:
        bundle, table = given.model or train(Path(folder)), Path(folder)/"class.csv"
        synthesise_file("students", 2392, table, 5)
        if given.only != "cold":
            met += judge_heated(measure_heated(bundle, folder, given.visits, given.changes, given.sessions, table,
                                               **ordinary))
        print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores", flush=True)
        if given.only != "heated":
            met += judge_cold(*(measure_cold(bundle, folder, forked, given.sessions, table)
                                for forked in (False, True)))
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    sys.exit(0 if all(met) else 1)


if __name__ == "__main__":
    main()

"What random interruptions of uploads and answers leave behind: bytes of visitors, processes; and who is served next"
import argparse
import os
import random
import secrets
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from contextlib import suppress
from pathlib import Path

import psutil
from app import FLAGS, TOKEN, kernel_of, train
from playwright.sync_api import Error, sync_playwright

KINDS = ("close the tab", "kill the process", "kill the server", "drop the network")
SERVED = 3.0 # Seconds in which the next visitor's page must be there


class Wire:
    "Passes bytes between browser and server until it is cut"
    def __init__(self, port):
        self.port, self.pairs = port, []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.base = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with suppress(OSError):
            while True:
                near, _ = self.listener.accept()
                try: far = socket.create_connection(("127.0.0.1", self.port))
                except OSError:
                    near.close()
                    continue
                self.pairs.append((near, far))
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=self.copy, args=(source, sink), daemon=True).start()

    def copy(self, source, sink):
        with suppress(OSError):
            while data := source.recv(65_536): sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError): end.shutdown(socket.SHUT_RDWR)

    def cut(self):
        "No byte goes through any more"
        self.listener.close()
        for pair in self.pairs:
            for end in pair: end.close()


class Pages:
    "The pages, which can be killed and started again"
    def __init__(self, bundle, folder):
        self.bundle, self.folder, self.seen = bundle, folder, []
        self.start()

    def start(self):
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            self.port = found.getsockname()[1]
        options = {"port": self.port, "token": TOKEN, "manage_token": "second", "model": str(self.bundle)}
        code = f"from gradeclass.pages.server import Options, serve_pages; serve_pages(Options(**{options!r}))"
        env = os.environ | {"GRADECLASS_OUTPUTS": str(self.folder/"outputs"), "TMPDIR": str(self.folder/"t")}
        self.process = subprocess.Popen([sys.executable, "-c", code], env=env, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)
        while True:
            with suppress(OSError):
                return urllib.request.urlopen(f"http://127.0.0.1:{self.port}/healthz", timeout=5).close()
            time.sleep(0.05)

    def note(self):
        "Remember the processes below the server"
        self.seen += psutil.Process(self.process.pid).children(recursive=True)

    def kill(self):
        self.note()
        self.process.kill()
        self.process.wait()


def holding(folder, marker):
    "Files below a folder that hold a visitor's bytes"
    found = []
    for parent, _, names in os.walk(folder): # Passes over folders that are removed meanwhile
        for path in (Path(parent, name) for name in names):
            with suppress(OSError):
                if path.is_file() and marker in path.read_bytes(): found.append(str(path))
    return found


def write_class(path, marker, rows):
    "A class whose rows carry a word that is nowhere else"
    header = ("StudentID,StudyTimeWeekly,Absences,Tutoring,ParentalSupport,ParentalEducation,Extracurricular,Sports,"
              "Music,Volunteering,Name")
    lines = (f"{number},7,{number % 30},1,2,1,0,1,0,1,{marker}" for number in range(rows))
    path.write_text("\n".join([header, *lines]))


def kill_process(page, server):
    "Kill the process behind a page; others that end while it is looked for are no matter"
    while True:
        with suppress(psutil.NoSuchProcess): return kernel_of(page, server).kill()
        time.sleep(0.05)


def interrupt(browser, pages, kind, table, rng):
    "A visitor in the middle of an upload or an answer, and what comes between"
    wire, context = Wire(pages.port), browser.new_context()
    page = context.new_page()
    page.goto(f"{wire.base}/class?token={TOKEN}")
    page.wait_for_selector(".widget-upload", timeout=60_000)
    with page.expect_file_chooser() as chooser: page.get_by_role("button", name="Choose a file").click()
    chooser.value.set_files(table)
    if rng.random() < 0.5: page.locator(".gc-list").wait_for(timeout=60_000) # Else during the upload
    page.wait_for_timeout(rng.uniform(0, 600))
    pages.note()
    if kind == "kill the process": kill_process(page, psutil.Process(pages.process.pid))
    if kind == "kill the server": pages.kill()
    if kind == "drop the network": wire.cut()
    with suppress(Error): context.close()
    wire.cut()
    if kind == "kill the server": pages.start()


def serve_next(port):
    "Seconds until a visitor who comes now has the first page"
    started = time.perf_counter()
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    with opener.open(f"http://127.0.0.1:{port}/predict?token={TOKEN}", timeout=60) as answer:
        assert b"jupyter-config-data" in answer.read()
    return time.perf_counter() - started


def main():
    "Interrupt and look"
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=60, help="an end before that many times")
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    given = parser.parse_args()
    if not shutil.which("chromium"): sys.exit("interruptions.py needs chromium: apt-get install chromium")
    rng, done, waits, left = random.Random(given.seed), Counter(), [], []
    with tempfile.TemporaryDirectory(prefix="gc") as name, sync_playwright() as started:
        folder = Path(name)
        (folder/"t").mkdir()
        bundle = train(folder/"work")
        pages, until = Pages(bundle, folder), time.monotonic() + 60*given.minutes
        tempfile.tempdir = str(folder/"t") # Where `kernel_of` looks for the server's files
        browser = started.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        try:
            while done.total() < given.times and time.monotonic() < until:
                kind, marker = rng.choice(given.kinds), secrets.token_hex(12)
                table = folder/"class.csv"
                write_class(table, marker, rng.choice([30, 3_000, 60_000]))
                interrupt(browser, pages, kind, table, rng)
                table.unlink()
                waits.append((kind, serve_next(pages.port)))
                done[kind] += 1
                left += [(kind, path) for path in holding(folder, marker.encode())]
            browser.close()
        finally:
            pages.note()
            pages.process.terminate()
            pages.process.wait(60)
            alive = psutil.wait_procs(set(pages.seen), 5)[1]
            for process in alive: process.kill()
    print(f"{done.total()} interruptions: {', '.join(f'{kind} {number}' for kind, number in sorted(done.items()))}")
    print(f"files that hold a visitor's bytes: {len(left)} {left[:3]}; processes left: {len(alive)}")
    for kind in given.kinds:
        if found := [wait for name, wait in waits if name == kind]:
            print(f"after '{kind}' the next visitor's page: median {statistics.median(found):.2f} s, slowest "
                  f"{max(found):.2f} s, over {SERVED:.0f} s: {sum(wait > SERVED for wait in found)}")
    print(f"load {os.getloadavg()[0]:.1f} on {psutil.cpu_count()} cores")
    sys.exit(0 if not left and not alive and max(wait for _, wait in waits) <= SERVED else 1)


if __name__ == "__main__":
    main()

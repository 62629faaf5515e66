"Load while workers are killed, the database is locked, the disk full and stderr unread: which answers are not logged"
import argparse
import http.client
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parent))
from servers import free_port, sample_students, train_sample, wait_for


@contextmanager
def small_disk(folder, size="200m"):
    "A disk of its own in memory, where that is allowed; yields whether it is there"
    folder.mkdir(exist_ok=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True)
    try: yield done.returncode == 0
    finally:
        if done.returncode == 0: subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def serve(bundle, port, outputs, sync, workers=2):
    "The service, with a stderr that nobody reads"
    reading, writing = os.pipe()
    command = [sys.executable, "-c", "from gradeclass.cli.main import main; main()", "serve", "--model", bundle,
               "--port", str(port), "--workers", str(workers)]
    process = subprocess.Popen(command, stdout=writing, stderr=writing, env=os.environ | {
        "GRADECLASS_OUTPUTS": str(outputs), "GRADECLASS_SERVE_LOG_SYNC": sync, "OMP_NUM_THREADS": "1"})
    try:
        wait_for(f"http://127.0.0.1:{port}/ready", process, 120)
        yield process
    finally:
        process.terminate()
        process.wait(60)
        for end in (reading, writing): os.close(end)


def ask(port, students, stop, answered, statuses):
    "Ask until told to stop; note when each answer came"
    connection, turn = None, 0
    while not stop.is_set():
        turn += 1
        try:
            if connection is None: connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
            connection.request("POST", "/predict", students[turn % len(students)], {"content-type": "application/json"})
            reply = connection.getresponse()
            said = json.loads(reply.read())
            if reply.status == 200:
                answered[said["prediction_id"]] = time.monotonic(), reply.getheader("x-request-id").partition("-")[0]
            else: time.sleep(0.02)
            statuses[reply.status] += 1
        except (OSError, http.client.HTTPException, ValueError) as error:
            statuses[type(error).__name__] += 1
            connection = None
            time.sleep(0.02)


def is_worker(process):
    "Whether a process answers requests, and lives"
    try: return "spawn_main" in " ".join(process.cmdline())
    except psutil.Error: return False


def kill_workers(process, stop, kills, pause):
    "Kill one worker after the other, and note when"
    while not stop.wait(pause):
        workers = list(filter(is_worker, psutil.Process(process.pid).children(recursive=True)))
        if not workers: continue
        kills.append(time.monotonic())
        with suppress(psutil.NoSuchProcess): workers[len(kills) % len(workers)].send_signal(signal.SIGKILL)


def trouble(outputs, stop, full, happened):
    "Lock the database for three seconds, then fill the disk for three, and so on"
    while not stop.wait(6):
        with suppress(sqlite3.OperationalError):
            lock = sqlite3.connect(outputs/"predictions.db", isolation_level=None, timeout=5)
            lock.execute("BEGIN IMMEDIATE")
            stop.wait(3)
            lock.execute("ROLLBACK")
            lock.close()
            happened["database locked"] += 1
        if full and not stop.wait(3):
            with suppress(OSError), open(outputs/"ballast", "wb", buffering=0) as ballast:
                while True: ballast.write(b"x"*2**16)
            happened["disk full"] += 1
            stop.wait(3)
            (outputs/"ballast").unlink()


def ages_at_death(answered, kills, missing):
    "Seconds from each answer that is missing to the kill of its worker; a request id begins with what names the worker"
    last = {}
    for when, worker in answered.values(): last[worker] = max(when, last.get(worker, 0))
    for when, worker in map(answered.get, missing):
        death = min(kills, key=lambda kill, end=last[worker]: abs(kill - end), default=float("inf"))
        yield max(0.0, death - when)


def main():
    "Press, break, start once more, and compare"
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=int, default=60)
    options.add_argument("--pause", type=float, default=5, help="seconds between two kills")
    options.add_argument("--connections", type=int, default=8)
    options.add_argument("--sync", choices=("group", "each"), default="group")
    options.add_argument("--bundle", help="bundle to serve; trained on the sample unless given")
    chosen = options.parse_args()
    answered, statuses, happened, kills, stop = {}, Counter(), Counter(), [], threading.Event()
    with tempfile.TemporaryDirectory() as name, small_disk(Path(name)/"outputs") as full:
        outputs, port, students = Path(name)/"outputs", free_port(), sample_students()
        bundle = str(chosen.bundle or train_sample(Path(name)/"bundle"))
        with serve(bundle, port, outputs, chosen.sync) as process:
            work = [(ask, port, students, stop, answered, statuses)]*chosen.connections
            work += [(kill_workers, process, stop, kills, chosen.pause), (trouble, outputs, stop, full, happened)]
            threads = [threading.Thread(target=call, args=given) for call, *given in work]
            for thread in threads: thread.start()
            time.sleep(chosen.seconds)
            stop.set()
            for thread in threads: thread.join()
        with serve(bundle, port, outputs, chosen.sync, workers=1): pass # Takes over what killed workers have left
        with sqlite3.connect(outputs/"predictions.db") as connection:
            kept = [row[0] for row in connection.execute("SELECT id FROM predictions")]
    missing = set(answered) - set(kept)
    ages = [1000*age for age in ages_at_death(answered, kills, missing)]
    promise = 0 if chosen.sync == "each" else 50
    late = sum(age > promise for age in ages)
    print(f"{chosen.seconds} s, log_sync {chosen.sync}: {len(answered):,} answered ({dict(statuses)}), "
          f"{len(kills)} workers killed, {dict(happened)}")
    print(f"{len(missing)} not in the log, the oldest answered {max(ages, default=0):.0f} ms before its worker's end; "
          f"{late} beyond the promise of {promise} ms; {len(kept) - len(set(kept))} twice")
    sys.exit(bool(late or len(kept) > len(set(kept))))


if __name__ == "__main__": main()

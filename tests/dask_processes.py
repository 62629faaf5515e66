"A Dask scheduler and workers as processes of their own, on free ports of this machine alone"
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path


class Cluster:
    "Processes to use, and to kill"
    def __init__(self, address, workers):
        self.address, self.workers = address, workers

    def kill_worker(self):
        "SIGKILL the first worker"
        os.kill(self.workers[0].pid, signal.SIGKILL)
        self.workers[0].wait()


def start(folder, name, *command):
    "Start a Dask process whose words go to a file"
    log = open(folder/f"{name}.log", "w")  # noqa: SIM115 - it lives as long as the process
    return subprocess.Popen([sys.executable, "-m", "distributed.cli." + command[0], *command[1:]], stdout=log,
                            stderr=log, cwd=folder)


@contextmanager
def dask_processes(folder, workers=2):
    "A scheduler and workers; all are ended with the block"
    about = Path(folder, "scheduler.json")
    processes = [start(folder, "scheduler", "dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard",
                       "--scheduler-file", str(about))]
    try:
        wait_for(about.exists)
        for number in range(workers):
            processes.append(start(folder, f"worker{number}", "dask_worker", "--scheduler-file", str(about), "--host",
                                   "127.0.0.1", "--nthreads", "1",
                                   "--no-nanny", "--no-dashboard", "--local-directory", str(folder), "--name",
                                   f"worker{number}"))
        from distributed import Client
        with Client(scheduler_file=str(about), set_as_default=False) as client:
            client.wait_for_workers(workers, timeout=300)
            yield Cluster(client.scheduler.address, processes[1:])
    finally:
        for process in reversed(processes):
            process.kill()
            process.wait()


def wait_for(ready, seconds=400):
    "Look again and again until something is so"
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end: raise TimeoutError("it did not happen")
        time.sleep(0.02)

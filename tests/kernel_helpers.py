"Kernels for tests: forked and ordinary ones, and what they say"
import ast
import os
import random
import time
from contextlib import contextmanager
from pathlib import Path

import psutil
from jupyter_client import KernelManager
from traitlets.config import Config

from gradeclass.kernels import client as kernels_client, server as kernels_server

FEW = ["numpy"]  # A server that starts quickly

@contextmanager
def kernel(modules=FEW, address="", **options):
    "A manager with a running kernel, and a client of it"
    manager = KernelManager(kernel_name="python3",
                            config=Config({"WarmProvisioner": {"modules": list(modules), "address": address}}))
    manager.start_kernel(**options)
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)
        yield manager, client
    finally:
        client.stop_channels()
        if manager.has_kernel: manager.shutdown_kernel(now=True)
        manager.cleanup_resources()

def run(client, code):
    "What code prints, or the name of its error"
    shown = []
    def note(message):
        if message["msg_type"] == "stream" and message["content"]["name"] == "stdout":
            shown.append(message["content"]["text"])
    reply = client.execute_interactive(code, timeout=60, output_hook=note)
    return reply["content"]["ename"] if reply["content"]["status"] == "error" else "".join(shown).strip()

def is_forked(manager):
    "Whether a kernel is a copy"
    return isinstance(manager.provisioner.process, kernels_client.ForkedProcess)

def wait_until(is_so, seconds=10):
    "Whether something comes true"
    until = time.monotonic() + seconds
    while not is_so() and time.monotonic() < until: time.sleep(0.02)
    return is_so()

def gone(pid):
    "Whether a process has ended"
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE

def folders():
    "The folders of sockets of this process"
    return {path.name for path in Path("/tmp").glob(f"{kernels_server.PREFIX}?{os.getpid()}-*")}

def missing(client, names):
    "Modules that a kernel would have to import"
    return ast.literal_eval(run(client, f"import sys; print([m for m in {tuple(names)!r} if m not in sys.modules])"))

@contextmanager
def ordinary(**options):
    "A client of an ordinary kernel"
    manager = KernelManager(kernel_name="python3", transport="ipc",
                            ip="/tmp/" + f"{kernels_server.PREFIX}t-{os.getpid()}-{random.random()}")
    manager.kernel_spec.metadata["kernel_provisioner"] = {"provisioner_name": "local-provisioner"}
    manager.start_kernel(**options)
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)
        yield client
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)

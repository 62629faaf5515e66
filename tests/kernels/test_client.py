"Servers: who gets one, when a new one starts, and that nothing is left of it"
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from jupyter_client import KernelManager
from kernel_helpers import FEW, folders, gone, is_forked, kernel, run, wait_until
from traitlets.config import Config

from gradeclass.kernels import client as kernels_client, server as kernels_server

pytestmark = [pytest.mark.process, pytest.mark.slow,
              pytest.mark.skipif(sys.platform != "linux", reason="kernels are forked on Linux alone")]

@pytest.mark.parametrize("name, value, code", [("PYTHONHASHSEED", "7", "print(hash('grade'))"),
                                               ("OMP_NUM_THREADS", "2",
                                                "import os; print(os.environ['OMP_NUM_THREADS'])")])
def test_what_is_read_at_the_start_gets_a_server_of_its_own(monkeypatch, name, value, code):
    with kernel() as (one, _): usual = psutil.Process(one.provisioner.pid).ppid()
    monkeypatch.setenv(name, value)
    expected = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip()
    with kernel() as (two, client):
        assert is_forked(two) and psutil.Process(two.provisioner.pid).ppid() != usual
        assert run(client, code) == expected

def test_only_the_owner_gets_in():
    with kernel() as (manager, _), kernels_client.fork_server(FEW) as address:
        sockets = Path(manager.provisioner.sockets)
        modes = [path.stat().st_mode & 0o777
                 for path in (sockets, Path(address).parent, Path(address), Path(manager.connection_file))]
        assert modes == [0o700, 0o700, 0o600, 0o600]
        assert len(set(sockets.iterdir()) - {Path(manager.connection_file)}) == 5

def test_process_is_forked_from_a_server_and_ends_in_order(tmp_path):
    with kernels_client.fork_server() as address, open(tmp_path/"errors", "w+") as errors:
        (tmp_path/"calls.py").write_text("import os, sys\ndef main():\n    print(os.getppid(), sys.argv[1:], "
                                         "input())\n    print('oh', file=sys.stderr)")
        env = dict(os.environ) | {"HERE": "1"}
        here = os.getcwd()
        os.chdir(tmp_path)
        try: process = kernels_client.fork_call(address, "calls:main", ["a", "b"], env, errors)
        finally: os.chdir(here)
        parent = psutil.Process(process.pid).ppid()
        assert process.communicate("word\n", 30) == (f"{parent} ['a', 'b'] word\n", "oh\n") and process.poll() == 0

def test_changed_source_gets_a_new_server_and_old_kernels_go_on(tmp_path, monkeypatch):
    (tmp_path/"edited.py").write_text("value = 1")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}")
    with kernel(["edited"]) as (_, before):
        assert run(before, "import edited; print(edited.value)") == "1"
        (tmp_path/"edited.py").write_text("value = 22")
        with kernel(["edited"]) as (manager, after):
            assert is_forked(manager) and run(after, "import edited; print(edited.value)") == "22"
            assert run(before, "print(edited.value)") == "1"

def test_killed_server_takes_its_kernels_along_and_the_next_kernel_has_a_new_one():
    with kernel() as (manager, _):
        pid = manager.provisioner.pid
        server = psutil.Process(pid).parent()
        server.kill()
        assert wait_until(lambda: gone(pid)) and wait_until(lambda: not manager.is_alive())
        assert manager.provisioner.process.returncode == -signal.SIGKILL
    with kernel() as (manager, client):
        assert is_forked(manager) and psutil.Process(manager.provisioner.pid).ppid() != server.pid and run(
            client, "print(1)") == "1"

def test_one_server_serves_several_processes():
    code = ("import sys\nfrom gradeclass.kernels.provisioner import *\nfrom jupyter_client.manager import "
            "run_kernel\nimport nbformat, nbclient\n"
            "nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell('import os; print(os.getppid())')])\n"
            "nbclient.NotebookClient(nb, kernel_name='python3', "
            "**warm_options()).execute()\nprint(nb.cells[0].outputs[0].text)")
    with kernels_client.fork_server(FEW) as address:
        env = {**os.environ, kernels_server.ADDRESS: address}
        workers = [subprocess.Popen([sys.executable, "-c", code], env=env, stdout=subprocess.PIPE, text=True)
                   for _ in range(2)]
        parents = {worker.communicate(timeout=60)[0].strip() for worker in workers}
        assert len(parents) == 1 and psutil.Process(int(parents.pop())).cmdline()[1] == "-c"

PARENT = """
import asyncio, time
from gradeclass.kernels.client import OWN
from gradeclass.kernels.provisioner import WarmKernelManager, warm_options
async def life():
    manager = WarmKernelManager(kernel_name="python3", config=warm_options(["numpy"])["config"])
    await manager.start_kernel()
    client = manager.client(); client.start_channels(); await client.wait_for_ready(timeout=60)
    server = OWN[0]
    print(server.process.pid, manager.provisioner.pid,
          server.folder, manager.provisioner.sockets, manager.connection_file, flush=True)
    time.sleep(60)
asyncio.run(life())
"""

def test_parent_that_is_killed_leaves_nothing():
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    server, pid, *paths = parent.stdout.readline().split()
    assert not gone(int(pid)) and all(Path(path).exists() for path in paths)
    parent.kill()
    parent.communicate()
    assert wait_until(lambda: gone(int(pid)) and gone(int(server)))
    assert [path for path in paths if Path(path).exists()] == []

def test_system_without_fork_has_ordinary_kernels(monkeypatch):
    monkeypatch.delattr(os, "fork")
    with kernel() as (manager, client): assert not is_forked(manager) and run(client, "print(1)") == "1"
    with kernels_client.fork_server() as address: assert address == ""

def test_server_of_another_process_that_has_ended_means_an_ordinary_kernel():
    with kernels_client.fork_server(FEW) as address: pass
    with kernel(address=address) as (manager, client): assert not is_forked(manager) and run(client, "print(1)") == "1"

def test_server_that_cannot_start_means_an_ordinary_kernel(monkeypatch, caplog):
    monkeypatch.setattr(kernels_client, "BOOT", "raise SystemExit('no luck')")
    with kernel([*FEW, "json"]) as (manager, client): assert not is_forked(manager) and run(client, "print(1)") == "1"

def test_server_of_another_environment_means_an_ordinary_kernel(monkeypatch):
    with kernels_client.fork_server(FEW) as address:
        monkeypatch.setenv("PYTHONHASHSEED", "3")
        with kernel(address=address) as (manager, _): assert not is_forked(manager)

def test_thirty_kernels_of_which_a_third_are_killed_leave_nothing():
    own = psutil.Process()
    there_already = own.children(recursive=True)
    with kernel() as (warmed, _):
        server = psutil.Process(warmed.provisioner.pid).parent()
        counts = lambda: (len(server.children()), server.num_fds(), own.num_fds(), folders())
        def life(number):
            manager = KernelManager(kernel_name="python3", config=Config({"WarmProvisioner": {"modules": FEW}}))
            manager.start_kernel()
            if number % 3 == 0: os.kill(manager.provisioner.pid, signal.SIGKILL)
            manager.shutdown_kernel(now=number % 3 == 1)
            manager.cleanup_resources()
        life(0)
        before = counts()
        for number in range(30): life(number)
        assert wait_until(lambda: counts() == before), (before, counts())
    kernels_client.close_own()
    others = [child for child in own.children(recursive=True) if child not in there_already
              and "resource_tracker" not in " ".join(child.cmdline())]
    assert gone(server.pid) and others == []

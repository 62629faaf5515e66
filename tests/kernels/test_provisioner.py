"What every kernel does: start, be interrupted, restart, end"
import asyncio
import signal
import sys
from pathlib import Path

import nbformat
import pytest
from jupyter_client import AsyncKernelManager
from jupyter_client.multikernelmanager import MultiKernelManager
from jupyter_client.provisioning import KernelProvisionerFactory
from kernel_helpers import FEW, gone, is_forked, kernel, run, wait_until
from nbclient import NotebookClient
from nbclient.exceptions import DeadKernelError
from traitlets.config import Config

from gradeclass.kernels import provisioner

pytestmark = [pytest.mark.process, pytest.mark.slow,
              pytest.mark.skipif(sys.platform != "linux", reason="kernels are forked on Linux alone")]

def test_kernel_executes_and_shuts_down():
    with kernel() as (manager, client):
        assert is_forked(manager) and run(client, "print(6*7)") == "42"
        pid, sockets = manager.provisioner.pid, manager.provisioner.sockets
        assert Path(manager.connection_file).parent == Path(sockets)
        assert int(run(client, "import os; print(os.getpid())")) == pid == int(run(client, "print(os.getsid(0))"))
        manager.shutdown_kernel()
        assert (gone(pid) and not manager.has_kernel and not Path(sockets).exists()
                and not Path(manager.connection_file).exists())

def test_interrupt_reaches_a_busy_cell_and_its_children(tmp_path):
    with kernel() as (manager, client):
        asked = client.execute(f"import subprocess; child = subprocess.Popen(['sleep', '60']); "
                               f"open({str(tmp_path/'busy')!r}, 'w').close()\nwhile True: pass",
                               stop_on_error=False)  # Else what is sent right after the interrupt may be called off
        assert wait_until((tmp_path/"busy").exists)
        manager.interrupt_kernel()
        reply = next(reply for reply in iter(lambda: client.get_shell_msg(timeout=20), None)
                     if reply["parent_header"]["msg_id"] == asked)
        assert reply["content"]["ename"] == "KeyboardInterrupt"
        assert run(client, "print(child.wait(10))") == str(-signal.SIGINT)

def test_restart_gives_a_new_kernel_in_the_same_place(tmp_path):
    with kernel(cwd=str(tmp_path)) as (manager, client):
        run(client, "x = 1")
        before = manager.provisioner.pid
        manager.restart_kernel()
        client.wait_for_ready(timeout=60)
        assert run(client, "print(x)") == "NameError"
        assert run(client, "import os; print(os.getcwd())") == str(tmp_path)
        assert is_forked(manager) and manager.provisioner.pid != before and gone(before)

@pytest.mark.parametrize("code, expected", [("import os; os._exit(7)", 7), ("import os; os.kill(os.getpid(), 15)", -15),
                                            ("import os; os.kill(os.getpid(), 9)", -9)])
def test_exit_code_is_reported(code, expected):
    with kernel() as (manager, _):
        client = manager.client()
        client.start_channels()
        client.wait_for_ready(timeout=30)
        client.execute(code)
        process = manager.provisioner.process
        assert process.wait(20) == expected and not manager.is_alive()
        client.stop_channels()

def test_killed_kernel_is_reported_as_dead():
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("import os, signal; os.kill(os.getpid(), "
                                                                         "signal.SIGKILL)")])
    with pytest.raises(DeadKernelError):
        NotebookClient(notebook, kernel_name="python3", **provisioner.warm_options(FEW)).execute()

def test_async_manager_forks_too():
    async def life():
        manager = AsyncKernelManager(kernel_name="python3", config=Config({"WarmProvisioner": {"modules": FEW}}))
        await manager.start_kernel()
        forked, alive = is_forked(manager), await manager.is_alive()
        await manager.shutdown_kernel(now=True)
        return forked, alive, await manager.is_alive()
    assert asyncio.run(life()) == (True, True, False)

@pytest.mark.parametrize("early", [1, 3])
def test_client_whose_first_questions_were_answered_late_is_ready_all_the_same(early):
    async def life():
        manager = provisioner.WarmKernelManager(kernel_name="python3", config=Config({"WarmProvisioner": {"modules": FEW}}))
        await manager.start_kernel()
        client = manager.client()
        try:
            client.start_channels(iopub=False)  # What the first answers announce there is lost
            for _ in range(early): client.kernel_info()
            while not await client.shell_channel.msg_ready():
                await asyncio.sleep(0.05)
            await asyncio.sleep(0.5)
            client.iopub_channel.start()
            await client.wait_for_ready(timeout=5)
            reply = await client.execute_interactive("x = 1", timeout=5)
            return reply["content"]["status"]
        finally:
            client.stop_channels()
            await manager.shutdown_kernel(now=True)
    assert asyncio.run(life()) == "ok"

def test_two_lines_of_configuration_do(monkeypatch):
    monkeypatch.delenv("JUPYTER_DEFAULT_PROVISIONER_NAME")
    KernelProvisionerFactory.clear_instance()
    config = Config()
    config.KernelProvisionerFactory.default_provisioner_name = "gradeclass-warm"
    config.WarmProvisioner.modules = FEW
    many = MultiKernelManager(config=config)
    try: assert is_forked(many.get_kernel(many.start_kernel()))
    finally:
        many.shutdown_all(now=True)
        KernelProvisionerFactory.clear_instance()

def test_kernel_that_is_to_outlive_its_parent_is_ordinary():
    with kernel(independent=True) as (manager, _): assert not is_forked(manager)

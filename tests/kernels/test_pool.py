"One kernel ahead"
import os
import signal
import sys
from contextlib import contextmanager
from pathlib import Path

import nbformat
import pytest
from kernel_helpers import FEW, gone, wait_until
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from gradeclass.kernels import pool as kernels_pool

pytestmark = [pytest.mark.process, pytest.mark.slow,
              pytest.mark.skipif(sys.platform != "linux", reason="kernels are forked on Linux alone")]

PID = "import os; print(os.getpid())"

AWAIT = """
import os, time
until = time.monotonic() + 20
while os.path.exists({path!r}) != {there} and time.monotonic() < until: time.sleep(0.02)
print(os.path.exists({path!r}), os.getcwd())
"""

@contextmanager
def pool():
    "A pool of kernels, on a loop of its own"
    made = kernels_pool.KernelPool(FEW)
    try: yield made
    finally: made.close()

def execute(manager, code):
    "What a notebook of one cell prints"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    NotebookClient(notebook, km=manager).execute()
    return notebook.cells[0].outputs[0].text.strip()

def test_kernel_that_was_started_ahead_is_used_and_the_last_one_has_ended(tmp_path):
    wanted = ("python3", str(tmp_path))
    with pool() as kernels:
        with kernels.kernel(*wanted) as first:
            kernels.begin(*wanted)
            _, ahead, start = kernels.ahead
            start.add_done_callback(lambda _: (tmp_path/"started").touch())
            told = execute(first, AWAIT.format(path=str(tmp_path/"started"), there=True))
            assert told == f"True {tmp_path}" and ahead.has_kernel, "it starts while the first notebook runs"
        with kernels.kernel(*wanted) as second:
            assert second is ahead
            told = execute(second, AWAIT.format(path=f"/proc/{first.provisioner.pid}", there=False))
            assert told == f"False {tmp_path}", "the first ends while the second notebook runs"
    assert (gone(second.provisioner.pid) and not Path(second.connection_file).exists()
            and not Path(second.provisioner.sockets).exists())

def test_kernel_that_was_started_for_another_folder_is_not_used(tmp_path):
    wanted = ("python3", str(tmp_path))
    with pool() as kernels:
        with kernels.kernel(*wanted) as first:
            kernels.begin(*wanted)
            execute(first, PID)
        ahead = kernels.ahead[1]
        with kernels.kernel("python3", "/") as second:
            assert second is not ahead and execute(second, "import os; print(os.getcwd())") == "/"
        kernels.close()
        assert gone(ahead.provisioner.pid) and gone(second.provisioner.pid)

def test_kernel_that_died_ahead_is_replaced(tmp_path):
    wanted = ("python3", str(tmp_path))
    with pool() as kernels:
        with kernels.kernel(*wanted) as first:
            kernels.begin(*wanted)
            execute(first, PID)
        kernels.loop.run_until_complete(kernels.ahead[2])
        os.kill(kernels.ahead[1].provisioner.pid, signal.SIGKILL)
        assert wait_until(lambda: kernels.ahead[1].provisioner.process.poll() is not None)
        with kernels.kernel(*wanted) as second: assert execute(second, "print(6*7)") == "42"

def test_failed_cell_ends_its_kernel_too(tmp_path):
    with pool() as kernels:
        with pytest.raises(CellExecutionError, match="ZeroDivisionError"), kernels.kernel("python3",
                                                                                          str(tmp_path)) as manager:
            execute(manager, "1/0")
        kernels.close()
        assert gone(manager.provisioner.pid)

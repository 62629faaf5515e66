"A forked kernel is as good as an ordinary one, and apart from the others"
import inspect
import json
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import matplotlib
import nbformat
import psutil
import pytest
from jupyter_client.provisioning import KernelProvisionerFactory
from kernel_helpers import FEW, is_forked, kernel, missing, ordinary, run, wait_until
from nbclient import NotebookClient

from gradeclass.kernels import client as kernels_client, provisioner, server as kernels_server

pytestmark = [pytest.mark.process, pytest.mark.slow,
              pytest.mark.skipif(sys.platform != "linux", reason="kernels are forked on Linux alone")]

FACTS = """
import asyncio, json, logging, os, random, signal, sys, tempfile, threading, time
import ipywidgets, matplotlib, matplotlib.pyplot as plt, numpy, psutil, scipy.linalg, threadpoolctl
from IPython import get_ipython
shell = get_ipython()
process = psutil.Process()
files = [file.path for file in process.open_files()]
facts = {
    "environment": {name: value for name, value in os.environ.items() if name != "JPY_PARENT_PID"},
    "parent": int(os.environ["JPY_PARENT_PID"]) == os.getppid(),
    "folder": os.getcwd(),
    "path": sys.path,
    "argv": [sys.argv[0], len(sys.argv)],
    "mask": os.umask(0o077),
    "handlers": [repr(type(handler)) for handler in logging.getLogger().handlers],
    "level": logging.getLogger().level,
    "signals": [str(signal.getsignal(number))
                for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, signal.SIGPIPE)],
    "mask of signals": [int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, [])],
    "files": sorted({path for path in files if path.endswith(".sqlite") or "site-packages" in path}),
    "threads": sorted(thread.name.split("-")[0] for thread in threading.enumerate()),
    "all threads": len(os.listdir("/proc/self/task")),
    "temp": tempfile.gettempdir(),
    "pools": sorted((pool["internal_api"], pool["num_threads"]) for pool in threadpoolctl.threadpool_info()
                    if pool["internal_api"] == "openblas"),
    "backend": matplotlib.get_backend(),
    "settings": {name: repr(value) for name, value in matplotlib.rcParams.items()},
    "main": sorted(vars(sys.modules["__main__"]))[:3],
    "history": [shell.history_manager.enabled, str(shell.history_manager.hist_file)],
    "gc": __import__("gc").isenabled(),
    "flags": str(sys.flags),
    "hooks": [type(sys.stdout).__name__, sys.excepthook.__qualname__, sys.displayhook.__class__.__name__],
    "warn": sys.warnoptions,
    "loop": type(asyncio.get_running_loop()).__name__,
    "main thread": threading.main_thread().native_id == os.getpid(),
    "targets": "jupyter.widget" in shell.kernel.comm_manager.targets,
    "input": repr(sys.__stdin__.read()),
    "default settings": {name: repr(value)
                         for name, value in matplotlib.rcParamsDefault.items() if name != "backend"},
    "first settings": {name: repr(value)
                       for name, value in matplotlib.rcParamsOrig.items() if name != "backend"},
}
print(json.dumps(facts))
"""

def test_forked_kernel_has_what_an_ordinary_one_has(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "2")
    (tmp_path/"matplotlibrc").write_text("lines.linewidth: 7\naxes.facecolor: red\n")
    with ordinary(cwd=str(tmp_path)) as client: expected = json.loads(run(client, FACTS))
    with kernel([*FEW, "scipy.linalg", "matplotlib.pyplot"], cwd=str(tmp_path)) as (manager, client):
        assert is_forked(manager)
        found = json.loads(run(client, FACTS))
    differing = {name: (value, expected[name]) for name, value in found.items() if value != expected[name]}
    assert differing == {}
    assert found["settings"]["lines.linewidth"] == "7.0"

FIGURE = """
import matplotlib.pyplot as plt, seaborn as sns, pandas as pd, io, hashlib
sns.histplot(pd.DataFrame({"grade": [1, 2, 2, 3, 3, 3]}), x="grade")
plt.title("Grades")
file = io.BytesIO(); plt.savefig(file, format="png", metadata={"Software": None}); plt.close()
print(hashlib.sha256(file.getvalue()).hexdigest())
"""

def test_figures_are_the_same():
    with ordinary() as client: expected = run(client, FIGURE)
    with kernel(["pandas", "matplotlib.pyplot", "seaborn"]) as (_, client): assert run(client, FIGURE) == expected

@pytest.mark.parametrize("code",
                         ["import matplotlib.pyplot as plt; plt.plot([1, 2])",
                          "from matplotlib.figure import Figure; f = Figure(); f.gca(); f",
                                  "%matplotlib inline\nimport seaborn as sns; sns.lineplot(x=[1, 2], y=[1, 3])"])
def test_shown_figures_are_the_same(code):
    def shown(**options):
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code),
                                                   nbformat.v4.new_code_cell("import pandas as pd; pd.DataFrame({'a': "
                                                                             "[1]})")])
        NotebookClient(notebook, kernel_name="python3", **options).execute()
        return [output.get("data") for cell in notebook.cells for output in cell.outputs]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_DEFAULT_PROVISIONER_NAME", "local-provisioner")
        KernelProvisionerFactory.clear_instance()
        expected = shown()
    KernelProvisionerFactory.clear_instance()
    found = shown(**provisioner.warm_options(["pandas", "matplotlib.pyplot", "seaborn"]))
    assert [{**data, "text/plain": re.sub("0x[0-9a-f]+", "", data["text/plain"])} for data in found] == [
            {**data, "text/plain": re.sub("0x[0-9a-f]+", "", data["text/plain"])} for data in expected]
    assert any("image/png" in data for data in found) == ("plt" in code or "sns" in code)

WORK = """
import json, multiprocessing, os, subprocess, sys, threading
import numpy, xgboost
from joblib import Parallel, delayed
X = numpy.random.default_rng(0).normal(size=(3000, 5))
y = X[:, 0] > 0
def twice(x): return 2*x
with multiprocessing.get_context("fork").Pool(2) as pool: forked = pool.map(twice, [1, 2])
found = {"fork": forked, "joblib": Parallel(2)(delayed(abs)(x) for x in (-1, -2)), "blas": (X @ X.T).shape,
         "process": subprocess.run([sys.executable, "-c", "print(1)"], capture_output=True, text=True).stdout,
         "score": xgboost.XGBClassifier(n_estimators=5, n_jobs=2).fit(X, y).score(X, y) > 0.9,
         "threads": len(os.listdir("/proc/self/task")) > threading.active_count()}
print(json.dumps(found))
"""

def test_processes_and_threads_work_in_a_forked_kernel(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    with kernel(["xgboost", "joblib"]) as (manager, client):
        assert is_forked(manager)
        assert json.loads(run(client, WORK)) == {"fork": [2, 4], "joblib": [1, 2], "blas": [3000, 3000],
                                                 "process": "1\n", "score": True, "threads": True}

def test_random_states_and_keys_differ():
    code = ("import json, random, uuid, tempfile, multiprocessing, numpy, secrets; print(json.dumps([random.random(), "
            "numpy.random.rand(), str(uuid.uuid4()), "
            "tempfile.mktemp(), multiprocessing.current_process().authkey.hex(), secrets.token_hex(), "
            "get_ipython().history_manager.session_number]))")
    with kernel() as (one, first), kernel() as (two, second):
        assert psutil.Process(one.provisioner.pid).ppid() == psutil.Process(two.provisioner.pid).ppid()
        assert all(a != b for a, b in zip(json.loads(run(first, code)), json.loads(run(second, code)), strict=True))

def test_relative_folders_on_the_path_are_those_of_the_kernel(tmp_path, monkeypatch):
    (tmp_path/"lib").mkdir()
    (tmp_path/"lib"/"beside.py").write_text("value = 5")
    monkeypatch.setenv("PYTHONPATH", f"lib:{os.environ.get('PYTHONPATH', '')}")
    with kernel(cwd=str(tmp_path)) as (manager, client):
        assert is_forked(manager) and run(client, "import beside; print(beside.value)") == "5"

@pytest.mark.skipif(os.name != "posix" or os.getuid() != 0, reason="takes a second user")
def test_another_user_is_sent_away_even_where_the_folder_is_open():
    code = ("import os, socket, sys; s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET); os.setuid(65534); "
            "s.connect(sys.argv[1]); s.sendall(b'{}'); print(s.recv(99))")
    with kernels_client.fork_server(FEW) as address:
        with kernel(address=address) as (manager, _): assert is_forked(manager)
        Path(address).parent.chmod(0o755)
        Path(address).chmod(0o666)
        said = subprocess.run([sys.executable, "-c", code, address], capture_output=True, text=True)
        assert said.stdout == "b''\n" or "ConnectionResetError" in said.stderr or "BrokenPipeError" in said.stderr
        with kernel(address=address) as (manager, _): assert is_forked(manager)

def test_server_is_one_thread_with_all_modules_imported():
    with kernels_client.fork_server() as address, kernel(address=address) as (manager, client):
        server = psutil.Process(manager.provisioner.pid).parent()
        run(client, "import numpy, xgboost; xgboost.train({}, xgboost.DMatrix(numpy.ones((50, 2)), numpy.ones(50)))")
        assert server.num_threads() == 1
        assert missing(client, kernels_server.MODULES + kernels_server.KERNEL) == []

def test_what_can_wait_is_imported_while_nobody_asks_and_the_server_is_still_one_thread():
    with kernels_client.fork_server() as address:
        with kernel(address=address) as (manager, _): server = psutil.Process(manager.provisioner.pid).parent()
        wait_until(lambda: is_idle(server), 60)
        with kernel(address=address) as (_, client):
            assert missing(client, kernels_server.SOON) == [] and server.num_threads() == 1

def is_idle(process):
    "Whether a process does nothing for a while"
    before = process.cpu_times()[:2]
    time.sleep(2.5)
    return process.cpu_times()[:2] == before

def test_kernel_in_another_checkout_has_the_package_that_is_there(tmp_path):
    (tmp_path/"gradeclass").mkdir()
    (tmp_path/"gradeclass"/"__init__.py").write_text("own = True")
    with kernels_client.fork_server() as address:
        with kernel(address=address) as (manager, _):
            server = psutil.Process(manager.provisioner.pid).parent()
            wait_until(lambda: is_idle(server), 60)
        with kernel(address=address, cwd=str(tmp_path)) as (_, client):
            assert run(client, "import sys; print([m for m in sys.modules if m.startswith('gradeclass')])") == "[]"
        with kernel(address=address) as (_, client): assert missing(client, ["gradeclass.pipeline.steps"]) == []

def test_modules_that_a_fork_would_break_are_left_to_the_kernels(tmp_path, monkeypatch):
    (tmp_path/"starts_a_thread.py").write_text("import threading, time; threading.Thread(target=time.sleep, "
                                               "args=(999,), daemon=True).start()")
    (tmp_path/"asks.py").write_text("from IPython import get_ipython; inside = get_ipython() is not None")
    (tmp_path/"fits.py").write_text("import os; loaded_by = os.getpid()")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}")
    with kernel(["starts_a_thread", "asks", "no_such_module", "fits"]) as (manager, client):
        assert is_forked(manager)
        imported = run(client, "import sys; print({'starts_a_thread', 'asks', 'fits'} & sys.modules.keys())")
        assert imported == "{'fits'}"
        found = run(client,
                    "import asks, starts_a_thread, fits, os; print(asks.inside, fits.loaded_by == os.getppid())")
        assert found == "True True"

def test_modules_and_their_files_are_known_and_the_kernel_has_not_looked_at_them():
    with kernel() as (_, client):
        names = "get_ipython()._sys_modules_keys"
        assert run(client, f"import numpy, sys; print('numpy' in {names}, len({names}) > len(sys.modules)/2)") == "True True"
        assert run(client, "import IPython.core.shellapp as there; print(hasattr(there, 'set'))") == "False"
        listed = "get_ipython().kernel.debugger.kernel_modules"
        assert run(client, "print(get_ipython().kernel._kernel_modules)") == "[]"
        assert run(client, f"import numpy; print(numpy.__file__ in {listed})") == "True"
        assert run(client, "import sys, ipykernel.ipkernel as there; print(there.sys is sys)") == "True"


def test_parts_that_the_libraries_do_not_promise_are_there():
    from ipykernel import ipkernel
    from ipykernel.debugger import Debugger
    from IPython.core import shellapp
    assert ipkernel.sys is sys and "kernel_modules" in inspect.signature(Debugger).parameters
    assert "_sys_modules_keys = set(sys.modules" in inspect.getsource(shellapp)
    assert threading.main_thread()._native_id == threading.get_native_id()
    assert matplotlib.rcParamsOrig.keys() == matplotlib.rcParams.keys()

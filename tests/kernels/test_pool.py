"Forked kernels: as good as ordinary ones, apart from each other, and gone without a trace"
import ast
import asyncio
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import nbformat
import psutil
import pytest
from jupyter_client import AsyncKernelManager, KernelManager
from jupyter_client.multikernelmanager import MultiKernelManager
from jupyter_client.provisioning import KernelProvisionerFactory
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from traitlets.config import Config

from gradeclass.kernels import client as kernels_client, pool as kernels_pool, provisioner, server as kernels_server

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="kernels are forked on Linux alone")
FEW = ["numpy"]  # A server that starts quickly

@pytest.fixture(scope="module", autouse=True)
def registered(tmp_path_factory):
    "The provisioner's entry point, as an installed package has it, and the setting that chooses it"
    folder = tmp_path_factory.mktemp("site")
    info = folder/"warm_for_tests-1.dist-info"
    info.mkdir()
    (info/"METADATA").write_text("Metadata-Version: 2.1\nName: warm-for-tests\nVersion: 1\n")
    (info/"entry_points.txt").write_text("[jupyter_client.kernel_provisioners]\ngradeclass-warm = "
                                         "gradeclass.kernels.provisioner:WarmProvisioner\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        patch.setenv("PYTHONPATH", f"{folder}:{os.environ.get('PYTHONPATH', '')}")
        patch.setenv("JUPYTER_DEFAULT_PROVISIONER_NAME", "gradeclass-warm")
        patch.delenv(kernels_server.ADDRESS, raising=False)
        KernelProvisionerFactory.clear_instance()
        yield folder
        kernels_client.close_servers()
    KernelProvisionerFactory.clear_instance()

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
    return isinstance(manager.provisioner.process, kernels_client.ForkedProcess)

def wait_until(is_so, seconds=10):
    "Whether something comes true"
    until = time.monotonic() + seconds
    while not is_so() and time.monotonic() < until: time.sleep(0.02)
    return is_so()

def gone(pid):
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE

def folders():
    return {path.name for path in Path("/tmp").glob(f"{kernels_server.PREFIX}?{os.getpid()}-*")}

# What every kernel does

def test_kernel_executes_and_shuts_down():
    with kernel() as (manager, client):
        assert is_forked(manager) and run(client, "print(6*7)") == "42"
        pid, sockets = manager.provisioner.pid, manager.provisioner.sockets
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

# A forked kernel is like an ordinary one

FACTS = """
import asyncio, json, logging, os, random, signal, sys, tempfile, threading, time
import matplotlib, matplotlib.pyplot as plt, numpy, psutil, scipy.linalg, threadpoolctl
from IPython import get_ipython
shell = get_ipython()
facts = {
    "environment": {name: value for name, value in os.environ.items() if name != "JPY_PARENT_PID"},
    "parent": int(os.environ["JPY_PARENT_PID"]) == os.getppid(), "folder": os.getcwd(), "path": sys.path, "argv": [sys.argv[0], len(sys.argv)],
    "mask": os.umask(0o077), "handlers": [repr(type(h)) for h in logging.getLogger().handlers], "level": logging.getLogger().level,
    "signals": [str(signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, signal.SIGPIPE)],
    "mask of signals": [int(n) for n in signal.pthread_sigmask(signal.SIG_BLOCK, [])],
    "files": sorted({file.path for file in psutil.Process().open_files() if file.path.endswith(".sqlite") or "site-packages" in file.path}),
    "threads": sorted(t.name.split("-")[0] for t in threading.enumerate()), "all threads": len(os.listdir("/proc/self/task")), "temp": tempfile.gettempdir(),
    "pools": sorted((x["internal_api"], x["num_threads"]) for x in threadpoolctl.threadpool_info() if x["internal_api"] == "openblas"),
    "backend": matplotlib.get_backend(), "settings": {k: repr(v) for k, v in matplotlib.rcParams.items()}, "main": sorted(vars(sys.modules["__main__"]))[:3],
    "history": [shell.history_manager.enabled, str(shell.history_manager.hist_file)], "gc": __import__("gc").isenabled(), "flags": str(sys.flags),
    "hooks": [type(sys.stdout).__name__, sys.excepthook.__qualname__, sys.displayhook.__class__.__name__], "warn": sys.warnoptions,
    "loop": type(asyncio.get_running_loop()).__name__, "main thread": threading.main_thread().native_id == os.getpid(),
    "targets": "jupyter.widget" in (__import__("ipywidgets") and shell.kernel.comm_manager.targets), "input": repr(sys.__stdin__.read()),
}
print(json.dumps(facts))
"""

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
def twice(x): return 2*x
with multiprocessing.get_context("fork").Pool(2) as pool: forked = pool.map(twice, [1, 2])
found = {"fork": forked, "joblib": Parallel(2)(delayed(abs)(x) for x in (-1, -2)), "blas": (X @ X.T).shape,
         "process": subprocess.run([sys.executable, "-c", "print(1)"], capture_output=True, text=True).stdout,
         "score": float(xgboost.XGBClassifier(n_estimators=5, n_jobs=2).fit(X, X[:, 0] > 0).score(X, X[:, 0] > 0)) > 0.9,
         "threads": len(os.listdir("/proc/self/task")) > threading.active_count()}
print(json.dumps(found))
"""

def test_processes_and_threads_work_in_a_forked_kernel(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    with kernel(["xgboost", "joblib"]) as (manager, client):
        assert is_forked(manager)
        assert json.loads(run(client, WORK)) == {"fork": [2, 4], "joblib": [1, 2], "blas": [3000, 3000],
                                                 "process": "1\n", "score": True, "threads": True}

# Kernels are apart from each other

def test_random_states_and_keys_differ():
    code = ("import json, random, uuid, tempfile, multiprocessing, numpy, secrets; print(json.dumps([random.random(), "
            "numpy.random.rand(), str(uuid.uuid4()), "
            "tempfile.mktemp(), multiprocessing.current_process().authkey.hex(), secrets.token_hex(), "
            "get_ipython().history_manager.session_number]))")
    with kernel() as (one, first), kernel() as (two, second):
        assert psutil.Process(one.provisioner.pid).ppid() == psutil.Process(two.provisioner.pid).ppid()
        assert all(a != b for a, b in zip(json.loads(run(first, code)), json.loads(run(second, code)), strict=True))

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

def test_relative_folders_on_the_path_are_those_of_the_kernel(tmp_path, monkeypatch):
    (tmp_path/"lib").mkdir()
    (tmp_path/"lib"/"beside.py").write_text("value = 5")
    monkeypatch.setenv("PYTHONPATH", f"lib:{os.environ.get('PYTHONPATH', '')}")
    with kernel(cwd=str(tmp_path)) as (manager, client):
        assert is_forked(manager) and run(client, "import beside; print(beside.value)") == "5"

def test_only_the_owner_gets_in():
    with kernel() as (manager, _), kernels_client.fork_server(FEW) as address:
        sockets = Path(manager.provisioner.sockets)
        modes = [path.stat().st_mode & 0o777
                 for path in (sockets, Path(address).parent, Path(address), Path(manager.connection_file))]
        assert modes == [0o700, 0o700, 0o600, 0o600]
        assert len(list(sockets.iterdir())) == 5

@pytest.mark.skipif(os.name != "posix" or os.getuid() != 0, reason="takes a second user")
def test_another_user_is_sent_away_even_where_the_folder_is_open():
    code = ("import os, socket, sys; s = socket.socket(socket.AF_UNIX); os.setuid(65534); s.connect(sys.argv[1]); "
            "s.sendall(b'{}\\n'); print(s.recv(99))")
    with kernels_client.fork_server(FEW) as address:
        with kernel(address=address) as (manager, _): assert is_forked(manager)
        Path(address).parent.chmod(0o755)
        Path(address).chmod(0o666)
        said = subprocess.run([sys.executable, "-c", code, address], capture_output=True, text=True)
        assert said.stdout == "b''\n" or "ConnectionResetError" in said.stderr or "BrokenPipeError" in said.stderr
        with kernel(address=address) as (manager, _): assert is_forked(manager)

# The server

def test_server_is_one_thread_with_all_modules_imported():
    with kernels_client.fork_server() as address, kernel(address=address) as (manager, client):
        server = psutil.Process(manager.provisioner.pid).parent()
        run(client, "import numpy, xgboost; xgboost.train({}, xgboost.DMatrix(numpy.ones((50, 2)), numpy.ones(50)))")
        assert server.num_threads() == 1
        assert missing(client,
                       [name for name in kernels_server.MODULES + kernels_server.KERNEL
                        if name not in kernels_server.SOON]) == []

def test_idle_server_has_imported_everything_and_is_still_one_thread():
    with kernels_client.fork_server() as address:
        with kernel(address=address) as (manager, _): server = psutil.Process(manager.provisioner.pid).parent()
        spent = lambda: sum(server.cpu_times()[:2])
        wait_until(lambda: (before := spent()) and not time.sleep(2.5) and spent() == before, 60)
        with kernel(address=address) as (_, client):
            assert missing(client, kernels_server.MODULES + kernels_server.LATER) == [] and server.num_threads() == 1

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

def test_kernel_in_another_checkout_has_the_package_that_is_there(tmp_path):
    (tmp_path/"gradeclass").mkdir()
    (tmp_path/"gradeclass"/"__init__.py").write_text("own = True")
    with kernels_client.fork_server() as address:
        with kernel(address=address) as (_, client):
            wait_until(lambda: run(client, "import sys; print(1)") == "1" and not time.sleep(4))
        with kernel(address=address, cwd=str(tmp_path)) as (_, client):
            assert run(client, "import sys; print([m for m in sys.modules if m.startswith('gradeclass')])") == "[]"
        with kernel(address=address) as (_, client): assert missing(client, ["gradeclass.pipeline.steps"]) == []

def missing(client, names):
    "Modules that a kernel would have to import"
    return ast.literal_eval(run(client, f"import sys; print([m for m in {tuple(names)!r} if m not in sys.modules])"))

def test_modules_that_a_fork_would_break_are_left_to_the_kernels(tmp_path, monkeypatch):
    (tmp_path/"starts_a_thread.py").write_text("import threading, time; threading.Thread(target=time.sleep, "
                                               "args=(999,), daemon=True).start()")
    (tmp_path/"asks.py").write_text("from IPython import get_ipython; inside = get_ipython() is not None")
    (tmp_path/"fits.py").write_text("import os; loaded_by = os.getpid()")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}")
    with kernel(["starts_a_thread", "asks", "no_such_module", "fits"]) as (manager, client):
        assert is_forked(manager)
        assert run(client,
                   "import sys; print([m for m in ('starts_a_thread', 'asks', 'fits') if m in sys.modules])") == "['fits']"
        assert run(client,
                   "import asks, starts_a_thread, fits, os; print(asks.inside, fits.loaded_by == os.getppid())") == "True True"

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

def test_kept_server_is_found_again_and_ends_when_idle():
    with kernels_client.fork_server(FEW, idle=1.5) as address, kernel(address=address) as (manager, _):
        first = psutil.Process(manager.provisioner.pid).ppid()
    with kernels_client.fork_server(FEW, idle=1.5) as again, kernel(address=again) as (manager, _):
        assert (again, psutil.Process(manager.provisioner.pid).ppid()) == (address, first)
        time.sleep(2)
        assert manager.is_alive()
    assert wait_until(lambda: gone(first)) and wait_until(lambda: not Path(address).parent.exists())
    for server in kernels_client.KEPT: server.process.wait(10)

PARENT = """
import sys, time
from gradeclass.kernels.client import SERVERS
from gradeclass.kernels.provisioner import *
from jupyter_client.manager import AsyncKernelManager
import asyncio
async def life():
    manager = WarmKernelManager(kernel_name="python3", config=warm_options(["numpy"])["config"])
    await manager.start_kernel()
    client = manager.client(); client.start_channels(); await client.wait_for_ready(timeout=60)
    server = next(iter(SERVERS.values()))
    print(server.process.pid, manager.provisioner.pid, server.folder, manager.provisioner.sockets, manager.connection_file, flush=True)
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

# Where a kernel cannot be forked

def test_system_without_fork_has_ordinary_kernels(monkeypatch):
    monkeypatch.delattr(os, "fork")
    with kernel() as (manager, client): assert not is_forked(manager) and run(client, "print(1)") == "1"
    with kernels_client.fork_server() as address: assert address == ""

def test_kernel_that_is_to_outlive_its_parent_is_ordinary():
    with kernel(independent=True) as (manager, _): assert not is_forked(manager)

def test_server_of_another_process_that_has_ended_means_an_ordinary_kernel():
    with kernels_client.fork_server(FEW) as address: pass
    with kernel(address=address) as (manager, client): assert not is_forked(manager) and run(client, "print(1)") == "1"

def test_server_that_cannot_start_means_an_ordinary_kernel(monkeypatch, caplog):
    monkeypatch.setattr(kernels_server, "BOOT", "raise SystemExit('no luck')")
    with kernel([*FEW, "json"]) as (manager, client): assert not is_forked(manager) and run(client, "print(1)") == "1"

def test_server_of_another_environment_means_an_ordinary_kernel(monkeypatch):
    with kernels_client.fork_server(FEW) as address:
        monkeypatch.setenv("PYTHONHASHSEED", "3")
        with kernel(address=address) as (manager, _): assert not is_forked(manager)

# One kernel ahead

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

# What a kernel does not touch

def test_kernel_knows_the_files_of_its_modules_without_having_looked_at_them():
    with kernel() as (_, client):
        assert run(client, "print(type(get_ipython().kernel._kernel_modules).__name__)") == "ImportedFiles"
        assert run(client,
                   "import numpy; print(numpy.__file__ in list(get_ipython().kernel.debugger.kernel_modules))") == "True"
        assert run(client, "import sys, ipykernel.ipkernel as there; print(there.sys is sys)") == "True"

# Nothing is left

def test_thirty_kernels_of_which_a_third_are_killed_leave_nothing():
    own = psutil.Process()
    there_already = own.children(recursive=True)
    with kernel() as (warmed, _):
        server = psutil.Process(warmed.provisioner.pid).parent()
        counts = lambda: (len(server.children()), server.num_fds(), own.num_fds(), folders(), len(kernels_client.ALIVE))
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
    kernels_client.close_servers()
    others = [child for child in own.children(recursive=True) if child not in there_already
              and "resource_tracker" not in " ".join(child.cmdline())]
    assert gone(server.pid) and others == []

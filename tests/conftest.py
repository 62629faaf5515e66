"""Fixtures that all tests share."""
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

FOLDER = Path(__file__).parent.parent/"data"/"raw"
# Parameters of a run that takes seconds
QUICK = {"family": "xgboost", "params": "{rounds: 5, patience: null}", "resamples": "50"}
os.environ.setdefault("OMP_NUM_THREADS", "1")  # Test processes and their kernels share the cores
# A busy machine is slow, not wrong
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

@pytest.fixture(scope="session", autouse=True)
def no_telemetry():
    "Nothing is reported to anyone while tests run"
    os.environ["DO_NOT_TRACK"] = "1"

@pytest.fixture(scope="session")
def real_data():
    "Find a published table, or skip the test; a named folder without the table fails it"
    from gradeclass.config import setting
    def find(name):
        named = setting("GRADECLASS_REAL_DATA")
        found = Path(named, name) if named else FOLDER/name
        if found.is_file(): return found
        missing = f"real data not found: put {name} into data/raw/ or name its folder in GRADECLASS_REAL_DATA"
        return pytest.fail(missing) if named else pytest.skip(missing)
    return find

@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    "Bundle of a small model of the students sample, trained once for each test process"
    from gradeclass.data.sources import load
    from gradeclass.data.split import split
    from gradeclass.models.bundle import save_model
    from gradeclass.models.grade_model import GradeModel
    from gradeclass.data.synthetic import sample_path
    from gradeclass.data.validation import validate
    dataset = load(sample_path("students"), "students")
    train = split(validate(dataset).accepted, dataset.schema).train
    bundle = tmp_path_factory.mktemp("trained")/"bundle"
    save_model(GradeModel(dataset.schema, "xgboost", params={"rounds": 20, "patience": None}).fit(train), bundle)
    return bundle

@pytest.fixture(scope="module")
def model(trained):
    "The small model, opened for the tests of one file"
    from gradeclass.models.bundle import load_model
    return load_model(trained)

@pytest.fixture
def place(tmp_path, monkeypatch):
    "An empty current folder that belongs to no checkout"
    for name in ("GRADECLASS_HOME", "GRADECLASS_OUTPUTS"): monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path

@pytest.fixture(scope="session")
def make_once(tmp_path_factory):
    "Fill a folder that all test processes share, one process at a time"
    import fcntl
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    def make(name, fill):
        (shared/name).mkdir(exist_ok=True)
        with open(shared/f"{name}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            return fill(shared/name)
    return make

@pytest.fixture(scope="session")
def finished_run(make_once):
    "One quick run over the built-in sample; other runs may add to its folder"
    from gradeclass.pipeline.runner import run_pipeline
    return make_once("finished_run", lambda folder: run_pipeline("sample", parameters=QUICK, outputs=folder))

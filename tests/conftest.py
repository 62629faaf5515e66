"""Fixtures that all tests share."""
import os
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent/"data"/"raw"
QUICK = {"family": "xgboost", "params": "{rounds: 5, patience: null}", "resamples": "50"}  # Parameters of a run that takes seconds

@pytest.fixture(scope="session", autouse=True)
def no_telemetry():
    "Nothing is reported to anyone while tests run"
    os.environ["DO_NOT_TRACK"] = "1"

@pytest.fixture(scope="session")
def real_data():
    "Find a published table, or skip the test; a named folder without the table fails it"
    def find(name):
        named = os.environ.get("GRADECLASS_REAL_DATA")
        found = Path(named, name) if named else FOLDER/name
        if found.is_file(): return found
        missing = f"real data not found: put {name} into data/raw/ or name its folder in GRADECLASS_REAL_DATA"
        return pytest.fail(missing) if named else pytest.skip(missing)
    return find

@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    "Bundle of a small model of the students sample, trained once for each test process"
    from gradeclass.data import load, split
    from gradeclass.model import GradeModel, save_model
    from gradeclass.samples import sample_path
    from gradeclass.validation import validate
    dataset = load(sample_path("students"), "students")
    train = split(validate(dataset).accepted, dataset.schema).train
    bundle = tmp_path_factory.mktemp("trained")/"bundle"
    save_model(GradeModel(dataset.schema, params={"rounds": 20, "patience": None}).fit(train), bundle)
    return bundle

@pytest.fixture(scope="session")
def finished_run(tmp_path_factory):
    "One quick run over the built-in sample, shared by all test processes; other runs may add to its folder"
    import fcntl
    from gradeclass.runner import run_pipeline
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with open(shared/"finished_run.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return run_pipeline("sample", parameters=QUICK, outputs=shared/"finished_run")

"Fixtures of the tests of drift"
import pytest
from drift_helpers import make_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("drift")/"bundle")


@pytest.fixture
def outputs(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADECLASS_OUTPUTS", str(tmp_path/"out"))
    return tmp_path/"out"

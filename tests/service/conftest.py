"""Models and a service that the tests of the service share."""
import pytest

from service_helpers import running_here, train_linear


@pytest.fixture(scope="session")
def bundles(tmp_path_factory):
    "Two models of the students' sample and one of the university's"
    folder = tmp_path_factory.mktemp("served")
    return {"students": train_linear("students", folder/"students"),
            "other": train_linear("students", folder/"other", seed=1),
            "higher_ed": train_linear("higher_ed", folder/"higher_ed")}


@pytest.fixture(scope="module")
def client(bundles, tmp_path_factory):
    "One service with two models for the tests that change nothing"
    with running_here(tmp_path_factory.mktemp("common")/"outputs", bundles["students"], bundles["higher_ed"]) as client:
        yield client

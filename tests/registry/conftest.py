"Fixtures of the tests of the registry"
import pytest

from gradeclass.data.sources import load
from gradeclass.data.split import split
from gradeclass.data.synthetic import sample_path
from gradeclass.data.validation import validate
from gradeclass.models.bundle import extend_bundle, load_model, save_model
from gradeclass.models.grade_model import GradeModel
from gradeclass.registry.versions import promote, register_bundle


@pytest.fixture(scope="module")
def parts():
    "The sample, split"
    dataset = load(sample_path("students"), "students")
    return split(validate(dataset).accepted, dataset.schema)


@pytest.fixture(scope="module")
def bundles(tmp_path_factory, trained, parts):
    "A good bundle, two that differ from it in a note alone, and a weak one"
    folder = tmp_path_factory.mktemp("bundles")
    found = {"good": trained}
    for name in ("b", "c"):
        extend_bundle(trained, folder/name, {"note.txt": name})
        found[name] = folder/name
    weak = GradeModel(load_model(trained).schema, "xgboost",
                      params={"rounds": 1, "patience": None}).fit(parts.train.head(60))
    save_model(weak, folder/"weak")
    return found | {"weak": folder/"weak"}


@pytest.fixture
def served(tmp_path, bundles):
    "An outputs folder with three versions, the first of which serves"
    for name in ("good", "b", "c"): register_bundle(tmp_path, bundles[name], name)
    promote(tmp_path, 1, "Anna", "the first")
    return tmp_path

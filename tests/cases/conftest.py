"Fixtures of the tests of whole cases"
import pytest
from doors_helpers import DOORS, make_class

from gradeclass.data.dataset import clean
from gradeclass.models.bundle import save_model
from gradeclass.models.grade_model import GradeModel


@pytest.fixture(scope="session")
def doors_bundle(tmp_path_factory):
    "Bundle of a small model, trained once"
    folder = tmp_path_factory.mktemp("doors")/"bundle"
    model = GradeModel(DOORS, "ordinal", params={"members": ["linear"]})
    save_model(model.fit(clean(make_class(300, seed=1), DOORS)), folder)
    return folder

"""Models that the tests of explanations and of suggestions share."""
import pytest

from gradeclass.data.dataset import clean
from gradeclass.data.sources import load
from gradeclass.data.split import split
from gradeclass.data.synthetic import sample_path
from gradeclass.models.grade_model import GradeModel
from gradeclass.schema import load_schema

FAMILIES = {"score": ("ordinal", {"members": ["linear"]}),
            "boosted": ("ordinal", {"members": ["boost"], "boost": {"rounds": 10}}),
            "forest": ("ordinal", {"members": ["forest"], "forest": {"trees": 20}}),
            "trees": ("xgboost", {"rounds": 20, "patience": None}), "majority": ("majority", {})}


@pytest.fixture(scope="session")
def parts():
    dataset = load(sample_path("students"), "students")
    return split(clean(dataset.frame, dataset.schema), dataset.schema)


@pytest.fixture(scope="session")
def models(parts):
    schema = load_schema("students")
    return {name: GradeModel(schema, family, audit=True, params=params).fit(parts.train)
            for name, (family, params) in FAMILIES.items()}

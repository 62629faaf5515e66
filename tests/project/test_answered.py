"A draft whose grade scale is a question is learnt from nowhere"
import pytest

from gradeclass.data.sources import load
from gradeclass.data.synthetic import sample_path
from gradeclass.models.grade_model import GradeModel
from gradeclass.pipeline.steps import save_prepared
from gradeclass.schema import SchemaError, load_schema, schema_yaml
from gradeclass.training.large import train_large


@pytest.fixture(scope="module")
def asking():
    "The schema of the sample, with a question"
    schema = load_schema("students")
    return schema.model_copy(update={"grades": schema.grades.model_copy(update={"ask": "is A the best grade?"})})


def test_model_is_not_fitted(asking):
    frame = load(sample_path("students"), "students").frame
    with pytest.raises(SchemaError, match="is A the best grade"): GradeModel(asking, "logistic").fit(frame)


def test_prepare_stage_writes_nothing(asking, tmp_path):
    dataset = load(sample_path("students"), asking)
    with pytest.raises(SchemaError, match="is A the best grade"): save_prepared(tmp_path, dataset, None, None)
    assert not list(tmp_path.iterdir())


def test_large_training_does_not_begin(asking, tmp_path):
    (tmp_path/"asks.yaml").write_text(schema_yaml(asking), encoding="utf-8")
    with pytest.raises(SchemaError, match="is A the best grade"):
        train_large(sample_path("students"), tmp_path/"bundle", str(tmp_path/"asks.yaml"))
    assert not (tmp_path/"bundle").exists()

"""The served model against the model itself."""
import numpy as np
import pytest

from gradeclass.data.dataset import clean
from gradeclass.data.sources import load
from gradeclass.evaluation.calibration import load_calibration
from gradeclass.models.bundle import load_model, save_model
from gradeclass.models.features import encode_frame
from gradeclass.models.grade_model import GradeModel
from service_helpers import as_sent, read_sample

pytestmark = pytest.mark.process


def test_answers_are_those_of_the_model(client, bundles):
    for name in ("students", "higher_ed"):
        _, students = read_sample(name)
        students, model = students.head(60), load_model(bundles[name])
        columns = [column.name for column in model.schema.inputs(audit=True)]
        sent = [as_sent(row) for row in students[columns].astype(object).to_dict("records")]
        found = client.post(f"/models/{name}/predict/batch", json=sent).json()["predictions"]
        want = model.predict_proba(students)
        assert np.abs(np.array([list(one["probabilities"].values()) for one in found]) - want).max() < 1e-9
        assert [one["grade"] for one in found] == list(model.predict(students))
        alone = client.post(f"/models/{name}/predict", json=sent[0]).json()
        assert alone["probabilities"] == pytest.approx(found[0]["probabilities"], abs=1e-12)


@pytest.mark.parametrize("name,file",
                         [("students", "students_performance.csv"), ("higher_ed", "student_prediction.csv")])
@pytest.mark.parametrize("family", ["ordinal", "xgboost", "logistic", "majority", "stack"])
def test_compiled_model_equals_the_model_on_every_row(real_data, tmp_path, name, file, family):
    from gradeclass.service.served import serve_bundle
    dataset = load(real_data(file), name)
    students = clean(dataset.frame, dataset.schema)
    params = {"xgboost": {"rounds": 20, "patience": None},
              "ordinal": {"folds": 2, "forest": {"trees": 20}, "boost": {"rounds": 10}}}.get(family, {})
    model = GradeModel(dataset.schema, family, params=params,
                       rule="macro_f1" if family == "logistic" else "mode").fit(students)
    grades = len(dataset.schema.grades.labels)
    calibration = {"calibrator": {"kind": "offsets", "temperature": 1.3, "offsets": [0.1]*(grades - 1) + [-0.2]},
                   "sets": {"threshold": 0.8, "coverage": 0.9, "method": "lac", "most": 3, "students": 100},
                   "measured": {}}
    save_model(model, tmp_path/"bundle", {"calibration.json": calibration})
    served, sets = serve_bundle(tmp_path/"bundle", name), load_calibration(tmp_path/"bundle").sets
    model = load_model(tmp_path/"bundle")
    holes = students.copy()
    holes.loc[holes.index[::3], [column.name for column in dataset.schema.inputs()][2]] = np.nan
    for frame in (students, holes):
        found = served.answer_values(encode_frame(frame, served.reader.columns))
        want = model.predict_proba(frame)
        assert np.abs(found.probability - want).max() < 1e-9
        assert (found.grade == model.predict_index(frame)).all()
        assert (found.sets == sets.sets(want)).all()

"Nothing of the rows that are held out reaches training, and nothing of the answer reaches the inputs"
import shutil

import imblearn.over_sampling as samplers
import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import StratifiedKFold, cross_validate

from gradeclass.models import balance
from gradeclass.models.balance import Balancer
from gradeclass.config import stage_notebooks
from gradeclass.models.features import SchemaEncoder
from gradeclass.models.bundle import load_model
from gradeclass.models.grade_model import FAMILIES as ALL_FAMILIES, GradeModel
from gradeclass.data.synthetic import sample_path, synthesise
from gradeclass.schema import load_schema, schema_names

# An extra; test_neural.py has the like for it
FAMILIES = {name: family for name, family in ALL_FAMILIES.items() if name != "neural"}
STUDENTS = load_schema("students")
MARKER = "StudyTimeWeekly"   # A number of its own in each row, so it tells which rows were seen
PLACE = [column.name for column in STUDENTS.inputs()].index(MARKER)
TREES = {"rounds": 5, "patience": None}
QUICK = {"ordinal": {"members": ["linear"]},
         "stack": {"members": {"ordinal": {"members": ["linear"]}, "xgboost": TREES}}, "xgboost": TREES}

def quick(family):
    return QUICK.get(family, {})

@pytest.fixture
def marked():
    "Students whose study time names the row: 0.00, 0.01, 0.02 ..."
    frame = synthesise("students", 300, seed=1)
    return frame.assign(**{MARKER: np.arange(len(frame))/100})

def spy(monkeypatch, owner, method, take=lambda X: X[:, PLACE]):
    "Record the markers of the rows that a method is called with"
    seen, real = [], getattr(owner, method)
    def recording(self, X, *rest, **more):
        seen.append(np.round(100*np.asarray(take(X), float)).astype(int))
        return real(self, X, *rest, **more)
    monkeypatch.setattr(owner, method, recording)
    return seen

FOLDS = StratifiedKFold(3, shuffle=True, random_state=0)

def validate_folds(frame, family, method):
    "Cross-validate; returns the rows of each training and validation fold"
    model = GradeModel(STUDENTS, family, method, params=quick(family))
    asked = []
    def score(fitted, rows, y):
        asked.append(len(fitted.predict_proba(rows)))
        return 0.0
    cross_validate(model, frame, frame.GradeClass, cv=FOLDS, scoring=score)
    folds = list(FOLDS.split(frame, frame.GradeClass))
    assert asked == [len(test) for _, test in folds], "each validation row is asked for once, and no other row"
    return folds

@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("method, sampler", [("smote", "SMOTENC"), ("over", "RandomOverSampler")])
def test_resampling_sees_training_rows_alone(family, method, sampler, marked, monkeypatch):
    stepped = spy(monkeypatch, Balancer, "fit_resample")
    sampled = spy(monkeypatch, getattr(samplers, sampler), "fit_resample")
    folds = validate_folds(marked, family, method)
    assert len(stepped) == len(folds)
    for seen, (train, _) in zip(stepped, folds, strict=True): assert sorted(seen) == sorted(train)
    outside = [set(seen) & set(validation)
               for seen, (_, validation) in zip(sampled[::len(sampled)//len(folds)], folds, strict=True)]
    assert sampled and not any(outside)

@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("method", ["smote", "over"])
def test_no_resampled_row_reaches_validation(family, method, marked, monkeypatch):
    fitted = spy(monkeypatch, FAMILIES[family], "fit")
    predicted = spy(monkeypatch, FAMILIES[family], "predict_proba")
    folds = validate_folds(marked, family, method)
    for rows, asked, (train, validation) in zip(fitted, predicted, folds, strict=True):
        assert len(rows) > len(train), "the family is fitted on more rows than there were"
        assert sorted(asked) == sorted(validation)
        if method == "over": assert set(rows) == set(train)

def test_sampler_is_made_anew_in_each_fold(marked, monkeypatch):
    made, real = [], balance.make_smote
    monkeypatch.setattr(balance, "make_smote", lambda *given: made.append(real(*given)) or made[-1])
    validate_folds(marked, "majority", "smote")
    assert len({id(sampler) for sampler in made}) == 3

@pytest.mark.parametrize("method", ["smote", "over"])
def test_prediction_does_not_resample(method, marked, monkeypatch):
    model = GradeModel(STUDENTS, "majority", method).fit(marked)
    seen = spy(monkeypatch, Balancer, "fit_resample")
    assert len(model.predict_proba(marked)) == len(marked) and not seen

# The answer is no input

@pytest.mark.parametrize("name", schema_names())
@pytest.mark.parametrize("audit", [False, True])
def test_score_id_and_target_are_never_among_the_inputs(name, audit):
    schema = load_schema(name)
    barred = {schema.score, schema.id,
              schema.target} | set(schema.names("ignored")) | (set() if audit else set(schema.names("audit")))
    assert not barred & {column.name for column in schema.inputs(audit)}
    for one_hot in (False, True):
        named = SchemaEncoder(schema, audit, one_hot).fit(None).get_feature_names_out()
        assert not barred & {feature.split("=")[0] for feature in named}

@pytest.mark.parametrize("family", FAMILIES)
def test_score_in_the_frame_is_ignored_by_a_prediction(family, marked):
    model = GradeModel(STUDENTS, family, params=quick(family)).fit(marked)
    plain = marked.drop(columns=["GPA", "GradeClass", "StudentID"])
    np.testing.assert_array_equal(model.predict(marked.assign(GPA=4.0)), model.predict(plain))
    np.testing.assert_array_equal(model.predict_proba(marked.assign(GPA=marked.GPA[::-1].to_numpy())),
                                  model.predict_proba(plain))

# The test part

@pytest.fixture
def without_test_part(finished_run, tmp_path):
    "The prepared data with an unreadable test part"
    folder = tmp_path/"prepared"
    shutil.copytree(finished_run.folder("prepare"), folder)
    (folder/"test.parquet").write_bytes(b"not for training")
    return folder

@pytest.mark.process
@pytest.mark.slow
def test_train_stage_does_not_open_the_test_part(without_test_part, finished_run, tmp_path, monkeypatch):
    import papermill
    monkeypatch.setenv("GRADECLASS_OUTPUTS", str(tmp_path/"outputs"))
    (tmp_path/"out").mkdir()
    given = {"family": "xgboost", "params": TREES, "prepare_folder": str(without_test_part),
             "out_folder": str(tmp_path/"out")}
    papermill.execute_notebook(stage_notebooks()/"30_train.ipynb", tmp_path/"train.ipynb", given, progress_bar=False)
    frame = synthesise("students", 50)
    again, made = load_model(tmp_path/"out"/"bundle"), load_model(finished_run.bundle)
    np.testing.assert_array_equal(again.predict_proba(frame), made.predict_proba(frame))

@pytest.mark.process
@pytest.mark.slow
def test_parts_share_no_student_and_leave_none_out(finished_run):
    parts = [pd.read_parquet(finished_run.folder("prepare")/f"{name}.parquet").StudentID
             for name in ("train", "validation", "test")]
    everyone = pd.read_csv(sample_path("students"), dtype=str).StudentID
    assert sorted(pd.concat(parts)) == sorted(everyone)

@pytest.mark.process
@pytest.mark.slow
def test_predictions_of_a_run_are_of_the_test_part_alone(finished_run):
    predicted = pd.read_csv(finished_run.folder("evaluate")/"predictions.csv", dtype={"StudentID": str}).StudentID
    assert sorted(predicted) == sorted(pd.read_parquet(finished_run.folder("prepare")/"test.parquet").StudentID)

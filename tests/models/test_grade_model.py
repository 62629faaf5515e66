"Every family: scikit-learn's checks, bundles, probabilities, and what it must not depend on"
import json
import pickletools
import shutil
from functools import lru_cache

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.metrics import roc_auc_score
from sklearn.utils.estimator_checks import parametrize_with_checks

from gradeclass.config import GradeclassError
from gradeclass.models.features import LeakError
from gradeclass.models.bundle import (
    MANIFEST, BundleError, bundle_digest, extend_bundle, load_model, read_manifest, save_model,
)
from gradeclass.models.grade_model import FAMILIES as ALL_FAMILIES, GradeModel, make_family
from gradeclass.scoring.table import predict_table
from gradeclass.data.synthetic import synthesise
from gradeclass.schema import Column, Schema, load_schema

# An extra; test_neural.py has the like for it
FAMILIES = {name: family for name, family in ALL_FAMILIES.items() if name != "neural"}
STUDENTS = load_schema("students")
FRAME = synthesise("students", 500, seed=3)
NEW = synthesise("students", 200, seed=4)
QUICK = {"ordinal": {"members": ["linear"]},
         "stack": {"members": {"ordinal": {"members": ["linear"]}, "xgboost": {"rounds": 5, "patience": None}}},
         "xgboost": {"rounds": 5, "patience": None}}  # What makes a family quick to fit
CONSTANT = {"majority"}                  # Families that ignore the inputs
# Else rows are drawn, and weights are not the same as repeats
EVERY_ROW = {"xgboost": {"params": {"subsample": 1.0, "colsample_bytree": 1.0}}}

each_family = pytest.mark.parametrize("family", FAMILIES)

def quick(family):
    "Parameters that make a family quick to fit"
    return QUICK.get(family, {})

@lru_cache
def fitted(family, audit=False, balance="none", seed=42):
    "A small model of a family"
    return GradeModel(STUDENTS, family, balance, audit, seed, quick(family)).fit(FRAME)

@pytest.fixture(params=FAMILIES)
def bundle(request, tmp_path):
    "A bundle of each family"
    save_model(fitted(request.param), tmp_path/"bundle", {"notes.json": {"rows": 500}})
    return tmp_path/"bundle"

# scikit-learn's own checks

DRAWN = {"stack": "its trees draw rows, so a weight of zero changes the draw"}
WEIGHTS = "check_sample_weight_equivalence_on_dense_data"
CANNOT = {"MajorityGrades": {"check_classifiers_train": "gives all rows the same grade, so it cannot be accurate"},
          "OrdinalGrades": {WEIGHTS: "its inner folds and its trees draw rows, so repeats are not the same as weights"},
          "StackedGrades": {WEIGHTS: DRAWN["stack"]}}

def check_this(family):
    "A family as it comes, but with few trees and every row where that can be said"
    return FAMILIES[family]().set_params(**(quick(family) | EVERY_ROW[family] if family in EVERY_ROW else {}))

@pytest.mark.slow
@parametrize_with_checks([check_this(family) for family in FAMILIES],
                         expected_failed_checks=lambda estimator: CANNOT.get(type(estimator).__name__, {}))
def test_family_is_a_scikit_learn_classifier(estimator, check):
    check(estimator)

@each_family
def test_grade_model_is_cloned_with_its_parameters(family):
    model = GradeModel(STUDENTS, family, "weights", True, 7, quick(family))
    assert clone(model).get_params() == model.get_params()
    with pytest.raises(Exception, match="not fitted"): model.predict(NEW)

def test_unknown_family_balance_or_parameter_is_refused_with_the_known_ones():
    with pytest.raises(GradeclassError, match="no family forest: use one of .*majority"):
        GradeModel(STUDENTS, "forest").fit(FRAME)
    with pytest.raises(GradeclassError, match="no balance undr: use one of none"):
        GradeModel(STUDENTS, balance="undr").fit(FRAME)
    with pytest.raises(GradeclassError, match="family xgboost has no parameter depth: use one of .*rounds"):
        make_family("xgboost", 5, np.zeros(3, bool), 1, {"depth": 3})

@each_family
def test_one_grade_alone_cannot_be_learnt(family):
    with pytest.raises(GradeclassError, match="have the same grade"):
        GradeModel(STUDENTS, family, params=quick(family)).fit(FRAME[FRAME.GradeClass == "F"])

# Probabilities

@each_family
@pytest.mark.parametrize("balance", ["none", "weights", "over", "smote"])
def test_each_row_of_probabilities_sums_to_one(family, balance):
    said = fitted(family, balance=balance).predict_proba(NEW)
    assert said.shape == (200, 5) and (said >= 0).all()
    np.testing.assert_allclose(said.sum(axis=1), 1, atol=1e-6)

@each_family
def test_grade_absent_from_training_has_a_column(family):
    rows = FRAME[FRAME.GradeClass != "B"]
    model = GradeModel(STUDENTS, family, params=quick(family)).fit(rows)
    said = model.predict_proba(NEW)
    assert said.shape == (200, 5) and list(model.classes_) == list("ABCDF")
    np.testing.assert_allclose(said.sum(axis=1), 1, atol=1e-6)
    assert said[:, 1].mean() < 0.2

@each_family
@pytest.mark.parametrize("score", [True, False], ids=["with a score", "without a score"])
def test_gaps_anywhere_are_welcome(family, score):
    holes = FRAME.copy() if score else FRAME.drop(columns="GPA")
    for i, column in enumerate(STUDENTS.names("feature", "score")):
        if column in holes: holes.loc[holes.index[i::7], column] = np.nan
    holes["Music"] = np.nan
    model = GradeModel(STUDENTS, family, params=quick(family)).fit(holes)
    empty = NEW.copy()
    empty[STUDENTS.names("feature")] = np.nan
    for rows in (NEW, empty, NEW.drop(columns="Absences")):
        assert np.isfinite(model.predict_proba(rows)).all()

@each_family
def test_row_gets_the_same_answer_alone_and_among_others(family):
    model = fitted(family)
    alone = np.vstack([model.predict_proba(NEW.iloc[[i]]) for i in range(10)])
    np.testing.assert_allclose(alone, model.predict_proba(NEW)[:10], atol=1e-6)
    np.testing.assert_allclose(model.predict_proba(NEW[::-1])[::-1], model.predict_proba(NEW), atol=1e-6)

@each_family
def test_same_rows_and_seed_give_the_same_model(family):
    first, again = (GradeModel(STUDENTS, family, params=quick(family)).fit(FRAME).predict_proba(NEW) for _ in range(2))
    np.testing.assert_array_equal(first, again)

@each_family
def test_table_of_predictions_agrees_with_the_model(family):
    model = fitted(family)
    table, said = predict_table(model, NEW), model.predict_proba(NEW)
    assert list(table.columns) == ["StudentID", "grade", "grade_index", *(f"p_{grade}" for grade in "ABCDF"), "at_risk"]
    assert list(table.index) == list(NEW.index) and list(table.grade) == list(model.predict(NEW))
    np.testing.assert_allclose(table.at_risk, said[:, 4], atol=1e-12)
    np.testing.assert_allclose(table.at_risk, model.predict_at_risk(NEW), atol=1e-12)

# What a prediction must not depend on

@each_family
@pytest.mark.parametrize("column", ["GPA", "GradeClass", "StudentID", "Gender", "Ethnicity", "Age"])
def test_score_grade_id_and_protected_attributes_do_not_move_a_prediction(family, column):
    model = fitted(family)
    shuffled = NEW.assign(**{column: NEW[column].sample(frac=1, random_state=1).to_numpy()})
    np.testing.assert_array_equal(model.predict_proba(shuffled), model.predict_proba(NEW))
    np.testing.assert_array_equal(model.predict_proba(NEW.drop(columns=column)), model.predict_proba(NEW))

def unfair_school():
    "Students whose score falls by 1.5 with one gender"
    effects = (STUDENTS.synthesis.columns
               | {"Gender": STUDENTS.synthesis.columns["Gender"].model_copy(update={"effect": [0.0, -1.5]})})
    plan = STUDENTS.synthesis.model_copy(update={"columns": effects})
    return synthesise(Schema(name="unfair", columns=STUDENTS.columns, grades=STUDENTS.grades, synthesis=plan), 500,
                      seed=2)

@each_family
def test_protected_attributes_count_where_they_are_asked_for(family):
    if family in CONSTANT: pytest.skip(f"{family} looks at no input")
    frame = unfair_school()
    other = frame.assign(Gender=frame.Gender.cat.rename_categories(["Female", "Male"]).cat.reorder_categories([
        "Male", "Female"]))
    for audit in (True, False):
        model = GradeModel(STUDENTS, family, audit=audit, params=quick(family)).fit(frame)
        moved = np.abs(model.predict_proba(frame) - model.predict_proba(other)).max()
        assert moved > 0.05 if audit else moved == 0

@each_family
def test_shuffled_grades_cannot_be_predicted(family):
    frame, answer = synthesise("students", 1200, seed=6), ["GPA", "GradeClass"]
    order = np.random.default_rng(0).permutation(len(frame))
    frame[answer] = frame[answer].iloc[order].set_axis(frame.index)
    train, held = frame[:800], frame[800:]
    said = GradeModel(STUDENTS, family, params=quick(family)).fit(train).predict_proba(held)
    true = held.GradeClass.cat.codes.to_numpy()
    shares = train.GradeClass.value_counts(normalize=True, sort=False).to_numpy()
    loss, base = (-np.log(p.clip(1e-9)).mean() for p in (said[np.arange(len(true)), true], shares[true]))
    assert loss > base - 0.02
    assert (said.argmax(axis=1) == true).mean() < np.bincount(true).max()/len(true) + 0.04

@each_family
def test_true_grades_can_be_predicted(family):
    if family in CONSTANT: pytest.skip(f"{family} looks at no input")
    assert roc_auc_score(NEW.GradeClass == "F", fitted(family).predict_at_risk(NEW)) > 0.8

@each_family
def test_weight_zero_is_the_same_as_leaving_rows_out(family):
    rng = np.random.default_rng(0)
    X, y = rng.integers(0, 4, (400, 5)).astype(float), rng.integers(0, 3, 400)
    y = np.where(rng.random(400) < 0.6, (X[:, 0] > 1).astype(int), y)
    weight = (rng.random(400) < 0.7).astype(float)
    if family in DRAWN: pytest.skip(f"{family}: {DRAWN[family]}")
    made = FAMILIES[family]().set_params(n_grades=3, **quick(family), **EVERY_ROW.get(family, {}))
    score = 4 - y - rng.random(400)
    weighted = clone(made).fit(X, y, sample_weight=weight, score=score).predict_proba(X)
    without = clone(made).fit(X[weight > 0], y[weight > 0], score=score[weight > 0]).predict_proba(X)
    np.testing.assert_allclose(weighted, without, atol=1e-3)

@pytest.mark.parametrize("balance", ["over", "smote"])
def test_weights_are_not_dropped_in_silence(balance):
    with pytest.raises(GradeclassError, match="weight"):
        GradeModel(STUDENTS, "majority", balance).fit(FRAME, sample_weight=np.linspace(0, 1, len(FRAME)))

@each_family
def test_leak_is_refused_on_the_way_to_a_model(family):
    leaky = Schema(name="leaky", columns=[*STUDENTS.columns, Column(name="Mark", kind="numeric")],
                   grades=STUDENTS.grades)
    with pytest.raises(LeakError, match="Mark is a copy of the score"):
        GradeModel(leaky, family, params=quick(family)).fit(FRAME.assign(Mark=FRAME.GPA*25))

# Bundles

def test_loaded_model_is_the_saved_one(bundle):
    loaded, model = load_model(bundle), fitted(read_manifest(bundle)["family"])
    np.testing.assert_array_equal(loaded.predict_proba(NEW), model.predict_proba(NEW))
    assert loaded.get_params() | {"schema": None, "params": None} == model.get_params() | {
        "schema": None, "params": None}
    assert loaded.schema.model_dump() == STUDENTS.model_dump() and list(loaded.classes_) == list(model.classes_)

@each_family
@pytest.mark.parametrize("audit", [False, True])
def test_loaded_model_asks_for_the_same_columns(family, audit, tmp_path):
    save_model(fitted(family, audit), tmp_path/"bundle")
    np.testing.assert_array_equal(load_model(tmp_path/"bundle").predict_proba(NEW),
                                  fitted(family, audit).predict_proba(NEW))
    assert read_manifest(tmp_path/"bundle")["inputs"] == [column.name for column in STUDENTS.inputs(audit)]

def test_bundle_saved_again_has_the_same_digest(bundle, tmp_path):
    family = read_manifest(bundle)["family"]
    again = GradeModel(STUDENTS, family, params=quick(family)).fit(FRAME)
    assert save_model(again, tmp_path/"again", {"notes.json": {"rows": 500}}) == bundle_digest(bundle)
    assert save_model(load_model(bundle), tmp_path/"loaded", {"notes.json": {"rows": 500}}) == bundle_digest(bundle)

def is_pickle(content):
    "Whether bytes can be read as a pickle"
    try: return any(operation.name == "STOP" for operation, _, _ in pickletools.genops(content))
    except Exception: return False

def test_bundle_holds_no_pickle(bundle):
    files = [path for path in bundle.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} <= {".json", ".ubj", ".yaml"}
    for path in files:
        content = path.read_bytes()
        assert not content.startswith((b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"PK\x03\x04",
                                       b"\x93NUMPY")) and not is_pickle(content)

def test_changed_file_is_refused_by_name(bundle):
    for name in read_manifest(bundle)["files"]:
        content = (bundle/name).read_bytes()
        for changed in (content[:-2] + bytes([content[-2] ^ 1]) + content[-1:], content + b" ",
                        content[:len(content)//2], b""):
            (bundle/name).write_bytes(changed)
            with pytest.raises(BundleError, match=f"{name} was changed after the bundle was made"): load_model(bundle)
        (bundle/name).write_bytes(content)
    load_model(bundle)

def test_missing_file_is_refused_by_name(bundle):
    for name in read_manifest(bundle)["files"]:
        (bundle/name).rename(bundle.parent/"aside")
        with pytest.raises(BundleError, match=f"lacks {name}"): load_model(bundle)
        (bundle.parent/"aside").rename(bundle/name)

MANIFESTS = {
    "missing": (None, "is not a bundle: it has no bundle.json"),
    "empty": ("", "is not valid JSON"),
    "half": ('{"format": 1, "fam', "is not valid JSON"),
    "binary": ("\x00\xff\xfe", "is not valid JSON"),
    "list": ("[1, 2]", "bundle"),
    "other format": ('{"format": 99, "files": {}}', "has format 99, this version reads 1"),
    "no files": ({"files": None}, "bundle.json"),
    "files that are no mapping": ({"files": [1]}, "bundle.json"),
    "no schema among the files": ({"files": {}}, "bundle.json"),
    "no family": ({"family": None}, "bundle"),
    "parameters that are no mapping": ({"params": [1]}, "bundle"),
    "unknown family": ({"family": "forest"}, "forest, which this version does not know"),
}

@pytest.mark.parametrize("what", MANIFESTS)
def test_unreadable_manifest_is_refused_in_one_sentence(what, tmp_path):
    save_model(fitted("majority"), tmp_path/"bundle")
    text, message = MANIFESTS[what]
    path = tmp_path/"bundle"/MANIFEST
    if isinstance(text, dict): path.write_text(json.dumps(json.loads(path.read_text()) | text))
    elif text is None: path.unlink()
    else: path.write_bytes(text.encode("latin-1"))
    with pytest.raises(BundleError) as caught: load_model(tmp_path/"bundle")
    assert message in str(caught.value) and "\n" not in str(caught.value)

@pytest.mark.parametrize("name", ["../outside.json", "/outside.json", "a/../../outside.json"])
def test_manifest_cannot_reach_out_of_its_folder(name, tmp_path):
    save_model(fitted("majority"), tmp_path/"from"/"bundle")
    manifest = json.loads((tmp_path/"from"/"bundle"/MANIFEST).read_text())
    (tmp_path/"from"/"outside.json").write_text("{}")
    shutil.copy(tmp_path/"from"/"outside.json", tmp_path/"from"/"bundle"/"a.json")
    target = str(tmp_path/"from"/"outside.json") if name.startswith("/") else name
    (tmp_path/"from"/"bundle"/"a").mkdir()
    manifest["files"][target] = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    (tmp_path/"from"/"bundle"/MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(BundleError): extend_bundle(tmp_path/"from"/"bundle", tmp_path/"to"/"copy")
    assert not (tmp_path/"to"/"outside.json").exists()

def test_folder_that_exists_is_not_overwritten(bundle):
    before = bundle_digest(bundle)
    with pytest.raises(BundleError, match="exists already"): save_model(fitted("majority"), bundle)
    with pytest.raises(BundleError, match="exists already"): extend_bundle(bundle, bundle)
    assert bundle_digest(bundle) == before

def test_failed_save_leaves_nothing(tmp_path):
    with pytest.raises(TypeError): save_model(fitted("majority"), tmp_path/"bundle", {"odd.json": {1, 2}})
    assert not list(tmp_path.iterdir())

def test_extended_bundle_says_the_same_and_holds_more(bundle, tmp_path):
    before = bundle_digest(bundle)
    digest = extend_bundle(bundle, tmp_path/"more", {"metrics.json": {"accuracy": 0.5}})
    assert digest == bundle_digest(tmp_path/"more") != before == bundle_digest(bundle)
    assert set(read_manifest(tmp_path/"more")["files"]) == {*read_manifest(bundle)["files"], "metrics.json"}
    np.testing.assert_array_equal(load_model(tmp_path/"more").predict_proba(NEW), load_model(bundle).predict_proba(NEW))

@each_family
@pytest.mark.filterwarnings("ignore")
def test_other_schema_trains_and_loads(family, tmp_path):
    schema, frame = load_schema("higher_ed"), synthesise("higher_ed", 145)
    model = GradeModel(schema, family, params=quick(family)).fit(frame)
    save_model(model, tmp_path/"bundle")
    said = load_model(tmp_path/"bundle").predict_proba(frame)
    np.testing.assert_array_equal(said, model.predict_proba(frame))
    assert said.shape == (145, len(schema.grades.codes))

@each_family
def test_codes_and_labels_get_the_same_prediction_from_a_loaded_model(family, tmp_path):
    from gradeclass.data.synthetic import to_codes
    save_model(fitted(family), tmp_path/"bundle")
    model = load_model(tmp_path/"bundle")
    coded = to_codes(NEW, STUDENTS).astype(str)
    np.testing.assert_allclose(model.predict_proba(pd.DataFrame(coded)), model.predict_proba(NEW), atol=1e-6)

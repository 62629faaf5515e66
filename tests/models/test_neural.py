"The neural family: what it says without its extra, and with it the same net from the same rows"
import json
import random
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from sklearn.utils.estimator_checks import parametrize_with_checks

from gradeclass.disk import digest_file
from gradeclass.models.family import LogisticGrades, ModelError, holdout_rows
from gradeclass.models.bundle import load_model, save_model
from gradeclass.models.grade_model import GradeModel
from gradeclass.models.neural import NEEDS, NeuralGrades, load_keras, seeded, steady_archive
from gradeclass.data.synthetic import synthesise
from gradeclass.schema import load_schema

STUDENTS = load_schema("students")
FRAME = synthesise("students", 500, seed=3)
NEW = synthesise("students", 200, seed=4)
SHORT = {"epochs": 15}
REASON = "Keras and TensorFlow are an extra that is not installed: pip install 'gradeclass[neural]'"

@pytest.fixture(scope="session")
def keras():
    "Keras, quiet and deterministic, or the reason why it is not there"
    for name in ("keras", "tensorflow"): pytest.importorskip(name, reason=REASON)
    return load_keras()

@pytest.fixture(scope="session")
def fitted(keras):
    "A short fit on synthetic students"
    return GradeModel(STUDENTS, "neural", params=SHORT).fit(FRAME)

@pytest.fixture
def rows():
    "Rows whose grade is told by the sign of a product"
    X = np.random.default_rng(0).normal(size=(600, 3))
    return X, (X[:, 0]*X[:, 1] > 0).astype(int)

# Without the extra

def test_missing_extra_is_said_in_one_sentence(monkeypatch):
    for module in ("keras", "tensorflow"): monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ModelError) as caught: GradeModel(STUDENTS, "neural").fit(FRAME)
    assert str(caught.value) == NEEDS == "family neural needs TensorFlow: pip install 'gradeclass[neural]'"

@pytest.mark.process
def test_importing_the_families_does_not_import_tensorflow():
    code = ("import sys, gradeclass.models.grade_model as m; m.FAMILIES['neural'](); sys.exit(bool({'keras', "
            "'tensorflow', 'matplotlib'} & set(sys.modules)))")
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0

def test_archive_loses_dates_and_addresses_and_nothing_else(tmp_path):
    for number, day in enumerate((1, 2)):
        with zipfile.ZipFile(tmp_path/str(number), "w") as archive:
            archive.writestr(zipfile.ZipInfo("metadata.json", (2026, 1, day, 0, 0, 0)),
                             json.dumps({"keras_version": "3", "date_saved": day}))
            archive.writestr("config.json", json.dumps({"layers": [{"units": 4, "dtype": {"shared_object_id": day}}]}))
            archive.writestr("model.weights.h5", b"\x89HDF")
        steady_archive(tmp_path/str(number))
    assert digest_file(tmp_path/"0") == digest_file(tmp_path/"1")
    with zipfile.ZipFile(tmp_path/"0") as archive:
        assert json.loads(archive.read("config.json")) == {"layers": [{"units": 4, "dtype": {}}]}
        assert (json.loads(archive.read("metadata.json")) == {"keras_version": "3"}
                and archive.read("model.weights.h5") == b"\x89HDF")

# With it: scikit-learn's own checks

UNEQUAL = {"check_sample_weight_equivalence_on_dense_data": "rows come in batches and some are held out, so a weight "
                                                            "of two is not the same as two rows"}

@parametrize_with_checks([NeuralGrades(epochs=20)], expected_failed_checks=lambda _: UNEQUAL)
def test_family_is_a_scikit_learn_classifier(estimator, check, keras):
    check(estimator)

# Learning

def test_net_learns_what_no_straight_line_can(keras, rows):
    X, y = rows
    net, line = (made.fit(X[:400], y[:400]).predict(X[400:]) for made in (NeuralGrades(2), LogisticGrades(2)))
    assert (net == y[400:]).mean() > 0.85 > 0.65 > (line == y[400:]).mean()

def test_students_at_risk_are_found(fitted):
    assert roc_auc_score(NEW.GradeClass == "F", fitted.predict_at_risk(NEW)) > 0.8

def test_weights_of_the_best_epoch_are_kept(keras, rows):
    X, y = rows
    net = NeuralGrades(2, epochs=60, patience=5, learning_rate=0.1).fit(X, y)
    held, curve = holdout_rows(y, seed=net.seed), net.history_["val_loss"]
    loss = -np.log(net.predict_proba(X[held])[np.arange(held.sum()), y[held]]).mean() + float(sum(net.net_.losses))
    assert loss == pytest.approx(min(curve), abs=1e-4) and curve[-1] > min(curve)
    assert len(curve) == len(net.history_["loss"]) == 1 + int(np.argmin(curve)) + 5

def test_few_rows_are_all_learnt_from(keras, rows):
    X, y = rows
    assert set(NeuralGrades(2, epochs=4).fit(X[:40], y[:40]).history_) == {"loss"}
    assert set(NeuralGrades(2, epochs=4, patience=None).fit(X, y).history_) == {"loss"}

def test_balanced_weights_find_more_of_a_rare_grade(keras):
    plain, balanced = (GradeModel(STUDENTS, "neural", balance, params={"epochs": 40}).fit(FRAME)
                       for balance in ("none", "weights"))
    rare = NEW.GradeClass == "A"
    assert balanced.predict_proba(NEW)[rare, 0].mean() > 1.2*plain.predict_proba(NEW)[rare, 0].mean()

def test_weight_zero_is_the_same_as_leaving_rows_out(keras, rows):
    X, y = rows
    weight = (np.arange(len(y)) % 3 > 0).astype(float)
    weighted = NeuralGrades(2, **SHORT).fit(X, y, sample_weight=weight)
    np.testing.assert_array_equal(weighted.predict_proba(X),
                                  NeuralGrades(2, **SHORT).fit(X[weight > 0], y[weight > 0]).predict_proba(X))

# Probabilities

def test_gaps_and_absent_grades_are_welcome(keras):
    holes = FRAME[FRAME.GradeClass != "B"].copy()
    holes.loc[holes.index[::3], "Absences"] = np.nan
    holes["Music"] = np.nan
    empty = NEW.assign(**dict.fromkeys(STUDENTS.names("feature"), np.nan))
    model = GradeModel(STUDENTS, "neural", params={"epochs": 40}).fit(holes)
    for frame in (NEW, empty, NEW.drop(columns="Absences")):
        said = model.predict_proba(frame)
        assert said.shape == (200, 5) and np.isfinite(said).all()
        np.testing.assert_allclose(said.sum(axis=1), 1, atol=1e-9)
    assert model.predict_proba(NEW)[:, 1].mean() < 0.05

def test_row_gets_the_same_answer_alone_and_among_others(fitted):
    alone = np.vstack([fitted.predict_proba(NEW.iloc[[i]]) for i in range(10)])
    np.testing.assert_allclose(alone, fitted.predict_proba(NEW)[:10], atol=1e-6)

# The same again, in a bundle

def test_same_rows_and_seed_give_the_same_bundle(fitted, tmp_path):
    again = GradeModel(STUDENTS, "neural", params=SHORT).fit(FRAME)
    digest = save_model(fitted, tmp_path/"first")
    assert save_model(again, tmp_path/"again") == digest
    assert save_model(load_model(tmp_path/"first"), tmp_path/"loaded") == digest

@pytest.mark.process
def test_another_process_makes_the_same_file(keras, rows, tmp_path):
    np.save(tmp_path/"X.npy", rows[0])
    code = ("import sys, numpy as np; from gradeclass.models.neural import NeuralGrades; X = np.load(sys.argv[1] + "
            "'/X.npy')\n"
            "NeuralGrades(2, epochs=3).fit(X, (X[:, 0]*X[:, 1] > 0).astype(int)).write(sys.argv[1])")
    found = []
    for _ in range(2):
        subprocess.run([sys.executable, "-c", code, tmp_path], check=True)
        found.append([digest_file(tmp_path/name) for name in ("model.keras", "neural.json")])
    assert found[0] == found[1]

def test_another_seed_gives_another_net(keras, rows):
    first, other = (NeuralGrades(2, epochs=3, seed=seed).fit(*rows).predict_proba(rows[0]) for seed in (1, 2))
    assert np.abs(first - other).max() > 0.01

def test_loaded_model_is_the_saved_one(fitted, tmp_path):
    save_model(fitted, tmp_path/"bundle")
    loaded = load_model(tmp_path/"bundle")
    np.testing.assert_array_equal(loaded.predict_proba(NEW), fitted.predict_proba(NEW))
    assert loaded.pipeline_["family"].history_ == fitted.pipeline_["family"].history_

def test_file_that_holds_code_is_refused(fitted, keras, tmp_path):
    fitted.pipeline_["family"].write(tmp_path)
    inputs = keras.Input((fitted.pipeline_["family"].n_features_in_,))
    keras.Model(inputs, keras.layers.Lambda(lambda x: x)(inputs)).save(tmp_path/"model.keras")
    with pytest.raises(ValueError, match="(?i)lambda|safe"): NeuralGrades.read(tmp_path)

def test_random_numbers_of_others_go_on_undisturbed(keras):
    random.seed(1), np.random.seed(1)
    expected = random.random(), np.random.random()
    random.seed(1), np.random.seed(1)
    with pytest.raises(KeyError), seeded(keras, 7):
        random.random(), np.random.random()
        raise KeyError
    assert (random.random(), np.random.random()) == expected

# Learning curves

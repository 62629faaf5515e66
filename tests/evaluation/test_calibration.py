"Calibration: it helps or it does nothing, and it travels with its bundle"
import json
import subprocess
import sys

import numpy as np
import pytest
from evaluation_helpers import draw, normalised
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gradeclass.evaluation.calibration import (
    Calibration, Calibrator, calibrate, calibrate_out_of_fold, choose_calibration, fit_temperature,
    load_calibration, rescale, true_log_loss,
)
from gradeclass.evaluation.sets import FOLDS, CalibrationError, PredictionSets, fit_sets
from gradeclass.config import SEED
from gradeclass.evaluation.metrics import ece
from gradeclass.models.bundle import load_model, save_model
from gradeclass.models.features import grade_index
from gradeclass.models.folds import out_of_fold
from gradeclass.models.grade_model import GradeModel
from gradeclass.models.ordinal import strata_folds
from gradeclass.schema import load_schema

SCALE = load_schema("students").grades
POSITIVE = arrays(float, st.tuples(st.integers(1, 20), st.integers(2, 8)), elements=st.floats(0.001, 1))


@given(POSITIVE, st.floats(0.2, 5))
@settings(max_examples=50)
def test_temperature_keeps_order_and_sums(values, temperature):
    p = normalised(values)
    scaled = rescale(p, temperature)
    assert np.allclose(scaled.sum(axis=1), 1)
    assert (np.take_along_axis(scaled, p.argmax(axis=1)[:, None], 1)[:, 0] >= scaled.max(axis=1) - 1e-12).all()


@pytest.mark.parametrize("temperature", [0.4, 1.7, 4.0])
def test_temperature_is_recovered(temperature):
    p, y = draw(4000)
    assert fit_temperature(rescale(p, 1/temperature), y) == pytest.approx(temperature, rel=0.1)


def test_temperature_never_raises_the_log_loss_that_it_was_fitted_on():
    p, y = draw(300, sharpness=0.5)
    assert true_log_loss(rescale(p, fit_temperature(p, y)), y) <= true_log_loss(p, y) + 1e-6


def test_right_probabilities_are_left_alone():
    assert choose_calibration(*draw(1500)) == Calibrator()


@pytest.mark.parametrize("distort", [lambda p: normalised(p**3), lambda p: normalised(p*np.array([5.0, 1, 1, 1, 0.3]))])
def test_wrong_probabilities_are_mended_for_other_students(distort):
    p, y = draw(1500)
    found = choose_calibration(distort(p), y)
    other_p, other_y = draw(3000, seed=1)
    assert found.kind != "none"
    assert ece(other_y, found.apply(distort(other_p))) < ece(other_y, distort(other_p))/2


def test_no_row_is_calibrated_by_itself():
    p, y = draw(300)
    fold, said = strata_folds(y, FOLDS, SEED), calibrate_out_of_fold("temperature", p, y)
    for number in range(5):
        others = Calibrator("temperature", fit_temperature(p[fold != number], y[fold != number]))
        assert np.allclose(said[fold == number], others.apply(p[fold == number]))


def test_published_students_are_covered_as_stated(real_data):
    from gradeclass.data.dataset import clean
    from gradeclass.data.sources import load
    dataset = load(real_data("students_performance.csv"), "students")
    frame = clean(dataset.frame, dataset.schema)
    model = GradeModel(dataset.schema, "ordinal", params={"members": ["linear"]})
    found = calibrate(out_of_fold(model, frame, 5), grade_index(frame, dataset.schema))
    assert found.measured["coverage"] == pytest.approx(0.9, abs=0.02)
    assert found.measured["mean_size"] < 1.6
    assert found.calibrator.kind == "none"


def test_wide_sets_are_not_sure():
    p = np.array([[0.2]*5, [0.9, 0.1, 0, 0, 0]])
    calibration = Calibration(sets=PredictionSets(threshold=0.85, most=3))
    assert calibration.describe(calibration.sets.sets(p), SCALE) == ["not sure", "A"]


def test_few_students_get_no_promise():
    p, y = draw(30)
    found = calibrate(p, y)
    assert found.sets is None
    with pytest.raises(CalibrationError, match="too few for a coverage of 0.99"): fit_sets(p, y, 0.99)


def test_grades_that_nobody_has_do_not_stop_it():
    p, y = draw(400)
    few = np.clip(y, 1, 3)
    assert fit_sets(p, few).sets(p).shape == (400, 5)
    assert choose_calibration(p, few).apply(p).shape == (400, 5)


def test_state_survives_json():
    p, y = draw(500)
    found = calibrate(normalised(p**3), y)
    again = Calibration.from_dict(json.loads(json.dumps(found.to_dict())))
    assert again == found
    assert (again.sets.sets(again.calibrator.apply(p)) == found.sets.sets(found.calibrator.apply(p))).all()


@pytest.mark.parametrize("state",
                         [{}, {"calibrator": {}},
                          {"calibrator": {"kind": "none", "temperature": "x", "offsets": []}, "sets": None},
                                   {"calibrator": Calibrator().to_dict(), "sets": {"threshold": 0.5, "colour": "red"}},
                          [], None])
def test_damaged_state_is_refused_in_one_sentence(state):
    with pytest.raises(CalibrationError, match="train the model again"): Calibration.from_dict(state)


@pytest.mark.parametrize("state", [{"temperature": 0.0}, {"temperature": float("inf")}, {"kind": "magic"}])
def test_impossible_calibrators_are_refused(state):
    with pytest.raises(CalibrationError, match="temperature above 0"): Calibrator(**{"kind": "temperature", **state})


def test_bundle_carries_it_and_its_model_applies_it(trained, tmp_path):
    from gradeclass.data.dataset import clean
    from gradeclass.data.sources import load
    from gradeclass.data.synthetic import sample_path
    model, dataset = load_model(trained), load(sample_path("students"), "students")
    frame = clean(dataset.frame, dataset.schema)
    found = calibrate(*draw(300))
    raw = GradeModel(model.schema, "majority").fit(frame)
    save_model(raw, tmp_path/"bundle", {"calibration.json": found.to_dict()})
    assert load_calibration(tmp_path/"bundle") == found
    assert load_calibration(trained) == Calibration()
    said = load_model(tmp_path/"bundle").predict_proba(frame)
    assert np.allclose(said, found.calibrator.apply(raw.predict_proba(frame)), atol=1e-12)


def test_a_calibrated_model_keeps_its_calibration_without_the_files_of_a_pipeline(trained, tmp_path):
    model, calibrator = load_model(trained), Calibrator("temperature", 2.0)
    save_model(model.calibrate(calibrator, np.full((1, 5), 0.2)), tmp_path/"bundle")
    assert load_calibration(tmp_path/"bundle") == Calibration(calibrator)
    assert load_model(tmp_path/"bundle").calibrator_ == calibrator


def test_unreadable_file_is_named(tmp_path):
    (tmp_path/"calibration.json").write_text("{")
    with pytest.raises(CalibrationError, match="calibration.json is not valid JSON"): load_calibration(tmp_path)


@pytest.mark.process
def test_reading_sets_needs_neither_mapie_nor_seaborn():
    code = ("import sys, numpy as np\n"
            "from gradeclass.evaluation.calibration import Calibration, Calibrator; from gradeclass.evaluation.sets "
            "import PredictionSets\n"
            "from gradeclass.schema import load_schema\n"
            "made = Calibration(Calibrator('temperature', 1.2), PredictionSets(0.8))\n"
            "made.describe(made.sets.sets(np.array([[0.2]*5])), load_schema('students').grades)\n"
            "print([name for name in ('mapie', 'seaborn', 'optuna', 'matplotlib') if name in sys.modules])")
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                          check=True).stdout.strip() == "[]"

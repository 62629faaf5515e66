"Stacks: the mean of their members, each of which sees what it would see alone"
import json

import numpy as np
import pytest

from gradeclass.models.family import ModelError
from gradeclass.models.features import Spreader
from gradeclass.models.bundle import extend_bundle, load_model, save_model
from gradeclass.models.grade_model import GradeModel
from gradeclass.data.synthetic import synthesise
from gradeclass.schema import Column, load_schema
from gradeclass.models.stack import SINGLE_FAMILIES, StackedGrades, gather_codes, stack_shares

SCHEMA = load_schema("higher_ed")
FRAME, NEW = synthesise("higher_ed", 150, seed=1), synthesise("higher_ed", 40, seed=2)
QUICK = {"ordinal": {"members": ["linear"]}, "xgboost": {"rounds": 5, "patience": None}, "majority": {}}

def stack(weights, seed=42):
    "A stack of quick members"
    return GradeModel(SCHEMA, "stack", seed=seed,
                      params={"members": {name: QUICK[name] for name in weights}, "weights": weights})

@pytest.mark.parametrize("name", QUICK)
def test_member_that_stands_alone_says_what_it_says_without_a_stack(name):
    alone = GradeModel(SCHEMA, name, params=QUICK[name]).fit(FRAME)
    np.testing.assert_allclose(stack({name: 1.0}).fit(FRAME).predict_proba(NEW), alone.predict_proba(NEW), atol=1e-12)

def test_stack_is_the_weighted_mean_of_its_members():
    parts = {name: GradeModel(SCHEMA, name, params=QUICK[name]).fit(FRAME).predict_proba(NEW)
             for name in ("ordinal", "xgboost")}
    said = stack({"ordinal": 3, "xgboost": 1}).fit(FRAME).predict_proba(NEW)
    np.testing.assert_allclose(said, 0.75*parts["ordinal"] + 0.25*parts["xgboost"])
    np.testing.assert_allclose(said.sum(axis=1), 1)

def test_codes_are_gathered_as_they_were_spread():
    rng = np.random.default_rng(0)
    columns = [Column(name="a", kind="category", codes=dict(enumerate("xyz"))), Column(name="b", kind="numeric"),
               Column(name="c", kind="category", codes=dict(enumerate("pq")))]
    codes = np.column_stack([rng.integers(0, 3, 50), rng.normal(size=50), rng.integers(0, 2, 50)]).astype(float)
    codes[rng.random(codes.shape) < 0.2] = np.nan
    spread = Spreader(columns)
    assert spread.source.tolist() == [0, 0, 0, 1, 2, 2]
    np.testing.assert_array_equal(gather_codes(spread(codes), spread.source), codes)

def test_bundle_of_a_stack_has_a_folder_for_each_member_and_comes_back_the_same(tmp_path):
    model = stack({"ordinal": 0.5, "xgboost": 0.3, "majority": 0.2}).fit(FRAME)
    save_model(model, tmp_path/"bundle")
    extend_bundle(tmp_path/"bundle", tmp_path/"final", {"metrics.json": {}})
    np.testing.assert_array_equal(load_model(tmp_path/"final").predict_proba(NEW), model.predict_proba(NEW))
    assert {"ordinal", "xgboost", "majority"} <= {path.name for path in (tmp_path/"final").iterdir() if path.is_dir()}
    assert (not list((tmp_path/"final").rglob("*.pkl"))
            and json.loads((tmp_path/"final"/"stack.json").read_text())["weights"]["xgboost"] == 0.3)

def test_changed_byte_in_a_member_is_found(tmp_path):
    save_model(stack({"majority": 1, "xgboost": 1}).fit(FRAME), tmp_path/"bundle")
    (tmp_path/"bundle"/"majority"/"majority.json").write_text("{}")
    with pytest.raises(Exception, match="majority.json was changed after the bundle was made"):
        load_model(tmp_path/"bundle")

@pytest.mark.parametrize("balance", ["weights", "over", "smote"])
def test_stack_takes_every_balance(balance):
    said = stack({"ordinal": 1, "xgboost": 1}).set_params(balance=balance).fit(FRAME).predict_proba(NEW)
    assert np.isfinite(said).all()

def test_member_without_weight_is_not_fitted():
    assert set(stack({"ordinal": 1, "xgboost": 0}).fit(FRAME).pipeline_["family"].members_) == {"ordinal"}

@pytest.mark.parametrize("members, weights, message", [
    ({"oracle": {}}, None, "no family oracle"), ({"stack": {}}, None, "a stack cannot hold a stack"),
    ({"xgboost": {"trees": 3}}, None, "family xgboost has no parameter trees"),
    ({"xgboost": {}}, {"ordinal": 1}, "give both the same families"),
    ({"xgboost": {}}, {"xgboost": -1}, "0 or more"), ({"xgboost": {}}, {"xgboost": 0}, "not all of them 0"),
    ({"xgboost": {}}, {"xgboost": float("nan")}, "0 or more"),
])
def test_wrong_members_and_weights_are_refused(members, weights, message):
    with pytest.raises(ModelError, match=message):
        GradeModel(SCHEMA, "stack", params={"members": members, "weights": weights}).fit(FRAME)

def test_shares_sum_to_one():
    assert sum(stack_shares(dict.fromkeys(SINGLE_FAMILIES, {}), None).values()) == pytest.approx(1)
    assert StackedGrades().get_params()["weights"] is None

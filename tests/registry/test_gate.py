"The gate that lets a model in, and what a run does with its model"
import json

import pandas as pd
import pytest

from gradeclass.data.sources import load
from gradeclass.data.synthetic import sample_path
from gradeclass.models.bundle import bundle_digest, load_model, save_model
from gradeclass.models.grade_model import GradeModel
from gradeclass.registry.gate import judge_challenger, judge_version, register_run
from gradeclass.registry.promotions import history, registry_folder
from gradeclass.registry.rails import Rules, row_hashes
from gradeclass.registry.versions import challenger_of, champion_of, list_versions, load_rows, promote, rollback


def test_same_model_differs_by_nothing_and_is_not_better(bundles, parts):
    gate = judge_challenger(bundles["good"], bundles["b"], parts.test)
    figures = gate.rails[0].figures
    assert (figures["difference"], figures["low"], figures["high"]) == (0, 0, 0) and not gate.promote
    assert judge_challenger(bundles["good"], bundles["b"], parts.test, rules=Rules(promote_if="not_worse")).promote


@pytest.mark.parametrize("metric", ["macro_f1", "log_loss"])
def test_better_model_is_promoted_and_a_worse_one_is_not(bundles, parts, metric):
    rules = Rules(metric, calibration=1, calibration_cap=1)
    assert judge_challenger(bundles["good"], bundles["weak"], parts.test, rules=rules).promote
    assert not judge_challenger(bundles["weak"], bundles["good"], parts.test, rules=rules).promote
    assert not judge_challenger(bundles["weak"], bundles["good"], parts.test,
                                rules=Rules(metric, "not_worse", calibration=1, calibration_cap=1)).promote


def test_rows_that_the_champion_has_learnt_are_left_out(bundles, parts):
    schema = load_model(bundles["good"]).schema
    gate = judge_challenger(bundles["good"], bundles["weak"], parts.test, row_hashes(parts.test.head(60), schema))
    rest = judge_challenger(bundles["good"], bundles["weak"], parts.test.iloc[60:])
    assert (gate.left_out, gate.students) == (60, len(parts.test) - 60) and gate.rails == rest.rails
    few = judge_challenger(bundles["good"], bundles["weak"], parts.test, row_hashes(parts.test.iloc[20:], schema))
    assert not few.promote and few.sentence.startswith("Cannot be compared: 20 of")


@pytest.mark.slow
def test_champion_that_cheats_by_memory_is_found_out(tmp_path, parts):
    "A champion that learnt the test rows looks perfect on them; the gate does not let that count"
    schema = load(sample_path("students"), "students").schema
    grown = GradeModel(schema, "xgboost", params={"rounds": 60, "patience": None})
    learnt = pd.concat([parts.train.head(100), parts.test.head(80)])
    save_model(grown.fit(learnt), tmp_path/"memory")
    save_model(GradeModel(schema, "ordinal").fit(pd.concat([parts.train, parts.validation])), tmp_path/"honest")
    register_run(tmp_path, tmp_path/"memory", learnt, parts.validation, mode="never")
    promote(tmp_path, 1, "Anna", "by hand")
    rules = Rules("accuracy", calibration=1, calibration_cap=1)
    blinded = judge_challenger(tmp_path/"honest", tmp_path/"memory", parts.test.head(80), rules=rules)
    assert blinded.rails[0].figures["a"] > 0.95
    honest = register_run(tmp_path, tmp_path/"honest", parts.train, parts.test, rules=rules)
    assert honest.gate.left_out == 80 and honest.gate.rails[0].figures["a"] < 0.8


def test_drift_stops_a_promotion_unless_it_is_allowed(bundles, parts):
    drift = {"verdict": "drift", "sentence": "Absences have risen."}
    gate = judge_challenger(bundles["good"], bundles["weak"], parts.test, drift=drift, rules=Rules(calibration=1))
    assert not gate.promote and "Absences have risen." in gate.sentence
    assert judge_challenger(bundles["good"], bundles["weak"], parts.test, drift=drift,
                            rules=Rules(calibration=1, despite_drift=True)).promote
    few = {"verdict": "too_few", "sentence": "Too few."}
    assert judge_challenger(bundles["good"], bundles["weak"], parts.test, drift=few, rules=Rules(calibration=1)).promote


def test_champion_of_another_schema_is_not_compared(bundles, parts, tmp_path):
    schema = load_model(bundles["good"]).schema
    other = schema.model_copy(update={"columns": [column for column in schema.columns if column.name != "Absences"],
                                      "synthesis": None})
    save_model(GradeModel(other, "xgboost",
                          params={"rounds": 2, "patience": None}).fit(parts.train.drop(columns="Absences")),
               tmp_path/"other")
    register_run(tmp_path, tmp_path/"other", parts.train, parts.test, mode="never")
    promote(tmp_path, 1, "Anna", "last year's")
    found = register_run(tmp_path, bundles["good"], parts.train, parts.test)
    assert not found.promoted and found.after == 1
    assert ("the champion has other inputs (Absences)" in found.sentence
            and "gradeclass registry promote 2" in found.sentence)
    assert history(tmp_path)[-1]["event"] == "refuse"


def test_first_model_has_to_beat_the_majority_class(bundles, parts, tmp_path):
    schema = load_model(bundles["good"]).schema
    save_model(GradeModel(schema, "majority").fit(parts.train), tmp_path/"majority")
    assert not register_run(tmp_path, tmp_path/"majority", parts.train, parts.test).promoted
    found = register_run(tmp_path, bundles["good"], parts.train, parts.test)
    assert found.promoted and found.before is None and champion_of(tmp_path).number == 2
    tiny = judge_challenger(bundles["good"], None, parts.test.head(12))
    assert not tiny.promote and "12 test students are fewer than the 30" in tiny.sentence


def test_ask_leaves_the_decision_and_never_says_nothing_about_it(bundles, parts, tmp_path):
    asked = register_run(tmp_path, bundles["good"], parts.train, parts.test, mode="ask")
    assert not asked.promoted and asked.gate.promote and 'gradeclass registry promote 1 --why "..."' in asked.sentence
    assert champion_of(tmp_path) is None and challenger_of(tmp_path).number == 1
    never = register_run(tmp_path, bundles["b"], parts.train, parts.test, mode="never")
    assert not never.promoted and "registered only" in never.sentence and [
        e["event"] for e in history(tmp_path)] == ["register", "register"]


def test_gate_does_not_promote_again_what_a_person_rolled_back_from(bundles, parts, tmp_path):
    rules = Rules(calibration=1, calibration_cap=1)
    register_run(tmp_path, bundles["weak"], parts.train, parts.test, mode="never")
    promote(tmp_path, 1, "Anna", "by hand")
    assert register_run(tmp_path, bundles["good"], parts.train, parts.test, rules=rules).promoted
    rollback(tmp_path, "Anna", "odd lists")
    again = register_run(tmp_path, bundles["good"], parts.train, parts.test, rules=rules)
    assert (again.gate.promote and not again.promoted and "A person rolled back from it" in again.sentence
            and champion_of(tmp_path).number == 1)


def test_hashes_of_learnt_rows_lie_beside_the_bundle_not_in_it(bundles, parts, tmp_path):
    register_run(tmp_path, bundles["good"], parts.train, parts.test)
    version = list_versions(tmp_path)[0]
    assert bundle_digest(version.folder) == bundle_digest(bundles["good"])
    assert set(load_rows(version)) == set(row_hashes(parts.train, load_model(bundles["good"]).schema))


def test_damaged_champion_is_not_compared_and_the_sentence_says_so(bundles, parts, tmp_path):
    register_run(tmp_path, bundles["weak"], parts.train, parts.test, mode="never")
    promote(tmp_path, 1, "Anna", "by hand")
    (champion_of(tmp_path).folder/"schema.yaml").write_text("changed")
    found = register_run(tmp_path, bundles["good"], parts.train, parts.test)
    assert not found.promoted and "the champion cannot be loaded" in found.sentence


def test_run_is_judged_by_its_new_rows_too_and_so_it_is_later(parts, tmp_path):
    "What `registry compare` says later is what the run has said"
    schema = load(sample_path("students"), "students").schema
    learnt, few = pd.concat([parts.train, parts.validation]), parts.train.head(80)
    folders = {name: tmp_path/"stages"/name for name in ("prepare", "evaluate")}
    for folder in folders.values(): folder.mkdir(parents=True)
    for name, part in parts._asdict().items(): part.to_parquet(folders["prepare"]/f"{name}.parquet")
    model = GradeModel(schema, params={"members": ["linear"]})
    save_model(model.fit(few), tmp_path/"old")
    save_model(model.fit(learnt), folders["evaluate"]/"bundle")
    run = tmp_path/"runs"/"20260504-093000-abcdef"
    run.mkdir(parents=True)
    stages = [{"name": name, "folder": str(folder)} for name, folder in folders.items()]
    (run/"run.json").write_text(json.dumps({"run_id": run.name, "stages": stages}))

    register_run(tmp_path, tmp_path/"old", few, parts.test, mode="never")
    promote(tmp_path, 1, "Anna", "by hand")
    found = register_run(tmp_path, folders["evaluate"]/"bundle", learnt, parts.test, mode="ask")
    assert f"{len(parts.test)} test students and by {len(learnt) - 80} training rows" in found.sentence
    assert judge_version(tmp_path)[1] == found.gate
    (folders["prepare"]/"train.parquet").unlink()
    (folders["prepare"]/"validation.parquet").unlink()
    assert "training rows" not in judge_version(tmp_path)[1].sentence


def test_registration_and_log_are_plain_json(bundles, parts, tmp_path):
    found = register_run(tmp_path, bundles["good"], parts.train, parts.test)
    assert json.loads(json.dumps(found.as_dict(), allow_nan=False))["champion"] == {"before": None, "after": 1}
    for line in (registry_folder(tmp_path)/"log.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=pytest.fail)


@pytest.mark.parametrize("doubt", ["scale", "leak", ""])
def test_model_of_a_guessed_scale_or_a_likely_leak_is_left_to_a_person(doubt, tmp_path, trained, parts):
    model = load_model(trained)
    if doubt == "scale":
        scale = model.schema.grades.model_copy(update={"confirm": "guessed that F is the best grade"})
        model.schema = model.schema.model_copy(update={"grades": scale})
    if doubt == "leak": model.suspects_ = ["Decision"]
    model.pipeline_["family"].folder = trained
    save_model(model, tmp_path/"new")
    gate = judge_challenger(tmp_path/"new", None, parts.test)
    assert gate.promote == (not doubt)
    word = {"scale": "guessed that F is the best grade", "leak": "Decision alone predicts", "": "Promote."}[doubt]
    assert word in gate.sentence

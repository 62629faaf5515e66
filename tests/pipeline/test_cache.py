"What is stale is run, and nothing else"
import shutil

import pandas as pd
import pytest
from conftest import QUICK
from pipeline_helpers import cached, outputs_of

from gradeclass.data.synthetic import sample_path
from gradeclass.disk import digest_file
from gradeclass.models.bundle import bundle_digest
from gradeclass.pipeline import worker
from gradeclass.pipeline.cache import compare_parts, rival_digest
from gradeclass.pipeline.runner import Pipeline, dry_run, plan_run, run_pipeline
from gradeclass.pipeline.stages import STAGES

@pytest.mark.process
@pytest.mark.slow
def test_second_run_takes_every_stage_from_the_cache_and_starts_no_worker(finished_run, monkeypatch):
    monkeypatch.setattr(worker, "Worker", None)
    again = run_pipeline("sample", parameters=QUICK, outputs=outputs_of(finished_run))
    assert set(cached(again).values()) == {True}
    assert again.run_id != finished_run.run_id and again.bundle == finished_run.bundle

@pytest.mark.process
@pytest.mark.slow
def test_renamed_data_file_runs_nothing_again(finished_run, tmp_path):
    shutil.copy(sample_path("students"), tmp_path/"renamed.csv")
    again = run_pipeline(str(tmp_path/"renamed.csv"), parameters=QUICK, outputs=outputs_of(finished_run))
    assert set(cached(again).values()) == {True}

@pytest.mark.process
@pytest.mark.slow
def test_train_parameter_reruns_train_evaluate_and_register_alone(finished_run):
    other = run_pipeline("sample", parameters=QUICK | {"family": "majority", "params": {}},
                         outputs=outputs_of(finished_run))
    assert cached(other) == {"prepare": True, "drift": True, "train": False, "evaluate": False, "register": False}
    assert bundle_digest(other.bundle) != bundle_digest(finished_run.bundle)

@pytest.mark.process
@pytest.mark.slow
def test_evaluate_parameter_leaves_the_other_keys_alone(finished_run):
    pipeline = Pipeline({"data": str(sample_path("students")), "places": 7.0, "family": "xgboost", "resamples": 50,
                         "params": {"rounds": 5, "patience": None}}, outputs_of(finished_run), list(STAGES.values()),
                        1, print)
    pipeline.done = {result.name: result for result in finished_run.stages}
    changed = {result.name: pipeline.job(STAGES[result.name]).key != result.key for result in finished_run.stages}
    assert changed == {"prepare": False, "drift": False, "train": False, "evaluate": True, "register": False}

@pytest.mark.process
@pytest.mark.slow
def test_other_content_with_a_rare_grade_and_duplicates_runs_everything(finished_run, tmp_path):
    table = pd.read_csv(sample_path("students"))
    best = table.index[table.GradeClass == 0]
    table = table.drop(index=best[2:])
    pd.concat([table, table.head(25)]).to_csv(tmp_path/"students_sample.csv", index=False)
    run = run_pipeline(str(tmp_path/"students_sample.csv"), parameters=QUICK, outputs=outputs_of(finished_run))
    assert set(cached(run).values()) == {False}
    parts = [set(pd.read_parquet(run.folder("prepare")/f"{name}.parquet").StudentID)
             for name in ("train", "validation", "test")]
    assert not parts[0] & parts[1] | parts[0] & parts[2] | parts[1] & parts[2]
    table = pd.read_csv(run.folder("evaluate")/"predictions.csv")
    assert "p_A" in table and table.filter(like="p_").sum(axis=1).between(0.999, 1.001).all()

@pytest.mark.process
@pytest.mark.slow
def test_dry_run_of_a_finished_run_would_run_nothing(finished_run):
    planned = dry_run(plan_run("sample", parameters=QUICK, outputs=outputs_of(finished_run)))
    assert [(stage.name, stage.runs) for stage in planned] == [(name, False) for name in STAGES]

@pytest.mark.process
@pytest.mark.slow
def test_dry_run_says_what_has_changed_and_writes_nothing(finished_run):
    outputs = outputs_of(finished_run)
    before = sorted(outputs.rglob("*"))
    planned = {stage.name: stage
               for stage in dry_run(plan_run("sample", parameters=QUICK | {"audit": "true"}, outputs=outputs))}
    assert [name for name, stage in planned.items() if stage.runs] == ["train", "evaluate", "register"]
    assert "audit is True, was False" in planned["train"].why and planned["evaluate"].why == "builds on train"
    assert sorted(outputs.rglob("*")) == before

@pytest.mark.process
@pytest.mark.slow
def test_register_meets_the_champion_that_was_there_before(finished_run, tmp_path):
    pipeline = Pipeline({}, outputs_of(finished_run), list(STAGES.values()))
    pipeline.done = {result.name: result for result in finished_run.stages}
    known = pipeline.is_current(pipeline.job(STAGES["register"]))
    pipeline.outputs = tmp_path
    assert known is not None
    assert not pipeline.is_current(pipeline.job(STAGES["register"])), "a new outputs folder knows no model"


def test_stage_before_is_said_to_be_another_result_and_not_to_have_changed():
    "It may be up to date: what differs is the result that the last run was made of"
    parts = lambda prepare, data: {"parameters": {}, "inputs": {"prepare": prepare, "data": data}}
    assert compare_parts(parts("a", "x"), parts("b", "x")) == "it was made of another result of prepare"
    assert compare_parts(parts("a", "x"), parts("a", "y")) == "data has changed"


@pytest.mark.parametrize("who, rival", [("the gate", "first"), ("Ann", "second")])
def test_registration_is_looked_at_again_once_a_person_has_promoted(who, rival, tmp_path, monkeypatch):
    "A run must not say 'Do not promote' of a version that a person has put into service since"
    (tmp_path/"bundle.json").write_text("{}")
    digests = {"first": "0"*64, "second": digest_file(tmp_path/"bundle.json")}
    entries = [{"event": event, "version": number, "digest": digests[name], "time": "", "decided_by": by}
               for number, name, by in ((1, "first", "the gate"), (2, "second", who)) for event in ("register", "promote")]
    for module in ("promotions", "versions"):
        monkeypatch.setattr(f"gradeclass.registry.{module}.history", lambda _: entries)
    assert rival_digest(tmp_path, tmp_path) == digests[rival]

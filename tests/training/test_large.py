"Training at size agrees with training in memory, holds students out honestly and survives a lost worker"
import json
import subprocess
import sys
import threading

import numpy as np
import pandas as pd
import pytest
from dask_processes import dask_processes, wait_for
from held_out import held_out

from gradeclass.data.dataset import clean
from gradeclass.data.files import DataError
from gradeclass.data.sources import load
from gradeclass.data.synthetic import synthesise_folder
from gradeclass.models.bundle import load_model
from gradeclass.models.family import ModelError
from gradeclass.models.features import grade_index
from gradeclass.models.grade_model import GradeModel
from gradeclass.training import large
from gradeclass.training.large import train_large

pytestmark = pytest.mark.slow


def test_ordinal_bundle_agrees_with_the_fit_in_memory(folder, frame, want, tmp_path):
    train_large(folder, tmp_path/"bundle", params={"members": ["linear"]})
    held = held_out(frame, want)
    whole = GradeModel(want.schema, "ordinal", params={"members": ["linear"]}).fit(frame[~held])
    # Before calibration: the held-out rows choose one, the fit in memory has none
    ours = load_model(tmp_path/"bundle").pipeline_
    assert np.abs(ours.predict_proba(frame[held]) - whole.predict_proba(frame[held])).max() < 0.002


def test_trees_from_pages_agree_with_trees_in_memory(folder, frame, want, tmp_path, monkeypatch):
    monkeypatch.setattr(large, "PAGE", 4_000)
    params = {"rounds": 20, "params": {"subsample": 1.0, "colsample_bytree": 1.0}}
    made = train_large(folder, tmp_path/"bundle", family="xgboost", params=params)
    held = held_out(frame, want)
    whole = GradeModel(want.schema, "xgboost", params=params | {"patience": None}).fit(frame[~held])
    ours, theirs = (model.pipeline_.predict_proba(frame[held]) for model in (load_model(tmp_path/"bundle"), whole))
    assert np.abs(ours - theirs).mean() < 0.003
    grades = grade_index(frame[held], want.schema)
    loss = lambda said: -np.log(said[np.arange(held.sum()), grades]).mean()
    assert abs(loss(ours) - loss(theirs)) < 0.002
    calibrated = load_model(tmp_path/"bundle").predict_proba(frame[held])
    # Each row by others' calibration
    assert made.metrics["log_loss"]["value"] == pytest.approx(loss(calibrated), abs=0.005)


def model_files(bundle):
    "Digests of a bundle's files that predictions rest on"
    files = json.loads((bundle/"bundle.json").read_text())["files"]
    return {name: digest
            for name, digest in files.items() if name.split(".")[0] in ("ordinal", "boost", "forest", "model")}


@pytest.mark.parametrize("family, params", [("ordinal", {}), ("xgboost", {"rounds": 5})])
def test_held_out_students_teach_nothing(folder, want, tmp_path, family, params):
    changed = tmp_path/"changed"
    changed.mkdir()
    for path in folder.iterdir():
        table = pd.read_parquet(path)
        held = held_out(table, want)
        table.loc[held, "GradeClass"], table.loc[held, "Absences"] = 4 - table.GradeClass[held], 1
        table.to_parquet(changed/path.name, index=False)
    made = [train_large(source, tmp_path/f"bundle{number}", family=family, params=params)
            for number, source in enumerate((folder, changed))]
    assert model_files(made[0].bundle) and model_files(made[0].bundle) == model_files(made[1].bundle)
    assert made[0].metrics["accuracy"] != made[1].metrics["accuracy"]


def test_files_and_order_do_not_change_the_model(folder, want, tmp_path):
    tables = [pd.read_parquet(path) for path in sorted(folder.iterdir())]
    pd.concat(tables[::-1]).to_parquet(tmp_path/"one.parquet", index=False, row_group_size=7_000)
    one, many = train_large(tmp_path/"one.parquet", tmp_path/"one"), train_large(folder, tmp_path/"many")
    frame = clean(load(folder/"part-00000.parquet", "students").frame, want.schema)
    assert np.allclose(load_model(one.bundle).predict_proba(frame), load_model(many.bundle).predict_proba(frame),
                       atol=1e-9)


def test_schema_without_cuts_learns_from_grades(tmp_path):
    synthesise_folder("higher_ed", 3_000, tmp_path/"data", size=1_000)
    made = train_large(tmp_path/"data", tmp_path/"bundle", rule="macro_f1", params={"members": ["linear", "forest"]})
    assert made.metrics["qwk"]["low"] > 0.2


@pytest.mark.parametrize("change, options, said", [
    (lambda table: table.assign(Absences=99), {}, "no rows|refused"),
    (lambda table: table.assign(GradeClass=1), {}, "all training rows have the same grade"),
    (lambda table: table.drop(columns="GradeClass"), {}, "missing column: GradeClass"),
    (lambda table: table, {"family": "stack"}, "use ordinal or xgboost"),
    (lambda table: table, {"family": "xgboost", "params": {"patience": 3}}, "give rounds"),
    (lambda table: table, {"held_share": 1.0}, "a share above 0 and below 1"),
])
def test_mistakes_leave_no_bundle(folder, tmp_path, change, options, said):
    (tmp_path/"data").mkdir()
    change(pd.read_parquet(folder/"part-00000.parquet")).to_parquet(tmp_path/"data"/"a.parquet", index=False)
    with pytest.raises((DataError, ModelError), match=said): train_large(tmp_path/"data", tmp_path/"bundle", **options)
    assert not (tmp_path/"bundle").exists()


@pytest.mark.process
def test_command_line_synthesises_and_trains(tmp_path):
    call = [sys.executable, "-c", "from gradeclass.cli.main import main; main()"]
    subprocess.run([*call, "data", "synthesise", "-n", "3000", "-o", tmp_path/"many"], check=True, capture_output=True)
    done = subprocess.run([*call, "train-large", tmp_path/"many", "-o", tmp_path/"bundle"], capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stderr
    assert "held-out students" in done.stdout and load_model(tmp_path/"bundle").family == "ordinal"


@pytest.mark.process
@pytest.mark.parametrize("family", ["ordinal", "xgboost"])
def test_cluster_survives_the_death_of_a_worker(folder, frame, tmp_path, family):
    params = {"rounds": 60} if family == "xgboost" else {}
    here = train_large(folder, tmp_path/"here", family=family, params=params)
    with dask_processes(tmp_path) as cluster:
        steps = []
        def half_way():
            if family == "ordinal": return len(steps) >= 2
            return "got rank" in (tmp_path/"worker0.log").read_text()
        def kill():
            wait_for(half_way)
            cluster.kill_worker()
        killer = threading.Thread(target=kill)
        killer.start()
        there = train_large(folder, tmp_path/"there", family=family, params=params, scheduler=cluster.address,
                            on_step=lambda *step: steps.append(step))
        killer.join()
        assert cluster.workers[0].returncode == -9
    assert there.about == here.about
    ours, theirs = (load_model(made.bundle).predict_proba(frame.head(2_000)) for made in (there, here))
    assert np.abs(ours - theirs).mean() < (1e-9 if family == "ordinal" else 0.02)

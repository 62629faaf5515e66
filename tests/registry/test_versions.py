"The local registry: killed at any step, out of space, used by several processes, and the gate that lets a model in"
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from gradeclass.registry import versions
from gradeclass.registry.promotions import ChampionError, registry_folder
from gradeclass.registry.versions import (
    challenger_of, champion_of, history, linked, list_versions, load_rows, promote, read_state,
    refuse, register_bundle, repair, rollback,
)
from gradeclass.disk import digest_folder
from gradeclass.data.sources import load
from gradeclass.data.split import split
from gradeclass.models.features import grade_index
from gradeclass.registry.gate import judge_challenger, register_run
from gradeclass.registry.rails import Judged, Rules, calibration_rail, group_rail, metric_rail, row_hashes
from gradeclass.models.bundle import bundle_digest, extend_bundle, load_model, save_model
from gradeclass.models.grade_model import GradeModel
from gradeclass.data.synthetic import sample_path
from gradeclass.data.validation import validate


@pytest.fixture(scope="module")
def parts():
    "The sample, split"
    dataset = load(sample_path("students"), "students")
    return split(validate(dataset).accepted, dataset.schema)


@pytest.fixture(scope="module")
def bundles(tmp_path_factory, trained, parts):
    "A good bundle, two that differ from it in a note alone, and a weak one"
    folder = tmp_path_factory.mktemp("bundles")
    found = {"good": trained}
    for name in ("b", "c"):
        extend_bundle(trained, folder/name, {"note.txt": name})
        found[name] = folder/name
    weak = GradeModel(load_model(trained).schema, "xgboost",
                      params={"rounds": 1, "patience": None}).fit(parts.train.head(60))
    save_model(weak, folder/"weak")
    return found | {"weak": folder/"weak"}


@pytest.fixture
def served(tmp_path, bundles):
    "An outputs folder with three versions, the first of which serves"
    for name in ("good", "b", "c"): register_bundle(tmp_path, bundles[name], name)
    promote(tmp_path, 1, "Anna", "the first")
    return tmp_path


def consistent(outputs):
    "What must hold at any time: each version has its whole copy, the link is the champion, nothing half-made is left"
    state = repair(outputs)
    for version in state.versions.values(): assert bundle_digest(version.folder) == version.digest
    assert linked(outputs) == (state.champion.digest[:16] if state.champion else "")
    if state.champion: assert bundle_digest(outputs/"champion") == state.champion.digest
    assert not [*outputs.rglob(".*.part")]
    assert list(state.versions) == list(range(1, len(state.versions) + 1))
    return state


def start(code, *words, **options):
    "Another Python process"
    return subprocess.Popen([sys.executable, "-c", code, *map(str, words)], stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True, **options)


# The log

def test_history_says_who_was_champion_when_why_and_who_decided(served):
    promote(served, 3, "the gate", "better by 3 points", {"difference": 0.03})
    refuse(served, 2, "the gate", "not shown to be better")
    rollback(served, "Anna", "odd lists")
    told = [(e["event"], e["version"], e["from_version"], e["decided_by"], e["why"]) for e in history(served)[3:]]
    assert told == [("promote", 1, None, "Anna", "the first"), ("promote", 3, 1, "the gate", "better by 3 points"),
                    ("refuse", 2, 3, "the gate", "not shown to be better"), ("rollback", 1, 3, "Anna", "odd lists")]
    assert all(entry["time"].endswith("Z") and len(entry["digest"]) == 64 for entry in history(served))
    assert (history(served)[4]["gate"] == {"difference": 0.03}
            and history(served)[4]["from_digest"] == history(served)[3]["digest"])


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_torn_last_line_is_repaired_and_no_earlier_line_is_lost(served, share):
    log = registry_folder(served)/"log.jsonl"
    whole = log.read_bytes()
    last = whole.splitlines(keepends=True)[-1].replace(b'"version": 1', b'"version": 2')
    log.write_bytes(whole + last[:max(1, int(share*len(last)) - 1)])
    assert champion_of(served).number == 1
    consistent(served)
    assert log.read_bytes() == whole


def test_torn_line_of_zeros_is_repaired(served):
    log = registry_folder(served)/"log.jsonl"
    whole = log.read_bytes()
    log.write_bytes(whole + b"\0"*4096)
    consistent(served)
    assert log.read_bytes() == whole


def test_last_line_without_its_end_is_kept(served):
    log = registry_folder(served)/"log.jsonl"
    whole = log.read_bytes()
    log.write_bytes(whole[:-1])
    assert champion_of(served).number == 1
    consistent(served)
    assert log.read_bytes() == whole


def test_damage_in_the_middle_of_the_log_is_refused_and_left_alone(served):
    log = registry_folder(served)/"log.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join([lines[0], b"oops\n", *lines[2:]]))
    before = log.read_bytes()
    with pytest.raises(ChampionError, match="damaged in line 2"): promote(served, 2, "Anna", "why not")
    assert log.read_bytes() == before


# Readers

READER = """
import sys, time
from pathlib import Path
from gradeclass.models.bundle import load_model, read_manifest
link, ready, stop = (Path(word) for word in sys.argv[1:])
seen, loads = {}, 0
while not stop.exists():
    model, manifest = load_model(link), read_manifest(link)
    seen[manifest["seed"]] = seen.get(manifest["seed"], 0) + 1
    loads += 1
    ready.touch()
print(loads, len(seen))
"""

def test_reader_never_sees_a_torn_bundle_while_200_promotions_go_on(tmp_path, parts):
    schema = load(sample_path("students"), "students").schema
    for seed in (1, 2):
        save_model(GradeModel(schema, "xgboost", seed=seed,
                              params={"rounds": seed, "patience": None}).fit(parts.train.head(100)),
                   tmp_path/f"made-{seed}")
        register_bundle(tmp_path/"outputs", tmp_path/f"made-{seed}")
    outputs = tmp_path/"outputs"
    promote(outputs, 1, "Anna", "begin")
    reader = start(READER, outputs/"champion", tmp_path/"ready", tmp_path/"stop")
    while not (tmp_path/"ready").exists():
        assert reader.poll() is None, reader.stderr.read()
        time.sleep(0.02)
    for turn in range(200): promote(outputs, 2 - turn % 2, "Anna", f"turn {turn}")
    (tmp_path/"stop").touch()
    said, errors = reader.communicate(timeout=30)
    loads, different = map(int, said.split())
    assert reader.returncode == 0 and not errors
    assert loads > 10 and different == 2
    assert len(history(outputs)) == 2 + 1 + 200


def test_model_loaded_through_the_link_comes_from_one_bundle(served, bundles, monkeypatch):
    "The link is switched after the manifest was read: the rest is read from where it pointed"
    from gradeclass.models import bundle as models_bundle
    register_bundle(served, bundles["weak"])
    read = models_bundle.read_manifest
    def switch(folder):
        monkeypatch.setattr(models_bundle, "read_manifest", read)
        manifest = read(folder)
        promote(served, 4, "Anna", "in between")
        return manifest
    monkeypatch.setattr(models_bundle, "read_manifest", switch)
    loaded = load_model(served/"champion")
    assert loaded.params["rounds"] == 20 and load_model(served/"champion").params["rounds"] == 1


# Rollback

def test_rollback_restores_the_champion_before_byte_for_byte(served):
    before = digest_folder(served/"champion")
    promote(served, 2, "Anna", "try")
    assert digest_folder(served/"champion") != before
    rollback(served, "Anna", "back")
    assert digest_folder(served/"champion") == before


def test_rollback_twice_goes_two_champions_back(served):
    promote(served, 2, "Anna", "second")
    promote(served, 3, "Anna", "third")
    assert [rollback(served, "Anna", "back").number for _ in range(2)] == [2, 1]
    with pytest.raises(ChampionError, match="version 1 is the first that served"): rollback(served, "Anna", "back")


def test_rollback_to_a_damaged_copy_is_refused_and_the_champion_stays(served):
    promote(served, 2, "Anna", "second")
    with open(versions.copy_folder(served, list_versions(served)[0].digest)/"schema.yaml", "a") as file: file.write("x")
    with pytest.raises(Exception, match="was changed after the bundle was made"): rollback(served, "Anna", "back")
    assert champion_of(served).number == 2 and linked(served) == list_versions(served)[1].digest[:16]


def test_moved_outputs_folder_still_serves(served):
    promote(served, 2, "Anna", "second")
    moved = served/"elsewhere"
    moved.mkdir()
    for name in ("registry", "champion"): os.rename(served/name, moved/name)
    assert bundle_digest(moved/"champion") == champion_of(moved).digest
    assert rollback(moved, "Anna", "back").number == 1


def test_system_without_links_serves_a_copy(served, monkeypatch):
    def refuse_links(*_, **__): raise OSError(errno.EPERM, "links are not allowed")
    monkeypatch.setattr(os, "symlink", refuse_links)
    (served/"champion").unlink()
    for number in (2, 3):
        promote(served, number, "Anna", "no links here")
        assert not (served/"champion").is_symlink()
        assert bundle_digest(served/"champion") == champion_of(served).digest
    rollback(served, "Anna", "back")
    assert consistent(served).champion.number == 2


# Killed

KILL = """
import os, signal, sys
from gradeclass.registry import versions as champion
outputs, bundle, deed, fatal = sys.argv[1:5]
steps = 0
def watched(real, after):
    def call(*words, **named):
        global steps
        steps += 1
        if steps == int(fatal) and not after: os.kill(os.getpid(), signal.SIGKILL)
        found = real(*words, **named)
        if steps == int(fatal) and after: os.kill(os.getpid(), signal.SIGKILL)
        return found
    return call
import gradeclass.models.grade_model
half = os.write
def torn(handle, data):
    global steps
    steps += 1
    if steps == int(fatal):
        half(handle, data[:len(data)//2])
        os.kill(os.getpid(), signal.SIGKILL)
    return half(handle, data)
os.write = torn
for name in ("replace", "rename", "fsync", "symlink"): setattr(os, name, watched(getattr(os, name), len(sys.argv) > 5))
import shutil
shutil.copyfile = watched(shutil.copyfile, len(sys.argv) > 5)
if deed == "register": champion.register_bundle(outputs, bundle, "killed", [1, 2, 3])
if deed == "promote": champion.promote(outputs, 2, "Anna", "killed")
if deed == "rollback": champion.rollback(outputs, "Anna", "killed")
print(steps)
"""

@pytest.mark.parametrize(("deed", "after"), [("register", ""), ("promote", ""), ("promote", "after"), ("rollback", "")])
def test_process_killed_at_any_step_leaves_a_consistent_registry(tmp_path, bundles, deed, after):
    made = tmp_path/"made"
    for name in ("good", "b"): register_bundle(made, bundles[name])
    promote(made, 1, "Anna", "first")
    if deed == "rollback": promote(made, 2, "Anna", "second")
    before, bundle = read_state(made), bundles["c"]
    copy = lambda step: shutil.copytree(made, tmp_path/f"step-{step}", symlinks=True)
    whole = start(KILL, copy(0), bundle, deed, 0)
    steps = int(whole.communicate(timeout=60)[0])
    after_all = read_state(tmp_path/"step-0")
    assert steps >= 4 and after_all != before
    chosen = range(1, steps + 1) if steps <= 8 else sorted({1, steps//2, *range(steps - 6, steps + 1)})
    running = {step: start(KILL, copy(step), bundle, deed, step, *filter(None, [after])) for step in chosen}
    ends = set()
    for step, process in running.items():
        process.communicate(timeout=60)
        assert process.returncode == -signal.SIGKILL, step
        outputs = tmp_path/f"step-{step}"
        state = consistent(outputs)
        ends.add(len(state.versions) if deed == "register" else state.champion.number)
        assert [v.digest for v in state.versions.values()][:2] == [v.digest for v in before.versions.values()]
        if deed == "register": assert register_bundle(outputs, bundle).number == 3
        if deed == "promote": assert promote(outputs, 2, "Anna", "again").number == 2
        consistent(outputs)
    assert len(ends) == 2, "some kills come before the line is written, some after"


def test_first_question_after_a_kill_puts_the_link_right(served):
    versions.put_link(served, versions.make_link(served, list_versions(served)[2].digest))
    assert champion_of(served).number == 1 and bundle_digest(served/"champion") == list_versions(served)[0].digest


# No space

def full(monkeypatch, name, allowed):
    "Let a function of `os` fail for want of space after some calls"
    real, calls = getattr(os, name), []
    def call(*words, **named):
        calls.append(1)
        if len(calls) > allowed: raise OSError(errno.ENOSPC, "No space left on device")
        return real(*words, **named)
    monkeypatch.setattr(os, name, call)


@pytest.mark.parametrize(("name", "allowed"), [("fsync", 0), ("fsync", 3), ("write", 0), ("rename", 0), ("replace", 0)])
def test_full_disk_registers_nothing_by_halves(served, bundles, monkeypatch, name, allowed):
    before = (registry_folder(served)/"log.jsonl").read_bytes()
    with monkeypatch.context() as patch:
        full(patch, name, allowed)
        with pytest.raises(ChampionError, match="No space left on device"):
            register_bundle(served, bundles["weak"], "", [1, 2])
    assert (registry_folder(served)/"log.jsonl").read_bytes() == before
    assert consistent(served).champion.number == 1
    assert register_bundle(served, bundles["weak"], "", [1, 2]).number == 4


@pytest.mark.parametrize(("name", "allowed"), [("symlink", 0), ("write", 0), ("fsync", 0)])
def test_full_disk_promotes_nothing_by_halves(served, monkeypatch, name, allowed):
    with monkeypatch.context() as patch:
        full(patch, name, allowed)
        with pytest.raises(ChampionError, match="No space left on device"): promote(served, 2, "Anna", "no space")
        assert read_state(served).champion.number == 1
    assert consistent(served).champion.number == 1


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="mounting a small disk needs root")
def test_disk_that_is_really_full_keeps_the_registry_whole(tmp_path, bundles):
    disk = tmp_path/"disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], capture_output=True, text=True)
    if mounted.returncode: pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.strip()}")
    try:
        register_bundle(disk, bundles["good"])
        promote(disk, 1, "Anna", "first")
        with open(disk/"filler", "wb") as filler, pytest.raises(OSError, match="No space"):
            while True: os.write(filler.fileno(), b"x"*4096)
        with pytest.raises(ChampionError, match="No space left on device"): register_bundle(disk, bundles["b"])
        assert [v.number
                for v in list_versions(disk)] == [1] and bundle_digest(disk/"champion") == champion_of(disk).digest
        (disk/"filler").unlink()
        assert register_bundle(disk, bundles["b"]).number == 2
        assert consistent(disk).champion.number == 1
    finally: subprocess.run(["umount", "-l", disk], check=True)


# Several processes

BOTH = """
import sys
from gradeclass.registry.versions import promote, register_bundle
outputs, name, *bundles = sys.argv[1:]
for turn in range(5):
    for bundle in bundles: promote(outputs, register_bundle(outputs, bundle, name).number, name, f"turn {turn}")
"""

def test_two_processes_register_and_promote_at_once(tmp_path, bundles):
    order = [bundles[name] for name in ("good", "b", "c")]
    processes = [start(BOTH, tmp_path, "one", *order), start(BOTH, tmp_path, "two", *order[::-1])]
    for process in processes: assert process.wait(timeout=60) == 0, process.stderr.read()
    state = consistent(tmp_path)
    assert sorted(version.digest for version in state.versions.values()) == sorted(map(bundle_digest, order))
    chain = [entry for entry in history(tmp_path) if entry["event"] == "promote"]
    assert all(late["from_version"] == early["version"] for early, late in zip(chain, chain[1:], strict=False))


def test_held_lock_is_named_after_a_short_wait(served):
    code = ("import sys, time\nfrom gradeclass.registry.versions import changing\nwith changing(sys.argv[1]):\n    "
            "print('held', flush=True)\n    time.sleep(60)")
    holder = start(code, served)
    assert holder.stdout.readline() == "held\n"
    try:
        said = f"is being changed by process {holder.pid} of .*wait until that has ended"
        with pytest.raises(ChampionError, match=said), versions.changing(served, 0.2): pass
        assert champion_of(served).number == 1
    finally:
        holder.kill()
        holder.communicate()
    assert promote(served, 2, "Anna", "free again").number == 2


def test_promotion_is_refused_when_another_was_made_since_the_comparison(served):
    promote(served, 2, "Anna", "in between")
    with pytest.raises(ChampionError, match="version 3 was compared with 1, but 2 serves by now"):
        promote(served, 3, "the gate", "late", instead_of=1)


# What is refused

def test_same_bundle_keeps_its_version_wherever_it_lies(served, bundles, tmp_path):
    shutil.copytree(bundles["b"], tmp_path/"copy")
    assert register_bundle(served, tmp_path/"copy", "another run").number == 2 and len(list_versions(served)) == 3


def test_changed_bundle_is_not_registered(served, bundles, tmp_path):
    shutil.copytree(bundles["weak"], tmp_path/"changed")
    (tmp_path/"changed"/"versions.json").write_text("{}")
    with pytest.raises(Exception, match="was changed after the bundle was made"):
        register_bundle(served, tmp_path/"changed")
    assert len(list_versions(served)) == 3


def test_outputs_that_cannot_be_written_give_one_sentence(tmp_path, bundles):
    (tmp_path/"registry").write_text("a file")
    with pytest.raises(ChampionError, match="cannot be written"): register_bundle(tmp_path, bundles["good"])


def test_registry_is_asked_without_mlflow_and_without_pandas(served):
    code = ("import sys\nfrom gradeclass.registry.versions import champion_of, history\n"
            "print(champion_of(sys.argv[1]).number, *(m in sys.modules for m in ('mlflow', 'pandas', 'sklearn')))")
    assert start(code, served).communicate()[0].split() == ["1", "False", "False", "False"]


# The gate

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


def test_champion_that_cheats_by_memory_is_found_out(tmp_path, parts):
    "A champion that learnt the test rows looks perfect on them; the gate does not let that count"
    schema = load(sample_path("students"), "students").schema
    grown = GradeModel(schema, "xgboost", params={"rounds": 60, "patience": None})
    import pandas as pd
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


def test_row_hashes_survive_parquet_and_other_ids(parts, tmp_path):
    import pandas as pd
    schema = load(sample_path("students"), "students").schema
    parts.test.to_parquet(tmp_path/"test.parquet")
    read = pd.read_parquet(tmp_path/"test.parquet")
    assert (row_hashes(read, schema) == row_hashes(parts.test, schema)).all()
    other = read.assign(**{schema.id: range(len(read))}) if schema.id in read else read
    assert (row_hashes(other.sample(frac=1, random_state=1).sort_index(), schema)
            == row_hashes(parts.test.sort_index(), schema)).all()
    changed = read.assign(Absences=read.Absences + 1)
    assert not np.isin(row_hashes(changed, schema), row_hashes(read, schema)).any()


def test_drift_stops_a_promotion_unless_it_is_allowed(bundles, parts):
    drift = {"verdict": "drift", "sentence": "Absences have risen."}
    gate = judge_challenger(bundles["good"], bundles["weak"], parts.test, drift=drift, rules=Rules(calibration=1))
    assert not gate.promote and "Absences have risen." in gate.sentence
    assert judge_challenger(bundles["good"], bundles["weak"], parts.test, drift=drift,
                            rules=Rules(calibration=1, despite_drift=True)).promote
    few = {"verdict": "too_few", "sentence": "Too few."}
    assert judge_challenger(bundles["good"], bundles["weak"], parts.test, drift=few, rules=Rules(calibration=1)).promote


@pytest.fixture(scope="module")
def said(bundles, parts):
    model = load_model(bundles["good"])
    p = model.predict_proba(parts.test)
    return model.schema, Judged(grade_index(parts.test, model.schema), p, model.decide(p))


def test_probabilities_that_are_too_bold_fail_though_the_grades_are_the_same(said):
    schema, fair = said
    bold = Judged(fair.y, np.where(np.eye(fair.p.shape[1])[fair.predicted] > 0, 0.99, 0.0025), fair.predicted)
    assert metric_rail(fair, bold, schema.grades, Rules(promote_if="not_worse")).passed
    assert not calibration_rail(fair, bold, schema.grades, Rules()).passed and not calibration_rail(
        None, bold, schema.grades, Rules()).passed
    assert calibration_rail(fair, fair, schema.grades, Rules()).passed


def test_group_that_is_left_out_of_the_list_stops_a_promotion(said, parts):
    schema, fair = said
    girls = (parts.test.Gender.astype(str) == "Female").to_numpy()
    blind = Judged(fair.y, np.where(girls[:, None], np.eye(fair.p.shape[1])[0], fair.p), fair.predicted)
    rail = group_rail(fair, blind, parts.test, schema, Rules())
    assert (not rail.passed and rail.figures["group"] == "Gender: Female" and rail.figures["b"] == 0
            and rail.figures["high"] < 0)
    assert group_rail(fair, fair, parts.test, schema, Rules()).passed


def test_champion_that_gives_everyone_the_worst_grade_does_not_block_a_better_one(said, parts):
    schema, fair = said
    worst = np.tile(np.eye(fair.p.shape[1])[-1], (len(fair.y), 1))
    assert group_rail(Judged(fair.y, worst, worst.argmax(axis=1)), fair, parts.test, schema, Rules()).passed


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
    assert (again.gate.promote and not again.promoted and "It was rolled back from" in again.sentence
            and champion_of(tmp_path).number == 1)


def test_hashes_of_learnt_rows_lie_beside_the_bundle_not_in_it(bundles, parts, tmp_path):
    register_run(tmp_path, bundles["good"], parts.train, parts.test)
    version = list_versions(tmp_path)[0]
    assert bundle_digest(version.folder) == bundle_digest(bundles["good"])
    assert set(load_rows(tmp_path, version)) == set(row_hashes(parts.train, load_model(bundles["good"]).schema))


def test_damaged_champion_is_not_compared_and_the_sentence_says_so(bundles, parts, tmp_path):
    register_run(tmp_path, bundles["weak"], parts.train, parts.test, mode="never")
    promote(tmp_path, 1, "Anna", "by hand")
    (champion_of(tmp_path).folder/"schema.yaml").write_text("changed")
    found = register_run(tmp_path, bundles["good"], parts.train, parts.test)
    assert not found.promoted and "the champion cannot be loaded" in found.sentence


def test_registration_and_log_are_plain_json(bundles, parts, tmp_path):
    found = register_run(tmp_path, bundles["good"], parts.train, parts.test)
    assert json.loads(json.dumps(found.as_dict(), allow_nan=False))["champion"] == {"before": None, "after": 1}
    for line in Path(registry_folder(tmp_path)/"log.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=pytest.fail)


# The commands

@pytest.fixture
def ask(served, monkeypatch, capsys):
    "Call `gradeclass registry` in this process: exit code, standard output, standard error"
    from gradeclass.cli.main import main
    def call(*words):
        monkeypatch.setattr(sys, "argv", ["gradeclass", "registry", *words, "--outputs", str(served)])
        with pytest.raises(SystemExit) as ended: main()
        return ended.value.code or 0, *capsys.readouterr()
    return call


def test_person_promotes_and_goes_back_and_the_log_names_the_person(served, ask):
    assert ask("promote", "3", "--why", "the year has begun", "--yes")[:2] == (0, "now serving version 3\n")
    assert ask("rollback", "--why", "odd lists")[:2] == (0, "serving version 1 again\n")
    told = json.loads(ask("history", "--json")[1])[-2:]
    assert [(e["event"], e["version"], e["why"], e["decided_by"]) for e in told] == [
        ("promote", 3, "the year has begun", versions.user_name()), ("rollback", 1, "odd lists", versions.user_name())]
    assert {entry["version"]: entry["status"]
            for entry in json.loads(ask("list", "--json")[1])} == {1: "champion", 2: "", 3: "challenger"}


def test_promotion_that_nobody_confirms_is_not_made(served, ask, monkeypatch):
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)
    code, _, errors = ask("promote", "2")
    assert (code == 1 and "version 2 will serve instead of version 1: add --yes" in errors
            and champion_of(served).number == 1)


def test_reason_with_brackets_is_shown_as_it_was_written(served, ask):
    promote(served, 2, "Anna", "[red]marks[/red] were mistyped")
    assert "[red]marks[/red] were mistyped" in ask("history")[1]


def test_comparison_without_the_run_says_what_to_do(ask):
    code, _, errors = ask("compare", "2")
    assert (code == 1
            and "the test rows of version 2 are gone with the run that made it: run the pipeline again" in errors)

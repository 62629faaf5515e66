"Which model serves: killed at any step, out of space, used by several processes, and the commands"
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from registry_helpers import consistent, start

from gradeclass.data.sources import load
from gradeclass.data.synthetic import sample_path
from gradeclass.models.bundle import bundle_digest, load_model, save_model
from gradeclass.models.grade_model import GradeModel
from gradeclass.registry import versions
from gradeclass.registry.promotions import ChampionError, history, registry_folder
from gradeclass.registry.versions import (
    champion_of, changing, linked, list_versions, promote, read_state, register_bundle, rollback,
)


READER = """
import sys, time
from pathlib import Path
from gradeclass.models.bundle import load_model, read_manifest
link, ready, stop = (Path(word) for word in sys.argv[1:])
seen, loads = {}, 0
while not stop.exists() or loads < 20 or len(seen) < 2:
    model, manifest = load_model(link), read_manifest(link)
    seen[manifest["seed"]] = seen.get(manifest["seed"], 0) + 1
    loads += 1
    ready.touch()
print(loads, len(seen))
"""


@pytest.mark.slow
@pytest.mark.process
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
    turns = 0
    while reader.poll() is None: # As many more as the reader needs, on a machine that is busy
        promote(outputs, 2 - turns % 2, "Anna", f"turn {turns}")
        turns += 1
        if turns == 200: (tmp_path/"stop").touch()
    said, errors = reader.communicate()
    loads, different = map(int, said.split())
    assert reader.returncode == 0 and not errors
    assert loads >= 20 and different == 2
    assert len(history(outputs)) == 2 + 1 + turns and turns >= 200


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


def test_rollback_restores_the_champion_before_byte_for_byte(served):
    before = {path.name: path.read_bytes() for path in (served/"champion").iterdir()}
    promote(served, 2, "Anna", "try")
    assert {path.name: path.read_bytes() for path in (served/"champion").iterdir()} != before
    rollback(served, "Anna", "back")
    assert {path.name: path.read_bytes() for path in (served/"champion").iterdir()} == before


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


@pytest.mark.slow
@pytest.mark.process
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


@pytest.mark.process
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


BOTH = """
import sys
from gradeclass.registry.versions import promote, register_bundle
outputs, name, *bundles = sys.argv[1:]
for turn in range(5):
    for bundle in bundles: promote(outputs, register_bundle(outputs, bundle, name).number, name, f"turn {turn}")
"""


@pytest.mark.slow
@pytest.mark.process
def test_two_processes_register_and_promote_at_once(tmp_path, bundles):
    order = [bundles[name] for name in ("good", "b", "c")]
    processes = [start(BOTH, tmp_path, "one", *order), start(BOTH, tmp_path, "two", *order[::-1])]
    for process in processes: assert process.wait(timeout=60) == 0, process.stderr.read()
    state = consistent(tmp_path)
    assert sorted(version.digest for version in state.versions.values()) == sorted(map(bundle_digest, order))
    chain = [entry for entry in history(tmp_path) if entry["event"] == "promote"]
    assert all(late["from_version"] == early["version"] for early, late in zip(chain, chain[1:], strict=False))


@pytest.mark.process
def test_held_lock_is_named_after_a_short_wait(served, monkeypatch):
    code = ("import sys, time\nfrom gradeclass.registry.versions import changing\nwith changing(sys.argv[1]):\n    "
            "print('held', flush=True)\n    time.sleep(60)")
    holder = start(code, served)
    assert holder.stdout.readline() == "held\n"
    try:
        said = f"is being changed by process {holder.pid} of .*wait until that has ended"
        monkeypatch.setattr(versions, "PATIENCE", 0.2)
        with pytest.raises(ChampionError, match=said), changing(served): pass
        monkeypatch.undo()
        assert champion_of(served).number == 1
    finally:
        holder.kill()
        holder.communicate()
    assert promote(served, 2, "Anna", "free again").number == 2


def test_decision_is_refused_when_another_was_made_since(served):
    promote(served, 2, "Anna", "in between")
    with pytest.raises(ChampionError, match="decided while version 1 served, but version 2 serves by now"):
        promote(served, 3, "the gate", "late", instead_of=1)
    with pytest.raises(ChampionError, match="decided while version 3 served"):
        rollback(served, "Anna", "late", instead_of=3)


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
    code = ("import sys\nfrom gradeclass.registry.promotions import history\n"
            "from gradeclass.registry.versions import champion_of\n"
            "print(champion_of(sys.argv[1]).number, *(m in sys.modules for m in ('mlflow', 'pandas', 'sklearn')))")
    assert start(code, served).communicate()[0].split() == ["1", "False", "False", "False"]


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
    assert ask("rollback", "--why", "odd lists", "--yes")[:2] == (0, "serving version 1 again\n")
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


def test_rollback_that_nobody_confirms_is_not_made(served, ask, monkeypatch):
    ask("promote", "2", "--yes")
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)
    code, _, errors = ask("rollback")
    assert code == 1 and "the previous champion will serve again: add --yes" in errors
    assert champion_of(served).number == 2


def test_reason_with_brackets_is_shown_as_it_was_written(served, ask):
    promote(served, 2, "Anna", "[red]marks[/red] were mistyped")
    assert "[red]marks[/red] were mistyped" in ask("history")[1]


def test_comparison_without_the_run_says_what_to_do(ask):
    code, _, errors = ask("compare", "2")
    assert (code == 1
            and "the test rows of version 2 are gone with the run that made it: run the pipeline again" in errors)

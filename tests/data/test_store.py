"""The store of students: nothing twice, nothing lost, parts that stay, and no half-written version."""
import errno
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gradeclass.config import GradeclassError
from gradeclass.data import store as data_store
from gradeclass.data.add import add_file
from gradeclass.data.dataset import clean, hash_rows
from gradeclass.data.files import write_table
from gradeclass.data.sources import load, read_table
from gradeclass.data.split import split
from gradeclass.data.store import (
    StoreError,
    canonical,
    choose_store,
    find_store,
    pin_source,
    read_store,
    revert,
    store_digest,
    store_root,
    versions_table,
)
from gradeclass.data.synthetic import sample_path, synthesise, synthesise_file, to_codes
from gradeclass.data.validation import validate
from gradeclass.schema import load_schema, schema_yaml

STUDENTS = synthesise("students", 400, seed=5)
SCHEMA = load_schema("students")
PARTS = ("train", "validation", "test")

@contextmanager
def new_home():
    "An empty home folder while the block runs"
    kept = os.environ.get("GRADECLASS_HOME")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["GRADECLASS_HOME"] = folder
        try: yield Path(folder).resolve()
        finally:
            os.environ.pop("GRADECLASS_HOME")
            if kept: os.environ["GRADECLASS_HOME"] = kept

@pytest.fixture
def home():
    "An empty home folder"
    with new_home() as folder: yield folder

def put(home, name, rows, ids=True):
    "A file of students"
    write_table(to_codes(rows if ids else rows.drop(columns="StudentID"), SCHEMA), home/name)
    return home/name

def held(source="store:students"):
    "Every student of a version"
    return pairs(canonical(load(source).frame, SCHEMA))

def pairs(frame):
    "Id and a key of all other cells of each student, sorted"
    ids = frame.StudentID.where(frame.StudentID.notna(), "").tolist()
    return sorted(zip(ids, hash_rows(frame.drop(columns="StudentID")).tolist(), strict=True))

def parts_of(source, **options):
    "Row numbers of each part, as the prepare stage deals them"
    dataset = load(source)
    parts = split(validate(dataset).accepted, dataset.schema, batch=dataset.batch, **options)
    return {name: set(getattr(parts, name).index) for name in PARTS}

# Nothing twice, nothing lost

def test_values_come_back_as_they_were(home):
    add_file(put(home, "a.csv", STUDENTS))
    back, plain = load("store:students"), load(home/"a.csv")
    assert clean(back.frame, SCHEMA).reset_index(drop=True).equals(clean(plain.frame, SCHEMA).reset_index(drop=True))

@pytest.mark.parametrize("suffix", [".csv", ".xlsx", ".parquet"])
def test_same_students_in_another_kind_of_file_add_nothing(home, suffix):
    add_file(put(home, "a.csv", STUDENTS.head(50)))
    added = add_file(put(home, f"b{suffix}", STUDENTS.head(50)))
    assert (added.rows, added.known, added.refused, added.store.current) == (0, 50, 0, 1)

@pytest.mark.slow
@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(order=st.permutations("abc"), cut=st.integers(1, 39), overlap=st.integers(0, 10), ids=st.booleans(),
       twins=st.integers(0, 3))
def test_any_order_of_files_ends_with_the_same_students(order, cut, overlap, ids, twins):
    a, b = STUDENTS.iloc[:cut], STUDENTS.iloc[max(0, cut - overlap):40]
    if not ids: a, b = pd.concat([a, a.head(twins)]), pd.concat([b, b.tail(twins)])
    both = pd.concat([a, b]) if not ids else pd.concat([a, b]).drop_duplicates()
    expected = canonical(clean(both if ids else both.drop(columns="StudentID"), SCHEMA), SCHEMA)
    with new_home() as home:
        files = {name: put(home, f"{name}.csv", rows, ids) for name, rows in zip("abc", (a, b, both), strict=True)}
        for name in order: add_file(files[name])
        assert held() == pairs(expected)
        assert all(add_file(file).rows == 0 for file in files.values()) and held() == pairs(expected)

def test_every_row_is_added_known_or_refused(home):
    rows = STUDENTS.head(30).copy()
    add_file(put(home, "a.csv", rows.head(10)))
    rows.loc[rows.index[3], "Age"] = 18.0 if rows.Age.iloc[3] != 18 else 17.0
    rows.loc[rows.index[20], "GradeClass"] = None
    rows.loc[rows.index[21], "Age"] = 99.0
    added = add_file(put(home, "b.csv", rows))
    assert (added.rows, added.known, added.refused) == (18, 9, 3) and added.store.rows() == 28
    refused = read_table(home/"b.rejected.csv")[0]
    assert refused.row.tolist() == ["5", "22", "23"]
    assert ["in the store with other cells: Age" in refused.reason[2], "not a grade" in refused.reason[3],
            "out of range" in refused.reason[4]] == [True]*3

def test_corrected_rows_are_added_and_the_list_of_refused_ones_goes(home):
    rows = STUDENTS.head(5).copy()
    rows.loc[rows.index[0], "GradeClass"] = None
    add_file(put(home, "a.csv", rows))
    assert (home/"a.rejected.csv").is_file()
    assert add_file(put(home, "a.csv", STUDENTS.head(5))).rows == 1
    assert not (home/"a.rejected.csv").exists()

def test_refused_file_is_harmless_in_a_spreadsheet(home):
    (home/"a.csv").write_text("StudentID,Age,GradeClass,StudyTimeWeekly,Absences,Tutoring,ParentalSupport,Extracurricular,Sports,Music,Volunteering,"
                              "ParentalEducation,Gender,Ethnicity,GPA\n=1+1,17,,5,3,0,1,0,0,0,0,1,0,1,2.5\n")
    added = add_file(home/"a.csv")
    assert (added.rows, added.refused) == (0, 1) and "'=1+1" in (home/"a.rejected.csv").read_text()
    assert not choose_exists() and added.store.versions == []

def choose_exists():
    "Whether there is a store"
    return find_store("students") is not None

def test_id_twice_in_one_file_counts_once_and_contradictions_are_refused(home):
    rows = pd.concat([STUDENTS.head(3), STUDENTS.head(2)])
    rows.iloc[4, rows.columns.get_loc("Absences")] += 1
    added = add_file(put(home, "a.csv", rows))
    assert (added.rows, added.known, added.refused) == (3, 1, 1)
    assert "is in row 3 with other cells: Absences" in read_table(added.rejected)[0].reason.iloc[0]

def test_rows_without_ids_are_known_by_their_cells(home):
    add_file(put(home, "a.csv", STUDENTS.head(20)))
    assert add_file(put(home, "b.csv", STUDENTS.head(25), ids=False)).rows == 5

def test_two_equal_students_in_a_new_file_are_both_kept(home):
    twins = pd.concat([STUDENTS.head(4), STUDENTS.head(1)])
    assert add_file(put(home, "a.csv", twins, ids=False)).rows == 5
    assert add_file(put(home, "a.csv", twins, ids=False)).rows == 0

def test_column_that_comes_later_is_blank_for_earlier_students(home):
    add_file(put(home, "a.csv", STUDENTS.head(20).drop(columns="GPA")))
    assert "GPA" not in load("store:students").frame
    add_file(put(home, "b.csv", STUDENTS.iloc[20:30]))
    assert load("store:students").frame.GPA.isna().tolist() == [True]*20 + [False]*10

def test_table_without_grades_is_refused_whole(home):
    with pytest.raises(GradeclassError, match="missing column: GradeClass"):
        add_file(put(home, "a.csv", STUDENTS.drop(columns="GradeClass")))
    assert not (home/"data").exists()

def test_one_student_can_be_added(home):
    add_file(put(home, "a.csv", STUDENTS.head(30)))
    assert add_file(put(home, "b.csv", STUDENTS.iloc[[30]])).rows == 1

def test_higher_ed_students_have_a_store_of_their_own(home):
    synthesise_file("higher_ed", 60, home/"h.csv", 1)
    assert add_file(home/"h.csv").store.name == "higher_ed" and add_file(home/"h.csv").rows == 0
    add_file(put(home, "a.csv", STUDENTS.head(20)))
    with pytest.raises(StoreError, match="name one with --schema"): choose_store()
    assert (find_store("higher_ed"), find_store()) == ("store:higher_ed@1", "store:students@1")

def test_store_may_lie_elsewhere(home):
    place = home/"else@where"
    add_file(put(home, "a.csv", STUDENTS.head(20)), root=place)
    assert (find_store("students") is None
            and len(load(f"store:{place}/students").frame) == len(load(f"store:{place}/students@1").frame) == 20)
    assert pin_source(f"store:{place}/students") == f"store:{place}/students@1"

# The first version

def raw(home, name="students_performance.csv", rows=200):
    "A table in data/raw/"
    (home/"data"/"raw").mkdir(parents=True, exist_ok=True)
    return put(home/"data"/"raw", name, STUDENTS.head(rows))

def test_store_starts_with_the_table_in_raw(home):
    raw(home, SCHEMA.source.files[0])
    added = add_file(put(home, "a.csv", STUDENTS.iloc[190:210]))
    assert any("starts with data/raw/" in note for note in added.notes)
    assert [version.rows for version in added.store.versions] == [200, 10] and (added.rows, added.known) == (10, 10)

def test_only_table_in_raw_counts_whatever_its_name(home):
    raw(home, "anything.csv")
    assert add_file(put(home, "a.csv", STUDENTS.iloc[200:210])).store.rows() == 210

def test_table_of_raw_can_be_added_itself(home):
    file = raw(home)
    added = add_file(file)
    assert (added.rows, len(added.store.versions)) == (200, 1)

def test_several_tables_in_raw_are_named_and_none_is_taken(home):
    raw(home, "one.csv")
    raw(home, "two.csv")
    added = add_file(put(home, "a.csv", STUDENTS.iloc[200:210]))
    assert added.store.rows() == 10 and "one.csv, two.csv" in added.notes[-1]

def test_store_that_starts_with_new_students_alone_says_so_and_names_the_table_of_the_last_run(home):
    earlier = put(home, "earlier.csv", STUDENTS.head(200))
    for name, table in {"1": earlier, "2": home/"gone.csv"}.items():
        (home/"outputs"/"runs"/name).mkdir(parents=True)
        (home/"outputs"/"runs"/name/"run.json").write_text(json.dumps({"parameters": {"data": str(table)}}))
    new, newer = put(home, "new.csv", STUDENTS.iloc[200:210]), put(home, "newer.csv", STUDENTS.iloc[210:220])
    note = add_file(new, root=home/"a").notes[-1]
    assert "learns from the students in this store alone: add the tables of earlier students too" in note
    (home/"outputs"/"runs"/"2"/"run.json").unlink()
    assert f"alone: add {earlier}, the table of the last run, too" in add_file(new, root=home/"b").notes[-1]
    assert not add_file(newer, root=home/"b").notes, "it is said once"

def test_refused_rows_of_raw_do_not_become_a_table_of_raw(home):
    file = raw(home)
    file.write_text(file.read_text().replace("\n", "\n9999,99,0,0,0,5,0,0,1,1,0,0,0,2,2\n", 1))
    added = add_file(put(home, "a.csv", STUDENTS.iloc[200:210]))
    assert [path.name for path in file.parent.iterdir()] == [file.name] and "1 refused" in added.notes[-1]
    assert (store_root()/"students"/f"{file.stem}.rejected.csv").is_file()

# Parts that stay

def test_store_of_one_batch_is_dealt_as_the_plain_table(home, real_data):
    table = real_data("students_performance.csv")
    plain = load(table)
    expected = split(validate(plain).accepted, plain.schema)
    add_file(table)
    dataset = load("store:students")
    found = split(validate(dataset).accepted, dataset.schema, batch=dataset.batch)
    for name in PARTS: assert getattr(found, name).StudentID.tolist() == getattr(expected, name).StudentID.tolist()
    assert len(found.test) == 305

@pytest.mark.slow
@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(sizes=st.lists(st.integers(1, 120), min_size=2, max_size=4), seed=st.integers(0, 99), ids=st.booleans(),
       twins=st.integers(0, 3))
def test_no_student_changes_sides_when_others_join(sizes, seed, ids, twins):
    start = 0
    with new_home() as home:
        before = {name: set() for name in PARTS}
        for number, size in enumerate(sizes):
            rows = STUDENTS.iloc[start:start + size]
            again = STUDENTS.iloc[:min(twins,
                                       start)].assign(StudentID=[f"again-{number}-{i}"
                                                                 for i in range(min(twins, start))])
            rows, start = pd.concat([rows, again]) if ids else rows, start + size
            if rows.empty: continue
            add_file(put(home, "new.csv", rows, ids))
            after = parts_of("store:students", seed=seed)
            assert all(before[name] <= after[name] for name in PARTS)
            assert sum(map(len,
                           after.values())) == len(set().union(*after.values())) == len(load("store:students").frame)
            before = after

def test_equal_students_of_two_batches_stay_together(home):
    add_file(put(home, "a.csv", STUDENTS.head(200)))
    add_file(put(home, "b.csv", STUDENTS.head(200).assign(StudentID=[f"again-{i}" for i in range(200)])))
    parts = parts_of("store:students")
    for rows in parts.values(): assert {row - 200 for row in rows if row > 200} == {row for row in rows if row <= 200}

def test_handfuls_keep_the_shares_on_average(home):
    frame = clean(synthesise("students", 3000, 1), SCHEMA)
    batch = pd.Series(np.arange(3000)//10, index=frame.index)
    parts = split(frame, SCHEMA, batch=batch)
    shares = [len(part)/3000 for part in parts]
    assert np.allclose(shares, [.7225, .15, .1275], atol=.03)
    assert set(parts.test.index) != set(split(frame, SCHEMA, seed=7, batch=batch).test.index)

def test_large_batch_has_the_same_mix_of_grades_in_each_part(home):
    add_file(put(home, "a.csv", STUDENTS.head(200)))
    add_file(put(home, "b.csv", STUDENTS.iloc[200:]))
    dataset = load("store:students")
    new = split(validate(dataset).accepted, SCHEMA, batch=dataset.batch)
    shares = [part[part.index > 200].GradeClass.value_counts(normalize=True, sort=False) for part in new]
    assert (shares[0] - shares[2]).abs().max() < .05

def test_a_share_of_nothing_leaves_a_part_empty(home):
    add_file(put(home, "a.csv", STUDENTS.head(100)))
    add_file(put(home, "b.csv", STUDENTS.iloc[100:105]))
    assert parts_of("store:students", test_size=0)["test"] == set()

def test_reverted_store_is_dealt_as_it_was(home):
    add_file(put(home, "a.csv", STUDENTS.head(200)))
    one, digest = parts_of("store:students"), store_digest("store:students")
    add_file(put(home, "b.csv", STUDENTS.iloc[200:260]))
    two = parts_of("store:students")
    revert(1)
    assert (parts_of("store:students") == one == parts_of("store:students@1")
            and store_digest("store:students") == digest)
    revert(2)
    assert parts_of("store:students") == two

# Versions

def test_versions_after_a_rollback_have_the_parent_that_counted(home):
    for name, rows in (("a", STUDENTS.head(50)), ("b", STUDENTS.iloc[50:80]), ("c", STUDENTS.iloc[80:90])):
        add_file(put(home, f"{name}.csv", rows))
    revert(1)
    added = add_file(home/"c.csv")
    table = versions_table(added.store)
    assert table.parent.tolist()[1:] == [1, 2, 1] and table.students.tolist() == [
        50, 80, 90, 60] and table.current.tolist() == [False]*3 + [True]
    assert revert(3).rows() == 90
    assert len(set(table.digest)) == 4

def test_same_files_give_the_same_digest_anywhere(home):
    digests = []
    for _ in range(2):
        with new_home() as other:
            add_file(put(other, "a.csv", STUDENTS.head(50)))
            add_file(put(other, "b.csv", STUDENTS.iloc[50:60]))
            digests.append((store_digest("store:students@1"), store_digest("store:students")))
    assert digests[0] == digests[1] and digests[0][0] != digests[0][1]

def test_unknown_version_names_what_there_is(home):
    add_file(put(home, "a.csv", STUDENTS.head(50)))
    for wrong in ("store:students@2", "store:students@99"):
        with pytest.raises(StoreError, match="the only one is 1"): load(wrong)
    with pytest.raises(StoreError, match="the only one is 1"): revert(0)
    for wrong in ("store:students@", "store:students@0", "store:students@one", "store:students@-1"):
        with pytest.raises(StoreError, match="names no version"): load(wrong)
    with pytest.raises(StoreError, match="there is no store of pupils: the only one is students"): load("store:pupils")

def test_changed_batch_is_not_read(home):
    add_file(put(home, "a.csv", STUDENTS.head(50)))
    path = store_root()/"students"/"batch-0001.parquet"
    put(home, "b.parquet", STUDENTS.head(49))
    shutil.copy(home/"b.parquet", path)
    with pytest.raises(StoreError, match="is not what was added"): load("store:students")
    path.unlink()
    with pytest.raises(StoreError, match="is missing"): load("store:students")

@pytest.mark.parametrize("text", ["", "{", "[]", '{"current": 1}', '{"current": 1, "versions": [{}]}'])
def test_damaged_manifest_gets_a_sentence(home, text):
    add_file(put(home, "a.csv", STUDENTS.head(50)))
    (store_root()/"students"/"store.json").write_text(text)
    with pytest.raises(StoreError, match="is damaged: restore it from a backup"): load("store:students")

def test_schema_with_another_meaning_is_refused_and_one_with_better_words_is_not(home):
    add_file(put(home, "a.csv", STUDENTS.head(50)))
    text = schema_yaml(SCHEMA)
    (home/"words.yaml").write_text(text.replace("title:", "title: Pupils of #", 1))
    assert add_file(put(home, "b.csv", STUDENTS.iloc[50:60]), home/"words.yaml").rows == 10
    raw = SCHEMA.model_dump()
    changed = type(SCHEMA)(**{**raw,
                              "columns": [{**c, "max": 40.0} if c["name"] == "Age" else c for c in raw["columns"]]})
    with pytest.raises(StoreError, match="column Age differs"):
        add_file(put(home, "c.csv", STUDENTS.iloc[60:70]), changed)

def test_schema_of_one_s_own_is_found_by_the_name_of_its_store(home):
    own = schema_yaml(SCHEMA).replace("name: students", "name: pupils", 1)
    (home/"own.yaml").write_text(own)
    add_file(put(home, "a.csv", STUDENTS.head(50)), str(home/"own.yaml"))
    (home/"own.yaml").rename(home/"moved.yaml")
    assert add_file(put(home, "b.csv", STUDENTS.iloc[50:60]), "pupils").store.rows() == 60
    assert find_store(str(home/"moved.yaml")) == "store:pupils@2" == find_store()

def test_schema_name_cannot_leave_the_folder(home):
    schema = SCHEMA.model_copy(update={"name": "../outside"})
    with pytest.raises(StoreError, match="cannot be the name of a folder"):
        add_file(put(home, "a.csv", STUDENTS.head(50)), schema)

# Processes and faults

def add_in_process(home, name):
    "Add a file in a process of its own"
    os.environ["GRADECLASS_HOME"] = str(home)
    add_file(Path(home)/name)

@pytest.mark.process
def test_two_processes_that_add_at_once_both_end_well(home):
    add_file(put(home, "a.csv", STUDENTS.head(20)))
    for name, rows in (("b.csv", STUDENTS.iloc[20:60]), ("c.csv", STUDENTS.iloc[60:100])): put(home, name, rows)
    context = multiprocessing.get_context("spawn")
    both = [context.Process(target=add_in_process, args=(str(home), name)) for name in ("b.csv", "c.csv")]
    for process in both: process.start()
    for process in both: process.join(120)
    assert [process.exitcode for process in both] == [0, 0]
    store = read_store(store_root()/"students")
    assert store.current == 3 and sorted(v.number
                                         for v in store.versions) == [1, 2,
                                                                      3] and len(load("store:students").frame) == 100

KILLED = """
import os, signal, sys
from gradeclass.data.add import add_file
import gradeclass.data.validation, pandera.pandas, filelock
left = int(sys.argv[2])
def before_each_step(event, args):
    global left
    changes = event in ("os.rename", "os.mkdir", "os.remove") or event == "open" and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    if changes and "/data/store" in str(args[0]):
        left -= 1
        if left == 0: os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(before_each_step)
add_file(sys.argv[1])
"""

@pytest.mark.process
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_process_killed_before_any_step_leaves_the_old_version_or_the_new_one(home):
    raw(home)
    file = put(home, "b.csv", STUDENTS.iloc[200:260])
    versions = []
    ended = False
    while not ended:
        shutil.rmtree(home/"data"/"store", ignore_errors=True)
        told = subprocess.run([sys.executable, "-c", KILLED, str(file), str(len(versions) + 1)], capture_output=True,
                              env=os.environ)
        ended = told.returncode == 0
        assert ended or told.returncode == -signal.SIGKILL
        versions.append(read_store(store_root()/"students").current)
        assert add_file(file).store.rows() == len(load("store:students").frame) == 260
        assert not list((store_root()/"students").glob(".*.part"))
    # mkdir, lock, then two steps a file
    assert set(versions[:-1]) <= {0, 2} and versions[0] == 0 and versions[-1] == 2 and len(versions) > 8

@pytest.mark.parametrize("number", range(1, 4))
def test_full_disk_leaves_the_old_version(home, monkeypatch, number):
    add_file(put(home, "a.csv", STUDENTS.head(50)))
    before = held()
    calls = []
    whole = data_store.whole_file
    @contextmanager
    def full(path):
        calls.append(path)
        with whole(path) as part:
            yield part
            if len(calls) == number: raise OSError(errno.ENOSPC, "No space left on device", str(part))
    monkeypatch.setattr(data_store, "whole_file", full)
    if number < 3:
        with pytest.raises(StoreError,
                           match=r"cannot be written \(No space left on device\); the store stays at version 1"):
            add_file(put(home, "b.csv", STUDENTS.iloc[50:60]))
        assert held() == before
        monkeypatch.undo()
        os.environ["GRADECLASS_HOME"] = str(home)
    assert add_file(put(home, "b.csv", STUDENTS.iloc[50:60])).store.rows() == 60

@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="needs root to mount a small disk")
@pytest.mark.parametrize("free", [0, 3000, 12000, 16000])
def test_small_disk_that_fills_up_leaves_the_old_version(home, free):
    disk = home/"disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("cannot mount")
    try:
        add_file(put(home, "a.csv", STUDENTS.head(20)), root=disk)
        room = os.statvfs(disk)
        (disk/"filler").write_bytes(b"x"*max(0, room.f_bavail*room.f_frsize - free))
        put(home, "b.csv", STUDENTS.iloc[20:])
        with pytest.raises(StoreError, match="No space left on device.*stays at version 1"):
            add_file(home/"b.csv", root=disk)
        assert len(load(f"store:{disk}/students").frame) == 20
        (disk/"filler").unlink()
        assert add_file(home/"b.csv", root=disk).store.rows() == 400
    finally: subprocess.run(["umount", disk], check=True)

@pytest.mark.process
def test_reader_never_sees_half_a_version(home):
    add_file(put(home, "a.csv", STUDENTS.head(20)))
    for number in range(6): put(home, f"n{number}.csv", STUDENTS.iloc[20 + 10*number:30 + 10*number])
    context = multiprocessing.get_context("spawn")
    writer = context.Process(target=add_all, args=(str(home), 6))
    writer.start()
    seen = set()
    while writer.is_alive():
        seen.add(len(load("store:students").frame))
        time.sleep(.01)
    writer.join()
    assert writer.exitcode == 0 and seen <= set(range(20, 90, 10)) and len(load("store:students").frame) == 80

def add_all(home, count):
    "Add files one after the other in a process of its own"
    os.environ["GRADECLASS_HOME"] = home
    for number in range(count): add_file(Path(home)/f"n{number}.csv")

def test_folder_in_the_way_gets_a_sentence(home):
    (home/"data").mkdir()
    (home/"data"/"store").write_text("")
    with pytest.raises(StoreError, match="cannot be written .*the store is still empty"):
        add_file(put(home, "a.csv", STUDENTS.head(20)))

# The command

def ask(*words):
    "Run the command in a process of its own"
    program = "import sys; from gradeclass.cli.main import main; sys.argv[0] = 'gradeclass'; main()"
    return subprocess.run([sys.executable, "-c", program, *map(str, words)], capture_output=True, text=True,
                          env=os.environ)

@pytest.mark.slow
def test_commands_add_list_and_go_back(home):
    first, second = put(home, "a.csv", STUDENTS.head(50)), put(home, "b.csv", STUDENTS.iloc[40:60])
    assert "50 new students: version 1 of store:students holds 50 students" in ask("data", "add", first).stdout
    assert "10 new students, 10 known already: version 2 of store:students holds 60 students" in ask(
        "data", "add", second).stdout
    assert f"no rows of {second} were added, 20 known already" in ask("data", "add", second).stdout
    assert "store:students is at version 1 again: 50 students" in ask("data", "revert", 1).stdout
    assert [row["current"] for row in json.loads(ask("data", "versions", "--json").stdout)] == [True, False]
    wrong = ask("data", "revert", 9)
    assert wrong.returncode == 1 and wrong.stderr == "gradeclass: the store students has no version 9: there are 1, 2\n"

def test_command_ends_with_1_where_every_row_is_refused(home):
    told = ask("data", "add", put(home, "a.csv", STUDENTS.head(5).assign(GradeClass=None)))
    assert told.returncode == 1 and "refused: 5 rows, with reasons in" in told.stderr and "no rows of" in told.stdout

def test_samples_are_a_store_as_well(home):
    for name in ("students", "higher_ed"): assert add_file(sample_path(name), name).refused == 0

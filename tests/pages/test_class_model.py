"What the page of a class knows and does, without a browser: any schema, odd files, hostile names"
import asyncio
import base64
import json
import os
import re
import tempfile
from dataclasses import replace
from datetime import datetime

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradeclass.config import GradeclassError
from gradeclass.data.dataset import make_dataset
from gradeclass.data.files import write_table
from gradeclass.data.sources import load
from gradeclass.data.synthetic import sample_path
from gradeclass.evaluation.ranking import Threshold
from gradeclass.pages.class_model import ClassModel
from gradeclass.pages.host import Host
from gradeclass.pages.upload import read_upload, safe_name
from gradeclass.pages.html import download
from gradeclass.pages.predict_model import StudentModel
from gradeclass.scoring.answer import open_bundle


def test_class_loses_no_row_and_opens_again(served, tmp_path):
    rows = [{column.name: column.labels[0] if column.codes else column.min for column in served.inputs}
            for _ in range(30)]
    number = next((column.name for column in served.inputs if not column.codes), None)
    if number: rows[3][number] = "many"
    write_table(pd.DataFrame(rows), tmp_path/"class.csv")
    room = ClassModel(served)
    room.read("class.csv", (tmp_path/"class.csv").read_bytes())
    assert len(room.ranked) + len(room.refused) == 30 and len(room.refused) == bool(number)
    room.places = len(room.ranked)
    write_table(room.table(), tmp_path/"list.csv")
    again = load(tmp_path/"list.csv", served.schema)
    assert len(again.frame) == len(room.ranked)
    assert set(again.frame) >= {column.name for column in served.inputs}


def test_expected_worth_of_a_list_follows_from_the_probabilities(served):
    room = ClassModel(served)
    room.take(make_dataset(pd.DataFrame([StudentModel(served).student]*20), served.schema), "twenty")
    room.places = 5
    precision, recall = room.worth()
    assert precision == pytest.approx(room.ranked.risk.iloc[0]) and recall == pytest.approx(0.25)


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=200))
def test_file_names_cannot_leave_their_folder(text):
    name = safe_name(text)
    assert name and "/" not in name and "\\" not in name and not name.startswith(".") and len(name) <= 60


@pytest.mark.parametrize("name, content, says", [
    ("noise.csv", os.urandom(50_000) + b"\0", "binary data"), ("empty.csv", b"", "is empty"),
    ("book.xlsx", b"PK\x03\x04", "is not a workbook"),
    ("run.py", b"import os", "unknown kind"), ("large.csv", b"x"*10_000_001, "this page takes 10"),
    ("other.csv", b"a,b\n1,2\n", "none of the columns")])
def test_odd_upload_gets_a_sentence_and_leaves_no_file(name, content, says, trained, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    room = ClassModel(open_bundle(trained))
    with pytest.raises(GradeclassError, match=says): room.read(name, content)
    assert room.ranked is None and not list(tmp_path.iterdir())


def test_upload_with_formulas_comes_back_harmless(trained):
    served = open_bundle(trained)
    lines = sample_path("students").read_text().splitlines()
    content = "\n".join([lines[0], re.sub("^[^,]*", "=HYPERLINK(1)", lines[1])])
    dataset = read_upload("class.csv", content.encode(), served)
    room = ClassModel(served)
    room.take(dataset, "class.csv")
    link = download(room.table(), "list.csv", "Save")
    saved = base64.b64decode(link.split("base64,")[1].split('"')[0])
    assert b"'=HYPERLINK" in saved and not re.search(rb"(^|,)=HYPERLINK", saved, re.M)


@pytest.fixture(scope="module")
def sixty():
    "Sixty students of the sample, with names and forms"
    frame = pd.read_csv(sample_path("students")).head(60)
    return frame.assign(**{"Prénom": [f"Zoë{place}" for place in range(60)], "Form": ["10A", "10B", "10C"]*20})


def read_frame(room, frame, name="class.csv"):
    room.read(name, frame.to_csv(index=False).encode())
    return room


def test_headers_may_be_the_labels_that_the_pages_show(trained, sixty):
    served = open_bundle(trained)
    plain = read_frame(ClassModel(served), sixty).ranked
    titles = {column.name: column.title.upper() for column in served.schema.columns}
    labelled = read_frame(room := ClassModel(served), sixty.rename(columns=titles))
    assert not room.missing and labelled.ranked.equals(plain)


def test_missing_inputs_weigh_what_they_are_worth_and_can_be_matched_by_hand(trained, sixty):
    from gradeclass.pages.class_view import summary
    served = open_bundle(trained)
    whole = read_frame(ClassModel(served), sixty).ranked
    room = read_frame(ClassModel(served), sixty.rename(columns={"Absences": "Days away"}))
    assert list(room.missing) == ["Absences"] and "Days away" in room.others
    assert "strongest input" in summary(room) and "gc-note-warn" in summary(room)
    room.open(room.upload, {"Absences": "Days away"})
    assert room.ranked.equals(whole) and "gc-note-good" in summary(room)
    blank = read_frame(ClassModel(served), sixty.assign(Absences=""))
    assert "is blank for 60 of 60 students" in summary(blank)
    weak = read_frame(ClassModel(served), sixty.drop(columns="Music"))
    assert "hardly changes" in summary(weak) and "gc-note-warn" in summary(weak)


def test_numbers_above_a_limit_are_capped_and_unseen_columns_refuse_nobody(trained, sixty):
    changed = sixty.copy()
    changed.loc[3, "Absences"] = 45
    changed["Age"] = 99
    room = read_frame(ClassModel(open_bundle(trained)), changed)
    assert len(room.ranked) == 60 and room.students.Absences.max() == 30
    assert any("45 counted as 30" in finding.message for finding in room.findings)
    hours = read_frame(ClassModel(open_bundle(trained)), sixty.assign(Absences=sixty.Absences + 31))
    assert len(hours.refused) == 60  # Another unit is no slip


def test_names_and_groups_go_along_but_not_to_the_model(trained, sixty):
    room = read_frame(ClassModel(open_bundle(trained)), sixty)
    shown = room.shown()
    assert shown.columns[:3].tolist() == ["Order", "Prénom", "Form"]
    room.group = room.groups["Form: 10B"]
    assert 0 < len(room.listed()) == (room.shown().Form == "10B").sum()
    room.group, room.sort = "", "Prénom"
    assert room.shown()["Prénom"].tolist() == sorted(room.shown()["Prénom"], key=str.casefold)
    last = room.ranked.index[-1]
    room.search = room.others.loc[last, "Prénom"]
    assert last in room.listed().index and last not in room.ranked.index[:room.places]
    saved = room.table()
    assert saved["Prénom"].tolist() == room.others.loc[saved.index, "Prénom"].tolist() if len(saved) else False
    assert not {"Prénom", "Form"} & {column.name for column in room.served.inputs}


def test_equal_risks_share_rank_and_flag(served):
    room = ClassModel(served)
    student = StudentModel(served).student
    room.take(make_dataset(pd.DataFrame([student]*8), served.schema), "eight")
    assert room.ranked["rank"].eq(1).all() and room.ranked.flagged.nunique() == 1
    assert room.shown().Order.eq("1 =").all()
    room.places = 3
    assert room.cut_off() == 5


def test_list_is_the_same_after_state_and_restore(trained, sixty):
    served = open_bundle(trained)
    room = read_frame(ClassModel(served), sixty)
    room.places, room.group, room.sort, room.reverse = 20, room.groups["Form: 10A"], "Form", True
    other = read_frame(ClassModel(served), sixty)
    other.restore(json.loads(json.dumps(room.state())))
    assert other.listed().equals(room.listed()) and other.state() == room.state()
    other.restore({"places": 10**9, "group": "Form\tnone", "sort": 3, "page": -4, "grade": None})
    assert (other.places, other.group, other.page) == (60, room.group, 0)


def test_failed_file_clears_the_one_before_and_is_named(trained, sixty):
    from gradeclass.pages.class_view import ClassView
    view = ClassView(open_bundle(trained))
    for name, content, says in [("other.csv", b"a\n1\n", "other.csv: none of the columns"),
                                ("bare.csv", ",".join(sixty.columns).encode() + b"\n",
                                 "bare.csv: this sheet has no student rows"),
                                ("noise.csv", b"\0\1\2\3", "noise.csv is not a text table")]:
        view.take("class.csv", sixty.to_csv(index=False).encode())
        assert view.result.children and json.loads(view.kept.value)["file"] == "class.csv"
        view.take(name, content)
        assert says in view.message.value and not view.result.children
        assert view.model.ranked is None and view.state() == {} and view.kept.value == ""


def test_view_of_a_newer_model_shows_the_same_file_and_choices(trained, sixty):
    from gradeclass.pages.class_view import ClassView
    view = ClassView(open_bundle(trained))
    view.take("class.csv", sixty.rename(columns={"Absences": "Days away"}).to_csv(index=False).encode())
    view.columns["Absences"].value = "Days away"
    view.match.click()
    view.places.value, view.search.value = 20, "zoë1"
    newer = ClassView(open_bundle(trained))
    newer.restore(view.state())
    assert newer.list.value == view.list.value and "gc-note-good" in newer.summary.value
    assert (newer.places.value, newer.search.value) == (20, "zoë1")


def test_file_on_its_way_or_being_read_reaches_the_view_of_a_newer_model(trained, sixty):
    from gradeclass.pages.class_view import ClassView
    from gradeclass.pages.page import Page
    content = sixty.to_csv(index=False).encode()
    chosen = {"name": "class.csv", "type": "text/csv", "size": len(content), "content": content,
              "last_modified": datetime(2026, 9, 1)}
    async def promote_meanwhile(sent_before):
        host = Host(lambda: trained)
        page = Page(ClassView, host)
        before = page.body.children[0]
        send = lambda: setattr(before.upload, "value", (chosen,))
        if sent_before: send()
        host.served = open_bundle(trained)
        if not sent_before: send()
        view = page.body.children[0]
        assert view is not before
        for _ in range(6000):
            if view.result.children: break
            await asyncio.sleep(0.01)
        assert "60 students ranked" in view.summary.value and not before.result.children
    for sent_before in (True, False): asyncio.run(promote_meanwhile(sent_before))


def test_page_shows_titles_of_columns_and_no_more_digits_than_a_person_reads(trained):
    from gradeclass.pages.class_view import ClassView, understood
    view = ClassView(open_bundle(trained))
    frame = pd.read_csv(sample_path("students")).head(30).drop(columns="ParentalSupport").astype({"StudyTimeWeekly": object})
    frame["Help at home"] = 1
    frame.loc[0, "StudyTimeWeekly"], frame.loc[1, "StudyTimeWeekly"] = "many", 2.8225223659864374
    view.take("class.csv", frame.to_csv(index=False).encode())
    assert view.columns["ParentalSupport"].description == "Parents' support"
    assert "Study time" in view.problems.value and "StudyTimeWeekly" not in view.problems.value
    assert "2.823" in understood(view.model) and "2.82252" not in understood(view.model)
    assert view.pager.layout.display == "none"
    view.places.value = len(view.model.ranked)
    assert view.pager.layout.display == (None if view.model.pages() > 1 else "none")


def test_what_is_pressed_while_a_newer_model_is_built_in_is_done_by_its_view(trained, sixty):
    from gradeclass.pages.class_view import ClassView
    from gradeclass.pages.page import Page
    host = Host(lambda: trained)
    page = Page(ClassView, host)
    before = page.body.children[0]
    before.take("class.csv", sixty.rename(columns={"Absences": "Days away"}).to_csv(index=False).encode())
    for _ in range(2): host.served = open_bundle(trained)
    view = page.body.children[0]
    before.places.value, before.search.value = 20, "zo"  # As they come from a browser that still shows the view before
    assert (view.model.places, view.places.value, view.model.search, view.search.value) == (20, 20, "zo", "zo")
    before.columns["Absences"].value = "Days away"
    before.match.click()
    assert view.model.matches == {"Absences": "Days away"} and not view.model.missing
    before.remove.click()
    assert view.model.upload is None and not view.result.children and "forgotten" in view.message.value
    before.sample.click()
    assert "1,000 students ranked" in view.summary.value


def test_browser_keeps_the_file_at_every_moment_until_it_is_removed_or_cannot_be_read(trained, sixty):
    from gradeclass.pages.class_view import ClassView
    view, kept = ClassView(open_bundle(trained)), []
    view.kept.observe(lambda change: kept.append(change["new"]), "value")
    for name in ("10a.csv", "10b.csv"): view.take(name, sixty.to_csv(index=False).encode())
    assert len(kept) == 4 and all(json.loads(text)["file"] for text in kept)
    view.remove.click()
    view.take("broken.csv", b"\x00\x01")
    assert kept[4] == kept[-1] == "" and "broken.csv" in view.message.value


def test_choice_that_is_made_while_a_file_is_read_again_holds(trained, sixty):
    from gradeclass.pages.class_view import ClassView
    async def choose():
        view = ClassView(open_bundle(trained))
        view.take("class.csv", sixty.to_csv(index=False).encode())
        view._set("places", 7)
        assert json.loads(view.kept.value)["file"] == "class.csv" # A reload sends the file again
        for _ in range(6000):
            if view.result.children: break
            await asyncio.sleep(0.01)
        assert (view.model.places, view.places.value) == (7, 7)
    asyncio.run(choose())


def test_file_with_none_of_the_names_is_matched_by_hand_also_after_a_wrong_match(trained):
    from gradeclass.pages.class_view import ClassView
    german = pd.read_csv(sample_path("students")).head(30)[["Absences", "Tutoring", "StudyTimeWeekly"]]
    german = german.set_axis(["Fehltage", "Nachhilfe", "Lernzeit"], axis=1).assign(Anwesenheit="90%")
    view = ClassView(open_bundle(trained))
    view.take("10a.csv", german.to_csv(index=False).encode())
    assert "10a.csv: none of the columns that a prediction needs is there: " in view.message.value
    assert {name for _, name in view.columns["Absences"].options} == {"", *german}
    assert view.model.state()["file"] == "10a.csv" and view.remove.layout.display is None
    view._match({"Absences": "Anwesenheit"})
    assert "%" in view.message.value and view.model.upload is not None
    view._match({"Absences": "Fehltage", "StudyTimeWeekly": "Lernzeit"})
    assert not view.message.value and len(view.model.ranked) == 30 and "Tutoring" in view.columns
    view.columns["Tutoring"].value = "Anwesenheit"
    view.match.click()
    assert not len(view.model.ranked) and "Most because of Tutoring" in view.summary.value
    view.columns["Tutoring"].value, view.columns["StudyTimeWeekly"].value = "Nachhilfe", ""
    view.match.click()
    assert view.model.matches == {"Absences": "Fehltage", "Tutoring": "Nachhilfe"} and len(view.model.ranked) == 30


def test_summary_and_problems_tell_of_what_matters_for_the_list(trained):
    from gradeclass.pages.class_view import list_table, summary, told_notes, worth_sentence
    model, students = ClassModel(open_bundle(trained)), pd.read_csv(sample_path("students")).head(30)
    students["Gender"] = "M"  # The model never sees it
    again = pd.concat([students, *[students.iloc[[3]]]*3])
    model.read("class.csv", again.assign(Sports=[*["maybe"]*2, *again.Sports[2:]]).to_csv(index=False).encode())
    assert "gc-note-warn" in summary(model) and "on more than one row (first 1004 in rows 5, 32, 33 and 34)" in summary(model)
    assert not [note for note in told_notes(model) if "more than one row" in note]
    assert {*model.problems().Column} == {"Sports", "Student number"}
    model.read("class.csv", students.head(1).assign(Absences=0, StudyTimeWeekly=20).to_csv(index=False).encode())
    assert not model.ranked.flagged.any() and "flagged" not in worth_sentence(model)
    assert "Of students like this one" in worth_sentence(model)
    model.read("class.csv", students.to_csv(index=False).encode())
    model.ranked = model.ranked.assign(risk=0.94, flagged=[True, *[False]*29])
    model.served = replace(model.served, threshold=Threshold(0.9, 0.1, 0.95, 0.9, 1, 0.2, 0.1, 0.3, 100))
    assert "Flags go to the 10 % with the highest risk; the next may round to the same." in worth_sentence(model)
    model.places, model.grade = 2, "A"
    assert "Nobody among the first 2 places fits this choice." in list_table(model)

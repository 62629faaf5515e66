"What the page of a class knows and does, without a browser: any schema, odd files, hostile names"
import base64
import os
import re
import tempfile

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradeclass.config import GradeclassError
from gradeclass.data.dataset import make_dataset
from gradeclass.data.files import write_table
from gradeclass.data.sources import load
from gradeclass.data.synthetic import sample_path
from gradeclass.pages.class_model import ClassModel
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
    ("run.py", b"import os", "unknown kind"), ("large.csv", b"x"*10_000_001, "gradeclass predict FILE"),
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

"What the pages know and do, without a browser: any schema, hostile words, odd files, thin imports"
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradeclass.pages.host import AppError, Host, without_paths
from gradeclass.pages.predict_model import StudentModel, answer_student, as_cell, form_fields
from gradeclass.scoring.answer import open_bundle
from gradeclass.pages.class_model import ClassModel, read_upload, safe_name
from gradeclass.config import find_shipped
from gradeclass.data.dataset import clean, make_dataset
from gradeclass.data.files import write_table
from gradeclass.data.sources import load
from gradeclass.data.infer import infer_schema
from gradeclass.pages.html import details, download, headline, note, table
from gradeclass.models.bundle import save_model
from gradeclass.models.grade_model import GradeModel
from gradeclass.data.synthetic import sample_path
from gradeclass.pages.predict_view import PredictView, WhatIf


def fit_bundle(schema, frame, folder, **params):
    "A bundle of a model of a table"
    save_model(GradeModel(schema, **params).fit(clean(make_dataset(frame, schema).frame, schema)), folder/"bundle")
    return open_bundle(folder/"bundle")


def unknown_table(n=200, seed=2):
    "Columns that no schema knows, one with a script in its name"
    rng = np.random.default_rng(seed)
    effort, days = rng.choice(["low", "middle", "high"], n), rng.uniform(0, 12, n).round(1)
    merit = pd.Series(effort).map({"low": 0, "middle": 1, "high": 2}) - days/6 + rng.normal(0, 0.4, n)
    return pd.DataFrame({"<script>alert(1)</script>": effort, "Days away": days, "Bus?": rng.choice(["yes", "no"], n),
                         "Grade": np.array(["A", "B", "C"])[np.digitize(-merit, [-0.5, 0.7])]})


@pytest.fixture(scope="module", params=["students", "higher_ed", "unknown"])
def served(request, tmp_path_factory):
    "A bundle of a shipped schema, or of one that was inferred"
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "unknown":
        return fit_bundle(infer_schema(unknown_table(), "Grade", "unknown"), unknown_table(), folder)
    dataset = load(sample_path(request.param), request.param)
    return fit_bundle(dataset.schema, dataset.raw, folder,
                      family="ordinal" if request.param == "students" else "xgboost",
                      **({} if request.param == "students" else {"params": {"rounds": 5, "patience": None}}))


def test_form_asks_for_the_inputs_of_the_model_and_nothing_else(served):
    assert [field.name for field in form_fields(served)] == [column.name for column in served.schema.inputs()]
    for field in form_fields(served):
        assert as_cell(field, field.start) == (None if field.start == "Not known" else field.start)


@pytest.mark.slow
def test_every_field_of_the_form_moves_to_every_end_and_the_answer_follows(served):
    view = PredictView(served)
    for name, made in view.inputs.items():
        for value in getattr(made, "options", None) or (made.number.min, made.number.max, None): made.value = value
        assert view.model.student[name] == as_cell(view.model.fields[name], made.value)
        assert view.message.value == ""
    assert sum(view.model.answer.probability) == pytest.approx(1)
    assert "<script" not in view.headline.value + view.details.value


def test_what_if_opens_for_every_schema(served):
    panel = WhatIf(StudentModel(served))
    panel.opener.value = True
    assert panel.panel.children and "not your mistake" not in panel.message.value


def test_answer_of_one_is_that_of_the_batch(served):
    rows = pd.DataFrame([StudentModel(served).student]*2)
    many, one = served.answer(rows), answer_student(served, rows.head(1))
    assert np.allclose(many.probability[0], one.probability)
    assert served.schema.grades.labels[many.grade[0]] == one.grade
    assert one.risk == pytest.approx(sum(one.probability[i] for i in served.schema.grades.at_risk_index))


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


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=80))
def test_words_of_a_visitor_stay_words(text):
    shown = note(text) + table(pd.DataFrame({text: [text]}), text) + download(pd.DataFrame({"a": [text]}), text, text)
    found = re.findall(r"<(?!/?(?:p|div|table|caption|thead|tbody|tr|th|td|a)[ >])[^>]*", shown)
    assert not found


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=200))
def test_file_names_cannot_leave_their_folder(text):
    name = safe_name(text)
    assert name and "/" not in name and "\\" not in name and not name.startswith(".") and len(name) <= 60


@pytest.mark.parametrize("name, content, says", [
    ("noise.csv", os.urandom(50_000) + b"\0", "binary data"), ("empty.csv", b"", "is empty"),
    ("book.xlsx", b"PK\x03\x04", "not an Excel workbook"),
    ("run.py", b"import os", "unknown kind"), ("large.csv", b"x"*10_000_001, "gradeclass predict FILE"),
    ("other.csv", b"a,b\n1,2\n", "none of the columns")])
def test_odd_upload_gets_a_sentence_and_leaves_no_file(name, content, says, trained, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    from gradeclass.config import GradeclassError
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
    import base64
    link = download(room.table(), "list.csv", "Save")
    saved = base64.b64decode(link.split("base64,")[1].split('"')[0])
    assert b"'=HYPERLINK" in saved and not re.search(rb"(^|,)=HYPERLINK", saved, re.M)


def test_message_of_a_damaged_bundle_names_no_folder(trained, tmp_path):
    from gradeclass.models.bundle import extend_bundle
    extend_bundle(trained, tmp_path/"bundle")
    host = Host(lambda: tmp_path/"bundle")
    (tmp_path/"bundle"/"schema.yaml").write_text("name: other")
    os.utime(tmp_path/"bundle"/"bundle.json", (1, 1))
    assert not host.refresh() and host.served is not None
    assert "schema.yaml" in host.problem and str(tmp_path) not in host.problem
    assert without_paths("see /srv/x/y.json") == "see y.json"


def test_change_of_what_cannot_be_changed_is_refused(trained):
    model = StudentModel(open_bundle(trained))
    with pytest.raises(AppError, match="not something that can be changed"): model.change("ParentalEducation", "None")


@pytest.mark.process
@pytest.mark.parametrize("page", ["predict", "class", "explore", "about", "manage"])
def test_page_imports_neither_arrow_nor_models_that_it_does_not_serve(page):
    heavy = ("pyarrow", "hypothesis", "xgboost", "sklearn.ensemble", "evidently", "mlflow", "optuna", "papermill",
             "mapie")
    cells = json.loads((find_shipped("nbs/app", "notebooks/app")/f"{page}.ipynb").read_text(encoding="utf-8"))["cells"]
    imports = "".join("".join(cell["source"]) for cell in cells if "import" in "".join(cell["source"]))
    code = f"{imports}\nimport sys; print([name for name in sys.argv[1:] if sys.modules.get(name)])"
    done = subprocess.run([sys.executable, "-c", code, *heavy], env=os.environ | {"GRADECLASS_THIN": "1"},
                          capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr[-800:]


@pytest.mark.slow
@pytest.mark.parametrize("schema", ["students", "higher_ed"])
def test_every_answer_may_be_unknown_alone_and_all_together(schema, tmp_path):
    dataset = load(sample_path(schema), schema)
    served = fit_bundle(dataset.schema, dataset.raw, tmp_path, family="ordinal")
    model = StudentModel(served)
    known = {column.name: column.labels[0] if column.codes else column.min for column in served.inputs}
    for name, field in model.fields.items():
        model.student = known
        assert model.answer.unknown == ()
        model.put(name, None)
        assert model.answer.unknown == (field.title,) and "gc-unknown" in headline(model.answer) and not model.problem
    for name in model.fields: model.put(name, None)
    assert len(model.answer.unknown) == len(model.fields) and sum(model.answer.probability) == pytest.approx(1)


@pytest.mark.process
def test_page_of_one_student_imports_nothing_heavy():
    heavy = ("evidently", "mlflow", "optuna", "seaborn", "papermill", "matplotlib", "pyarrow", "mapie", "fairlearn",
             "voila")
    code = "import sys, gradeclass.pages.predict_view; print([name for name in sys.argv[1:] if sys.modules.get(name)])"
    env = os.environ | {"GRADECLASS_THIN": "1"}
    done = subprocess.run([sys.executable, "-c", code, *heavy], env=env, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr[-800:]


def test_server_shows_nothing_but_the_pages():
    pages = pytest.importorskip("gradeclass.pages.server")
    config = pages.page_config(pages.Options(token="x"), pages.app_folder())
    assert config.VoilaConfiguration.file_allowlist == [] and config.VoilaConfiguration.show_tracebacks is False
    assert config.Voila.ip == "127.0.0.1" and not any(part in str(pages.SHOWN)
                                                      for part in ("tree", "contents", "files"))
    look = pages.app_folder()/"look"/"voila"/"templates"/"gradeclass"
    for path in look.rglob("*"):
        if path.suffix in (".j2", ".html", ".css", ".js"):
            assert not re.search(r"https?://(?!www\.w3\.org)", path.read_text(encoding="utf-8")), path.name


def test_page_notebooks_are_a_few_cells():
    for path in Path(find_shipped("nbs/app", "notebooks/app")).glob("*.ipynb"):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        assert len(cells) <= 4 and all(len(cell["source"]) <= 4 for cell in cells)


def test_headline_says_in_one_look_what_matters(trained):
    answer = answer_student(open_bundle(trained),
                            pd.DataFrame([StudentModel(open_bundle(trained)).student | {"Absences": 30.0}]))
    shown = headline(answer) + details(answer)
    for words in ("F is most likely", "Might need support", "a person who knows the student decides", "Absences"):
        assert words in shown
    assert "will fail" not in shown

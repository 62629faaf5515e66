"A package from outside adds a model type, file kinds, a stage, a section and an explanation; no line of ours changes"
import email
import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from service_helpers import as_sent, running

from gradeclass.data.files import DataError, foreign_reader
from gradeclass.data.sources import read_table
from gradeclass.data.synthetic import sample_path
from gradeclass.pipeline import stages
from gradeclass.pipeline.stages import Stage, insert_stages
from gradeclass.plugins import Doors, PluginError

ROOT = Path(__file__).parents[2]
SOURCE = ROOT/"examples"/"gradeclass-extras"
needs_checkout = pytest.mark.skipif(not SOURCE.is_dir(), reason="needs the checkout")

def gradeclass(*words, expect=0, **more):
    "What the command prints, in a process that finds the package"
    command = [sys.executable, "-c", "from gradeclass.cli.main import main; main()", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=os.environ | more)
    assert done.returncode == expect, done.stdout + done.stderr
    return done.stdout + done.stderr

def python(code, **more):
    "What a piece of Python prints as JSON, in a process that finds the package"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120,
                          env=os.environ | more)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])

@pytest.fixture(scope="module")
def extras(make_once):
    "The folder that the example is installed into"
    def fill(folder):
        if not (folder/"site").is_dir():
            left = shutil.ignore_patterns("__pycache__", "build", "*.egg-info")
            shutil.copytree(SOURCE, folder/"source", ignore=left)
            subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation",
                            "--no-index", "--target", str(folder/"site"), str(folder/"source")],
                           check=True, timeout=300)
        return folder/"site"
    return make_once("extras", fill)

@pytest.fixture(scope="module")
def school(extras, make_once):
    "A folder with a run of the package's model type, and the environment in which it was made"
    def fill(folder):
        more = {"PYTHONPATH": f"{extras}{os.pathsep}{ROOT}", "GRADECLASS_HOME": str(folder),
                "GRADECLASS_OUTPUTS": str(folder/"outputs")}
        if not (folder/"class.jsonl").is_file():
            gradeclass("run", "-p", "family=bayes", "-p", "resamples=50", "-p", "mail_dry_run=true", "--data", "sample",
                       **more)
            rows = read_table(sample_path("students"))[0].head(30)
            rows.to_json(folder/"class.jsonl", orient="records", lines=True)
        return SimpleNamespace(folder=folder, outputs=folder/"outputs", table=folder/"class.jsonl", more=more)
    return make_once("extras_school", fill)

def newest(school, pattern):
    "The one file of the run"
    return next(school.outputs.glob(pattern))

process = [pytest.mark.process, pytest.mark.slow, needs_checkout]

@pytest.mark.process
@needs_checkout
def test_command_lists_what_is_added_and_why_something_cannot_be_used(extras):
    rows = json.loads(gradeclass("plugins", "--json", PYTHONPATH=f"{extras}{os.pathsep}{ROOT}"))
    ready = {(row["kind"], row["name"]) for row in rows if row["state"] == "ready"}
    assert ready >= {("model type", "bayes"), ("file kind", ".jsonl"), ("stage", "mail"), ("explanation", "bayes"),
                     ("section of the report", "grades")}
    others = [row["state"] for row in rows if row["state"] != "ready"]
    assert all("of gradeclass-extras 0.1.0 cannot be used: it needs CatBoost" in state for state in others)

class TestSchool:
    pytestmark = process

    def test_model_type_is_trained_and_registered_with_the_package_that_brings_it(self, school):
        run = json.loads(newest(school, "runs/*/run.json").read_text())
        manifest = json.loads(Path(run["bundle"], "bundle.json").read_text())
        assert run["registration"]["version"] == 1 and manifest["family"] == "bayes"
        assert manifest["packages"] == {"bayes": "gradeclass-extras 0.1.0"}

    def test_section_and_stage_stand_in_the_report(self, school):
        page = newest(school, "runs/*/report.html").read_text()
        assert 'id="grades"' in page and "Students a grade" in page and 'id="mail"' in page
        assert "this was a dry run" in page

    def test_stage_writes_the_report_as_a_message(self, school):
        message = email.message_from_bytes(newest(school, "stages/mail-*/mail.eml").read_bytes())
        parts = {part.get_filename(): part for part in message.walk()}
        assert b"Grade report" in parts["report.html"].get_payload(decode=True)

    def test_run_is_kept_until_the_package_changes(self, school, extras, tmp_path):
        words = ["run", "-p", "family=bayes", "-p", "resamples=50", "-p", "mail_dry_run=true", "--data", "sample",
                 "--dry-run"]
        assert "would run" not in gradeclass(*words, **school.more)
        changed = shutil.copytree(extras, tmp_path/"changed")
        with (changed/"gradeclass_extras"/"bayes.py").open("a") as file: file.write("# another line\n")
        said = gradeclass(*words, **school.more | {"PYTHONPATH": f"{changed}{os.pathsep}{ROOT}"})
        assert "what other packages add has changed" in said

    def test_reader_serves_commands(self, school):
        said = gradeclass("check", school.table, **school.more)
        assert "30 rows" in said and "30 lines of JSON" in said
        out = school.folder/"answers.csv"
        gradeclass("predict", school.table, "--out", out, **school.more)
        assert len(pd.read_csv(out)) == 30

    def test_pages_know_the_model_type_and_read_the_file(self, school):
        found = python("import json; from pathlib import Path\n"
                       "from gradeclass.pages.manage_view import choices\n"
                       "from gradeclass.pages.manage_model import ManageModel\n"
                       "from gradeclass.pages.upload import KINDS, read_upload\n"
                       "from gradeclass.scoring.answer import open_bundle\n"
                       f"path = Path({str(school.table)!r})\n"
                       f"bundle = {str(newest(school, 'stages/evaluate-*/bundle'))!r}\n"
                       "read = read_upload(path.name, path.read_bytes(), open_bundle(bundle))\n"
                       "print(json.dumps([choices('family'), list(KINDS), len(read.frame),\n"
                       "                  list(ManageModel().run['stages'])]))", **school.more)
        assert "bayes" in found[0] and ".jsonl" in found[1] and found[2] == 30 and found[3][-1] == "mail"

    def test_explanation_is_a_sum_of_the_models_own(self, school):
        found = python("import json; from gradeclass.data.sources import load\n"
                       "from gradeclass.data.synthetic import sample_path\n"
                       "from gradeclass.evaluation.explain import contributions\n"
                       "from gradeclass.models.bundle import load_model\n"
                       f"model = load_model({str(newest(school, 'stages/evaluate-*/bundle'))!r})\n"
                       "found = contributions(model, load(sample_path('students')).frame.head(20))\n"
                       "gap = abs(found.baseline + found.values.sum(axis=1) - found.total).max()\n"
                       "print(json.dumps([found.exact, float(gap)]))", **school.more)
        assert found[0] is True and found[1] < 1e-9

    def test_service_answers_a_student_and_a_file_by_its_name(self, school, monkeypatch, tmp_path):
        for name, value in school.more.items(): monkeypatch.setenv(name, value)
        bundle = newest(school, "stages/evaluate-*/bundle")
        student = as_sent(read_table(sample_path("students"))[0].iloc[0].drop(["GPA", "GradeClass"]).to_dict())
        with running(tmp_path/"served", "--open", "--model", bundle) as (client, _):
            answer = client.post("/predict", json=student)
            assert answer.status_code == 200, answer.text
            form = client.post("/predict/file", files={"file": ("class.jsonl", school.table.read_bytes())})
            body = client.post("/predict/file", content=school.table.read_bytes(), headers={
                "content-type": "application/octet-stream", "content-disposition": 'attachment; filename="a.jsonl"'})
            bad = client.post("/predict/file", files={"file": ("class.jsonl", b"not JSON")})
        assert form.status_code == 200 and len(form.text.splitlines()) == 31, form.text[:300]
        assert body.text == form.text
        assert bad.status_code == 422 and "line 1 is not a student" in bad.text

    def test_bundle_without_its_package_is_one_sentence(self, school):
        said = gradeclass("predict", sample_path("students"), "--out", "never.csv", expect=1,
                          **school.more | {"PYTHONPATH": str(ROOT)})
        assert "holds the family bayes, which the package gradeclass-extras 0.1.0 brings: install it" in said
        assert len(said.strip().splitlines()) == 1

# Without a package

def entry(name, value, package="school-extras"):
    "An entry point of a package that is not installed"
    made = EntryPoint(name, value, "gradeclass.families")
    vars(made)["dist"] = SimpleNamespace(name=package, version="2.0")
    return made

@pytest.fixture
def doors(monkeypatch):
    "One thing of ours, and some of packages"
    made = Doors("families", "model type", {"ordinal": 1}, lambda name, found: found, ("auto",))
    def bring(*entries):
        monkeypatch.setattr(made, "entries", lambda: [*entries], raising=False)
        return made
    return bring

def test_a_name_that_is_taken_is_refused_and_ours_stays(doors):
    found = doors(entry("ordinal", "math:pi"), entry("auto", "math:pi"))
    assert found["ordinal"] == 1 and list(found) == ["ordinal"]
    assert all("school-extras 2.0 cannot be used: gradeclass has that name" in row["state"] for row in found.states())

def test_two_packages_with_one_name_are_both_named(doors):
    found = doors(entry("bayes", "math:pi"), entry("bayes", "math:e", "other-extras"))
    with pytest.raises(PluginError, match="other-extras 2.0 and school-extras 2.0 both have that name"): found["bayes"]
    assert found["ordinal"] == 1

@pytest.mark.parametrize("value, reason", [("no_such_module:thing", "ModuleNotFoundError"),
                                           ("math:no_such_name", "AttributeError")])
def test_what_cannot_be_imported_is_one_sentence(doors, value, reason):
    said = f"the model type bayes of school-extras 2.0 cannot be used: {reason}"
    with pytest.raises(PluginError, match=said) as found: doors(entry("bayes", value))["bayes"]
    assert "\n" not in str(found.value)

def test_our_own_things_are_found_without_a_look_at_what_is_installed(doors, monkeypatch):
    found = doors()
    monkeypatch.setattr(found, "entries", lambda: pytest.fail("looked"))
    assert "ordinal" in found and found["ordinal"] == 1

def test_reader_that_fails_names_the_file_and_no_cell(tmp_path):
    def read(path): raise ValueError("Ada Lovelace")
    with pytest.raises(DataError, match=r"a\.sav cannot be read as a \.sav file \(ValueError\)") as found:
        foreign_reader(".sav", read)(tmp_path/"a.sav")
    assert "Ada" not in str(found.value)

def test_stage_goes_before_and_after_named_stages():
    table = insert_stages({"look": Stage("look", "look.ipynb", ("prepare",), (), ("train", "drift"))})
    order = list(table)
    assert order.index("prepare") < order.index("look") < min(order.index("train"), order.index("drift"))
    assert "look" in table["train"].needs and "look" not in stages.OWN_STAGES["train"].needs

@pytest.mark.parametrize("stage, reason", [
    (Stage("look", "look.ipynb", ("register",), (), ("prepare",)), "wait for each other"),
    (Stage("look", "look.ipynb", ("cook",)), "names a stage cook, which does not exist")])
def test_stage_that_cannot_be_placed_is_refused(stage, reason):
    with pytest.raises(PluginError, match=reason): insert_stages({"look": stage})

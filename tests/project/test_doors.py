"One student, one answer: every door gives the same, whatever the calibration, rule and family"
import copy
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from io import BytesIO
from itertools import product
from types import SimpleNamespace

import httpx
import numpy as np
import pandas as pd
import pytest

from gradeclass.config import GradeclassError
from gradeclass.data.dataset import clean
from gradeclass.data.sources import load
from gradeclass.data.synthetic import sample_path
from gradeclass.evaluation.calibration import Calibration, Calibrator
from gradeclass.evaluation.ranking import find_threshold
from gradeclass.evaluation.sets import fit_sets
from gradeclass.models.bundle import load_model, save_model
from gradeclass.models.calibrator import KINDS
from gradeclass.models.decide import RULES, learn_rule
from gradeclass.models.features import grade_index
from gradeclass.models.grade_model import FAMILIES, GradeModel
from gradeclass.scoring.answer import open_bundle

DATASET = load(sample_path("students"), "students")
SCHEMA, LABELS = DATASET.schema, DATASET.schema.grades.labels
STUDENTS = clean(DATASET.frame, SCHEMA)
ASKED = STUDENTS.tail(500).drop(columns=[SCHEMA.target, SCHEMA.score])
QUICK = {
    "ordinal": {"folds": 2, "forest": {"trees": 20}, "boost": {"rounds": 10}},
    "xgboost": {"rounds": 20, "patience": None},
    "neural": {"members": 1, "epochs": 3}, "stack": {"weights": {"ordinal": 1, "xgboost": 2}},
}
CALIBRATORS = {
    "none": Calibrator(), "temperature": Calibrator("temperature", 1.6),
    "offsets": Calibrator("offsets", 1.3, (0.7, -0.5, 0.4, -0.8, 0.2)),
}
needs_keras = pytest.mark.skipif(find_spec("keras") is None, reason="needs the extra `neural`")
FAMILY_PARAMS = [pytest.param(name, marks=needs_keras) if name == "neural" else name for name in FAMILIES]


def test_every_kind_of_calibration_is_tried():
    assert tuple(CALIBRATORS) == KINDS


def make_bundle(fitted, rule, kind, folder):
    "A bundle of a model with a rule and a kept calibration, sets and a threshold"
    model, calibrator = copy.copy(fitted), CALIBRATORS[kind]
    model.rule = rule
    raw, y = fitted.pipeline_.predict_proba(STUDENTS), grade_index(STUDENTS, SCHEMA)
    model.gains_ = learn_rule(rule, raw)
    model.calibrate(calibrator, raw)
    said = calibrator.apply(raw)
    files = {"calibration.json": Calibration(calibrator, fit_sets(said, y)).to_dict(),
             "threshold.json": find_threshold(y, said, SCHEMA.grades).as_dict()}
    save_model(model, folder, files)
    return folder


@pytest.fixture(scope="module")
def fitted():
    "A model of each family, fitted when it is first asked for"
    made = {}
    def fit(family):
        if family not in made:
            params = QUICK.get(family)
            made[family] = GradeModel(SCHEMA, family, params=params, rule="macro_f1").fit(STUDENTS.head(500))
        return made[family]
    return fit


def from_table(table):
    "Grades, probabilities and risks of a table of predictions"
    return table.grade.tolist(), table[[f"p_{grade}"
                                        for grade in LABELS]].to_numpy(float), table.at_risk.to_numpy(float)


def as_records(frame):
    "Students as a program sends them"
    rows = frame.astype(object).where(frame.notna(), None)
    return json.loads(rows.to_json(orient="records", double_precision=15))


def ask_python(bundle, source):
    model = load_model(bundle)
    return model.predict(ASKED).tolist(), model.predict_proba(ASKED), model.predict_at_risk(ASKED)


def ask_command(bundle, source):
    from gradeclass.scoring.score import score
    out = source.with_name(f"{bundle.name}.csv")
    score(bundle, source, out)
    return from_table(pd.read_csv(out, float_precision="round_trip"))


def ask_stream(bundle, source):
    from gradeclass.scoring.batches import stream_table
    out = source.with_name(f"{bundle.name}.parquet")
    stream_table(load_model(bundle), source, out, source.with_name(f"{bundle.name}.rejected.csv"))
    return from_table(pd.read_parquet(out))


def ask_upload(bundle, source):
    from gradeclass.service.served import serve_bundle
    from gradeclass.service.uploads import answer_file
    pieces = answer_file(serve_bundle(bundle, "students"), source, ".csv", SimpleNamespace(read=0, refused=0))
    return from_table(pd.read_csv(BytesIO(b"".join(pieces)), float_precision="round_trip"))


def ask_service(bundle, source):
    from gradeclass.service.served import serve_bundle
    served = serve_bundle(bundle, "students")
    students = [served.reader.read(record) for record in as_records(ASKED)]
    answers = [json.loads(core) for _, core in served.answer(students)]
    probability = np.array([[answer["probabilities"][grade] for grade in LABELS] for answer in answers])
    return [answer["grade"] for answer in answers], probability, np.array([answer["at_risk"] for answer in answers])


def say_served(served, rows):
    "What the service says of rows, however they came"
    return [json.loads(core) for _, core in served.answer([served.reader.read(row) for row in rows])]


def ask_tensors(bundle, source):
    "As the Open Inference Protocol carries students and answers"
    from gradeclass.service.addresses.exchange import read_tensors, write_tensors
    from gradeclass.service.served import serve_bundle
    served = serve_bundle(bundle, "students")
    records = as_records(ASKED)
    kind = lambda cells: "BYTES" if any(isinstance(cell, str) for cell in cells) else "FP64"
    columns = {name: [record[name] for record in records] for name in records[0]}
    sent = {"inputs": [{"name": name, "shape": [len(cells)], "datatype": kind(cells), "data": cells}
                       for name, cells in columns.items()]}
    replies = say_served(served, read_tensors(sent, served.reader, len(records)))
    names = ["grade", "probabilities", "at_risk"]
    grade, probability, risk = (np.array(tensor["data"]) for tensor in write_tensors(replies, names))
    return grade.tolist(), probability.reshape(-1, len(LABELS)), risk


def ask_scoring(bundle, source):
    "As MLflow's scoring carries them"
    from gradeclass.service.addresses.exchange import as_row, read_scoring
    from gradeclass.service.served import serve_bundle
    served = serve_bundle(bundle, "students")
    body = json.dumps({"dataframe_records": as_records(ASKED)}).encode()
    replies = say_served(served, read_scoring(body, "application/json", served.reader, len(ASKED)))
    return from_table(pd.DataFrame([as_row(reply | {"prediction_id": 1}) for reply in replies]))


def ask_mlflow(bundle, source):
    from gradeclass.registry import _load_pyfunc
    return from_table(_load_pyfunc(bundle).predict(ASKED))


def ask_evaluation(bundle, source):
    from gradeclass.pipeline.steps import evaluate_model
    measured = evaluate_model(load_model(bundle), STUDENTS.tail(500), n_boot=2)
    risk = measured.probability[:, SCHEMA.grades.at_risk_index].sum(axis=1)
    return [LABELS[grade] for grade in measured.predicted], measured.probability, risk


def ask_gate(bundle, source):
    from gradeclass.registry.rails import judge_by
    judged = judge_by(load_model(bundle), STUDENTS.tail(500))
    risk = judged.p[:, SCHEMA.grades.at_risk_index].sum(axis=1)
    return [LABELS[grade] for grade in judged.predicted], judged.p, risk


DOORS = {door.__name__: door
         for door in (ask_python, ask_command, ask_stream, ask_upload, ask_service, ask_tensors,
                      ask_scoring, ask_mlflow, ask_evaluation, ask_gate)}


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILY_PARAMS)
def test_all_doors_give_one_answer(fitted, tmp_path, family):
    source = tmp_path/"asked.csv"
    ASKED.to_csv(source, index=False)
    for rule, kind in product(RULES, KINDS):
        bundle = make_bundle(fitted(family), rule, kind, tmp_path/f"{rule}-{kind}")
        answers = open_bundle(bundle).answer(ASKED)
        grades = [LABELS[grade] for grade in answers.grade]
        for name, door in DOORS.items():
            found, probability, risk = door(bundle, source)
            where = f"{name}, {rule}, {kind}"
            assert found == grades, where
            assert np.abs(probability - answers.probability).max() < 1e-9, where
            assert np.abs(risk - answers.risk).max() < 1e-9, where


@pytest.mark.slow
@pytest.mark.parametrize("rule,kind", product(RULES, KINDS))
def test_pages_and_service_name_the_same_sets_scores_and_flags(fitted, tmp_path, rule, kind):
    from gradeclass.pages.class_model import rank_class
    from gradeclass.pages.predict_model import answer_student
    from gradeclass.service.served import serve_bundle
    folder = make_bundle(fitted("ordinal"), rule, kind, tmp_path/"bundle")
    bundle, served = open_bundle(folder), serve_bundle(folder, "students")
    answers = bundle.answer(ASKED)
    ranked = rank_class(bundle, ASKED).loc[ASKED.index]
    assert ranked.grade.tolist() == [LABELS[grade] for grade in answers.grade]
    assert np.abs(ranked.risk - answers.risk).max() < 1e-9
    assert ranked.flagged.tolist() == answers.listed.tolist() and ranked.likely.tolist() == bundle.name_sets(answers)
    sample = ASKED.iloc[::25]
    students = [served.reader.read(record) for record in as_records(sample)]
    for place, (_, core) in enumerate(served.answer(students)):
        said, page = json.loads(core), answer_student(bundle, sample.iloc[[place]], reasons=False)
        assert (page.grade, page.probability) == (said["grade"],
                                                  pytest.approx(list(said["probabilities"].values()), abs=1e-9))
        assert page.risk == pytest.approx(said["at_risk"], abs=1e-9)
        assert page.score == pytest.approx((said["expected_score"], *said["score_interval"]), abs=1e-9)
        inside = answers.sets[place*25]
        assert said["prediction_set"] == [grade for grade, there in zip(LABELS, inside, strict=True) if there]
        assert page.flagged == answers.listed[place*25]


ODD = ["5,0", "５", "٣", "1_0", "_1", "1e1", "0x5", "inf", "5 days", "5%", "½", "yes", "'5", "1e400", "5 000", "5\u200b",
       "\u200e5", "1:30", "None", "n/a", "1\u200b"]


def taken(bundle, served, model, rows, folder):
    "Door -> the first student's risk, None where the row or the table is refused"
    from gradeclass.scoring.batches import stream_table
    from gradeclass.scoring.score import score
    from gradeclass.service.uploads import answer_file
    source, out = folder/"odd.csv", folder/"out.csv"
    pd.DataFrame(rows).to_csv(source, index=False)
    counts = SimpleNamespace(read=0, refused=0)
    def stream():
        stream_table(model, source, folder/"out.parquet", folder/"rejected.csv")
        return pd.read_parquet(folder/"out.parquet")
    def ask_score():
        score(bundle, source, out)
        return pd.read_csv(out)
    doors = {
        "record": lambda: pd.DataFrame([json.loads(core) | {"StudentID": rows[0]["StudentID"]}
                                        for _, core in served.answer([served.reader.read(rows[0])])]),
        "command": ask_score, "stream": stream,
        "upload": lambda: pd.read_csv(BytesIO(b"".join(answer_file(served, source, ".csv", counts)))),
    }
    found = {}
    for name, door in doors.items():
        try: table = door()
        except GradeclassError: table = pd.DataFrame({"StudentID": [], "at_risk": []})
        risk = table.at_risk[table.StudentID.astype(str) == rows[0]["StudentID"]].dropna()
        found[name] = round(float(risk.iloc[0]), 9) if len(risk) else None
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Absences", "Tutoring"])
def test_odd_cells_are_taken_or_refused_alike(fitted, tmp_path, name):
    from gradeclass.service.served import serve_bundle
    bundle = make_bundle(fitted("ordinal"), "mode", "none", tmp_path/"bundle")
    served, model = serve_bundle(bundle, "students"), load_model(bundle)
    columns = [SCHEMA.target, SCHEMA.score]
    rows = pd.read_csv(sample_path("students"), dtype=str).drop(columns=columns).head(3).to_dict("records")
    for cell in ODD:
        found = taken(bundle, served, model, [rows[0] | {name: cell}, *rows[1:]], tmp_path)
        assert len(set(found.values())) == 1, f"{cell!r}: {found}"


def test_a_calibration_moves_grades_and_risks(fitted, tmp_path):
    "Otherwise the tests above would prove nothing"
    plain = open_bundle(make_bundle(fitted("ordinal"), "mode", "none", tmp_path/"plain")).answer(ASKED)
    moved = open_bundle(make_bundle(fitted("ordinal"), "mode", "offsets", tmp_path/"moved")).answer(ASKED)
    assert (plain.grade != moved.grade).sum() > 20 and np.abs(plain.risk - moved.risk).max() > 0.05


def test_bundles_that_decided_on_raw_probabilities_still_do(fitted, tmp_path):
    "Gains and threshold of such a bundle are compared with what they were learnt from"
    folder = make_bundle(fitted("ordinal"), "macro_f1", "none", tmp_path/"old")
    plain = open_bundle(folder).answer(ASKED)
    old = load_model(folder)
    old.decides_on_raw_ = True
    files = {name: json.loads((folder/name).read_text()) for name in ("threshold.json", "calibration.json")}
    files["calibration.json"]["calibrator"] = CALIBRATORS["offsets"].to_dict()
    save_model(old, tmp_path/"calibrated", files)
    answers = open_bundle(tmp_path/"calibrated").answer(ASKED)
    assert (answers.grade == plain.grade).all() and (answers.listed == plain.listed).all()
    assert np.abs(answers.probability - CALIBRATORS["offsets"].apply(plain.probability)).max() < 1e-12


# ---- through a browser, HTTP and the command, each a process of its own

@pytest.fixture(scope="module")
def browser():
    "Headless Chromium"
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None: pytest.skip("chromium is not installed")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    with playwright.sync_playwright() as started:
        found = started.chromium.launch(executable_path=chromium, args=flags)
        yield found
        found.close()


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@contextmanager
def gradeclass(outputs, *words, ready):
    "A `gradeclass` command that goes on; yields once an address of it answers"
    code = "from gradeclass.cli.main import main; main()"
    env = os.environ | {"GRADECLASS_OUTPUTS": str(outputs), "GRADECLASS_HOME": str(outputs)}
    with (outputs/"said.txt").open("a") as said:
        process = subprocess.Popen([sys.executable, "-c", code, *map(str, words)], env=env, stdout=said, stderr=said)
        try:
            for _ in range(1200):
                with suppress(httpx.HTTPError):
                    if httpx.get(ready, timeout=30).status_code == 200: break
                assert process.poll() is None, (outputs/"said.txt").read_text()
                time.sleep(0.1)
            yield
        finally:
            process.terminate()
            try: process.wait(30)
            except subprocess.TimeoutExpired: process.kill()


def ask_browser(browser, port, source, folder, students):
    "Row -> grade and risk in percent, as the Class page saves them"
    page = browser.new_context(accept_downloads=True).new_page()
    page.goto(f"http://127.0.0.1:{port}/class?token=a-token")
    page.wait_for_selector(".gc-page, .gc-stack", timeout=60_000)
    with page.expect_file_chooser() as chooser: page.get_by_role("button", name="Choose a file").click()
    chooser.value.set_files(source)
    page.get_by_role("slider", name="How many students can you support").focus(timeout=60_000)
    page.keyboard.press("End")
    page.wait_for_selector(f"text=Top {students}.")
    for _ in range(60):  # The link follows the list a moment later
        with page.expect_download() as saved: page.get_by_role("link", name="Save this list").click()
        saved.value.save_as(folder/"page.csv")
        table = pd.read_csv(folder/"page.csv").set_index("Row in the file").sort_index()
        if len(table) == students: break
        page.wait_for_timeout(500)
    risk = next(name for name in table if "Chance that help is needed" in name)
    grade = next(name for name in table if "rade" in name and "file" not in name)
    return table[grade].tolist(), table[risk].to_numpy(float)


@pytest.mark.browser
@pytest.mark.process
@pytest.mark.slow
@pytest.mark.parametrize(("rule", "kind"), [("mode", "offsets"), ("distance", "temperature"), ("macro_f1", "offsets")])
def test_browser_http_and_command_agree(fitted, browser, tmp_path, rule, kind):
    bundle = make_bundle(fitted("ordinal"), rule, kind, tmp_path/"bundle")
    source, asked = tmp_path/"class.csv", ASKED.head(60)
    asked.to_csv(source, index=False)
    answers = open_bundle(bundle).answer(asked)
    grades, risks = [LABELS[grade] for grade in answers.grade], answers.risk
    pages, service = free_port(), free_port()
    code = ("from gradeclass.pages.server import Options, serve_pages\n"
            f"serve_pages(Options(port={pages}, token='a-token', manage_token='another', pool=1))")
    env = os.environ | {"GRADECLASS_OUTPUTS": str(tmp_path), "GRADECLASS_HOME": str(tmp_path),
                        "GRADECLASS_MODEL": str(bundle)}
    shown = subprocess.Popen([sys.executable, "-c", code], env=env, stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL)
    try:
        for _ in range(1200):
            with suppress(httpx.HTTPError):
                if httpx.get(f"http://127.0.0.1:{pages}/healthz", timeout=30).status_code == 200: break
            time.sleep(0.1)
        seen, percent = ask_browser(browser, pages, source, tmp_path, len(asked))
    finally:
        shown.terminate()
        shown.wait(60)
    assert seen == grades
    assert np.abs(percent - 100*risks).max() < 0.051
    address = f"http://127.0.0.1:{service}"
    with gradeclass(tmp_path, "serve", "--model", bundle, "--port", service, ready=f"{address}/ready"):
        sent = [{name: value for name, value in record.items() if value is not None} for record in as_records(asked)]
        found = httpx.post(f"{address}/predict/batch", json=sent, timeout=60).json()["predictions"]
        alone = httpx.post(f"{address}/predict", json=sent[0], timeout=60).json()
    assert [one["grade"] for one in found] == grades
    assert np.abs(np.array([one["at_risk"] for one in found]) - risks).max() < 1e-9
    said = np.array([[one["probabilities"][grade] for grade in LABELS] for one in found])
    assert np.abs(said - answers.probability).max() < 1e-9
    assert alone["grade"] == grades[0] and alone["at_risk"] == pytest.approx(risks[0], abs=1e-9)
    command = [sys.executable, "-c", "from gradeclass.cli.main import main; main()", "predict", str(source), "-o",
               str(tmp_path/"graded.csv"), "--model", str(bundle)]
    subprocess.run(command, check=True, env=env, capture_output=True)
    told, probability, risk = from_table(pd.read_csv(tmp_path/"graded.csv", float_precision="round_trip"))
    assert told == grades
    assert np.abs(probability - answers.probability).max() < 1e-9 and np.abs(risk - risks).max() < 1e-9

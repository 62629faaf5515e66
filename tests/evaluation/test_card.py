"""What a model card says, what it hides, and that text from data stays text."""
import json
import re

import numpy as np
import pandas as pd
import pytest

from gradeclass.config import GradeclassError
from gradeclass.evaluation.card import (
    FILL, NEEDED, card_files, escape_markdown, grade_rows, list_cautions, model_card, reliability_rows, render_markdown_card,
)
from gradeclass.evaluation.resampling import headline, metrics_dict, per_grade, reliability, top_k
from gradeclass.evaluation.fairness import check_fairness
from gradeclass.evaluation.ranking import find_threshold, places_table
from gradeclass.schema import load_schema

HEADINGS = ["In short", "1. General description", "2. Elements and development",
            "3. Monitoring, functioning and control", "4. Why these metrics",
            "5. Risk management", "6. Changes through the lifecycle", "7. Standards applied",
            "8. EU declaration of conformity",
            "9. Monitoring after it is in use"]
NASTY = "<script>alert(1)</script> [x](javascript:alert(1)) `code` | **bold** &lt;b&gt;\n# heading"


def example(name="students", n=300, **changes):
    """All that a card can be made from, for random grades."""
    schema, rng = load_schema(name), np.random.default_rng(0)
    grades = len(schema.grades.labels)
    y = rng.integers(0, grades, n)
    p = rng.dirichlet(np.ones(grades), n) + 0.8*np.eye(grades)[y]
    p /= p.sum(axis=1, keepdims=True)
    frame = pd.DataFrame({"Gender": rng.choice(["Male", "Female"], n), "GENDER": rng.choice(["male", "female"], n),
                          "AGE": rng.choice(["18-21", "22-25"], n)})
    metrics = metrics_dict(headline(y, p, schema.grades, n_boot=20), per_grade(y, p, schema.grades))
    counts = {part: dict.fromkeys(schema.grades.labels, 11) for part in ("train", "validation", "test")}
    about = {"source": "class.csv", "digest": "d"*64, "schema": schema.name, "title": schema.title, "rows": n + 3,
             "accepted": n, "refused": 3,
             "notes": ["read as UTF-8"],
             "findings": [{"check": "c", "column": "x", "rows": 3, "message": "3 rows were refused"}], "grades": counts}
    manifest = {"family": "xgboost", "balance": "none", "audit": False, "seed": 42, "params": {"rounds": 7},
                "schema": schema.name,
                "grades": schema.grades.labels, "inputs": [column.name for column in schema.inputs()],
                "files": {"model.ubj": "a"*64}}
    return {"schema": schema, "manifest": manifest, "versions": {"gradeclass": "0.1.0"}, "about": about, "grades": y,
            "probability": p, "digest": "f"*64,
            "metrics": metrics | {"at_risk": top_k(y, p, schema.grades), "students": n},
            "fairness": check_fairness(frame, schema, y, p.argmax(1), n_boot=20),
            "threshold": find_threshold(y, p, schema.grades, 0.1),
            "places": places_table(y, p, schema.grades, n_boot=20), **changes}


@pytest.fixture(scope="module")
def values():
    return example()


@pytest.fixture(scope="module")
def files(values):
    return card_files(values)


def test_card_has_every_heading_of_the_technical_documentation(files):
    assert re.findall(r"^## (.+)$", files["card.md"], re.M) == HEADINGS
    assert re.findall(r"<h2>(.+?)</h2>", files["card.html"]) == HEADINGS


def test_card_says_what_was_measured(values, files):
    accuracy = values["metrics"]["accuracy"]
    assert (f"| Accuracy | {accuracy['value']:.3f} | {accuracy['low']:.3f} to {accuracy['high']:.3f} | higher |" in files["card.md"])
    for said in ("class.csv", "d"*64, "rounds = 7", "a"*64, "f"*64, "0.1.0", "3 rows were refused", "CC BY 4.0",
                 "Not issued"):
        assert said in files["card.md"]


def test_what_the_pipeline_cannot_know_is_left_to_the_deployer(files):
    assert files["card.md"].count(FILL) >= 8


def test_same_values_give_the_same_card_without_a_date(values, files):
    assert card_files(example()) == files
    assert not re.search(r"\b20[2-9]\d-\d\d-\d\d\b", files["card.md"])


def test_tables_are_whole(files):
    lines = files["card.md"].splitlines()
    tables = [line for line in lines if line.startswith("|")]
    assert len(tables) > 30
    for before, line in zip(lines, lines[1:], strict=False):
        if before.startswith("|") and line.startswith("|"):
            assert len(re.findall(r"(?<!\\)\|", before)) == len(re.findall(r"(?<!\\)\|", line))
    assert files["card.html"].count("<table>") == sum(line.startswith("|---") for line in lines)


def test_page_needs_no_network_and_runs_no_script(files):
    assert not re.search(r"<script|src=|https?://(?!doi)|@import|url\(", files["card.html"])


@pytest.mark.parametrize("place", ["source", "note", "title", "param", "group", "grade", "label"])
def test_text_from_data_stays_text(place, values):
    nasty = dict(values)
    if place == "source": nasty["about"] = {**values["about"], "source": NASTY}
    if place == "note": nasty["about"] = {**values["about"], "notes": [NASTY]}
    if place == "title": nasty["about"] = {**values["about"], "title": NASTY}
    if place == "param": nasty["manifest"] = {**values["manifest"], "params": {"x": NASTY}}
    if place == "group":
        nasty["fairness"] = values["fairness"]._replace(table=values["fairness"].table.replace("Male", NASTY))
    if place == "grade":
        nasty["metrics"] = {**values["metrics"], "per_grade": {NASTY: values["metrics"]["per_grade"]["A"]}}
    if place == "label":
        columns = [column.model_copy(update={"label": NASTY}) for column in values["schema"].columns]
        nasty["schema"] = values["schema"].model_copy(update={"columns": columns})
    page = card_files(nasty)["card.html"]
    main = page.split("<main>")[1]
    assert "alert(1)" in main and "<script" not in page
    assert ("href" not in main and "<code>code" not in main and "<strong>bold" not in main and "<b>" not in main
            and "<h1>heading" not in main)
    assert re.findall(r"<h2>(.+?)</h2>", page) == HEADINGS


def test_escaped_text_is_one_line_that_shows_the_same_characters():
    import mistune
    shown = mistune.create_markdown(escape=True)(escape_markdown(NASTY))
    assert (shown.strip()
            == "<p>&lt;script&gt;alert(1)&lt;/script&gt; [x](javascript:alert(1)) `code` | **bold** &amp;lt;b&amp;gt; "
               "# heading</p>")


def test_small_groups_and_rare_grades_show_no_figures():
    few = example(n=40)
    text = render_markdown_card(model_card(few))
    assert "fewer than 10" in text
    for row in model_card(few)["groups"]["rows"]:
        if row[2] == "fewer than 10": assert set(row[2:]) == {"fewer than 10"}
    assert grade_rows({"per_grade": {"A": {"support": 9, "precision": 1.0, "recall": 1.0,
                                           "f1": 1.0}}})[0][1:] == ["fewer than 10", "–", "–", "–"]


def test_bins_with_few_students_are_not_shown():
    rows = reliability_rows(reliability([0]*12 + [1]*3, [[0.95, 0.05]]*12 + [[0.25, 0.75]]*3))
    assert [row[1] for row in rows] == ["fewer than 10", 12] and rows[0][2] == "–"


def test_card_of_another_schema_says_nothing_of_this_one():
    text = card_files(example("higher_ed", 80))["card.md"]
    assert "Absences" not in text and "AA, BA, BB, CB, CC, DC, DD, Fail" in text
    assert "tested on 80 students" in text


def test_protected_attributes_in_the_model_are_named_as_a_risk(values):
    seen = {**values, "manifest": {**values["manifest"], "audit": True}}
    text = card_files(seen)["card.md"]
    assert "**the model sees them**" in text and "- It sees protected attributes: whether that is lawful" in text


def test_card_without_groups_and_threshold_says_so(values):
    text = card_files({name: values[name] for name in NEEDED})["card.md"]
    assert "Groups were not compared." in text and "Whether it serves all groups alike has not been shown." in text


def test_drafted_schema_and_sample_are_admitted(values):
    columns = [column.model_copy(update={"confirm": "guessed"}) if column.name == "Music" else column
               for column in values["schema"].columns]
    drafted = {**values, "schema": values["schema"].model_copy(update={"columns": columns}),
               "about": {**values["about"], "source": "students_sample.csv"}}
    text = card_files(drafted)["card.md"]
    assert "Nobody has confirmed what a program guessed about Music" in text and "**These are not real students.**" in text


def test_metrics_read_back_from_json_make_the_same_card(values, files):
    assert card_files({**values, "metrics": json.loads(json.dumps(values["metrics"]))}) == files


@pytest.mark.parametrize("name", NEEDED)
def test_missing_part_is_named(name, values):
    with pytest.raises(GradeclassError, match=f"a card needs {name}"):
        model_card({key: value for key, value in values.items() if key != name})



def test_cautions_name_the_scale_first_then_leaks_then_grades_without_a_test(values):
    schema = values["schema"]
    scale = schema.grades.model_copy(update={"confirm": "guessed that A is the best grade"})
    columns = [column.model_copy(update={"confirm": "guessed"}) if column.name == "Music" else column
               for column in schema.columns]
    drafted = schema.model_copy(update={"grades": scale, "columns": columns})
    metrics = {"per_grade": {"A": {"support": 9}, "F": {"support": 0}}}
    found = list_cautions(drafted, {"suspects": ["Decision"]}, metrics)
    assert [text.split()[0] for text in found] == ["Nobody", "Decision", "Not", "Nobody"]
    assert "guessed that A is the best grade" in found[0] and found[2].endswith("the grade: F.") and "Music" in found[3]
    assert list_cautions(schema, {}, {"per_grade": {"A": {"support": 9}}}) == []

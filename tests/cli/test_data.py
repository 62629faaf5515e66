"`gradeclass data` and `gradeclass schema`"
import json

import numpy as np
import pandas as pd
import pytest

from gradeclass.data.sources import read_table
from gradeclass.data.synthetic import sample_path
from gradeclass.schema import load_schema, parse_schema, schema_names


@pytest.mark.parametrize("name", schema_names())
def test_shown_schema_reads_back_as_itself(name, ask):
    code, printed, said = ask("schema", "show", name)
    assert (code, said) == (0, "")
    assert parse_schema(printed) == load_schema(name)


def test_drafted_schema_is_printed_alone_and_reads_back(ask):
    code, printed, said = ask("schema", "infer", sample_path("students"), "--target", "gradeclass")
    assert (code, said) == (0, "")
    assert parse_schema(printed).target == "GradeClass"


def test_synthetic_table_is_the_same_for_the_same_seed_and_valid(ask, place):
    for name, seed in (("a.csv", 5), ("b.csv", 5), ("c.csv", 6)):
        code, printed, _ = ask("data", "synthesise", "-o", name, "-n", 50, "--seed", seed)
        assert (code, printed) == (0, f"{name}\n")
    assert (place/"a.csv").read_bytes() == (place/"b.csv").read_bytes() != (place/"c.csv").read_bytes()
    assert ask("data", "validate", "a.csv")[0] == 0


def test_validate_ends_with_1_for_an_error_and_lists_each_cell(ask, place):
    table = pd.read_csv(sample_path("students"), dtype=str).head(40)
    table.loc[[2, 9], "Absences"] = ["99", "-1"]
    table.to_csv("class.csv", index=False)
    code, printed, _ = ask("data", "validate", "class.csv", "-o", "findings.csv")
    assert code == 1 and "38 accepted, 2 refused" in printed
    found = read_table("findings.csv")[0]
    assert found[found.check == "out of range"][["row", "value"]].astype(float).to_numpy().tolist() == [
        [4, 99], [11, -1]]


def test_validate_prints_json_alone_and_ends_with_0_for_warnings(ask):
    pd.read_csv(sample_path("students"), dtype=str).head(40).assign(Shoe="42").to_csv("class.csv", index=False)
    code, printed, said = ask("data", "validate", "class.csv", "--json")
    assert (code, said) == (0, "")
    assert {"extra column"} <= {found["check"] for found in json.loads(printed)}
    assert {found["severity"] for found in json.loads(printed)} == {"warning"}


def test_check_shows_the_table_and_writes_answers_as_a_schema(ask, place):
    rows = [f"S{1000 + place};{40 + place},5;{'123456'[place % 6]}" for place in range(60)]
    (place/"marks.csv").write_text("\n".join(["Pupil no;Quiz;Note", *rows]), encoding="utf-8")
    code, printed, said = ask("check", "marks.csv", "--yes", "-o", "marks.yaml")
    assert code == 0 and "question 1: Note: is 1 the best grade" in printed and "say --best" in said
    code, _, said = ask("run", "--data", "marks.csv", "--schema", "marks.yaml")
    assert code == 1 and "is 1 the best grade" in said and not (place/"outputs").exists()
    code, printed, said = ask("check", "marks.csv", "--best", "1", "--yes", "-o", "marks.yaml")
    assert code == 0 and "40.5" in printed and "grades 1, 2, 3, 4, 5, 6 (best first)" in printed and "say --best" not in said


def test_person_at_the_terminal_chooses_among_the_answers(monkeypatch):
    from gradeclass.cli.data import ask_guess
    from gradeclass.drafting.questions import Question
    guess = '12 cells say 99, far from all others: `missing: ["99"]` and `max: 30` if 99 means no answer'
    question, shown = Question("Absences", guess, "numeric", False, False), []
    def answer(place):
        monkeypatch.setattr("typer.prompt", lambda text, *more, **options: shown.append(text) or place)
        return ask_guess(question)
    assert answer(0) == [] and "2 99 means no answer" in shown[0] and "`" not in shown[0]
    assert answer(2)[0][1].lines == {"missing": ["99"], "max": 30}


def test_a_wide_table_is_asked_about_forty_times_at_most(ask, place):
    rng = np.random.default_rng(0)
    words = {f"t{number}": rng.choice(["red", "green", "blue"], 60) for number in range(50)}
    pd.DataFrame({"Student": range(1000, 1060), **words, "Grade": rng.choice(list("ABC"), 60)}).to_csv("wide.csv", index=False)
    code, printed, _ = ask("check", "wide.csv", "--target", "Grade", "-o", "wide.yaml")
    asked = sum(line.startswith("question") for line in printed.splitlines())
    assert (code, asked) == (0, 40) and "more questions: the schema that -o writes" in printed
    assert (place/"wide.yaml").read_text().count("confirm:") > 50

"The commands for visitors' tokens and for what is kept of students"
import json
import re

import pandas as pd
import pytest
from typer.testing import CliRunner

from gradeclass.cli.main import app
from gradeclass.config import GradeclassError
from gradeclass.service.followups.records import FollowUp, open_follow_ups
from gradeclass.service.followups.visitors import find_visitor


@pytest.fixture
def run(tmp_path, monkeypatch):
    "Call a command in an empty outputs folder; what it prints"
    monkeypatch.setenv("GRADECLASS_OUTPUTS", str(tmp_path/"outputs"))
    def call(*words):
        done = CliRunner().invoke(app, [str(word) for word in words])
        if done.exception and not isinstance(done.exception, SystemExit): raise done.exception
        return done.output.strip()
    return call


def test_student_is_shown_and_erased_and_grades_come_from_a_table(run, tmp_path):
    adler = find_visitor(run("visitor", "make", "Ms Adler"))
    store = open_follow_ups()
    store.save(adler, 1001, FollowUp(note="call the parents"), ["A"])
    table = tmp_path/"end.csv"
    pd.DataFrame({"StudentID": [1001, 1002, None, 1003], "GradeClass": ["A", "F", "B", "Z"]}).to_csv(table, index=False)
    said = run("followups", "outcomes", table, "--schema", "students")
    assert said == "2 grades added, 2 rows left out: without a number or without a grade of the scale"
    kept = json.loads(run("followups", "show", "1001"))
    assert kept["follow_ups"][0]["note"] == "call the parents" and kept["outcomes"][0]["grade"] == "A"
    assert run("followups", "erase", "1001") == "2 rows deleted"
    assert not any(json.loads(run("followups", "show", "1001")).values())
    assert run("followups", "purge") == "0 rows deleted"
    store.engine.dispose()


@pytest.mark.parametrize("header, said", [("GradeClass", "has no column StudentID"),
                                          ("StudentID", "has no column GradeClass")])
def test_table_without_number_or_grade_gets_one_sentence(run, tmp_path, header, said):
    (tmp_path/"end.csv").write_text(f"{header},Absences\n1,2\n")
    with pytest.raises(GradeclassError, match=said):
        run("followups", "outcomes", tmp_path/"end.csv", "--schema", "students")


def test_wrong_role_and_blank_number_get_one_sentence(run):
    with pytest.raises(GradeclassError, match="no role boss: use one of viewer, adviser, manager"):
        run("visitor", "make", "Ms Adler", "--role", "boss")
    with pytest.raises(GradeclassError, match="a student number that is not blank"): run("followups", "erase", " ")
    with pytest.raises(GradeclassError, match="nobody is not in visitors.json"): run("visitor", "remove", "nobody")
    assert "make one with `gradeclass visitor make NAME`" in run("visitor", "list")
    run("visitor", "make", "Ms Adler")
    assert re.search(r"Ms Adler +adviser", run("visitor", "list"))

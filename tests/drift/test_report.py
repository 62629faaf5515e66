"The drift figure, Evidently's page beside the verdict, and the files of both"
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from drift_helpers import NOW, SCHEMA, STUDENTS, THEN, evidently_values, row, verdict

from gradeclass.drift import report
from gradeclass.drift.compare import find_drift
from gradeclass.drift.profile import Profile, take_profile
from gradeclass.drift.report import run_evidently, save_drift


@pytest.mark.slow
def test_effects_are_those_of_evidentlys_named_methods():
    shifted = NOW.assign(Absences=1.3*NOW.Absences, Music=NOW.Music.mask(np.arange(400) % 3 == 0), Gender="Female",
                         StudyTimeWeekly=60*NOW.StudyTimeWeekly)
    found = verdict(THEN, shifted.assign(Gender=pd.Categorical(shifted.Gender, NOW.Gender.cat.categories)))
    theirs = evidently_values(run_evidently(found))
    assert set(theirs) == set(found.table.name)
    for name, value in theirs.items(): assert value == pytest.approx(row(found, name).effect, rel=1e-9, abs=1e-9)


@pytest.mark.slow
def test_effects_against_a_profile_are_those_of_evidently_too():
    reference = Profile.from_dict(take_profile(THEN, SCHEMA).as_dict())
    found = find_drift(reference, take_profile(NOW, SCHEMA), SCHEMA)
    for name, value in evidently_values(run_evidently(found)).items():
        assert value == pytest.approx(row(found, name).effect, rel=1e-9, abs=1e-9)


@pytest.mark.slow
def test_a_table_in_which_nothing_is_known_still_gets_its_pages(tmp_path):
    found = verdict(THEN, pd.DataFrame({"Absences": [np.nan]*100}))
    assert found.verdict["verdict"] == "drift"
    save_drift(found, tmp_path)
    assert (tmp_path/"evidently.html").is_file()


@pytest.mark.slow
def test_the_page_fetches_nothing(tmp_path):
    save_drift(verdict(THEN, NOW), tmp_path)
    page = (tmp_path/"evidently.html").read_text(encoding="utf-8")
    tags = re.findall(r"<(?:script|link|img|iframe|source|object|embed)\b[^>]*", page)
    assert tags and not [tag for tag in tags if re.search(r"(src|href)\s*=", tag)]
    assert not re.search(r"@import\s+(url\(|['\"]\s*http)|url\(\s*['\"]?(https?:)?//|importScripts|sendBeacon\(", page)


@pytest.mark.slow
@pytest.mark.parametrize("now, told",
                         [(NOW.assign(Absences=30.0), 1), (STUDENTS.tail(60), 0),
                          (STUDENTS.tail(40).assign(Absences=30.0), 0)])
def test_the_page_calls_drifted_what_the_verdict_does(now, told, tmp_path):
    found = verdict(THEN, now)
    save_drift(found, tmp_path)
    page = (tmp_path/"evidently.html").read_text(encoding="utf-8")
    assert (found.table.effect > found.table.threshold).sum() > told or told
    assert page.count("Data drift detected.") == told and page.count("Data drift not detected.") == 14 - told


@pytest.mark.slow
def test_the_verdict_says_everything_that_a_scheduler_needs(tmp_path):
    save_drift(verdict(THEN, NOW.assign(Absences=30.0), on_drift="retrain"), tmp_path)
    said = json.loads((tmp_path/"drift.json").read_text(encoding="utf-8"))
    assert (said["verdict"], said["action"], said["rows"]) == ("drift", "retrain", {"reference": 600, "current": 400})
    assert len(said["reference"]["digest"]) == len(said["current"]["digest"]) == 64 and said["time"].endswith("+00:00")
    wanted = {"name", "kind", "test", "effect", "threshold", "p_value", "p_adjusted", "missing_before",
              "missing_after", "flagged", "sentence"}
    assert all(wanted <= set(column) for column in said["columns"]) and len(said["columns"]) == 14


def test_no_other_module_imports_evidently():
    package = Path(report.__file__).parents[1]
    using = [path.stem for path in sorted(package.rglob("*.py"))
             if re.search(r"^\s*(from|import) evidently", path.read_text(encoding="utf-8"), re.M)]
    assert using == ["history", "report"]


@pytest.mark.process
@pytest.mark.slow
def test_telemetry_is_switched_off_before_evidently_is_imported():
    code = ("import os; os.environ.pop('DO_NOT_TRACK', None)\nfrom gradeclass.data.sources import load\nfrom "
            "gradeclass.data.synthetic import sample_path\n"
            "from gradeclass.drift.compare import find_drift; from gradeclass.drift.profile import take_profile; from "
            "gradeclass.drift.report import run_evidently\ndata = load(sample_path('students'), 'students')\n"
            "one = take_profile(data.frame, data.schema)\nrun_evidently(find_drift(one, one, "
            "data.schema))\nprint(os.environ['DO_NOT_TRACK'])")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "1", done.stderr

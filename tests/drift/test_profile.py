"The profile of a table: it points at nobody, is plain JSON, and holds what a model says"
import json
import re

import numpy as np
import pytest
from drift_helpers import NOW, SCHEMA, THEN

from gradeclass.data.dataset import clean
from gradeclass.data.sources import load
from gradeclass.data.synthetic import sample_path
from gradeclass.drift.check import load_profile
from gradeclass.drift.compare import Limits, find_drift
from gradeclass.drift.profile import Profile, take_profile


def test_a_profile_points_at_nobody():
    frame = THEN.assign(StudyTimeWeekly=THEN.StudyTimeWeekly.clip(upper=19).where(np.arange(600) > 0, 19.7))
    frame.loc[frame.index[:3], "Sports"] = None
    profile = take_profile(frame, SCHEMA, np.full((600, 5), 0.2)).as_dict()
    assert profile["columns"]["Sports"]["missing"] == 5
    for name, column in profile["columns"].items():
        assert min(column["counts"]) >= 10, name
        assert sum(column["counts"]) + column["missing"] == pytest.approx(600, abs=2)
        assert column["example"] == ""
    assert max(profile["columns"]["StudyTimeWeekly"]["values"]) < 19.1
    assert not set(frame.StudentID.astype(str)) & set(re.findall(r'"(\w+)"', json.dumps(profile)))
    assert "frame" not in profile


def test_a_small_tables_profile_merges_its_rare_answers():
    data = load(sample_path("higher_ed"), "higher_ed")
    profile = take_profile(clean(data.frame, data.schema).head(40), data.schema).as_dict()
    assert all(min(column["counts"]) >= 10 for column in profile["columns"].values() if sum(column["counts"]) >= 10)
    assert find_drift(Profile.from_dict(profile), take_profile(data.frame, data.schema), data.schema,
                      limits=Limits(min_rows=20)).verdict["verdict"] == "none"


def test_a_profile_is_plain_json_and_comes_back_the_same():
    profile = take_profile(THEN, SCHEMA, np.full((600, 5), 0.2)).as_dict()
    back = json.loads(json.dumps(profile, allow_nan=False))
    assert back == profile and Profile.from_dict(back).as_dict() == {
        **profile, "columns": Profile.from_dict(back).as_dict()["columns"]}


def test_expected_score_is_the_sum_of_probability_times_score(bundle):
    probability = np.eye(5)[np.resize(np.arange(5), 400)]
    now = take_profile(NOW.drop(columns=["GPA"]), SCHEMA, probability)
    assert now.columns["expected_score"].values == [1.0, 2.25, 2.75, 3.25, 3.75]


@pytest.mark.slow
@pytest.mark.process
def test_the_bundle_of_a_run_holds_a_profile(finished_run):
    profile = load_profile(finished_run.bundle)
    assert {"predicted_grade", "expected_score", "GradeClass"} <= set(profile.columns)
    assert profile.performance["students"] == profile.rows and 0 < profile.performance["accuracy"]["value"] < 1

"Drift: named tests and their agreement with Evidently, profiles, logs, files, history and exit codes"
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sqlalchemy import create_engine

from gradeclass.drift import compare as drift_compare
from gradeclass.cli.main import main
from gradeclass.data.dataset import clean
from gradeclass.data.sources import load
from gradeclass.drift.check import check_drift, load_profile
from gradeclass.drift.compare import Drift, Limits, compare, find_drift
from gradeclass.config import GradeclassError
from gradeclass.processes import free_port
from gradeclass.drift.history import keep_drift, read_history, save_history, ui_command
from gradeclass.drift.log import read_log
from gradeclass.drift.profile import DriftError, Profile, make_profile, take_profile
from gradeclass.drift.report import evidently_values, plot_drift, run_evidently, save_drift
from gradeclass.models.bundle import bundle_digest, load_model, save_model
from gradeclass.models.grade_model import GradeModel
from gradeclass.data.synthetic import sample_path, to_codes

DATASET = load(sample_path("students"), "students")
SCHEMA, STUDENTS = DATASET.schema, clean(DATASET.frame, DATASET.schema)
THEN, NOW = STUDENTS.head(600), STUDENTS.tail(400)


def verdict(then, now, schema=SCHEMA, **options):
    return find_drift(take_profile(then, schema, name="then"), take_profile(now, schema, name="now"), schema, **options)


def row(found, name):
    return found.table.set_index("name").loc[name]


def rough(frame):
    "The same cells as a careless file has them"
    return to_codes(frame, SCHEMA).astype(object)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    model = GradeModel(SCHEMA, "xgboost", params={"rounds": 20, "patience": None}).fit(STUDENTS.tail(400))
    folder = tmp_path_factory.mktemp("drift")/"bundle"
    save_model(model, folder, {"reference.json": make_profile(THEN, SCHEMA, model.predict_proba(THEN))})
    return folder


@pytest.fixture
def outputs(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADECLASS_OUTPUTS", str(tmp_path/"out"))
    return tmp_path/"out"


def write_log(path, bundle, frame, outcomes=None, digest=None):
    "A prediction log as a service writes it"
    model, labels = load_model(bundle), SCHEMA.grades.labels
    inputs = to_codes(frame, SCHEMA)[[column.name for column in SCHEMA.inputs(True)]]
    said = model.predict_proba(frame)
    rows = [{"id": i + 1, "time": f"2026-03-01T08:00:{i/1000:09.6f}+00:00", "model": "students",
             "digest": digest or bundle_digest(bundle), "student": f"s{i}",
             "inputs": inputs.iloc[[i]].to_json(orient="records")[1:-1],
             "outputs": json.dumps({"grade": labels[p.argmax()], "grade_index": int(p.argmax()),
                                    "probabilities": dict(zip(labels, p.tolist(), strict=True))})}
            for i, p in enumerate(said)]
    engine = create_engine(f"sqlite:///{path}")
    pd.DataFrame(rows).to_sql("predictions", engine, index=False)
    if outcomes is not None: outcomes.to_sql("outcomes", engine, index=False)
    engine.dispose()
    return f"sqlite:///{path}"


# ---------------------------------------------------------------- the numbers

def test_effects_are_those_of_evidentlys_named_methods():
    shifted = NOW.assign(Absences=1.3*NOW.Absences, Music=NOW.Music.mask(np.arange(400) % 3 == 0), Gender="Female",
                         StudyTimeWeekly=60*NOW.StudyTimeWeekly)
    found = verdict(THEN, shifted.assign(Gender=pd.Categorical(shifted.Gender, NOW.Gender.cat.categories)))
    theirs = evidently_values(run_evidently(found))
    assert set(theirs) == set(found.table.name)
    for name, value in theirs.items(): assert value == pytest.approx(row(found, name).effect, rel=1e-9, abs=1e-9)


def test_effects_against_a_profile_are_those_of_evidently_too():
    reference = Profile.from_dict(make_profile(THEN, SCHEMA))
    found = find_drift(reference, take_profile(NOW, SCHEMA), SCHEMA)
    for name, value in evidently_values(run_evidently(found)).items():
        assert value == pytest.approx(row(found, name).effect, rel=1e-9, abs=1e-9)


def test_p_values_are_those_of_scipy():
    found = verdict(THEN, NOW)
    assert row(found,
               "Absences").p_value == pytest.approx(stats.ks_2samp(THEN.Absences, NOW.Absences, method="asymp").pvalue,
                                                    rel=1e-9)
    counts = [frame.Tutoring.value_counts(sort=False) for frame in (THEN, NOW)]
    assert row(found, "Tutoring").p_value == pytest.approx(stats.chi2_contingency(counts, correction=False).pvalue,
                                                           rel=1e-9)


def test_a_profile_gives_nearly_the_numbers_of_the_table_itself():
    exact = verdict(THEN, NOW).table
    rough_ = compare(Profile.from_dict(make_profile(THEN, SCHEMA)), take_profile(NOW, SCHEMA), SCHEMA)
    assert np.abs(exact.effect - rough_.effect).max() < 0.01
    assert np.abs(np.log10(exact.p_value) - np.log10(rough_.p_value)).max() < 0.5


def test_both_effect_and_chance_have_to_be_passed():
    rng = np.random.default_rng(0)
    many = STUDENTS.iloc[rng.integers(len(STUDENTS), size=60_000)].reset_index(drop=True)
    slight = many.assign(Absences=(many.Absences + 0.5).clip(upper=30))
    surprising = row(verdict(many, slight), "Absences")
    assert surprising.p_adjusted < 1e-9 and surprising.effect < surprising.threshold and not surprising.flagged
    by_chance = verdict(THEN.head(60), STUDENTS.sample(60, random_state=1)).table
    assert (by_chance.effect > by_chance.threshold).any() and not by_chance.flagged.any()


def test_holm_counts_every_test():
    found = verdict(THEN, NOW).table
    tests = found[["p_value", "missing_p", "invalid_p"]].stack()
    smallest = tests.idxmin()
    assert smallest[1] == "p_value"
    assert found.p_adjusted[smallest[0]] == pytest.approx(min(1, tests.min()*len(tests)))


# ---------------------------------------------------------------- verdicts

def test_a_table_has_not_drifted_from_itself():
    found = verdict(STUDENTS, STUDENTS)
    assert found.verdict["verdict"] == "none" and found.verdict["action"] == "none"
    assert found.table.effect.max() == 0 and found.sentence.startswith("No drift: none of 14 columns")


@pytest.mark.parametrize("sizes", [(49, 400), (600, 49), (600, 0)])
def test_too_few_students_tell_nothing(sizes, tmp_path):
    found = verdict(STUDENTS.head(sizes[0]), STUDENTS.tail(sizes[1]).assign(Absences=30.0), on_drift="fail")
    assert (found.verdict["verdict"] == "too_few" and found.verdict["action"] == "none"
            and "Too few to tell" in found.sentence)
    found.raise_for_drift()
    save_drift(found, tmp_path)


def test_thirty_percent_more_absences_in_words():
    then = THEN.assign(Absences=np.resize([9.0, 20.0], 600))
    now = NOW.assign(Absences=np.resize([13.4, 24.4], 400))
    found = verdict(then, now)
    assert row(found, "Absences").sentence == "Absences rose by 30 %: mean 14.5 -> 18.9 days"
    assert found.sentence == "Absences rose by 30 %: mean 14.5 -> 18.9 days. (400 students against 600.)"


def test_an_answer_that_nobody_knows_is_flagged():
    now = rough(NOW)
    now.loc[now.index[::8], "Ethnicity"] = 7
    found = verdict(THEN, now)
    assert row(found, "Ethnicity").reasons == ["invalid"] and found.table.flagged.sum() == 1
    assert row(found,
               "Ethnicity").sentence == "Ethnicity: 12 % of the cells hold an answer that the schema does not know, such as 7"


def test_one_slip_of_the_pen_is_shown_and_not_flagged():
    now = rough(NOW)
    now.loc[now.index[3], "Ethnicity"] = 7
    found = row(verdict(THEN, now), "Ethnicity")
    assert not found.flagged and found.invalid_after == 1/400


def test_a_known_answer_that_is_new_is_flagged():
    then = THEN[THEN.Ethnicity != "Asian"]
    found = row(verdict(then, NOW), "Ethnicity")
    assert found.reasons == ["values"] and found.sentence.startswith("Ethnicity: Asian rose from 0 % to")


def test_minutes_for_hours_are_named():
    found = verdict(THEN, NOW.assign(StudyTimeWeekly=60*NOW.StudyTimeWeekly), on_drift="fail")
    assert row(found, "StudyTimeWeekly").reasons == ["values", "invalid"]
    with pytest.raises(DriftError, match="about 60 times as large as before: minutes for hours?"):
        found.raise_for_drift()


def test_values_out_of_range_are_flagged_though_few():
    now = NOW.assign(Absences=NOW.Absences.where(np.arange(400) % 20 > 0, 99.0))
    found = row(verdict(THEN, now), "Absences")
    assert ("invalid" in found.reasons and found.invalid_after == 0.05
            and "not in 0 to 30 days, such as 99.0" in found.sentence)


def test_words_and_infinities_in_a_number_column_are_invalid_and_not_missing():
    now = rough(NOW)
    now.loc[now.index[:40], "Absences"] = "often"
    now.loc[now.index[40:80], "Absences"] = np.inf
    found = row(verdict(THEN, now), "Absences")
    assert (found.missing_after, found.invalid_after) == (0.0, 0.2) and "invalid" in found.reasons
    endless = row(verdict(THEN, NOW.assign(Absences=np.inf)), "Absences")
    assert endless.invalid_after == 1.0 and endless.reasons == ["invalid"]


def test_an_empty_column_is_flagged_and_the_pages_are_written(tmp_path):
    now = NOW.assign(Sports=pd.Categorical([None]*400, NOW.Sports.cat.categories), Absences=np.nan)
    found = verdict(THEN, now)
    assert row(found, "Sports").reasons == ["missing"] and row(found,
                                                               "Absences").reasons == ["missing"] and np.isnan(row(found, "Absences").effect)
    save_drift(found, tmp_path)
    assert json.loads((tmp_path/"drift.json").read_text())["columns"][5]["effect"] is None
    assert "Sports: missing cells rose from 0 % to 100 %" in found.sentence


def test_a_table_in_which_nothing_is_known_still_gets_its_pages(tmp_path):
    found = verdict(THEN, pd.DataFrame({"Absences": [np.nan]*100}))
    assert found.verdict["verdict"] == "drift"
    save_drift(found, tmp_path)
    assert (tmp_path/"evidently.html").is_file()


def test_a_feature_that_is_gone_is_missing_and_grades_may_come_later():
    found = verdict(THEN, NOW.drop(columns=["Music", "GPA", "GradeClass", "Age"]))
    assert found.table.name[found.table.flagged].tolist() == ["Music"]
    assert not {"GPA", "GradeClass", "Age"} & set(found.table.name)


def test_grades_that_have_not_arrived_are_no_drift():
    found = verdict(THEN,
                    NOW.assign(GradeClass=pd.Categorical([None]*400, NOW.GradeClass.cat.categories, ordered=True),
                               GPA=np.nan))
    assert found.verdict["verdict"] == "none"


def test_a_constant_column_moves_or_does_not():
    still = verdict(THEN.assign(Absences=5.0), NOW.assign(Absences=5.0))
    assert row(still, "Absences").effect == 0 and not row(still, "Absences").flagged
    moved = verdict(THEN.assign(Absences=5.0), NOW.assign(Absences=6.0))
    assert row(moved, "Absences").flagged and row(moved,
                                                  "Absences").sentence == "Absences rose by 20 %: mean 5.00 -> 6.00 days"


def test_a_change_of_spread_alone_is_found_and_said():
    then = THEN.assign(Absences=np.resize([5.0, 25.0], 600))
    now = NOW.assign(Absences=np.resize([14.0, 16.0], 400))
    assert "spread otherwise" in row(verdict(then, now), "Absences").sentence


def test_another_kind_of_table_is_refused_in_one_sentence():
    other = load(sample_path("higher_ed"), "higher_ed")
    with pytest.raises(DriftError, match="^now holds no column of the schema students: it needs .*Absences"):
        verdict(THEN, other.frame[["NOTES"]])
    then = take_profile(THEN[["Absences"]], SCHEMA, name="then")
    with pytest.raises(DriftError, match="^now and then share no column of the schema students"):
        find_drift(then, take_profile(NOW[["Sports"]], SCHEMA, name="now"), SCHEMA)


def test_a_table_of_codes_alone():
    data = load(sample_path("higher_ed"), "higher_ed")
    frame = clean(data.frame, data.schema)
    half = len(frame)//2
    then, now = frame.head(half), frame.tail(len(frame) - half)
    assert verdict(then, now, data.schema).verdict["verdict"] == "none"
    now = now.assign(NOTES=pd.Categorical([now.NOTES.cat.categories[0]]*len(now), now.NOTES.cat.categories,
                                          ordered=now.NOTES.cat.ordered))
    found = verdict(then, now, data.schema)
    assert found.table.name[found.table.flagged].tolist() == ["NOTES"]
    figure = plot_drift(found)
    assert (len(figure.axes[0].get_yticklabels()) == len(found.table) > 30
            and "1 of" in figure.axes[0].get_title(loc="left"))


def test_the_order_of_the_rows_does_not_matter():
    one = verdict(THEN, NOW).table
    other = verdict(THEN.sample(frac=1, random_state=1), NOW.sample(frac=1, random_state=2)).table
    pd.testing.assert_frame_equal(one, other)


@pytest.mark.parametrize("action", ["warn", "fail", "retrain"])
def test_the_action_is_taken_on_drift_alone(action):
    assert verdict(THEN, NOW, on_drift=action).verdict["action"] == "none"
    drifted = verdict(THEN, NOW.assign(Absences=30.0), on_drift=action)
    assert drifted.verdict["action"] == action
    if action == "fail":
        with pytest.raises(DriftError, match="Absences rose"): drifted.raise_for_drift()
    else: drifted.raise_for_drift()


def test_mistaken_settings_are_refused():
    with pytest.raises(DriftError, match="on_drift is 'panic'; it needs one of warn, fail, retrain"):
        verdict(THEN, NOW, on_drift="panic")
    with pytest.raises(DriftError, match="limit alpha is 0; it needs a number above 0"): Limits(alpha=0)


# ---------------------------------------------------------------- the profile

def test_a_profile_points_at_nobody():
    frame = THEN.assign(StudyTimeWeekly=THEN.StudyTimeWeekly.clip(upper=19).where(np.arange(600) > 0, 19.7))
    frame.loc[frame.index[:3], "Sports"] = None
    profile = make_profile(frame, SCHEMA, np.full((600, 5), 0.2))
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
    profile = make_profile(clean(data.frame, data.schema).head(40), data.schema)
    assert all(min(column["counts"]) >= 10 for column in profile["columns"].values() if sum(column["counts"]) >= 10)
    assert find_drift(Profile.from_dict(profile), take_profile(data.frame, data.schema), data.schema,
                      limits=Limits(min_rows=20)).verdict["verdict"] == "none"


def test_a_profile_is_plain_json_and_comes_back_the_same():
    profile = make_profile(THEN, SCHEMA, np.full((600, 5), 0.2))
    back = json.loads(json.dumps(profile, allow_nan=False))
    assert back == profile and Profile.from_dict(back).as_dict() == {
        **profile, "columns": Profile.from_dict(back).as_dict()["columns"]}


def test_a_bundle_without_a_profile_gets_one_sentence(trained):
    with pytest.raises(DriftError,
                       match=r"holds no reference profile \(reference.json\): train the model again, or name a table "
                             r"with --reference"):
        load_profile(trained)


def test_predictions_drift_with_the_model(bundle):
    found = check_drift_of(bundle, NOW.assign(Absences=29.0))
    assert {"Absences", "predicted_grade", "expected_score"} <= set(found.table.name[found.table.flagged])
    assert row(found, "expected_score").sentence.startswith("Expected score fell: mean")


def check_drift_of(bundle, frame):
    from gradeclass.drift.check import profile_with
    return find_drift(load_profile(bundle), profile_with(load_model(bundle), frame, load_profile(bundle), "now"),
                      SCHEMA)


def test_unknown_answers_do_not_stop_the_model(bundle):
    now = rough(NOW)
    now["Tutoring"] = now.Tutoring.where(np.arange(400) % 4 > 0, 9)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "invalid" in row(check_drift_of(bundle, now), "Tutoring").reasons


def test_expected_score_is_the_sum_of_probability_times_score(bundle):
    probability = np.eye(5)[np.resize(np.arange(5), 400)]
    now = take_profile(NOW.drop(columns=["GPA"]), SCHEMA, probability)
    assert sorted(set(now.frame.expected_score)) == [1.0, 2.25, 2.75, 3.25, 3.75]


def test_the_bundle_of_a_run_holds_a_profile(finished_run):
    profile = load_profile(finished_run.bundle)
    assert {"predicted_grade", "expected_score", "GradeClass"} <= set(profile.columns)
    assert profile.performance["students"] == profile.rows and 0 < profile.performance["accuracy"]["value"] < 1


# ---------------------------------------------------------------- the prediction log

def test_a_log_is_read_with_the_outcomes_that_have_arrived(bundle, tmp_path):
    outcomes = pd.DataFrame({"id": [1, 2, 3, 4], "time": ["2026-06-01", "2026-06-02", "2026-06-03", "2026-06-04"],
                             "prediction_id": [1, 1, np.nan, np.nan],
                             "student": [None, None, "s7", "nobody"], "grade": ["F", "C", "A", "B"],
                             "score": [1.0, 2.6, 3.9, None]})
    url = write_log(tmp_path/"p.db", bundle, NOW, outcomes)
    frame, probability, announced = read_log(url, SCHEMA)
    assert frame.GradeClass.dropna().to_dict() == {0: "C", 7: "A"} and frame.GPA.dropna().to_dict() == {0: 2.6, 7: 3.9}
    np.testing.assert_allclose(probability, load_model(bundle).predict_proba(NOW), atol=1e-12)
    assert (announced == probability.argmax(axis=1)).all()
    assert not verdict(NOW.drop(columns=["GPA", "GradeClass"]), frame).table.effect.max()


def test_the_last_prediction_of_a_student_counts(bundle, tmp_path):
    url = write_log(tmp_path/"p.db", bundle, NOW.head(60))
    engine = create_engine(url)
    again = pd.read_sql_table("predictions", engine).head(5).assign(
        id=range(100, 105), time="2026-04-01T00:00:00+00:00", outputs=lambda t: t.outputs.iloc[0])
    nameless = again.assign(id=range(200, 205), student=None)
    pd.concat([again, nameless]).to_sql("predictions", engine, index=False, if_exists="append")
    engine.dispose()
    assert len(read_log(url, SCHEMA)[0]) == 65
    assert len(read_log(url, SCHEMA, since="2026-04-01")[0]) == 10


def test_performance_is_judged_where_grades_have_arrived(bundle, tmp_path):
    worst = pd.DataFrame({"id": range(1, 301), "time": "2026-06-01", "prediction_id": range(1, 301), "student": None,
                          "grade": "A", "score": None})
    url = write_log(tmp_path/"p.db", bundle, NOW, worst)
    found = check_drift(url, model=bundle)
    assert {"accuracy", "log_loss"} <= {line["metric"] for line in found.verdict["performance"] if line["flagged"]}
    assert found.verdict["performance"][0]["after"]["low"] <= found.verdict["performance"][0]["after"]["value"] < 0.2
    assert found.sentence.startswith("Accuracy of the predictions fell from 0.")
    few = write_log(tmp_path/"few.db", bundle, NOW, worst.head(40))
    assert check_drift(few, model=bundle).verdict["performance"] == []


def test_a_database_that_is_no_log_gets_one_sentence(bundle, tmp_path):
    engine = create_engine(f"sqlite:///{tmp_path}/p.db")
    pd.DataFrame({"a": [1]}).to_sql("pupils", engine, index=False)
    with pytest.raises(DriftError, match="has no table predictions: it is no prediction log"):
        read_log(f"sqlite:///{tmp_path}/p.db", SCHEMA)
    pd.DataFrame({"id": [1], "time": ["2026"]}).to_sql("predictions", engine, index=False)
    engine.dispose()
    with pytest.raises(DriftError, match="lacks the column digest"): read_log(f"sqlite:///{tmp_path}/p.db", SCHEMA)
    url = write_log(tmp_path/"q.db", bundle, NOW.head(9), digest="f"*64)
    with pytest.raises(DriftError, match="holds no prediction of this model"): check_drift(url, model=bundle)
    with pytest.raises(DriftError, match="is not a time such as"): read_log(url, SCHEMA, since="yesterday")


@pytest.mark.parametrize("column, text, words",
                         [("inputs", "{", "where JSON is needed"),
                          ("outputs", '{"grade": "Q"}', "are not of the grades A, B, C, D, F")])
def test_a_damaged_log_gets_one_sentence(bundle, tmp_path, column, text, words):
    url = write_log(tmp_path/"p.db", bundle, NOW.head(9))
    engine = create_engine(url)
    pd.read_sql_table("predictions", engine).assign(**{column: text}).to_sql(
        "predictions", engine, index=False, if_exists="replace")
    engine.dispose()
    with pytest.raises(DriftError, match=words): read_log(url, SCHEMA)


# ---------------------------------------------------------------- files

def test_the_page_fetches_nothing(tmp_path):
    save_drift(verdict(THEN, NOW), tmp_path)
    page = (tmp_path/"evidently.html").read_text(encoding="utf-8")
    tags = re.findall(r"<(?:script|link|img|iframe|source|object|embed)\b[^>]*", page)
    assert tags and not [tag for tag in tags if re.search(r"(src|href)\s*=", tag)]
    assert not re.search(r"@import\s+(url\(|['\"]\s*http)|url\(\s*['\"]?(https?:)?//|importScripts|sendBeacon\(", page)


@pytest.mark.parametrize("now, told",
                         [(NOW.assign(Absences=30.0), 1), (STUDENTS.tail(60), 0),
                          (STUDENTS.tail(40).assign(Absences=30.0), 0)])
def test_the_page_calls_drifted_what_the_verdict_does(now, told, tmp_path):
    found = verdict(THEN, now)
    save_drift(found, tmp_path)
    page = (tmp_path/"evidently.html").read_text(encoding="utf-8")
    assert (found.table.effect > found.table.threshold).sum() > told or told
    assert page.count("Data drift detected.") == told and page.count("Data drift not detected.") == 14 - told


def test_the_verdict_says_everything_that_a_scheduler_needs(tmp_path):
    save_drift(verdict(THEN, NOW.assign(Absences=30.0), on_drift="retrain"), tmp_path)
    said = json.loads((tmp_path/"drift.json").read_text(encoding="utf-8"))
    assert (said["verdict"], said["action"], said["rows"]) == ("drift", "retrain", {"reference": 600, "current": 400})
    assert len(said["reference"]["digest"]) == len(said["current"]["digest"]) == 64 and said["time"].endswith("+00:00")
    wanted = {"name", "kind", "test", "effect", "threshold", "p_value", "p_adjusted", "missing_before",
              "missing_after", "flagged", "sentence"}
    assert all(wanted <= set(column) for column in said["columns"]) and len(said["columns"]) == 14


def test_a_killed_process_leaves_a_whole_verdict_or_none(outputs):
    code = ("from gradeclass.data.dataset import clean; from gradeclass.data.sources import load\nfrom "
            "gradeclass.data.synthetic import sample_path\nfrom gradeclass.drift.compare import find_drift\nfrom "
            "gradeclass.drift.profile import take_profile\n"
            "from gradeclass.drift.history import keep_drift\nimport json, os\ndata = load(sample_path('students'), "
            "'students')\nframe = clean(data.frame, data.schema)\n"
            "found = find_drift(take_profile(frame.head(600), data.schema), take_profile(frame.tail(400), "
            "data.schema), data.schema)\n"
            "text = json.dumps\ndef slow(*words, **more):\n    if more.get('indent') == 1: print('writing', "
            "flush=True); os.kill(os.getpid(), 9)\n"
            "    return text(*words, **more)\njson.dumps = slow\nkeep_drift(found)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ)
    assert done.returncode == -signal.SIGKILL and "writing" in done.stdout, done.stderr
    assert not list(outputs.glob("drift/[!.]*/drift.json"))
    with pytest.raises(DriftError, match="no verdict is kept"): read_history()
    keep_drift(verdict(THEN, NOW))
    assert len(read_history()) == 1


def test_importing_the_module_does_not_import_evidently():
    code = ("import sys, gradeclass.drift.compare; sys.exit(any(name.split('.')[0] in ('evidently', 'mlflow', "
            "'seaborn', 'sqlalchemy') for name in sys.modules))")
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_no_other_module_imports_evidently():
    package = Path(drift_compare.__file__).parents[1]
    using = [path.stem for path in sorted(package.rglob("*.py"))
             if re.search(r"^\s*(from|import) evidently", path.read_text(encoding="utf-8"), re.M)]
    assert using == ["history", "report"]


def test_telemetry_is_switched_off_before_evidently_is_imported():
    code = ("import os; os.environ.pop('DO_NOT_TRACK', None)\nfrom gradeclass.data.sources import load\nfrom "
            "gradeclass.data.synthetic import sample_path\n"
            "from gradeclass.drift.compare import find_drift; from gradeclass.drift.profile import take_profile; from "
            "gradeclass.drift.report import run_evidently\ndata = load(sample_path('students'), 'students')\n"
            "one = take_profile(data.frame, data.schema)\nrun_evidently(find_drift(one, one, "
            "data.schema))\nprint(os.environ['DO_NOT_TRACK'])")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "1", done.stderr


# ---------------------------------------------------------------- history and Evidently's interface

def test_history_keeps_every_verdict_and_draws_it(outputs):
    for now in (NOW, NOW.assign(Absences=30.0), NOW.head(20)): keep_drift(verdict(THEN, now))
    history = save_history()
    assert sorted(history.verdict) == ["drift", "none", "too_few"]
    written = pd.read_csv(outputs/"drift"/"history.csv")
    assert written.flagged.sum() == history.flagged.sum() and (outputs/"drift"/"history.png").stat().st_size > 5000
    (outputs/"drift"/history.folder.iloc[0]/"drift.json").write_text("{")
    assert len(read_history()) == 2


def test_evidentlys_interface_serves_the_snapshots_to_this_computer_alone(outputs):
    with pytest.raises(DriftError, match="no snapshot is kept in"): ui_command()
    for now in (NOW, NOW.assign(Absences=30.0)): keep_drift(verdict(THEN, now))
    port = free_port()
    server = subprocess.Popen(ui_command(port=port), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                              env=os.environ)
    try:
        ask = lambda path: urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10).read()
        deadline = time.time() + 90
        while True:
            try:
                projects = json.loads(ask("/api/projects"))
                break
            except OSError:
                assert server.poll() is None and time.time() < deadline, "the interface did not start"
                time.sleep(0.3)
        assert [project["name"] for project in projects] == ["gradeclass drift: students"]
        snapshots = json.loads(ask(f"/api/projects/{projects[0]['id']}/reports"))
        assert sorted(tag for snapshot in snapshots for tag in snapshot["tags"]) == ["drift", "none"]
        assert b"<div id=\"root\">" in ask("/")
        import psutil
        assert {line.laddr.ip for line in psutil.Process(server.pid).net_connections()
                if line.status == "LISTEN"} == {"127.0.0.1"}
        with pytest.raises(GradeclassError, match=f"port {port} cannot be used"): free_port(port)
    finally:
        server.terminate()
        server.wait(20)


# ---------------------------------------------------------------- the command

@pytest.fixture
def gradeclass(monkeypatch, capsys):
    "Run the command: exit code, standard output, standard error"
    def run(*words):
        monkeypatch.setattr(sys, "argv", ["gradeclass", *map(str, words)])
        with pytest.raises(SystemExit) as ended: main()
        said = capsys.readouterr()
        return SimpleNamespace(returncode=ended.value.code or 0, stdout=said.out, stderr=said.err)
    return run


@pytest.fixture
def tables(tmp_path):
    rough(THEN).to_csv(tmp_path/"then.csv", index=False)
    rough(NOW).to_csv(tmp_path/"same.csv", index=False)
    rough(NOW.assign(Absences=30.0)).to_csv(tmp_path/"moved.csv", index=False)
    return tmp_path


@pytest.mark.parametrize("table, action, code",
                         [("same.csv", "fail", 0), ("moved.csv", "warn", 0), ("moved.csv", "fail", 1),
                          ("moved.csv", "retrain", 3)])
def test_exit_codes(gradeclass, tables, outputs, table, action, code):
    done = gradeclass("drift", tables/table, "--reference", tables/"then.csv", "--on-drift", action, "--json")
    assert done.returncode == code, done.stderr
    said = json.loads(done.stdout)
    assert said["verdict"] == ("none" if table == "same.csv" else "drift") and len(read_history()) == 1
    if code == 1: assert re.search(r"^gradeclass: drift: Absences rose by", done.stderr, re.M)


def test_the_command_with_a_bundle_a_copy_and_the_history(gradeclass, bundle, tables, outputs):
    done = gradeclass("drift", tables/"moved.csv", "--model", bundle, "-o", tables/"copy")
    assert done.returncode == 0 and "Absences rose by" in done.stdout, done.stderr
    assert {path.name for path in (tables/"copy").iterdir()} == {"drift.json", "evidently.html", "figures"}
    again = gradeclass("drift", tables/"moved.csv", "--model", bundle, "-o", tables/"copy")
    assert again.returncode == 1 and "exists already: choose a new folder" in again.stderr
    history = gradeclass("drift", "--history")
    assert history.returncode == 0 and "drift" in history.stdout and (outputs/"drift"/"history.png").is_file(), history.stderr


def test_mistakes_of_the_command_get_one_sentence(gradeclass, bundle, tables, outputs):
    for words, sentence in ((["drift"], "name the students to look at"),
                            (["drift", tables/"same.csv"], "there is no model yet"),
                            (["drift", "--history"], "no verdict is kept"), (["drift", "--ui"], "no snapshot is kept"),
                            (["drift", tables/"same.csv", "--model", bundle, "--reference", tables/"then.csv"],
                             "give --reference or --model, not both"),
                            (["drift", tables/"same.csv", "--model", bundle, "--on-drift", "panic"],
                             "it needs one of warn, fail, retrain")):
        done = gradeclass(*words)
        assert done.returncode == 1 and sentence in done.stderr and len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert not list(outputs.glob("drift/*/drift.json"))


# ---------------------------------------------------------------- the stage

def test_the_stage_fails_with_the_sentence_where_that_is_asked_for(tmp_path):
    from gradeclass.config import stage_notebooks
    from gradeclass.pipeline.stages import StageError
    from gradeclass.pipeline.worker import Job, execute_job
    from gradeclass.pipeline.steps import save_prepared
    from gradeclass.data.dataset import make_dataset
    from gradeclass.data.split import Split
    from gradeclass.data.validation import validate
    dataset = make_dataset(rough(STUDENTS), "students")
    (tmp_path/"prepared").mkdir()
    save_prepared(tmp_path/"prepared", dataset, validate(dataset), Split(THEN, NOW.assign(Absences=30.0), NOW))
    outputs = ["drift.json", "evidently.html", "figures/drift.png"]
    notebook, prepared = str(stage_notebooks()/"20_drift.ipynb"), str(tmp_path/"prepared")
    job = lambda name, action: Job("drift", name, notebook, str(tmp_path/name), str(tmp_path/f"{name}.ipynb"),
                                   os.getcwd(), outputs,
                                   {"on_drift": action, "prepare_folder": prepared})
    execute_job(job("warned", "warn"), lambda done, cells: None)
    assert json.loads((tmp_path/"warned"/"drift.json").read_text())["action"] == "warn"
    with pytest.raises(StageError, match="Absences rose by"):
        execute_job(job("failed", "fail"), lambda done, cells: None)
    assert not (tmp_path/"failed").exists() and "Absences rose by" in (tmp_path/"failed.ipynb").read_text()


def test_a_drift_knows_its_sentence():
    assert isinstance(found := verdict(THEN, NOW), Drift) and found.sentence == found.verdict["sentence"]

"The benchmark of quality: its bars, its rivals and its command, on the built-in sample"
import json
import sys
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[2]/"benchmarks"
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(),
                                reason="needs the checkout: the benchmarks are not beside the tests")
if FOLDER.is_dir(): sys.path.insert(0, str(FOLDER))


@pytest.fixture(scope="module")
def quality():
    import quality
    return quality


@pytest.fixture(scope="module")
def students():
    "Schema and 200 students of the sample"
    from gradeclass.data.dataset import clean
    from gradeclass.data.sources import load
    from gradeclass.data.synthetic import sample_path
    dataset = load(sample_path("students"), "students")
    return dataset.schema, clean(dataset.frame, dataset.schema).head(200)


@pytest.fixture(scope="module")
def measured(quality, students):
    "A quick row of trees beside the shares of the grades, with figures"
    from gradeclass.models.grade_model import GradeModel
    schema, frame = students
    rows = [quality.Row("xgboost", "trees", GradeModel(schema, "xgboost", params={"rounds": 40, "patience": None}),
                        frame, 2, True),
            quality.Row("majority", "shares", GradeModel(schema, "majority"), frame, 1),
            quality.Row("absent", "needs what is not there", None, frame, 1, lacks="it is not installed")]
    quality.run_rows(rows, "students", jobs=1, progress=False)
    return rows, quality.measure_rows(rows, "students", jobs=1)


def test_bar_is_passed_at_its_limit_and_failed_beyond_it(quality):
    high = quality.Bar("ordinal", "cv", "accuracy", "mode", 0.77)
    low = quality.Bar("ordinal", "cv", "log_loss", "mode", 0.66)
    assert [high.passed(value) for value in (0.769, 0.77, 0.8)] == [False, True, True]
    assert [low.passed(value) for value in (0.661, 0.66, 0.5)] == [False, True, True]


def test_bar_line_says_pass_fail_or_not_measured(quality):
    bar = quality.Bar("ordinal", "cv", "accuracy", "mode", 0.77)
    assert quality.bar_line("students", bar, 0.773, 0.756,
                            0.79).startswith("- PASS") and "≥ 0.77: 0.773 [0.756, 0.790]" in \
        quality.bar_line("students", bar, 0.773, 0.756, 0.79)
    assert quality.bar_line("students", bar, 0.75, 0.7, 0.8).startswith("- FAIL")
    assert quality.bar_line("students", bar, None, None, None).startswith("- not measured")


def test_every_bar_belongs_to_a_row_and_to_a_figure_that_is_measured(quality, students):
    for name, bars in quality.BARS.items():
        assert {(bar.metric, bar.rule) for bar in bars} <= set(quality.SHOWN[name])
    assert {bar.row for bar in quality.BARS["students"]} <= {row.name
                                                             for row in quality.students_rows(*students, quick=True)}


def test_every_student_is_predicted_once_in_each_deal(measured):
    trees = measured[0][0]
    assert trees.said.shape == (2, 200, 5) and np.allclose(trees.said.sum(axis=2), 1)
    assert len(trees.seconds) == 2*4 + 1


def test_seed_split_tests_on_rows_that_are_not_trained_on(quality, students):
    schema, frame = students
    train, test = quality.split_positions(frame, schema)
    assert not set(train) & set(test) and len(train) + len(test) == len(frame)


def test_gap_compares_the_same_deals_and_is_zero_for_the_same_model(quality, measured):
    rows, figures = measured
    same = quality.as_comparison(rows[0], rows[0].said)
    assert quality.measure(same, [("accuracy", "mode")], same)[("accuracy", "mode")] == (0, 0, 0)
    own, other = (figures[name]["cv"][("macro_f1", "mode")][0] for name in ("xgboost", "majority"))
    value, low, high = figures["majority"]["gap"][("macro_f1", "mode")]
    assert low < value < high < 0 and abs(value - (other - own)) < 0.1
    assert "gap" not in figures["xgboost"]


def test_a_row_that_cannot_run_is_named_with_its_reason(quality, measured):
    text = quality.report("students", *measured)
    assert "needs what is not there: left out, it is not installed." in text and "absent" not in measured[1]


def test_score_if_exact_of_sure_probabilities_is_perfect_and_of_even_ones_is_chance(quality, students):
    scale = students[0].grades
    assert quality.if_exact(np.eye(5)[np.arange(50) % 5], scale, draws=5)["accuracy"] == (1, 1, 1)
    even = quality.if_exact(np.full((400, 5), 0.2), scale, draws=20)
    assert even["accuracy"][0] == pytest.approx(0.2, abs=0.03) and even["log_loss"][0] == pytest.approx(np.log(5))


def test_ignored_column_changes_nothing_for_the_model_without_it(quality, students):
    from gradeclass.models.grade_model import GradeModel
    schema, frame = students
    model = GradeModel(quality.ignore_column(schema, "Absences"), "xgboost",
                       params={"rounds": 3, "patience": None}).fit(frame)
    assert np.array_equal(model.predict_proba(frame), model.predict_proba(frame.assign(Absences=0.0)))


@pytest.mark.parametrize("make", ["grid", "blend"])
def test_rival_learns_from_the_rows_and_does_not_see_the_score(students, make, monkeypatch):
    import rivals
    schema, frame = students
    monkeypatch.setitem(rivals.PRESETS, "tiny", {"rounds": (2, 5), "params.max_depth": (2, 3)})
    model = {"grid": rivals.GridSearch(schema, "tiny"), "blend": rivals.Blend(schema)}[make].fit(frame)
    said = model.predict_proba(frame)
    assert said.shape == (200, 5) and np.allclose(said.sum(axis=1), 1)
    assert (model.classes_[said.argmax(axis=1)] == frame[schema.target].to_numpy()).mean() > 0.6
    assert np.array_equal(said, model.predict_proba(frame.drop(columns=[schema.score, schema.target])))


@pytest.mark.filterwarnings("ignore:The least populated class")
def test_grid_search_chooses_the_point_that_a_plain_search_chooses(students, monkeypatch):
    import rivals
    from sklearn.model_selection import GridSearchCV
    from xgboost import XGBClassifier

    from gradeclass.models.features import grade_index
    schema, frame = students
    monkeypatch.setitem(rivals.PRESETS, "tiny", {"rounds": (2, 12), "params.max_depth": (1, 3)})
    ours = rivals.GridSearch(schema, "tiny").fit(frame)
    plain = GridSearchCV(XGBClassifier(n_jobs=1, random_state=ours.seed),
                         {"n_estimators": [2, 12], "max_depth": [1, 3]}, scoring="accuracy", cv=3)
    plain.fit(ours.matrix(frame), grade_index(frame, schema))
    assert plain.best_score_ == pytest.approx(ours.score_)
    assert plain.best_params_ == {"n_estimators": ours.rounds_, **ours.point_}


def test_ordinal_logistic_has_right_slopes_and_survives_an_absent_grade():
    import rivals
    from scipy.optimize import check_grad
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 3))
    y = np.digitize(X[:, 0] + 0.5*rng.normal(size=80), [-1, 0.5])*2  # Grades 0, 2 and 4
    model = rivals.OrdinalLogistic(1.0).fit(X, y)
    args = model.scaler_.transform(X), y//2
    assert check_grad(lambda t: model._loss(t, *args)[0], lambda t: model._loss(t, *args)[1], model.theta_ + 0.3) < 1e-3
    assert (model.classes_[model.predict_proba(X).argmax(axis=1)] == y).mean() > 0.7


def test_resampling_ahead_of_the_split_evens_out_grades_even_with_a_lone_row():
    import rivals
    X, y = rivals.resample(np.random.default_rng(0).normal(size=(30, 2)), np.repeat([0, 1, 2], [20, 9, 1]))
    assert np.bincount(y).tolist() == [20, 20, 20]


def test_missing_table_ends_in_one_sentence_and_1(quality, tmp_path, capsys):
    assert quality.main(["students", "--data", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "students_performance.csv is not in" in said and "data fetch students" in said


def test_unknown_row_is_refused_with_the_known_ones(quality, students):
    tables = {"students": quality.students_rows(*students, quick=True)}
    with pytest.raises(quality.BenchmarkError, match="no row oracle: name some of ordinal"):
        quality.choose_rows(tables, ["oracle"])
    assert quality.choose_rows(tables, ["balance"]) == {"students": []}
    assert [row.name for row in quality.choose_rows(tables, ["balance", "xgboost"])["students"]] == ["xgboost"]


@pytest.mark.slow
def test_command_prints_tables_and_bars_and_writes_json(quality, tmp_path, capsys):
    from gradeclass.data.synthetic import sample_path
    (tmp_path/"students_performance.csv").write_bytes(sample_path("students").read_bytes())
    ended = quality.main(["students", "--data", str(tmp_path), "--quick", "--only", "majority", "--jobs", "1",
                          "--json", str(tmp_path/"out.json")])
    said = capsys.readouterr().out
    assert ended == 0 and "| shares of the grades |" in said and "- not measured  students, ordinal" in said
    assert (0 < json.loads((tmp_path/"out.json").read_text())["students"]["figures"]["majority"]["cv"]["accuracy mode"]["value"] < 1)

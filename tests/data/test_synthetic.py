"Synthetic students and the built-in samples"

import numpy as np
import pandas as pd
import pytest

from gradeclass.config import GradeclassError
from gradeclass.data.synthetic import SAMPLES, sample_path, synthesise, synthesise_file, to_codes, write_samples
from gradeclass.schema import Column, GradeScale, Schema, SchemaError, Synthesis, load_schema, schema_names


def small_schema():
    "A schema of two columns and a grade"
    return Schema(
        name="small",
        columns=[Column(name="ID", role="id"), Column(name="Hours", kind="numeric"), Column(name="Grade", role="target")],
        grades=GradeScale(codes={0: "pass", 1: "fail"}, at_risk=["fail"]))


@pytest.mark.parametrize("name", SAMPLES)
def test_committed_sample_is_what_synthesise_makes_today(name, tmp_path):
    made = next(path for path in write_samples(tmp_path) if path.name == sample_path(name).name)
    assert made.read_text() == sample_path(name).read_text()
    assert len(pd.read_csv(made)) == SAMPLES[name]


@pytest.mark.parametrize("name", schema_names())
def test_synthetic_frame_is_canonical(name):
    schema, frame = load_schema(name), synthesise(name, 50)
    assert list(frame.columns) == [column.name for column in schema.columns]
    assert frame.index.name == "row" and list(frame.index[:2]) == [2, 3]
    assert list(frame[schema.target].cat.categories) == schema.grades.labels and frame[schema.target].cat.ordered
    assert frame[schema.id].tolist()[:2] == ["1001", "1002"] and frame[schema.id].is_unique
    for column in schema.columns:
        if column.kind == "numeric":
            assert frame[column.name].dtype == float and frame[column.name].between(column.min, column.max).all()
            assert not column.whole or (frame[column.name] % 1 == 0).all()
        elif column.codes:
            assert list(frame[column.name].cat.categories) == column.labels
            assert frame[column.name].cat.ordered == (column.kind == "ordinal")
    assert not frame.isna().any().any()


def test_seed_decides_the_students():
    assert synthesise("students", 100, seed=1).equals(synthesise("students", 100, seed=1))
    assert not synthesise("students", 100, seed=1).equals(synthesise("students", 100, seed=2))


def test_shares_of_codes_hold():
    frame = synthesise("students", 50_000)
    for name in ("ParentalEducation", "Volunteering"):
        wanted = load_schema("students").synthesis.columns[name].shares
        found = frame[name].value_counts(normalize=True, sort=False)
        assert np.allclose(found, np.array(wanted)/sum(wanted), atol=0.01)


def test_effects_move_the_score_as_the_schema_says():
    schema = load_schema("students")
    frame = synthesise(schema, 20_000)
    inside = frame["GPA"].between(0.01, 3.99) & frame["Absences"].between(5, 15)
    columns = {name: frame[name].cat.codes if frame[name].dtype == "category" else frame[name]
               for name in schema.synthesis.columns}
    inputs = np.column_stack([np.ones(inside.sum()), *[np.asarray(values)[inside] for values in columns.values()]])
    found = dict(zip(columns, np.linalg.lstsq(inputs, frame["GPA"][inside], rcond=None)[0][1:], strict=True))
    assert found["Tutoring"] == pytest.approx(0.25, abs=0.02)
    assert found["ParentalSupport"] == pytest.approx(0.151, abs=0.02)
    assert found["Gender"] == pytest.approx(0, abs=0.02)


def test_share_of_mislabelled_grades_holds_and_none_means_none():
    schema = load_schema("students")
    cuts = [4.01, *schema.grades.cuts, -1]

    def agreement(plan):
        frame = synthesise(schema.model_copy(update={"synthesis": plan}), 20_000)
        bands = pd.cut(frame["GPA"], cuts[::-1], right=False, labels=schema.grades.labels[::-1])
        return (bands.astype(str) == frame["GradeClass"].astype(str)).mean()

    assert agreement(schema.synthesis) == pytest.approx(0.93, abs=0.01)
    assert agreement(schema.synthesis.model_copy(update={"mislabelled": 0})) == 1


def test_grade_shares_hold_where_there_are_no_cuts():
    schema = load_schema("higher_ed")
    found = synthesise(schema, 10_000)["GRADE"].value_counts(normalize=True, sort=False)
    assert np.allclose(found, schema.synthesis.grade_shares, atol=0.002)


def test_better_inputs_bring_better_grades():
    frame = synthesise("higher_ed", 5_000)
    rank = frame["GRADE"].cat.codes.groupby(frame["CUML_GPA"], observed=True).mean()
    assert rank.iloc[0] > rank.iloc[-1]


def test_column_without_a_plan_is_drawn_evenly():
    schema = load_schema("students").model_copy(update={"synthesis": Synthesis()})
    frame = synthesise(schema, 20_000)
    assert np.allclose(frame["Ethnicity"].value_counts(normalize=True), 0.25, atol=0.02)


def test_ignored_column_without_a_kind_stays_empty():
    base = small_schema()
    schema = base.model_copy(update={
        "columns": [*base.columns[:1], Column(name="Hours", kind="numeric", min=0, max=9),
                    Column(name="Remarks", role="ignored"),
                    base.columns[2]], "synthesis": Synthesis()})
    frame = synthesise(Schema(**schema.model_dump()), 5)
    assert frame["Remarks"].isna().all() and frame["Hours"].notna().all()


@pytest.mark.parametrize("n", [0, -3])
def test_no_students_asked_for_is_refused(n):
    with pytest.raises(GradeclassError, match="ask for 1 or more"): synthesise("students", n)


def test_one_student_can_be_drawn():
    assert len(synthesise("students", 1)) == len(synthesise("higher_ed", 1)) == 1


def test_numeric_column_without_range_is_refused():
    schema = small_schema().model_copy(update={"synthesis": Synthesis()})
    with pytest.raises(SchemaError, match="column Hours needs min and max"): synthesise(schema, 5)


def test_codes_round_trip_and_missing_stays_missing():
    schema = load_schema("students")
    frame = synthesise(schema, 200)
    frame.loc[2, ["Gender", "Absences", "GradeClass"]] = None
    coded = to_codes(frame, schema)
    assert coded.loc[2, ["Gender", "Absences", "GradeClass"]].isna().all()
    for name in ("Gender", "ParentalSupport", "GradeClass"):
        codes = schema.grades.codes if name == "GradeClass" else schema.by_name[name].codes
        assert (coded[name].map(codes).astype(object).fillna("").tolist()
                == frame[name].astype(object).fillna("").tolist())


def test_file_holds_codes_and_is_written_whole(tmp_path):
    path = synthesise_file("students", 10, tmp_path/"new"/"made.csv", seed=3)
    assert path.read_text().splitlines()[1].startswith("1001,")
    assert [p.name for p in path.parent.iterdir()] == ["made.csv"]
    assert pd.read_csv(path)["GradeClass"].isin(range(5)).all()

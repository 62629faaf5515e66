"Encoding by the schema alone, and inputs that give the answer away"
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.utils.estimator_checks import parametrize_with_checks

from gradeclass.config import GradeclassError
from gradeclass.models.features import (
    LeakError, LeakWarning, SchemaEncoder, UnknownValueWarning, check_leaks, encode_column, grade_index,
)
from gradeclass.data.synthetic import synthesise, to_codes
from gradeclass.schema import Column, Schema, load_schema

STUDENTS = load_schema("students")
FRAME = synthesise("students", 120, seed=5)
ENCODED = SchemaEncoder(STUDENTS).fit_transform(FRAME)
CODED = [column for column in STUDENTS.inputs(True) if column.codes]

def with_feature(name, **about):
    "The students schema with one more feature"
    column = Column(name=name, **({"kind": "numeric"} | about))
    return Schema(name="more", columns=[*STUDENTS.columns, column], grades=STUDENTS.grades)

@parametrize_with_checks([SchemaEncoder()])
def test_encoder_is_a_scikit_learn_transformer(estimator, check):
    check(estimator)

# What a cell becomes depends on nothing but the cell

def test_other_rows_do_not_change_a_row():
    encoder = SchemaEncoder(STUDENTS, one_hot=True).fit(FRAME.head(3))
    alone = np.vstack([encoder.transform(FRAME.iloc[[i]]) for i in range(30)])
    np.testing.assert_array_equal(alone, encoder.transform(FRAME)[:30])
    np.testing.assert_array_equal(alone, SchemaEncoder(STUDENTS, one_hot=True).fit(FRAME).transform(FRAME.head(30)))

def test_frame_itself_is_left_as_it_was():
    before = FRAME.copy(deep=True)
    SchemaEncoder(STUDENTS, audit=True, one_hot=True).fit_transform(FRAME)
    pd.testing.assert_frame_equal(FRAME, before)

def test_order_and_spelling_of_columns_do_not_matter():
    shuffled = FRAME[FRAME.columns[::-1]].rename(columns={"StudyTimeWeekly": "study_time weekly",
                                                          "Absences": " ABSENCES", "Music": "music"})
    np.testing.assert_array_equal(SchemaEncoder(STUDENTS).fit_transform(shuffled), ENCODED)

def test_codes_and_labels_encode_the_same():
    np.testing.assert_array_equal(SchemaEncoder(STUDENTS).fit_transform(to_codes(FRAME, STUDENTS)), ENCODED)

def spellings(text):
    "Ways in which files write one code or label"
    ways = [text, text.upper(), text.lower(), f"  {text}\t"]
    return ways + ([int(text), float(text), f"{text}.0", f" {text}.00"] if text.lstrip("-").isdigit() else [])

@settings(max_examples=80)
@given(st.data())
def test_any_spelling_of_a_code_or_label_encodes_the_same(data):
    column = data.draw(st.sampled_from(CODED))
    wanted = data.draw(st.lists(st.integers(0, len(column.codes) - 1), min_size=1, max_size=8))
    code, label = (lambda i: str(list(column.codes)[i])), (lambda i: column.labels[i])
    cells = [data.draw(st.sampled_from(spellings(code(i)) + spellings(label(i)))) for i in wanted]
    np.testing.assert_array_equal(encode_column(pd.Series(cells, dtype=object), column), wanted)

@pytest.mark.slow
@settings(max_examples=50)
@given(st.lists(st.one_of(st.none(), st.floats(allow_nan=True), st.text(max_size=5), st.integers(-10**20, 10**20),
                          st.booleans()), min_size=1, max_size=6))
def test_any_cell_is_a_known_position_or_missing(cells):
    for column in CODED:
        encoded = encode_column(pd.Series(cells, dtype=object), column)
        assert np.isin(encoded[~np.isnan(encoded)], np.arange(len(column.codes))).all()

@pytest.mark.parametrize("one_hot", [False, True])
def test_unknown_codes_warn_and_become_missing(one_hot):
    odd = FRAME.head(3).astype({"ParentalSupport": object, "Tutoring": object})
    odd.iloc[1, odd.columns.get_loc("ParentalSupport")] = "Splendid"
    odd.iloc[2, odd.columns.get_loc("Tutoring")] = 7
    encoder = SchemaEncoder(STUDENTS, one_hot=one_hot).fit(FRAME)
    with pytest.warns(UnknownValueWarning) as caught: encoded = encoder.transform(odd)
    names = list(encoder.get_feature_names_out())
    said = " ".join(str(warning.message) for warning in caught)
    assert "ParentalSupport: 'Splendid' read as missing; allowed: 0 (None), 1 (Low)" in said and "Tutoring: '7'" in said
    assert np.argwhere(np.isnan(encoded)).tolist() == sorted([[1, names.index("ParentalSupport")],
                                                              [2, names.index("Tutoring")]])

def test_missing_category_is_missing_in_each_of_its_columns():
    encoder = SchemaEncoder(STUDENTS, audit=True, one_hot=True).fit(FRAME)
    gap = FRAME.head(2).copy()
    gap.loc[gap.index[0], "Ethnicity"] = None
    places = [name.startswith("Ethnicity=") for name in encoder.get_feature_names_out()]
    encoded = encoder.transform(gap)
    assert sum(places) == 4 and np.isnan(encoded[0, places]).all() and encoded[1, places].sum() == 1

def test_missing_column_is_missing_throughout_and_no_column_at_all_is_an_error():
    encoder = SchemaEncoder(STUDENTS).fit(FRAME)
    place = list(encoder.get_feature_names_out()).index("Absences")
    assert np.isnan(encoder.transform(FRAME.drop(columns="Absences"))[:, place]).all()
    with pytest.raises(GradeclassError, match="the table has none of the model's columns; it needs ParentalEducation"):
        encoder.transform(pd.DataFrame({"Height": [1.8]}))

@pytest.mark.parametrize("name", ["students", "higher_ed"])
@pytest.mark.parametrize("audit", [False, True])
@pytest.mark.parametrize("one_hot", [False, True])
def test_roles_decide_what_is_encoded(name, audit, one_hot):
    schema, frame = load_schema(name), synthesise(name, 20)
    encoder = SchemaEncoder(schema, audit, one_hot).fit(frame)
    names = [feature.split("=")[0] for feature in encoder.get_feature_names_out()]
    assert set(names) == set(schema.names("feature", "audit") if audit else schema.names("feature"))
    assert encoder.transform(frame).shape == (20, len(names))

# Grades as numbers

def test_unknown_or_missing_grade_names_its_row():
    odd = FRAME.astype({"GradeClass": object})
    odd.loc[7, "GradeClass"] = "Z"
    with pytest.raises(GradeclassError, match=r"row 7: GradeClass is 'Z'; allowed: 0 \(A\), 1 \(B\)"):
        grade_index(odd, STUDENTS)
    with pytest.raises(GradeclassError, match="missing column: GradeClass"):
        grade_index(FRAME.drop(columns="GradeClass"), STUDENTS)

@pytest.mark.parametrize("spelt",
                         [lambda grade: grade, lambda grade: "ABCDF".index(grade),
                          lambda grade: float("ABCDF".index(grade)), str.lower])
def test_grades_are_positions_from_the_best(spelt):
    frame = FRAME.assign(GradeClass=FRAME.GradeClass.astype(object).map(spelt))
    np.testing.assert_array_equal(grade_index(frame, STUDENTS), FRAME.GradeClass.cat.codes)

# Leaks

def leaking(values, **about):
    "Check the students with one more feature"
    return check_leaks(FRAME.assign(Extra=values), with_feature("Extra", **about))

GRADES = FRAME.GradeClass.cat.codes.astype(float)
COPIES = {
    "the grade": (GRADES, "is a copy of the grade"),
    "the grade upside down": (4 - GRADES, "is a copy of the grade"),
    "the grade under other numbers": (GRADES.map({0: 9, 1: 2, 2: 5, 3: 1, 4: 7}), "is a copy of the grade"),
    "the grade with gaps": (GRADES.where(np.arange(120) % 9 > 0), "is a copy of the grade"),
    "the score": (FRAME.GPA, "is a copy of the score"),
    "the score in percent": (100 - 25*FRAME.GPA, "is a copy of the score"),
    "the score with gaps": (FRAME.GPA.where(np.arange(120) % 9 > 0), "is a copy of the score"),
    "an id": (FRAME.StudentID.astype(float), "has a value of its own for every student"),
}

@pytest.mark.parametrize("what", COPIES)
def test_copy_of_the_answer_under_another_name_is_refused(what):
    values, reason = COPIES[what]
    with pytest.raises(LeakError, match=f"Extra {reason}"): leaking(values)

def test_copy_of_the_grade_as_codes_is_refused():
    with pytest.raises(LeakError, match="is a copy of the grade"):
        leaking(FRAME.GradeClass.astype(str), kind="ordinal", codes={grade: grade for grade in "FDCBA"})

def test_rounded_score_that_gives_the_grade_away_warns():
    frame = synthesise("students", 900, seed=8)
    schema = with_feature("Extra")
    nearly = frame.GradeClass.cat.codes + np.random.default_rng(0).uniform(-.4, .4, len(frame))
    with pytest.warns(LeakWarning, match="Extra alone predicts the grade almost perfectly"):
        assert check_leaks(frame.assign(Extra=nearly), schema) == ["Extra"]

NEARLY = {
    "to one decimal": lambda score: score.round(1),
    "as ranks": lambda score: score.rank(),
    "squared": lambda score: score**2,
    "with some noise": lambda score: score + np.random.default_rng(0).normal(0, 0.02, len(score)),
}

@pytest.mark.parametrize("how", NEARLY)
def test_score_in_another_shape_is_refused_or_warned_of(how):
    frame = synthesise("students", 900, seed=8)
    with pytest.warns(LeakWarning):
        try: check_leaks(frame.assign(Extra=NEARLY[how](frame.GPA)), with_feature("Extra"))
        except LeakError as error: warnings.warn(str(error), LeakWarning, stacklevel=1)

@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", ["students", "higher_ed"])
def test_honest_inputs_pass_in_silence(name):
    frame = synthesise(name, 400)
    assert check_leaks(frame, load_schema(name)) == check_leaks(frame, load_schema(name), audit=True) == []

@pytest.mark.filterwarnings("error")
def test_constant_and_empty_columns_are_no_leak():
    assert leaking(1.0) == leaking(np.nan) == []

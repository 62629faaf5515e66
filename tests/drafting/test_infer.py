"Drafts of schemas for tables that nobody has described"
import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradeclass.data.dataset import clean
from gradeclass.drafting.cells import distinct_labels, find_words, read_cells
from gradeclass.drafting.infer import guess_column, infer_schema, name_words, order_grades
from gradeclass.drafting.roles import cross_counts
from gradeclass.drafting.scales import answer_order
from gradeclass.drafting.scores import find_bands, judge_score
from gradeclass.data.sources import load, read_table
from gradeclass.data.synthetic import sample_path, synthesise
from gradeclass.schema import SchemaError, load_schema, parse_schema, schema_yaml

RNG = np.random.default_rng(7)


def column_of(*values, repeat=1):
    "A raw column"
    return pd.Series([str(value) for value in values]*repeat)


def round_trip(schema):
    "Write a schema as YAML and read it back"
    return parse_schema(schema_yaml(schema), "draft.yaml")


def graded(**columns):
    "A table of 40 rows with a grade that nothing explains"
    rows = {name: (list(values)*40)[:40] for name, values in columns.items()}
    return pd.DataFrame({"Hours": [str(number*7 % 40) for number in range(40)], "Grade": ["A", "B", "C", "F"]*10,
                         **rows})


@pytest.fixture
def labelled_file(tmp_path):
    "A semicolon CSV with words, decimal commas, ids, dates and free text"
    lines = ["Matric No;Geschlecht;Sex;Reads;Tutor;Average mark;Way;Enrolled on;Remarks;Result"]
    for i in range(60):
        mark = 40 + i
        result = "Excellent" if mark >= 80 else "Good" if mark >= 60 else "Fail"
        lines.append(f"M{i:03};x;{'MF'[i % 2]};{['never', 'often', 'sometimes'][i % 3]};{['no', 'Yes', 'yes'][i % 3]};{mark},5;"
                     f"{['bus', 'on foot'][i % 2]};{1 + i % 28}/09/2024;she said thing no {i};{result}")
    path = tmp_path/"school.csv"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_labelled_table_is_described(labelled_file):
    schema = infer_schema(read_table(labelled_file)[0], "Result", "school")
    found = {column.name: (column.role, column.kind) for column in schema.columns}
    assert found == {
        "Matric No": ("id", None), "Geschlecht": ("ignored", None), "Sex": ("audit", "category"),
        "Reads": ("feature", "ordinal"),
        "Tutor": ("feature", "flag"), "Average mark": ("score", "numeric"), "Way": ("feature", "category"),
        "Enrolled on": ("ignored", None), "Remarks": ("ignored", None), "Result": ("target", None)}
    assert schema.by_name["Reads"].labels == ["never", "sometimes", "often"]
    assert schema.by_name["Tutor"].codes == {"no": "no", "Yes": "Yes"} or schema.by_name["Tutor"].codes == {
        "no": "no", "yes": "yes"}
    assert (schema.by_name["Average mark"].min, schema.by_name["Average mark"].max) == (40.5, 99.5)
    assert schema.grades.labels == ["Excellent", "Good", "Fail"] and schema.grades.at_risk == ["Fail"]
    assert schema.grades.cuts == pytest.approx([80, 60], abs=1)
    assert round_trip(schema) == schema


def test_draft_reads_the_table_that_it_was_drafted_from(labelled_file):
    schema = infer_schema(read_table(labelled_file)[0], "Result")
    frame = clean(load(labelled_file, schema).frame, schema)
    described = [column.name for column in schema.columns if column.kind or column.role in ("target", "id")]
    assert not frame[described].isna().any().any()


@pytest.mark.parametrize("typed", [False, True])
def test_students_without_their_schema(typed):
    frame = pd.read_csv(sample_path("students"), dtype=None if typed else str)
    schema = infer_schema(frame, "GradeClass")
    assert (schema.id, schema.score) == ("StudentID", "GPA")
    assert schema.grades.cuts == [3.5, 3.0, 2.5, 2.0] and list(schema.grades.codes) == [
        0, 1, 2, 3, 4] and schema.grades.at_risk == ["4"]
    assert schema.names("audit") == ["Age", "Gender", "Ethnicity"]
    assert schema.by_name["Absences"].whole and not schema.by_name["StudyTimeWeekly"].whole
    assert schema.by_name["Tutoring"].codes == {0: "no", 1: "yes"}
    assert round_trip(schema) == schema


def test_typed_and_raw_tables_get_the_same_draft():
    raw, typed = (pd.read_csv(sample_path("higher_ed"), dtype=dtype) for dtype in (str, None))
    assert infer_schema(raw, "GRADE") == infer_schema(typed, "GRADE") == infer_schema(
        typed.astype({"GRADE": float}), "GRADE")


def test_labelled_students_keep_letters_and_score():
    schema = infer_schema(synthesise("students", 2000), "GradeClass")
    assert schema.grades.labels == list("ABCDF") and schema.score == "GPA"
    assert schema.by_name["ParentalSupport"].labels == ["None", "Low", "Moderate", "High", "Very High"]


def test_wide_coded_table():
    schema = infer_schema(pd.read_csv(sample_path("higher_ed"), dtype=str), "grade", "survey")
    kinds = {column.kind for column in schema.inputs()}
    assert schema.id == "STUDENTID" and schema.score is None and kinds == {"ordinal", "flag", "category"}
    assert schema.by_name["COURSE ID"].kind == "category" and schema.names("audit") == ["AGE", "GENDER"]
    assert schema.grades.labels == ["7", "6", "5", "4", "3", "2", "1", "0"] and schema.grades.at_risk == ["1", "0"]
    assert all(column.confirm for column in schema.inputs(audit=True)) and schema.grades.confirm


def test_measurements_without_a_known_order():
    kind = RNG.choice(["setosa", "versicolor", "virginica"], 150)
    base = pd.Series(kind).map({"setosa": 1.5, "versicolor": 4.2, "virginica": 5.5})
    frame = pd.DataFrame({"petal length (cm)": (base + RNG.normal(0, 0.5, 150)).round(1),
                          "sepal width (cm)": RNG.normal(3, 0.4, 150).round(1), "species": kind})
    schema = infer_schema(frame, "species")
    assert [(column.kind, column.role) for column in schema.columns[:2]] == [("numeric", "feature")]*2
    assert schema.grades.labels == ["setosa", "versicolor", "virginica"] and "in which order" in schema.grades.ask


def test_real_students_without_their_schema(real_data):
    schema = infer_schema(read_table(real_data("students_performance.csv"))[0], "GradeClass")
    published = load_schema("students")
    assert (schema.id, schema.score, schema.grades.cuts) == ("StudentID", "GPA", published.grades.cuts)
    assert list(schema.grades.codes) == list(published.grades.codes)
    assert schema.names("audit") == published.names("audit")


def test_real_questionnaire_without_its_schema(real_data):
    schema = infer_schema(read_table(real_data("student_prediction.csv"))[0], "GRADE")
    assert schema.id == "STUDENTID" and schema.score is None
    assert list(schema.grades.codes) == list(load_schema("higher_ed").grades.codes)
    assert round_trip(schema) == schema


@pytest.mark.parametrize("cells, role, kind", [
    (column_of(*range(0, 60, 3)), "feature", "numeric"),
    (column_of("1,5", "2,25", "3", repeat=9), "feature", "numeric"),
    (column_of(0, 1, repeat=9), "feature", "flag"),
    (column_of("True", "False", repeat=9), "feature", "flag"),
    (column_of("Y", "N", repeat=9), "feature", "flag"),
    (column_of(1, 2, 3, repeat=9), "feature", "ordinal"),
    (column_of("1.0", "2.0", "3.0", repeat=9), "feature", "ordinal"),
    (column_of("LOW", "Medium", "high", repeat=9), "feature", "ordinal"),
    (column_of("red", "green", "blue", repeat=9), "feature", "category"),
    (column_of("a", "b", repeat=9), "feature", "category"),
    (column_of("1", "2", "none", repeat=9), "feature", "category"),
    (column_of(*[f"{word} tells a long story" for word in range(80)]), "ignored", None),
    (column_of(*[f"2024-01-{day:02}" for day in range(1, 29)]), "ignored", None),
    (pd.Series(pd.date_range("2024-01-01", periods=30)), "ignored", None),
    (column_of("same", repeat=9), "ignored", None),
    (column_of("", "n/a", repeat=9), "ignored", None),
    (column_of(*range(501, 540)), "id", None),
    (column_of(*[f"S-{number}" for number in range(40)]), "id", None),
])
def test_kind_is_guessed_from_the_cells(cells, role, kind):
    column = guess_column("Something", cells)
    assert (column.role, column.kind) == (role, kind)


@pytest.mark.parametrize("name, audit", [
    ("Gender", True), ("student_sex", True), ("Date of Birth", True), ("ETHNICITY", True), ("ageAtEntry", True),
    ("Average", False), ("Language", False), ("Percentage", False), ("Sussex campus", False)])
def test_protected_attributes_are_told_by_whole_words(name, audit):
    assert (guess_column(name, column_of(1, 2, 3, repeat=9)).role == "audit") == audit


def test_truth_values_read_back_through_the_draft():
    frame = graded().assign(Tutor=[True, False, False]*13 + [True])
    schema = infer_schema(frame, "Grade")
    assert clean(frame, schema)["Tutor"].tolist()[:2] == ["yes", "no"]


def test_number_column_with_a_few_words_is_numeric_and_says_so():
    column = guess_column("Hours", column_of(*range(0, 120, 2), "absent"))
    assert column.kind == "numeric" and "60 of 61 cells are numbers, 1 is 'absent'" in column.confirm


def test_range_holds_every_number_of_the_table():
    values = pd.Series(RNG.normal(size=200)*10)
    column = guess_column("x", values)
    assert column.min <= values.min() and column.max >= values.max() and column.max - values.max() < 0.02


def test_many_codes_under_a_course_name_are_a_category():
    assert guess_column("course_code", column_of(*range(100, 130), repeat=5)).kind == "category"
    assert guess_column("minutes", column_of(*range(100, 130), repeat=5)).kind == "numeric"


def test_names_of_people_are_no_input():
    assert guess_column("Last name", column_of("Borg", "Vella", repeat=9)).role == "ignored"


def test_one_id_is_kept_and_others_are_ignored():
    schema = infer_schema(graded().assign(row=range(1, 41), student_id=[f"S{i}" for i in range(40)]), "Grade")
    assert schema.id == "student_id" and schema.by_name["row"].role == "ignored"


def test_repeated_student_numbers_are_still_ids():
    schema = infer_schema(graded().assign(StudentID=[*range(30), *range(10)]), "Grade")
    assert schema.id == "StudentID"


@pytest.mark.parametrize("labels, order", [
    (["B-", "A", "B+", "B", "F", "A+"], ["A+", "A", "B+", "B", "B-", "F"]),
    (["A", "A*", "B", "U"], ["A*", "A", "B", "U"]),
    (["Fail", "Pass", "Distinction", "Merit"], ["Distinction", "Merit", "Pass", "Fail"]),
    (["1", "2", "10"], ["10", "2", "1"]),
    (["1,3", "1,0", "2,0"], ["1,0", "1,3", "2,0"]),
    (["Dropout", "Graduate", "Enrolled"], ["Graduate", "Enrolled", "Dropout"]),
    (["C6", "A1", "B2", "F9"], ["A1", "B2", "C6", "F9"]),
    (["zeta", "alpha"], ["alpha", "zeta"]),
])
def test_grades_are_ordered_best_to_worst(labels, order):
    assert order_grades(labels).labels == order


@pytest.mark.parametrize("labels", [["1,3", "1,0", "2,0"], ["1", "2", "3", "4", "5"], list("01234567"), ["zeta", "alpha"]])
def test_order_that_nobody_can_know_is_asked(labels):
    assert order_grades(labels).question


def test_many_absences_do_not_make_a_good_student():
    absences = pd.Series(RNG.permutation(200))
    frame = pd.DataFrame({"Absences": absences, "Hours": RNG.uniform(0, 9, 200).round(1)})
    frame["Result"] = np.where(absences > 100, "fail", "pass")
    assert infer_schema(frame, "Result").score is None


def test_a_second_column_that_gives_the_grade_away_is_ignored():
    marks = pd.Series(RNG.uniform(0, 100, 300).round(1))
    frame = pd.DataFrame({"Percentage": marks, "Final score": marks/5, "Hours": RNG.uniform(0, 9, 300).round(2),
                          "Grade": pd.cut(marks, [-1, 50, 75, 101], labels=["C", "B", "A"], right=False).astype(str)})
    schema = infer_schema(frame, "Grade")
    assert schema.score and len(schema.inputs()) == 1 and schema.names("ignored")
    assert "gives the grade away" in schema.by_name[schema.names("ignored")[0]].confirm


def test_common_grade_alone_makes_no_score():
    frame = pd.DataFrame({"Score of mood": RNG.normal(size=400).round(2), "Grade": ["pass"]*380 + ["fail"]*20})
    assert infer_schema(frame, "Grade").score is None


def test_score_with_few_values_is_found():
    marks = pd.Series(RNG.integers(0, 11, 200))
    frame = pd.DataFrame({"Mark": marks, "Hours": RNG.normal(size=200),
                          "Grade": np.select([marks >= 8, marks >= 5], ["A", "B"], "C")})
    schema = infer_schema(frame, "Grade")
    assert schema.score == "Mark" and schema.grades.cuts == [8, 5]


def test_bands_of_the_wrong_direction_are_rising():
    grades, cells = pd.Categorical(["A"]*50 + ["B"]*50), read_cells(column_of(*range(100)))
    bands = find_bands("x", cells, grades)
    assert [judge_score(bands, cells, grades, order, True).rising for order in (["A", "B"], ["B", "A"])] == [True, False]
    few = read_cells(column_of(*range(60)))
    assert judge_score(find_bands("x", few, grades), few, grades, ["A", "B"], True) is None


AWKWARD = ["yes", "No", "on", "null", "~", "1", "1.5", "a: b", "#1", "- x", "{a}", "[b", "'q'", '"', "näïve ☂", "=",
           "&a", "*b", "!c", "%d",
           "12:30", "0x1F", "1e3", "?x", "|", ">", "@h", "`t", "\\n", ", ,"]


def test_awkward_labels_and_names_round_trip():
    frame = pd.DataFrame({"yes": AWKWARD*4, "a: #b": AWKWARD[::-1]*4, "x"*200: ["off", "ON", "Off", "maybe"]*30,
                          "1": range(120),
                          "Grade?": (["No", "yes: maybe", "#3"]*40)})
    schema = infer_schema(frame, "Grade?", "odd: name #1")
    assert round_trip(schema) == schema
    assert schema.by_name["yes"].kind == "category" and len(schema.grades.codes) == 3


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(min_size=1, max_size=8), min_size=2, max_size=8),
       st.lists(st.text(max_size=6), min_size=1, max_size=6))
def test_any_words_give_a_schema_that_round_trips_or_a_sentence(grades, words):
    size = 24
    frame = pd.DataFrame({"Grade": (grades*size)[:size], "Word": (words*size)[:size], "Hours": range(0, 2*size, 2)})
    try:
        schema = infer_schema(frame, "Grade")
    except SchemaError as error:
        assert str(error) and "\n" not in str(error).strip()
        return
    assert round_trip(schema) == schema
    assert clean(frame, schema)["Grade"].notna().sum() == len(find_words(frame["Grade"]))


@pytest.mark.parametrize("frame, target, message", [
    (pd.DataFrame(), "Grade", "the table is empty"),
    (pd.DataFrame({"Grade": []}), "Grade", "the table is empty"),
    (graded(), "Grad", "the table has no column Grad: did you mean Grade?"),
    (graded(), "zzz", "the table has no column zzz: the columns are Hours, Grade"),
    (graded(Class=["A"]), "Class", "column Class holds one value, A"),
    (graded(Class=["", None]), "Class", "column Class is empty"),
    (graded(Total=range(40)), "Total",
     "column Total has 40 different values, more than 30: cut the number into grades first"),
    (graded(Word=[f"w{i}" for i in range(40)]), "Word", "more than 30: choose the column that holds the grades"),
    (graded()[["Grade"]], "Grade", "no column can be an input"),
    (pd.DataFrame([[1, 2, "A"], [3, 4, "B"]], columns=["x", "x", "Grade"]), "Grade", "two columns are called x"),
    (graded(hours=["1", "2"]), "Grade", "columns Hours and hours differ only in case or punctuation"),
])
def test_refusals_are_one_sentence(frame, target, message):
    with pytest.raises(SchemaError) as caught: infer_schema(frame, target)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_target_is_found_despite_case_and_spaces():
    assert infer_schema(graded(), "grade").target == "Grade"


def test_rows_without_a_grade_are_left_out():
    frame = graded()
    frame.loc[:9, "Grade"] = None
    assert infer_schema(frame, "Grade").grades.labels == ["A", "B", "C", "F"]


def test_name_words_of_other_scripts():
    assert name_words("Età_alunno") == {"eta", "alunno"} and name_words("年齢") == {"年齢"}


def test_frame_is_left_as_it_was():
    frame = graded()
    before = frame.copy()
    infer_schema(frame, "Grade")
    pd.testing.assert_frame_equal(frame, before)


@pytest.mark.parametrize("stray", ["999", "-1", "-99"])
def test_repeated_number_far_from_all_others_is_asked_about(stray):
    usual = [str(number*7 % 26) for number in range(60)]
    assert f"5 cells say {stray}, far" in guess_column("Absences", column_of(*usual, *[stray]*5)).confirm
    assert "far" not in guess_column("Absences", column_of(*usual, "27", "27", "27")).confirm


@pytest.mark.parametrize("filled", ["F", "BCF"])
def test_column_filled_in_for_some_grades_only_may_be_known_too_late(filled):
    frame = graded(Quiz=[str(number*7 % 40) for number in range(40)])
    frame = pd.concat([frame]*3, ignore_index=True)
    even = infer_schema(frame.assign(Quiz=frame["Quiz"].where(frame.index % 3 > 0, "")), "Grade")
    told = infer_schema(frame.assign(Quiz=frame["Quiz"].where(frame["Grade"].isin(list(filled)), "")), "Grade")
    assert "known only after" in told.by_name["Quiz"].confirm and "known only after" not in even.by_name["Quiz"].confirm


def test_five_rows_give_no_score():
    frame = pd.DataFrame({"Hours": ["9", "7", "5", "4", "2"], "Grade": list("ABCDF")})
    assert infer_schema(frame, "Grade").grades.cuts is None


def test_missing_words_among_grades_are_counted_and_can_be_a_grade():
    frame = graded()
    frame.loc[frame.index[:1], "Grade"] = "NA"
    assert "Grade has 1 cell with NA" in infer_schema(frame, "Grade").grades.confirm
    frame.loc[frame.index[:8], "Grade"] = "NA"
    assert "Grade has 8 cells with NA" in infer_schema(frame, "Grade").grades.ask
    assert infer_schema(frame, "Grade", best="A,B,C,F,NA").grades.labels == ["A", "B", "C", "F", "NA"]
    assert not infer_schema(frame, "Grade", best="A").grades.ask


def test_best_grade_turns_the_numbers_and_keeps_the_signs():
    labels = ["1", "2", "3-", "3", "3+", "4-", "4", "4+", "5", "6"]
    assert answer_order(order_grades(labels), "6").labels == ["6", "5", "4+", "4", "4-", "3+", "3", "3-", "2", "1"]
    assert answer_order(order_grades(["8,5", "8,3", "8,4"]), "8,5;8,4;8,3").labels == ["8,5", "8,4", "8,3"]
    with pytest.raises(ValueError, match="the best first.*in your order"): answer_order(order_grades(["AE", "BE", "EE"]), "BE")


def test_score_is_read_as_the_table_reads_it(tmp_path):
    "The decimal commas of another column say that these points part thousands, also where the grade is cut from them"
    points = [1003 + 13*place for place in range(60)]
    rows = [f"S{place:03};{place % 9},5;{number // 1000}.{number % 1000:03};{'A' if number > 1500 else 'B' if number > 1250 else 'C'}"
            for place, number in enumerate(points)]
    (tmp_path/"a.csv").write_text("\n".join(["Nr;Stunden;Gesamtpunkte total;Note", *rows]))
    table, _ = read_table(tmp_path/"a.csv")
    column = infer_schema(table, "Note").by_name["Gesamtpunkte total"]
    assert column.role == "score" and (column.min, column.max) == (1003, 1770)


def test_a_good_input_is_not_taken_for_a_copy_of_the_grade():
    rng = np.random.default_rng(3)
    merit = rng.normal(size=300)
    grades = pd.cut(merit, [-9, -0.7, 0.3, 9], labels=["C", "B", "A"]).astype(str)
    mid = (50 + 10*merit + 5*rng.normal(size=300)).round()
    schema = infer_schema(pd.DataFrame({"Mid": mid, "Same": 50 + 10*merit + 2*rng.normal(size=300), "Grade": grades}).astype(str), "Grade")
    assert "known only after" not in schema.by_name["Mid"].confirm and "known only after" in schema.by_name["Same"].confirm
    most = pd.DataFrame({"Sport": ["yes", *["no"]*9]*30, "Mid": mid, "Grade": ["pass"]*280 + ["fail"]*20}).astype(str)
    assert "known only after" not in infer_schema(most, "Grade").by_name["Sport"].confirm


@pytest.mark.parametrize(("codes", "stray"), [((3, 5, 8, 12), "99"), ((1, 2, 3), "9"), ((80, 95, 100), "999"), ((0, 1, 2), "-9")])
def test_code_for_no_answer_among_few_numbers_is_asked_about(codes, stray):
    column = guess_column("Hours", column_of(*codes, stray, repeat=5))
    assert f"5 cells say {stray}, far" in column.confirm


def test_grades_with_blanks_and_other_dashes_are_one_grade():
    cells = column_of("A", "A-", "a−", "B +", "B+", "B ＋", "C–", "C", repeat=5)
    schema = infer_schema(pd.DataFrame({"Hours": [str(place % 11) for place in range(40)], "Grade": cells}), "Grade")
    assert schema.grades.labels == ["A", "A-", "B+", "C", "C-"] and not schema.grades.ask
    frame = clean(pd.DataFrame({"Hours": ["1", "2"], "Grade": ["b  +", "A—"]}), schema)
    assert list(frame.Grade) == ["B+", "A-"]


def test_list_of_marks_names_its_students_by_a_number_that_repeats():
    rows = pd.DataFrame({"Student": [str(1 + place//4) for place in range(60)], "Mark": [str(place*7 % 50) for place in range(60)],
                         "Grade": list("ABCF")*15})
    assert infer_schema(rows, "Grade").by_name["Student"].role == "id"
    rows = rows.rename(columns={"Student": "Students"})  # How many are in a class
    assert infer_schema(rows, "Grade").by_name["Students"].role == "feature"


def test_marks_that_a_spreadsheet_has_made_dates_are_asked_about():
    assert "'10-May' looks like a date" in guess_column("Score", column_of("10-May", "4-5", "7-8", "9-10", repeat=9)).confirm


@pytest.mark.parametrize("seed", range(5))
def test_cells_are_counted_beside_grades_as_a_table_of_both_counts_them(seed):
    rng = np.random.default_rng(seed)
    grades = pd.Series(rng.choice(list("CABF"), 60)).where(rng.random(60) < 0.9)
    cells = read_cells(pd.Series(rng.choice(["no", "10", "9", "", "yes"], 60)))
    counts = cross_counts(cells.places, cells.rows, pd.Categorical(grades))
    right = pd.crosstab(cells.texts, grades)
    assert (counts == right.loc[cells.words].to_numpy()).all() and list(right) == list("ABCF")


@pytest.mark.parametrize("kind", ["numbers", "texts"])
def test_a_column_of_a_wide_table_costs_a_few_milliseconds(kind):
    rng = np.random.default_rng(6)
    draw = {"numbers": lambda: rng.normal(50, 10, 2400).round(2).astype(str),
            "texts": lambda: [f"answer {one} of {other}" for one, other in rng.integers(0, 300, (2400, 2))]}[kind]
    columns = {f"q{number}": draw() for number in range(200)}
    table, seconds = pd.DataFrame(columns | {"Hours": rng.integers(0, 60, 2400), "Grade": list("ABCF")*600}).astype(str), []
    for _ in range(3):
        began = time.process_time()
        infer_schema(table, "Grade")
        seconds.append(time.process_time() - began)
    assert min(seconds) < 1


def test_words_are_trimmed_spelled_and_counted():
    cells = read_cells(pd.Series([" a  b ", "NA", "a b", "A\u2028B", "7", None, "7.0", "a b"]))
    assert list(cells.words) == ["a b", "A B", "7", "7.0"] and cells.rows.tolist() == [0, 2, 3, 4, 6, 7]
    assert distinct_labels(cells) == ["7", "a b"] and cells.counts.tolist() == [3, 1, 1, 1]


def test_every_column_is_told_of_while_a_draft_is_made():
    told = []
    infer_schema(graded(**{f"q{number}": [1, 2, 3, 5] for number in range(20)}), "Grade",
                 on_column=lambda done, total: told.append((done, total)))
    assert told == [(done, 21) for done in range(1, 22)]

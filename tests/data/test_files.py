"""Reading, conforming, splitting and writing tables: faults, properties and edges."""
import sqlite3
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.model_selection import train_test_split

from gradeclass.data.dataset import clean, conform, make_dataset, table_digest
from gradeclass.data.files import DataError, write_table
from gradeclass.data.sources import load, read_table
from gradeclass.data.split import split
from gradeclass.schema import load_schema

STUDENTS = load_schema("students")
QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

def random_students(n, seed=0):
    "Random rows that follow the students schema"
    rng = np.random.default_rng(seed)
    columns = {"StudentID": 1001 + np.arange(n)}
    for column in STUDENTS.columns:
        if column.codes: columns[column.name] = rng.choice(list(column.codes), n)
        elif column.whole: columns[column.name] = rng.integers(column.min, column.max, n, endpoint=True)
        elif column.kind == "numeric": columns[column.name] = rng.uniform(column.min, column.max, n)
    return pd.DataFrame(columns | {"GradeClass": rng.choice(5, n, p=[.05, .11, .16, .17, .51]).astype(float)})

def save(path, text, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return path

# Files that cannot be read

FAULTS = {
    "empty.csv": (b"", "empty.csv is empty"),
    "blank.csv": (b"\n\n \n", "blank.csv is empty"),
    "binary.csv": (b"PK\x03\x04\x00\x00\x08", "binary.csv is not a text table"),
    "noise.csv": (bytes(range(1, 256)), "noise.csv is not a text table"),
    "utf16.csv": ("Age,Sports\n17,1\n".encode("utf-16"), "save it as CSV in UTF-8"),
    "long.csv": (b"Age,Sports\n17,1\n18,1,0\n", "long.csv: line 3 has 3 fields where the header has 2"),
    "all_long.csv": (b"Age,Sports\n17,1,9\n18,1,0\n", "all_long.csv: line 2 has 3 fields where the header has 2"),
    "after_blank.csv": (b"Age,Sports\n17,1\n\n18,1,0\n", "line 4 has 3 fields where the header has 2"),
    "after_break.csv": (b'Age,Sports\n"1\n7",1\n18,1,0\n', "line 4 has 3 fields where the header has 2"),
    "before_header.csv": (b"\n\nAge,Sports\n17,1\n18,1,0\n", "line 5 has 3 fields where the header has 2"),
    "quote_below_blank.csv": (b'\n\nAge,Sports\n17,1\n\n18,"1\n16,0\n', "a quote that opens in line 6 is never closed"),
    "quote.csv": (b'Age,Sports\n17,1\n18,"1\n16,0\n', "a quote that opens in line 3 is never closed"),
    "twins.csv": (b"Age,Sports,Age\n17,1,18\n", "two columns are called Age"),
    "false.xlsx": (b"Age,Sports\n17,1\n", "false.xlsx is not an Excel workbook"),
    "false.parquet": (b"Age,Sports\n17,1\n", "false.parquet is not a Parquet file"),
    "table.json": (b"{}", "table.json is of an unknown kind: give a .csv, .xlsx or .parquet file"),
}

@pytest.mark.parametrize("name", FAULTS)
def test_broken_file_gets_one_sentence(tmp_path, name):
    content, message = FAULTS[name]
    (tmp_path/name).write_bytes(content)
    with pytest.raises(DataError) as caught: read_table(tmp_path/name)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)

@pytest.mark.parametrize(("source", "message"), [
    ("no_such.csv", "no such file: no_such.csv"), (".", "is a folder"), ("x"*5000 + ".csv", "no such file"),
    ("a\0b.csv", "no such file"),
    ("https://example.org/a.csv", "download the file"), ("nonsense://", "is not a database address"),
    ("sqlite:///no_such.db", "no such file: no_such.db")])
def test_wrong_source_gets_one_sentence(source, message):
    with pytest.raises(DataError, match=message): read_table(source)

def test_asking_for_a_missing_database_does_not_create_it(tmp_path):
    with pytest.raises(DataError): read_table(f"sqlite:///{tmp_path}/new.db#students")
    assert not list(tmp_path.iterdir())

@QUICK
@given(data=st.binary(max_size=300), suffix=st.sampled_from([".csv", ".xlsx", ".parquet", ".txt"]))
def test_any_bytes_give_a_table_or_a_data_error(tmp_path, data, suffix):
    path = tmp_path/f"any{suffix}"
    path.write_bytes(data)
    try: frame, _ = read_table(path)
    except DataError as error: assert str(error)
    else: assert frame.index.name == "row"

@QUICK
@given(text=st.text(alphabet='ab,;"\t\n\r =1é', max_size=60))
def test_any_text_gives_a_table_or_a_data_error(tmp_path, text):
    try: frame, _ = read_table(save(tmp_path/"any.csv", text))
    except DataError as error: assert str(error)
    else: assert frame.columns.is_unique

# CSV as people have it

@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_separator_is_found_outside_quotes(tmp_path, separator):
    path = save(tmp_path/"a.csv",
                separator.join(['"Age, in; years\tnow; then, so"', "Sports"]) + "\n" + separator.join(["17", "1"])
                + "\n")
    assert read_table(path)[0].shape == (1, 2)

def test_byte_order_mark_is_no_part_of_the_first_name(tmp_path):
    assert list(read_table(save(tmp_path/"a.csv", "Age,Sports\n17,1\n", "utf-8-sig"))[0]) == ["Age", "Sports"]

def test_windows_encoding_is_read_with_a_note(tmp_path):
    frame, notes = read_table(save(tmp_path/"a.csv", "Name,Age\nZoë,17\n", "cp1252"))
    assert frame["Name"].tolist() == ["Zoë"]
    assert "not UTF-8" in notes[0]

def test_header_alone_is_an_empty_table(tmp_path):
    frame, _ = read_table(save(tmp_path/"a.csv", "Age,Sports\n"))
    assert frame.shape == (0, 2)

def test_cells_stay_text(tmp_path):
    frame, _ = read_table(save(tmp_path/"a.csv", "StudentID,GradeClass,Tutoring\n0017,2.0,NA\n"))
    assert frame.iloc[0].tolist() == ["0017", "2.0", "NA"]

def test_rows_keep_the_numbers_of_the_file_across_blank_rows(tmp_path):
    assert read_table(save(tmp_path/"a.csv", "Age,Sports\n17,1\n\n,\n18,0\n"))[0].index.tolist() == [2, 5]

def test_rows_that_end_early_are_noted(tmp_path):
    frame, notes = read_table(save(tmp_path/"a.csv", "Age,Sports\n17,1\n18\n"))
    assert frame.loc[3].tolist() == ["18", ""]
    assert "(1, first in line 3)" in notes[0]

def test_blank_unnamed_column_is_dropped_and_a_filled_one_kept(tmp_path):
    assert list(read_table(save(tmp_path/"a.csv", "Age,,\n17,,x\n"))[0]) == ["Age", "column 3"]

# Other sources

def test_excel_rows_are_numbered_as_in_the_sheet(tmp_path):
    pd.DataFrame({"StudentID": [1001, None, 1002], "Age": [17, None, 18]}).to_excel(tmp_path/"a.xlsx", index=False)
    assert read_table(tmp_path/"a.xlsx")[0].index.tolist() == [2, 4]

def test_empty_sheet_is_refused(tmp_path):
    pd.DataFrame().to_excel(tmp_path/"a.xlsx", index=False)
    with pytest.raises(DataError, match="is empty"): read_table(tmp_path/"a.xlsx")

def test_parquet_index_with_a_name_is_a_column(tmp_path):
    random_students(3).set_index("StudentID").to_parquet(tmp_path/"a.parquet")
    assert read_table(tmp_path/"a.parquet")[0]["StudentID"].tolist() == [1001, 1002, 1003]

@pytest.fixture
def school(tmp_path):
    with sqlite3.connect(tmp_path/"school.db") as database: random_students(5).to_sql("students", database, index=False)
    return tmp_path/"school.db"

def test_only_table_of_a_database_needs_no_name(school):
    assert len(load(f"sqlite:///{school}").frame) == 5

def test_several_tables_are_named_in_the_message(school):
    with sqlite3.connect(school) as database: database.execute("create view teachers as select 1 as a")
    with pytest.raises(DataError, match="add #NAME, one of students, teachers"): read_table(f"sqlite:///{school}")
    assert read_table(f"sqlite:///{school}#students")[0].index.tolist() == [1, 2, 3, 4, 5]
    assert len(read_table(f"sqlite:///{school}", table="teachers")[0]) == 1
    with pytest.raises(DataError, match="has no table pupils: it has students, teachers"):
        read_table(f"sqlite:///{school}#pupils")

def test_file_that_is_no_database_gets_one_sentence(tmp_path):
    save(tmp_path/"a.db", "Age,Sports\n"*100)
    with pytest.raises(DataError, match="cannot be read: file is not a database"):
        read_table(f"sqlite:///{tmp_path}/a.db")

def test_password_appears_in_no_message():
    with pytest.raises(DataError) as caught: read_table("oracel://ada:s3cr3t@school/db#students")
    assert "s3cr3t" not in str(caught.value)

@pytest.mark.parametrize("suffix", [".csv", ".xlsx", ".parquet"])
def test_every_format_gives_the_same_clean_table(tmp_path, suffix):
    tidy = clean(random_students(30), STUDENTS)
    again = load(write_table(tidy, tmp_path/f"a{suffix}"))
    pd.testing.assert_frame_equal(clean(again.frame, STUDENTS).reset_index(drop=True), tidy.reset_index(drop=True))
    assert table_digest(clean(again.frame, STUDENTS)) == table_digest(tidy)

# What cells mean

def test_codes_and_labels_mix_in_any_spelling():
    cells = [2, 2.0, "2", "2.0", " some  COLLEGE ", "Some College"]
    frame, _ = conform(pd.DataFrame({"ParentalEducation": cells}), STUDENTS)
    assert frame["ParentalEducation"].unique().tolist() == ["Some College"]

def test_marker_is_missing_only_where_it_is_no_answer():
    frame, _ = conform(pd.DataFrame({"ParentalEducation": ["None", "NA"], "Tutoring": ["None", "?"],
                                     "Absences": ["null", "-"]}), STUDENTS)
    assert frame["ParentalEducation"].tolist() == ["None", None]
    assert frame[["Tutoring", "Absences"]].isna().all(axis=None)

def test_unknown_cells_stay_as_they_are():
    frame, _ = conform(pd.DataFrame({"Gender": ["0", "X"], "Absences": ["3", "many"]}), STUDENTS)
    assert frame["Gender"].tolist() == ["Male", "X"]
    assert frame["Absences"].tolist() == [3.0, "many"]

def test_flags_read_true_and_false():
    frame, _ = conform(pd.DataFrame({"Tutoring": [True, False], "Music": ["TRUE", "false"]}), STUDENTS)
    assert frame.to_numpy().tolist() == [["Yes", "Yes"], ["No", "No"]]

def test_decimal_comma_is_read_with_a_note():
    frame, notes = conform(pd.DataFrame({"GPA": ["3,5", "2.5", "a,b"]}), STUDENTS)
    assert frame["GPA"].tolist() == [3.5, 2.5, "a,b"]
    assert notes == ["GPA: the comma in 3,5 is read as a decimal point (cells: 1)"]

def test_ids_are_text_without_a_decimal_point():
    frame, _ = conform(pd.DataFrame({"StudentID": [1001.0, "1002.0", 1003, "0042", None]}, dtype=object), STUDENTS)
    assert frame["StudentID"].tolist() == ["1001", "1002", "1003", "0042", None]

def test_names_match_despite_case_and_signs_and_the_rest_follows():
    frame, notes = conform(pd.DataFrame([[1, 2, 3]], columns=["Class", "study_time weekly", "AGE"]), STUDENTS)
    assert list(frame) == ["Age", "StudyTimeWeekly", "Class"]
    assert notes == ["column AGE is read as Age", "column study_time weekly is read as StudyTimeWeekly"]

def test_two_columns_for_one_name_are_refused():
    with pytest.raises(DataError, match="columns Age and AGE both read as Age"):
        conform(pd.DataFrame(columns=["Age", "AGE"]), STUDENTS)

def test_nested_and_dated_cells_do_not_break_the_reader():
    cells = [[1], {"a": 1}, pd.Timestamp("2020-01-01"), b"1", 10**400]
    frame, _ = conform(pd.DataFrame({"Absences": pd.Series(cells, dtype=object),
                                     "Gender": pd.Series(cells, dtype=object)}), STUDENTS)
    assert clean(frame, STUDENTS)["Gender"].isna().all()

CELLS = st.one_of(st.none(), st.booleans(), st.integers(-3, 40), st.floats(), st.text(max_size=5),
                  st.sampled_from(["1.0", "None", "NA", "yes", "Other", "3,5", "Very High", "0", "1e3", " 2 "]))

@QUICK
@given(rows=st.lists(st.tuples(CELLS, CELLS, CELLS, CELLS, CELLS), max_size=8))
def test_conform_and_clean_are_idempotent(rows):
    raw = pd.DataFrame(rows, columns=["StudentID", "absences", "ParentalSupport", "Tutoring", "GradeClass"],
                       dtype=object)
    once, _ = conform(raw, STUDENTS)
    twice, notes = conform(once, STUDENTS)
    pd.testing.assert_frame_equal(once, twice)
    assert notes == []
    tidy = clean(raw, STUDENTS)
    pd.testing.assert_frame_equal(tidy, clean(tidy, STUDENTS))
    pd.testing.assert_frame_equal(tidy, clean(once, STUDENTS))
    assert table_digest(conform(tidy, STUDENTS)[0]) == table_digest(tidy)

def test_clean_has_canonical_types():
    tidy = clean(random_students(5).assign(Class="11b"), STUDENTS)
    assert "Class" not in tidy
    assert tidy["Absences"].dtype == tidy["GPA"].dtype == "float64"
    assert tidy["GradeClass"].cat.ordered and tidy["ParentalSupport"].cat.ordered and not tidy["Ethnicity"].cat.ordered
    assert tidy["StudentID"].tolist()[0] == "1001"

def test_clean_turns_infinite_and_unknown_into_missing():
    tidy = clean(pd.DataFrame({"Absences": ["inf", "many", "3"], "Gender": ["X", "0", "1"]}), STUDENTS)
    assert tidy["Absences"].isna().tolist() == [True, True, False]
    assert tidy["Gender"].isna().tolist() == [True, False, False]

def test_million_rows_are_conformed_in_seconds():
    import time
    frame = random_students(1000)
    text = pd.concat([frame.astype(str)]*200, ignore_index=True)
    start = time.perf_counter()
    conform(text, STUDENTS)
    assert time.perf_counter() - start < 5  # 200,000 rows; 0.6 s where it was written

# Data sets

def test_load_keeps_cells_as_the_source_has_them(tmp_path):
    dataset = load(save(tmp_path/"a.csv", "StudentID,Gender\n1001,0\n"), "students")
    assert dataset.raw["Gender"].tolist() == ["0"]
    assert dataset.frame["Gender"].tolist() == ["Male"]
    assert dataset.source.endswith("a.csv")

def test_load_says_how_to_make_a_schema(tmp_path):
    with pytest.raises(DataError, match="gradeclass schema infer"): load(save(tmp_path/"a.csv", "petal,sepal\n1,2\n"))

def test_table_in_memory_is_numbered_from_one():
    assert make_dataset(pd.DataFrame({"Age": [17, 18]}, index=["x", "y"]), "students").frame.index.tolist() == [1, 2]

def test_digest_tells_cells_names_and_order_apart():
    tidy = clean(random_students(20), STUDENTS)
    others = [tidy.iloc[::-1], tidy.rename(columns={"Age": "age"}), tidy.assign(Age=tidy["Age"] + 1), tidy.iloc[1:]]
    assert len({table_digest(frame) for frame in [tidy, *others]}) == 5

def test_digest_is_the_same_in_another_process(tmp_path):
    path = write_table(random_students(20), tmp_path/"a.csv")
    code = (f"from gradeclass.data.dataset import table_digest; from gradeclass.data.sources import load; "
            f"print(table_digest(load({str(path)!r}).frame))")
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                           env={"PYTHONHASHSEED": "7"})
    assert other.stdout.strip() == table_digest(load(path).frame)

# Tables that we write

@pytest.mark.parametrize("cell", ["=1+1", "+cmd", "-1+1", "@SUM(A1)", "\tx", "\rx", "'=x"])
@pytest.mark.parametrize("suffix", [".csv", ".xlsx"])
def test_formula_is_neutralised_and_read_back(tmp_path, cell, suffix):
    path = write_table(pd.DataFrame({"Name": [cell, "Ada"], cell.strip(): ["x", "-5"], "Score": [-1.5, 2.0]}),
                       tmp_path/f"a{suffix}")
    plain = pd.read_csv(path, dtype=str) if suffix == ".csv" else pd.read_excel(path, dtype=str)
    assert plain["Name"].iloc[0].startswith("'")
    assert plain["Score"].tolist()[0] == "-1.5"
    again, _ = read_table(path)
    assert again["Name"].tolist() == ([cell, "Ada"] if suffix == ".csv" else [cell.replace("\r", "\n"), "Ada"])
    assert again.iloc[:, 1].tolist() == ["x", "-5"]

def test_labels_are_neutralised_too(tmp_path):
    frame = pd.DataFrame({"Name": pd.Categorical(["=1+1"])})
    assert "'=1+1" in write_table(frame, tmp_path/"a.csv").read_text()

@QUICK
@given(cells=st.lists(st.text(alphabet="'=+-@1.5,;\"a \t\r\né", min_size=1, max_size=6), min_size=1, max_size=5))
def test_any_text_survives_writing_and_reading(tmp_path, cells):
    again, _ = read_table(write_table(pd.DataFrame({"A": cells, "B": "x"}), tmp_path/"a.csv"))
    assert again["A"].tolist() == cells

def test_failed_write_leaves_the_old_file(tmp_path):
    path = write_table(pd.DataFrame({"A": ["old"]}), tmp_path/"a.parquet")
    with pytest.raises(Exception, match="."): write_table(pd.DataFrame({"A": [object()]}), path)
    assert pd.read_parquet(path)["A"].tolist() == ["old"]
    assert len(list(tmp_path.iterdir())) == 1

# The split

def assert_same_rows_as_scikit_learn(frame, schema):
    rest, validation = train_test_split(frame, test_size=.15, random_state=42, stratify=frame[schema.target])
    train, test = train_test_split(rest, test_size=.15, random_state=42, stratify=rest[schema.target])
    parts = split(clean(frame, schema), schema)
    for ours, theirs in zip(parts, (train, validation, test), strict=True):
        assert ours.index.tolist() == theirs.index.tolist()
    return [len(part) for part in parts]

def test_split_gives_the_rows_of_scikit_learn():
    assert sum(assert_same_rows_as_scikit_learn(random_students(700), STUDENTS)) == 700

@pytest.mark.parametrize(("name", "schema", "sizes"), [
    ("students_performance.csv", "students", [1728, 359, 305]), ("student_prediction.csv", "higher_ed", [104, 22, 19])])
def test_split_of_real_data_gives_the_rows_of_scikit_learn(real_data, name, schema, sizes):
    assert assert_same_rows_as_scikit_learn(pd.read_csv(real_data(name)), load_schema(schema)) == sizes

@QUICK
@given(grades=st.lists(st.integers(0, 4), max_size=60), copies=st.data())
def test_split_partitions_rows_and_keeps_students_together(grades, copies):
    frame = random_students(len(grades), seed=len(grades)).assign(GradeClass=grades)
    if grades:
        frame["StudentID"] = copies.draw(st.lists(st.integers(1, max(len(grades), 2)), min_size=len(grades),
                                                  max_size=len(grades)))
    parts = split(clean(frame, STUDENTS), STUDENTS)
    assert sorted(row for part in parts for row in part.index) == list(range(len(grades)))
    students = [set(part["StudentID"]) for part in parts]
    assert not (students[0] & students[1] or students[0] & students[2] or students[1] & students[2])
    assert not grades or len(parts.train)

def test_grades_of_one_student_stay_in_training():
    frame = random_students(60).assign(GradeClass=[0] + [1]*29 + [2]*30)
    for seed in range(5): assert 0 in split(clean(frame, STUDENTS), STUDENTS, seed=seed).train.index

def test_copies_under_another_id_stay_together():
    frame = random_students(100)
    frame = pd.concat([frame, frame.assign(StudentID=frame["StudentID"] + 5000)], ignore_index=True)
    parts = split(clean(frame, STUDENTS), STUDENTS)
    assert all(sorted(part.index % 100)[::2] == sorted(part.index % 100)[1::2] for part in parts)

def test_rows_without_id_are_not_one_student():
    frame = random_students(100).assign(StudentID=None)
    assert [len(part) for part in split(clean(frame, STUDENTS), STUDENTS)] == [72, 15, 13]

def test_split_without_a_part():
    parts = split(clean(random_students(100), STUDENTS), STUDENTS, test_size=0, validation_size=0)
    assert [len(part) for part in parts] == [100, 0, 0]

def test_impossible_share_is_refused():
    with pytest.raises(DataError, match="from 0 to below 1, not 1.5"):
        split(clean(random_students(10), STUDENTS), STUDENTS, test_size=1.5)

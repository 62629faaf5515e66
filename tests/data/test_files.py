"Files of every kind: faults, properties, and what we write"

import errno
import gzip
import time
import warnings
import zipfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import openpyxl
import pandas as pd
import pytest
from data_tables import QUICK, STUDENTS, random_students, save
from hypothesis import given
from hypothesis import strategies as st

from gradeclass.config import GradeclassError
from gradeclass.data.dataset import clean, table_digest
from gradeclass.data.files import DataError, write_table
from gradeclass.drafting.infer import infer_schema
from gradeclass.data.sources import load, read_table

# Files that cannot be read

FAULTS = {
    "empty.csv": (b"", "empty.csv is empty"),
    "blank.csv": (b"\n\n \n", "blank.csv is empty"),
    "binary.csv": (b"PK\x03\x04\x00\x00\x08", "binary.csv is not a workbook (.xlsx, .xls or .ods)"),
    "noise.csv": (bytes(range(1, 256)), "noise.csv is not a text table"),
    "long.csv": (b"Age,Sports\n17,1\n18,1,0\n", "long.csv: line 3 has 3 fields where the header has 2"),
    "all_long.csv": (b"Age,Sports\n17,1,9\n18,1,0\n", "all_long.csv: line 2 has 3 fields where the header has 2"),
    "after_blank.csv": (b"Age,Sports\n17,1\n\n18,1,0\n", "line 4 has 3 fields where the header has 2"),
    "after_break.csv": (b'Age,Sports\n"1\n7",1\n18,1,0\n', "line 4 has 3 fields where the header has 2"),
    "before_header.csv": (b"\n\nAge,Sports\n17,1\n18,1,0\n", "line 5 has 3 fields where the header has 2"),
    "quote_below_blank.csv": (b'\n\nAge,Sports\n17,1\n\n18,"1\n16,0\n', "a quote that opens in line 6 is never closed"),
    "quote.csv": (b'Age,Sports\n17,1\n18,"1\n16,0\n', "a quote that opens in line 3 is never closed"),
    "twins.csv": (b"Age,Sports,Age\n17,1,18\n", "two columns are called Age"),
    "false.xlsx": (bytes(range(1, 256)), "false.xlsx is not a workbook (.xlsx, .xls or .ods)"),
    "scan.xlsx": (b"%PDF-1.7", "scan.xlsx is a PDF, whatever its name says: export the table"),
    "login.csv": (b"<html><body>Please log in</body></html>", "login.csv is a web page without a table"),
    "false.parquet": (b"Age,Sports\n17,1\n", "false.parquet is not a Parquet file"),
    "table.json": (b"{}", "table.json is of an unknown kind: give a .csv, .xlsx, .xls, .ods or .parquet file"),
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

@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_wide_letters_are_read(tmp_path, encoding):
    assert read_table(save(tmp_path/"a.csv", "Name,Age\nZoë,17\n", encoding))[0]["Name"].tolist() == ["Zoë"]

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

# Files that would take time or memory without end

ROWS = "StudentNo,Hours,Grade\n" + "".join(f"{row},{row % 9},{'ABCF'[row % 4]}\n" for row in range(60))
HUGE = {
    "cell.csv": (ROWS.replace(",8,", f",{'1.'*2_500_000},", 1).encode(), "no column can be an input"),
    "grade.csv": (ROWS.replace(",F", "," + "word "*1_000_000, 1).encode(), "a grade has at most 100"),
    "name.csv": (ROWS.replace("Hours", "x"*5_000_000).encode(), "the name of column 2 has more than 1000 characters"),
    "blank.csv": (("\n"*1_000_000 + ROWS + "\n"*1_000_000).encode(), ""),
    "quotes.csv": ((ROWS + "1," + '"'*5_000_001 + ",A\n").encode(), "is never closed"),
    "wide.csv": (("StudentNo,Grade\n" + '"a""b",'*200_000 + "\n").encode(), "more than 20,000"),
    "bomb.csv.gz": (gzip.compress(bytes(200*2**20), 9), "unpacks to more than a table of its size can hold"),
    "latin.csv": ((ROWS + "61,7,").encode() + b"9"*2_000_000 + "é\n".encode("cp1252"), "a grade has at most 100"),
}

@pytest.mark.slow
@pytest.mark.parametrize("name", HUGE)
def test_no_file_takes_more_than_seconds(tmp_path, name):
    content, message = HUGE[name]
    (tmp_path/name).write_bytes(content)
    start = time.process_time()
    try: infer_schema(read_table(tmp_path/name)[0], "Grade")
    except GradeclassError as error: assert message and message in str(error)
    else: assert not message
    assert time.process_time() - start < 10

# Other sources

def test_excel_rows_are_numbered_as_in_the_sheet(tmp_path):
    pd.DataFrame({"StudentID": [1001, None, 1002], "Age": [17, None, 18]}).to_excel(tmp_path/"a.xlsx", index=False)
    assert read_table(tmp_path/"a.xlsx")[0].index.tolist() == [2, 4]

def test_empty_sheet_is_refused(tmp_path):
    pd.DataFrame().to_excel(tmp_path/"a.xlsx", index=False)
    with pytest.raises(DataError, match="holds no table: its sheets are empty"): read_table(tmp_path/"a.xlsx")

def test_parquet_index_with_a_name_is_a_column(tmp_path):
    random_students(3).set_index("StudentID").to_parquet(tmp_path/"a.parquet")
    assert read_table(tmp_path/"a.parquet")[0]["StudentID"].tolist() == [1001, 1002, 1003]

@pytest.mark.parametrize("suffix", [".csv", ".xlsx", ".parquet"])
def test_every_format_gives_the_same_clean_table(tmp_path, suffix):
    tidy = clean(random_students(30), STUDENTS)
    again = load(write_table(tidy, tmp_path/f"a{suffix}"))
    pd.testing.assert_frame_equal(clean(again.frame, STUDENTS).reset_index(drop=True), tidy.reset_index(drop=True))
    assert table_digest(clean(again.frame, STUDENTS)) == table_digest(tidy)

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


NAMED = "Name,Quiz,Hours,Tutor,Grade\nKim Ana,77.4,6,No,C\nKim Bea,60.1,7,Yes,A\nKim Cleo,45.2,6,No,A\n"
LISTED = {
    "a name like a total": (NAMED + "Max von der Berg,43.6,6,No,C\nMin-jun O'Kim,44.6,6,Yes,C\n" + NAMED[28:], 8),
    "a last student with a grade alone": (NAMED + "Zoë van den Berg,,,,C\n", 4),
    "a note with a date": (NAMED.replace("\n", ",Room\n") + "Signed by the head of school,,,2026-05-04,,\n", 3),
    "totals": (NAMED + "Average of class 7B,60.9,6.3,,\nMax,77.4,7,Yes,A\n", 3),
    "groups": (NAMED.replace("Kim Bea", "Class 7B,,,,\nKim Bea"), 3),
    "a first student who was absent": (NAMED.replace("77.4,6", "ABS,ABS"), 3),
    "a first student with words": ("No,Quiz,Hours,Grade\nS01,ill,ill,B\nS02,7,8,A\nS03,7,8,A\n", 3),
    "numbers as names": (NAMED.replace("Quiz,Hours", "1,2").replace("45.2,6", "ABS,ABS"), 3),
    "numbers as names below a title": ("Class 7B\n" + NAMED.replace("Quiz,Hours", "1,2"), 3),
    "two header rows": (NAMED.replace("\n", "\n,points,a week,,\n", 1), 3),
}


@pytest.mark.parametrize("kind", LISTED)
def test_every_student_is_read_and_nothing_else(tmp_path, kind):
    text, number = LISTED[kind]
    (tmp_path/"class.csv").write_text(text)
    table, notes = read_table(tmp_path/"class.csv")
    assert len(table) == number
    assert "Class" not in "".join(table.iloc[:, 0]) and (kind != "groups" or "'Class 7B'" in notes[0])


def test_sheets_that_share_most_columns_are_refused(tmp_path):
    path = tmp_path/"classes.xlsx"
    with pd.ExcelWriter(path) as book:
        for title, more in {"7A": {}, "7B": {"Essay": 5}}.items():
            pd.DataFrame({"No": [1, 2], "Quiz": [3, 4], "Grade": ["A", "B"]} | more).to_excel(book, sheet_name=title, index=False)
    with pytest.raises(DataError, match="2 sheets with the same columns or most of them \\(7B, 7A\\)"): read_table(path)

def test_archive_says_why_it_cannot_be_unpacked_and_a_note_beside_the_table_is_none(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path/"a.zip", "w") as archive:
        archive.writestr("readme.txt", "exported,today\n")
        archive.writestr("marks.csv", "Age,Sports\n17,1\n")
    assert list(read_table(tmp_path/"a.zip")[0]) == ["Age", "Sports"]
    (tmp_path/"b.zip").write_bytes((tmp_path/"a.zip").read_bytes()[:60])
    with pytest.raises(DataError, match="cannot be unpacked: is it damaged"): read_table(tmp_path/"b.zip")
    full = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr("gradeclass.data.files.copy_out", lambda *_: (_ for _ in ()).throw(full))
    with pytest.raises(DataError, match="a.zip cannot be unpacked: No space left"): read_table(tmp_path/"a.zip")

# Workbooks

def save_book(path, rows, change=lambda book: None):
    book = openpyxl.Workbook()
    for row in rows: book.active.append(row)
    change(book)
    book.save(path)
    return path

PUPILS = [["Class", "Pupil", "Grade"], ["7B", 1001, "A"], [None, 1002, "B"], ["7C", 1003, "A"]]

def test_formulas_without_results_are_named(tmp_path):
    path = save_book(tmp_path/"sums.xlsx", [[*PUPILS[0], "Total"], *([*row, "=B2*2"] for row in PUPILS[1:])])
    with pytest.raises(DataError, match="sums.xlsx: Total holds formulas without results: open the file"): read_table(path)

def test_an_empty_column_without_formulas_is_read(tmp_path):
    path = save_book(tmp_path/"blank.xlsx", [[*PUPILS[0], "Note"], *PUPILS[1:]])
    assert "Note" in read_table(path)[0]

def test_a_class_that_spans_its_pupils_holds_for_each(tmp_path):
    path = save_book(tmp_path/"spans.xlsx", PUPILS, lambda book: book.active.merge_cells("A2:A3"))
    table, notes = read_table(path)
    assert table["Class"].tolist() == ["7B", "7B", "7C"]
    assert notes == ["Class: a cell that spans several rows counts for each of them"]

def test_hidden_sheets_are_named_and_not_read(tmp_path):
    def hide(book):
        sheet = book.create_sheet("Old")
        sheet.append(["x"]*9)
        sheet.sheet_state = "hidden"
    table, notes = read_table(save_book(tmp_path/"hidden.xlsx", PUPILS, hide))
    assert list(table) == PUPILS[0] and notes == ["hidden sheets are not read: 'Old'"]
    with pytest.raises(DataError, match="only the hidden sheet 'Old' holds something: unhide it"):
        read_table(save_book(tmp_path/"all_hidden.xlsx", [], hide))


def test_no_row_is_shifted_while_other_threads_silence_warnings():
    "Filters of warnings hold for all threads, so that none may decide what is refused"
    from gradeclass.data.files import parse_rows
    ragged = "3,4,5\n" + "1,2\n"*50
    def refused(_):
        with pytest.raises(DataError): parse_rows(ragged, ",", 2, 0, "students.csv")
    with warnings.catch_warnings(), ThreadPoolExecutor(8) as threads:
        warnings.simplefilter("ignore")
        with pytest.MonkeyPatch.context() as patch: # As where another thread resets the filters at that moment
            patch.setattr(warnings, "catch_warnings", lambda **_: nullcontext())
            patch.setattr(warnings, "simplefilter", lambda *_, **__: None)
            list(threads.map(refused, range(400)))

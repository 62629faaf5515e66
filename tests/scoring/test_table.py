"Scoring a file: no row is lost, none changes its place or its id, and nothing stale stays behind"
import numpy as np
import pandas as pd
import pytest

from gradeclass.data.files import DataError
from gradeclass.data.sources import read_table
from gradeclass.data.synthetic import sample_path
from gradeclass.scoring.table import rejected_path, score_file


@pytest.fixture
def students():
    "Forty students as a school's file has them: ids with leading zeros, row 7 and row 12 impossible"
    table = pd.read_csv(sample_path("students"), dtype=str).head(40)
    table["StudentID"] = [f"{number*37 % 1000:05}" for number in range(40)]
    table.loc[5, "Absences"], table.loc[10, "Tutoring"] = "400", "perhaps"
    return table


@pytest.fixture
def score(model, students, tmp_path):
    "Score a table in some kind of file: predictions and refused rows as files have them"
    def run(table=students, source="class.csv", out="grades.csv", **how):
        source, out = tmp_path/source, tmp_path/out
        write = {".csv": table.to_csv, ".parquet": table.to_parquet, ".xlsx": table.to_excel}[source.suffix]
        write(source, index=False, **how)
        score_file(model, source, out)
        refused = read_table(rejected_path(out))[0] if rejected_path(out).exists() else None
        return read_table(out)[0], refused
    return run


def test_rows_keep_their_order_and_their_ids(score, students):
    graded, _ = score()
    assert graded.StudentID.tolist() == students.StudentID.drop([5, 10]).tolist()
    assert "00000" in graded.StudentID.tolist()


def test_every_row_is_graded_or_refused_with_its_reason(score, students):
    graded, refused = score()
    assert sorted([*graded.StudentID, *refused.StudentID]) == sorted(students.StudentID)
    assert refused.row.tolist() == ["7", "12"]
    assert "400" in refused.reason.iloc[0] and "from 0 to 30" in refused.reason.iloc[0]
    assert "perhaps" in refused.reason.iloc[1] and "0 (No), 1 (Yes)" in refused.reason.iloc[1]


def test_refused_rows_come_back_as_they_were(score, students):
    refused = score()[1]
    assert refused.drop(columns=["row", "reason"]).to_numpy().tolist() == students.loc[[5, 10]].to_numpy().tolist()


def test_corrected_refused_rows_can_be_graded(score, students, model, tmp_path):
    refused = score()[1].assign(Absences="4", Tutoring="0")
    refused.to_csv(tmp_path/"corrected.csv", index=False)
    assert len(score_file(model, tmp_path/"corrected.csv", tmp_path/"more.csv").predictions) == 2


def test_predictions_have_the_documented_columns_and_add_up(score, model):
    graded, _ = score(out="grades.parquet")
    labels = model.schema.grades.labels
    shares = [f"p_{grade}" for grade in labels]
    assert list(graded) == ["StudentID", "grade", "grade_index", *shares, "at_risk"]
    assert np.allclose(graded[shares].sum(axis=1), 1, atol=1e-5)
    assert np.allclose(graded.at_risk, graded.p_F)
    assert graded.grade.tolist() == [labels[position] for position in graded.grade_index]
    assert (graded[shares].to_numpy().argmax(axis=1) == graded.grade_index).all()


@pytest.mark.parametrize("source", ["class.parquet", "class.xlsx"])
def test_kinds_of_input_agree(score, source):
    pd.testing.assert_frame_equal(score()[0].reset_index(drop=True),
                                  score(source=source, out="other.csv")[0].reset_index(drop=True))


def test_kinds_of_output_agree(score):
    text, typed = score()[0], score(out="grades.parquet")[0]
    assert text.StudentID.tolist() == typed.StudentID.tolist() and text.grade.tolist() == typed.grade.tolist()
    for name in typed.columns[2:]: assert np.allclose(text[name].astype(float), typed[name].astype(float), atol=1e-12)


def test_workbook_keeps_ids_as_text(score, students):
    assert score(out="grades.xlsx")[0].StudentID.tolist() == students.StudentID.drop([5, 10]).tolist()


def test_semicolons_latin_letters_and_decimal_commas_change_no_prediction(score, students):
    plain = score()[0]
    foreign = students.assign(StudyTimeWeekly=students.StudyTimeWeekly.str.replace(".", ","), Ort="Köln")
    graded, refused = score(foreign, "klasse.csv", "noten.csv", sep=";", encoding="latin-1")
    pd.testing.assert_frame_equal(plain, graded)
    assert refused.Ort.tolist() == ["Köln", "Köln"]


FORMULAS = ["=1+1", "@SUM(A1)", "+cmd|' /C calc'!A0", "-2+3"]


def test_formulas_are_harmless_in_files_and_come_back_as_they_were(score, students, tmp_path):
    graded, refused = score(students.assign(StudentID=[*FORMULAS, "8", "=2+2", *students.StudentID[6:]]))
    assert graded.StudentID.tolist()[:4] == FORMULAS
    assert refused.StudentID.iloc[0] == "=2+2"
    for name in ("grades.csv", "grades.rejected.csv"):
        cells = pd.read_csv(tmp_path/name, dtype=str).StudentID
        assert not cells.str.match(r"[=@+\-]").any()


def test_stale_refused_rows_are_removed(score, students, tmp_path):
    score()
    assert (tmp_path/"grades.rejected.csv").exists()
    score(students.drop(index=[5, 10]))
    assert not (tmp_path/"grades.rejected.csv").exists()


def test_no_gradable_row_leaves_reasons_and_earlier_predictions(score, students, tmp_path):
    score(students.drop(index=[5, 10]))
    earlier = (tmp_path/"grades.csv").read_bytes()
    with pytest.raises(DataError, match="no row could be graded; row 2: Absences: 400 is out of range"):
        score(students.assign(Absences="400"))
    with pytest.raises(DataError, match="row 2: Absences: 400 .*; missing columns: .*Sports.*; all reasons are in"):
        score(students[["StudentID"]].assign(Absences="400"))
    assert len(read_table(tmp_path/"grades.rejected.csv")[0]) == 40
    assert (tmp_path/"grades.csv").read_bytes() == earlier


def test_refused_rows_never_replace_the_file_that_is_read(score, students, model, tmp_path):
    score()
    rejected = (tmp_path/"grades.rejected.csv").read_bytes()
    for out in ("grades.csv", "grades.xlsx"):
        with pytest.raises(DataError, match="would put its refused rows there"):
            score_file(model, tmp_path/"grades.rejected.csv", tmp_path/out)
    assert (tmp_path/"grades.rejected.csv").read_bytes() == rejected


def test_hard_link_to_the_input_is_the_input(model, students, tmp_path):
    students.to_csv(tmp_path/"class.csv", index=False)
    (tmp_path/"same.csv").hardlink_to(tmp_path/"class.csv")
    with pytest.raises(DataError, match="is the file that is read"):
        score_file(model, tmp_path/"class.csv", tmp_path/"same.csv")


def test_missing_columns_are_unknown_for_every_student_and_noted(model, students, tmp_path):
    students[["StudentID", "Absences"]].drop(index=5).to_csv(tmp_path/"few.csv", index=False)
    scored = score_file(model, tmp_path/"few.csv", tmp_path/"grades.csv")
    assert len(scored.predictions) == 39
    assert any("StudyTimeWeekly" in finding.message and "unknown for every student" in finding.message
               for finding in scored.findings)


def test_rows_do_not_depend_on_their_neighbours(score, students):
    whole = score()[0]
    alone = score(students.iloc[[20]], out="one.csv")[0]
    assert whole[whole.StudentID == students.StudentID[20]].to_numpy().tolist() == alone.to_numpy().tolist()

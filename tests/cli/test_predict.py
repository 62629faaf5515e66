"`gradeclass predict`: which model, which rows, and how quickly"
import pandas as pd
import pytest

from cli_helpers import check_predictions
from gradeclass.data.sources import read_table
from gradeclass.data.synthetic import sample_path


@pytest.mark.process
@pytest.mark.slow
def test_predict_without_a_bundle_takes_the_newest_run(sample_run, ask, monkeypatch):
    monkeypatch.setenv("GRADECLASS_OUTPUTS", str(sample_run[0]/"outputs"))
    code, printed, _ = ask("predict", sample_path("students"), "-o", "grades.parquet")
    assert (code, printed) == (0, "1,000 students graded in grades.parquet\n")


def test_predict_names_refused_rows_and_grades_the_others(ask, trained):
    table = pd.read_csv(sample_path("students"), dtype=str).head(30)
    table.loc[3, "Absences"] = "-4"
    table.to_csv("class.csv", index=False)
    code, printed, said = ask("predict", "class.csv", "-o", "grades.csv", "--model", trained)
    assert (code, printed) == (0, "29 students graded in grades.csv\n")
    assert "refused: 1 of 30 rows, with reasons in grades.rejected.csv" in said
    check_predictions(read_table("grades.csv")[0], table.drop(index=3), "StudentID", ["A", "B", "C", "D", "F"])
    refused = read_table("grades.rejected.csv")[0]
    assert refused.row.tolist() == ["5"] and "Absences: -4 is out of range" in refused.reason.iloc[0]


def test_scheduler_with_one_csv_file_is_refused_before_it_is_asked(ask, trained):
    words = "-o", "x.csv", "--model", trained, "--scheduler", "tcp://127.0.0.1:1"
    code, printed, said = ask("predict", sample_path("students"), *words)
    assert (code, printed) == (1, "") and "is one file, and no Parquet file" in said
    assert said.endswith("leave out --scheduler\n")

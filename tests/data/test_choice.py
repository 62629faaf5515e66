"Which table a run takes, and which it refuses at once"
import pandas as pd
import pytest

from gradeclass.config import GradeclassError
from gradeclass.data.choice import MOST_ROWS, choose_data


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize("more", [0, 1])
def test_table_that_a_run_would_not_finish_is_refused_at_once_with_the_command_that_takes_it(tmp_path, suffix, more):
    path = tmp_path/f"all{suffix}"
    rows = MOST_ROWS + more
    if suffix == ".csv": path.write_bytes(b"Hours,Grade" + b"\n7,A"*rows)
    else: pd.DataFrame({"Hours": 7, "Grade": "A"}, index=range(rows)).to_parquet(path, index=False)
    if not more: assert choose_data(str(path), "", tmp_path) == str(path)
    if more:
        with pytest.raises(GradeclassError, match=f"about 1,000,001 rows.*gradeclass train-large all{suffix} -o FOLDER"):
            choose_data(str(path), "", tmp_path)


def test_table_in_raw_is_counted_too_and_a_damaged_one_is_left_to_whoever_reads_it(tmp_path):
    (tmp_path/"data"/"raw").mkdir(parents=True)
    (tmp_path/"data"/"raw"/"all.csv").write_bytes(b"Hours,Grade" + b"\n7,A"*(MOST_ROWS + 1))
    with pytest.raises(GradeclassError, match="train-large all.csv"): choose_data("", "students", tmp_path)
    (tmp_path/"bad.parquet").write_bytes(b"PAR1 and nothing more")
    assert choose_data(str(tmp_path/"bad.parquet"), "", tmp_path) == str(tmp_path/"bad.parquet")


def test_line_breaks_in_cells_are_no_rows(tmp_path):
    table = tmp_path/"remarks.csv"
    table.write_text("Hours,Remark,Grade\n" + '3,"late\nand\nabsent",B\n'*400_000)
    assert choose_data(str(table), "students", tmp_path) == str(table)

"Scoring in batches gives what scoring a whole table gives, in bounded memory, and survives what breaks off"
import os
import subprocess
import sys
import threading

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dask_processes import dask_processes, wait_for

from gradeclass.scoring import batches, folders, opening
from gradeclass.data.files import DataError
from gradeclass.data.sources import read_table
from gradeclass.models.bundle import load_model, save_model
from gradeclass.data.synthetic import sample_path, synthesise, synthesise_file, to_codes
from gradeclass.scoring.table import score_file


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    "Many batches of few rows"
    monkeypatch.setattr(opening, "BATCH", 64)
    monkeypatch.setattr(opening, "BLOCK", 2_000)


@pytest.fixture
def students():
    return pd.read_csv(sample_path("students"), dtype=str).head(400)


@pytest.fixture
def messy(students):
    "Every kind of cell that a file may hold, spread over the rows"
    rng, cells = np.random.default_rng(1), students.astype(object)
    oddities = {"Absences": ["400", "-1", "2.5", "many", "", " 7 ", "NA", "1e1", "inf", "nan", "+3", "1_0", "3,0"],
                "Tutoring": ["perhaps", "yes", "TRUE", "1.0", "", "0 "],
                "StudyTimeWeekly": ["12,5", "21", "-", "1e-3", ".5", "5."],
                "ParentalEducation": ["Bachelor's", "9", "none", " high  school"],
                "Gender": ["2", "female", ""],
                "StudentID": ["007", "8.0", "", "=1+1", "-2+3", "'=x", "a,b", 'say "x"', "line\nbreak"],
                "GPA": ["x", "99"]}
    for name, odd in oddities.items():
        places = rng.choice(len(cells), 5*len(odd), replace=False)
        cells.loc[places, name] = np.tile(odd, 5)
    cells["Home town"] = rng.choice(["Köln", "=cmd", "", "Oslo"], len(cells))
    return cells


def in_order(refused):
    "Refused rows with each row's reasons in order of the alphabet"
    return refused.assign(reason=["; ".join(sorted(reason.split("; "))) for reason in refused.reason])


@pytest.fixture
def both(model, tmp_path):
    "Grade a file both ways: what is in the files that come out"
    def run(source, kind=".csv"):
        found = []
        for how in ("whole", "stream"):
            out, rejected = tmp_path/f"{how}{kind}", tmp_path/f"{how}.rejected.csv"
            if how == "whole": score_file(model, source, out)
            else: batches.stream_table(model, source, out, rejected)
            found += [read_table(out)[0], in_order(read_table(rejected)[0]) if rejected.exists() else pd.DataFrame()]
        for pair in (found[::2], found[1::2]):
            pd.testing.assert_frame_equal(*(table.reset_index(drop=True) for table in pair))
        return found[1]
    return run


@pytest.mark.slow
@pytest.mark.parametrize("kind", [".csv", ".parquet"])
def test_messy_csv_is_graded_and_refused_as_in_a_small_file(both, messy, tmp_path, kind):
    messy.to_csv(tmp_path/"class.csv", index=False)
    assert len(both(tmp_path/"class.csv", kind)) > 40


def test_messy_parquet_is_graded_and_refused_as_in_a_small_file(both, messy, tmp_path):
    messy.to_parquet(tmp_path/"class.parquet", row_group_size=150)
    assert len(both(tmp_path/"class.parquet")) > 40


TYPED = {"Absences": "Int8", "Tutoring": bool, "Sports": "float32", "Music": "category", "StudentID": "int64"}


def test_typed_parquet_is_read_like_text(both, students, tmp_path):
    numbers = {name: students[name].astype(float) for name in ("Absences", "Sports", "StudentID")}
    typed = students.assign(**numbers, Tutoring=students.Tutoring == "1").astype(TYPED)
    typed.loc[[5, 300], "Absences"] = pd.NA
    typed.to_parquet(tmp_path/"class.parquet")
    both(tmp_path/"class.parquet")


FORMS = {
    "semicolons, decimal commas, latin letters": {"sep": ";", "encoding": "latin-1"},
    "tabs, byte-order mark": {"sep": "\t", "encoding": "utf-8-sig"},
    "all quoted, windows lines": {"quoting": 1, "lineterminator": "\r\n"},
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_csv_agree(both, messy, tmp_path, form):
    table = messy.assign(StudyTimeWeekly=messy.StudyTimeWeekly.str.replace(
        ".", ",")) if FORMS[form].get("sep") == ";" else messy
    table.to_csv(tmp_path/"class.csv", index=False, **FORMS[form])
    assert len(both(tmp_path/"class.csv")) > 40


def test_blank_lines_and_short_rows_keep_the_numbers_of_rows(both, students, tmp_path):
    students.loc[[50, 350], "Absences"] = "400"
    lines = students.to_csv(index=False).splitlines()
    lines[10:10], lines[200] = ["", ""], lines[200].rsplit(",", 4)[0]
    (tmp_path/"class.csv").write_text("\n\n" + "\n".join(lines) + "\n\n\n")
    assert both(tmp_path/"class.csv").row.tolist() == ["56", "356"]


def test_long_row_is_refused_as_a_mistake_of_the_file(model, students, tmp_path):
    lines = students.to_csv(index=False).splitlines()
    lines[300] += ",1,2"
    (tmp_path/"class.csv").write_text("\n".join(lines))
    with pytest.raises(DataError, match="17 fields where the header has 15"):
        batches.stream_table(model, tmp_path/"class.csv", tmp_path/"g.csv", tmp_path/"r.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["class.csv"]


def test_findings_count_all_batches(model, students, tmp_path):
    students.loc[[5, 390], "Absences"] = "400"
    students.loc[7, "Tutoring"] = "perhaps"
    students.loc[[1, 399], "Music"] = ""
    students.drop(columns="Sports").to_csv(tmp_path/"class.csv", index=False)
    words = "\n".join(batches.stream_table(model, tmp_path/"class.csv", tmp_path/"g.csv", tmp_path/"r.csv").messages())
    assert "Absences: 400 is out of range (2 rows, first row 7)" in words
    assert "Tutoring: perhaps is not an answer that the schema knows (1 row, first row 9)" in words
    assert "missing column: Sports" in words and "Music (2 rows)" in words


def test_no_gradable_row_leaves_reasons_and_earlier_predictions(model, students, tmp_path):
    students.assign(Absences="400").to_csv(tmp_path/"class.csv", index=False)
    (tmp_path/"g.csv").write_text("earlier")
    with pytest.raises(DataError, match="no row could be graded; row 2: Absences: 400 is out of range"):
        batches.stream_table(model, tmp_path/"class.csv", tmp_path/"g.csv", tmp_path/"r.csv")
    students[["StudentID"]].assign(Absences="400").to_csv(tmp_path/"class.csv", index=False)
    with pytest.raises(DataError, match="; missing columns: .*Sports.*; all reasons are in"):
        batches.stream_table(model, tmp_path/"class.csv", tmp_path/"g.csv", tmp_path/"r.csv")
    assert (tmp_path/"g.csv").read_text() == "earlier"
    assert len(read_table(tmp_path/"r.csv")[0]) == 400


def test_other_families_agree_with_the_whole_table(students, both, tmp_path):
    frame = synthesise("students", 600)
    from gradeclass.models.grade_model import GradeModel
    from gradeclass.schema import load_schema
    for family, params in (("logistic", {}), ("ordinal", {"members": ["linear", "forest"]}), ("stack", {})):
        model = GradeModel(load_schema("students"), family, audit=True, rule="macro_f1", params=params).fit(frame)
        students.to_csv(tmp_path/"class.csv", index=False)
        score_file(model, tmp_path/"class.csv", tmp_path/"a.parquet")
        batches.stream_table(model, tmp_path/"class.csv", tmp_path/"b.parquet", tmp_path/"r.csv")
        pd.testing.assert_frame_equal(pd.read_parquet(tmp_path/"a.parquet"), pd.read_parquet(tmp_path/"b.parquet"),
                                      rtol=1e-9)


@pytest.mark.parametrize("family", ["xgboost", "ordinal"])
def test_a_batch_without_a_usable_row_is_answered(students, family):
    from gradeclass.models.grade_model import GradeModel
    from gradeclass.schema import load_schema
    from gradeclass.scoring.answer import Predictor
    from gradeclass.data.dataset import clean
    schema = load_schema("students")
    predictor = Predictor(GradeModel(schema, family).fit(clean(synthesise(schema, 300), schema)))
    said = predictor(np.empty((0, len(predictor.inputs))))
    assert said.probability.shape == (0, 5) and said.grade.shape == said.risk.shape == said.unsure.shape == (0,)


def test_batches_ahead_are_few():
    drawn = []
    items = (drawn.append(item) or item for item in range(1_000))
    results = batches.in_order(lambda item: item, items, 3)
    assert [next(results) for _ in range(10)] == list(range(10))
    assert len(drawn) <= 10 + 2*3 + 1
    results.close()


MEASURE = """
import resource, sys
from gradeclass.scoring.score import score
summary = score(*sys.argv[1:4])
print(summary.graded, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss//1024)
"""


@pytest.mark.process
@pytest.mark.slow
def test_memory_does_not_grow_with_the_table(trained, tmp_path):
    part = pa.Table.from_pandas(to_codes(synthesise("students", 50_000), load_model(trained).schema),
                                preserve_index=False)
    used = {}
    for times in (8, 40):
        with pq.ParquetWriter(tmp_path/"big.parquet", part.schema) as writer:
            for _ in range(times): writer.write_table(part)
        command = [sys.executable, "-c", MEASURE, trained, tmp_path/"big.parquet", tmp_path/"g.parquet"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        graded, used[times] = map(int, done.stdout.split())
        assert graded == times*50_000
    assert used[40] < used[8] + 80


@pytest.fixture
def year(tmp_path):
    "Six files of students in two folders"
    for number in range(6):
        folder = tmp_path/"year"/("north" if number % 2 else "south")
        folder.mkdir(parents=True, exist_ok=True)
        synthesise_file("students", 3_000, folder/f"school{number}.parquet", seed=number)
    return tmp_path/"year"


def graded(folder):
    "All predictions of a folder, file by file"
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*.parquet"))}


def test_folder_goes_on_where_it_was_killed(trained, year, tmp_path, monkeypatch):
    whole = folders.stream_folder(trained, year, tmp_path/"all").graded
    real, calls = batches.stream_table, []
    def dies(*args, **more):
        calls.append(args)
        if len(calls) == 3: raise KeyboardInterrupt
        return real(*args, **more)
    monkeypatch.setattr(folders, "stream_table", dies)
    with pytest.raises(KeyboardInterrupt): folders.stream_folder(trained, year, tmp_path/"some")
    assert len(graded(tmp_path/"some")) == 2
    assert folders.stream_folder(trained, year, tmp_path/"some").graded == whole == 18_000
    assert len(calls) == 3 + 4
    assert graded(tmp_path/"some") == graded(tmp_path/"all")


def test_damaged_file_stops_no_other(trained, year, tmp_path):
    (year/"north"/"school1.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(DataError,
                       match="1 piece of 6 could not be graded.*north/school1.parquet.*is not a Parquet file"):
        folders.stream_folder(trained, year, tmp_path/"out")
    assert len(graded(tmp_path/"out")) == 5


def test_other_model_grades_anew(trained, year, tmp_path, model):
    folders.stream_folder(trained, year, tmp_path/"out")
    before = graded(tmp_path/"out")
    from gradeclass.models.grade_model import GradeModel
    save_model(GradeModel(model.schema, "majority").fit(synthesise("students", 200)), tmp_path/"other")
    folders.stream_folder(tmp_path/"other", year, tmp_path/"out")
    assert not any(before[name] == content for name, content in graded(tmp_path/"out").items())


def test_one_large_file_is_cut_into_pieces(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "PIECE", 1_000)
    frame = to_codes(synthesise("students", 3_000), load_model(trained).schema)
    frame.iloc[[10, 2_500], frame.columns.get_loc("Absences")] = 99
    frame.to_parquet(tmp_path/"big.parquet", row_group_size=600, index=False)
    summary = folders.stream_folder(trained, tmp_path/"big.parquet", tmp_path/"out")
    assert (summary.graded, summary.refused, len(graded(tmp_path/"out"))) == (2_998, 2, 3)
    rows = [read_table(path)[0].row.tolist() for path in sorted((tmp_path/"out"/"_rejected").iterdir())]
    assert rows == [["11"], ["2501"]]


def test_object_store_holds_both_ends(trained, year, tmp_path):
    import fsspec
    fsspec.filesystem("memory").put(str(year), "/source", recursive=True)
    assert folders.stream_folder(trained, "memory://source", "memory://target").graded == 18_000
    folders.stream_folder(trained, year, f"file://{tmp_path}/out")
    with fsspec.open("memory://target/north/school1.parquet") as file:
        assert file.read() == (tmp_path/"out"/"north"/"school1.parquet").read_bytes()
    assert not [name for name in fsspec.filesystem("memory").find("/target") if name.endswith(".part")]


def test_command_line_grades_a_folder_and_says_so(trained, year, tmp_path):
    command = [sys.executable, "-c", "from gradeclass.cli.main import main; main()", "predict", str(year), "-o",
               str(tmp_path/"out"), "--model", str(trained)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ)
    assert done.stdout == f"18,000 students graded in {tmp_path}/out\n"


@pytest.mark.process
@pytest.mark.slow
def test_cluster_survives_the_death_of_a_worker(trained, year, tmp_path):
    folders.stream_folder(trained, year, tmp_path/"here")
    with dask_processes(tmp_path) as cluster:
        killer = threading.Thread(target=lambda: (wait_for((tmp_path/"there"/"_done").exists), cluster.kill_worker()))
        killer.start()
        summary = folders.stream_folder(trained, year, tmp_path/"there", cluster.address)
        killer.join()
        assert cluster.workers[0].returncode == -9
    assert summary.graded == 18_000
    assert list(graded(tmp_path/"there")) == list(graded(tmp_path/"here"))
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path/"there"), pd.read_parquet(tmp_path/"here"))
    assert not list((tmp_path/"there").rglob("*.part"))

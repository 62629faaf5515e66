"Which table a run takes when nobody names one"
import csv
import gzip
import zipfile
from pathlib import Path

import pytest

from gradeclass.config import GradeclassError
from gradeclass.data.add import add_file
from gradeclass.data.files import READERS, WRITERS, DataError, tables_in, write_table
from gradeclass.data.choice import choose_data, choose_schema
from gradeclass.data.sources import load
from gradeclass.data.synthetic import sample_path, synthesise, to_codes
from gradeclass.pages.upload import KINDS
from gradeclass.schema import load_schema, schema_yaml

SCHEMA = load_schema("students")
WRITTEN = {".pq": ".parquet", ".xlsm": ".xlsx", ".xls": ".xlsx"} | dict.fromkeys([".ods", ".tsv", ".txt", ".gz", ".zip"], ".csv")
OFFICE = "urn:oasis:names:tc:opendocument:xmlns"
MANIFEST = f'<manifest:manifest xmlns:manifest="{OFFICE}:manifest:1.0"/>'
CONTENT = (f'<office:document-content xmlns:office="{OFFICE}:office:1.0" xmlns:table="{OFFICE}:table:1.0" xmlns:text="{OFFICE}:text:1.0">'
           '<office:body><office:spreadsheet><table:table table:name="Grades">{}</table:table></office:spreadsheet></office:body>'
           '</office:document-content>')

@pytest.fixture
def home(tmp_path, monkeypatch):
    "An empty home folder with data/raw/"
    monkeypatch.setenv("GRADECLASS_HOME", str(tmp_path))
    (tmp_path/"data"/"raw").mkdir(parents=True)
    return tmp_path

def put(folder, kind, name="june"):
    "A table of students of any kind that can be read"
    written = write_table(to_codes(synthesise("students", 60), SCHEMA), folder/f"{name}{WRITTEN.get(kind, kind)}")
    packed = written.rename(folder/f"{name}{kind}")
    if kind == ".gz": packed.write_bytes(gzip.compress(packed.read_bytes()))
    if kind == ".zip": pack(packed, {"june.csv": packed.read_text()})
    if kind == ".ods":
        cell = '<table:table-cell office:value-type="string"><text:p>{}</text:p></table:table-cell>'
        rows = [f"<table:table-row>{''.join(map(cell.format, row))}</table:table-row>" for row in csv.reader(packed.read_text().splitlines())]
        pack(packed, {"mimetype": "application/vnd.oasis.opendocument.spreadsheet", "META-INF/manifest.xml": MANIFEST,
                      "content.xml": CONTENT.format("".join(rows))})
    return packed

def pack(path, files):
    "Write an archive"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items(): archive.writestr(name, text)

@pytest.mark.parametrize("kind", [*READERS, ".XLSM", ".Pq"])
def test_every_kind_that_can_be_read_counts_in_raw(home, kind):
    path = put(home/"data"/"raw", kind.lower()).rename(home/"data"/"raw"/f"june{kind}")
    assert choose_data("", "", home) == str(path)
    assert len(load(path, "students").frame) == 60

@pytest.mark.slow
@pytest.mark.parametrize("kind", READERS)
def test_every_kind_that_can_be_read_starts_a_store(home, kind):
    put(home/"data"/"raw", kind)
    new = to_codes(synthesise("students", 70).iloc[60:], SCHEMA)
    assert [version.rows for version in add_file(write_table(new, home/"new.csv")).store.versions] == [60, 10]

def test_sample_is_taken_only_where_raw_is_empty(home):
    for name in (".gitkeep", "README.md"): (home/"data"/"raw"/name).touch()
    assert choose_data("", "", home) == str(sample_path("students")) == choose_data("sample", "", home)

@pytest.mark.parametrize("name", ["june.pdf", "june.json", "june.numbers", "june", "june.rejected.csv"])
def test_file_that_cannot_be_read_is_named(home, name):
    (home/"data"/"raw"/name).touch()
    said = rf"holds no table that can be read \({name}\): save it as one of .csv, .*, .zip, or choose"
    with pytest.raises(DataError, match=said): choose_data("", "", home)

def test_several_tables_are_named(home):
    for kind in (".csv", ".xlsm", ".pq"): put(home/"data"/"raw", kind)
    with pytest.raises(DataError, match=r"holds 3 tables \(june.csv, june.pq and june.xlsm\): choose one with --data"):
        choose_data("", "", home)
    known = put(home/"data"/"raw", ".csv", Path(SCHEMA.source.files[0]).stem)
    assert choose_data("", "", home) == str(known)

def test_locks_hidden_files_and_refused_rows_are_no_tables(tmp_path):
    for name in ("~$june.xlsx", ".june.csv", "june.rejected.csv", "june.pdf", "june.csv"): (tmp_path/name).touch()
    assert [path.name for path in tables_in(tmp_path)] == ["june.csv"]

def test_pages_take_every_kind_that_needs_no_pyarrow():
    assert set(KINDS) == READERS.keys() - {".parquet", ".pq"}
    assert set(WRITERS) <= set(READERS)

def test_named_file_must_be_there(home):
    with pytest.raises(DataError, match="no file absent.csv: give a CSV, Parquet or Excel file"):
        choose_data("absent.csv", "", home)
    with pytest.raises(DataError, match="is a folder"): choose_data(str(home), "", home)

def test_schema_in_the_home_folder_is_found_from_elsewhere(home, tmp_path_factory, monkeypatch):
    (home/"own.yaml").write_text(schema_yaml(SCHEMA))
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert choose_schema("own.yaml") == str(home/"own.yaml") and choose_schema("students") == "students"
    with pytest.raises(GradeclassError, match="no schema pupils"): choose_schema("pupils")

"A visitor's file in memory: nothing of it on a disk, nothing too large, no sheet lost"
import io
import os
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import pandas as pd
import pytest

from gradeclass.config import GradeclassError
from gradeclass.data.synthetic import sample_path
from gradeclass.pages.upload import read_file
from gradeclass.schema import load_schema
from pages_helpers import choose_file

SCHEMA = load_schema("students")
MARK = "Zyxwvut"  # Nobody is called that


def class_of(n):
    "A class file with a mark in each row"
    frame = pd.read_csv(sample_path("students")).head(1000)
    frame = pd.concat([frame]*(n//1000 + 1)).head(n)
    return frame.assign(Name=[f"{MARK}{place}" for place in range(n)])


def as_book(sheets):
    book = io.BytesIO()
    with pd.ExcelWriter(book) as writer:
        for title, frame in sheets.items(): frame.to_excel(writer, sheet_name=title, index=False)
    return book.getvalue()


def left_on_disk(folder, since, but):
    "Files of a folder that hold the mark, or are called as the upload is"
    found = []
    paths = [Path(root, name) for root, _, names in os.walk(folder) for name in names] # Folders may vanish meanwhile
    for path in paths:
        try:
            if but in path.parents or not path.is_file() or path.stat().st_mtime < since: continue
            if MARK.encode() in path.read_bytes() or "marked" in path.name: found.append(path)
        except OSError: pass
    return found


@pytest.mark.process
@pytest.mark.parametrize("kind", ["csv", "xlsx", "zip"])
def test_process_killed_while_it_reads_leaves_nothing(kind, tmp_path):
    frame, source, temporary = class_of(20_000), tmp_path/f"marked.{kind}", tmp_path/"temporary"
    temporary.mkdir()
    if kind == "csv": frame.to_csv(source, index=False)
    elif kind == "xlsx": source.write_bytes(as_book({"10A": frame.head(4000)}))
    else:
        with zipfile.ZipFile(source, "w", zipfile.ZIP_DEFLATED) as packed:
            packed.writestr("marked.csv", frame.to_csv(index=False))
    code = ("import sys; from pathlib import Path; from gradeclass.pages.upload import read_file; "
            "from gradeclass.schema import load_schema; path = Path(sys.argv[1]); content = path.read_bytes(); "
            "schema = load_schema('students'); print('ready', flush=True)\n"
            "while True: read_file(path.name, content, schema); print('read', flush=True)")
    seen = set()
    for wait in (0.01, 0.05, 0.15, 0.4):
        process = subprocess.Popen([sys.executable, "-c", code, source], stdout=subprocess.PIPE, text=True,
                                   env=os.environ | {"TMPDIR": str(temporary)})
        assert process.stdout.readline() == "ready\n"
        until = time.monotonic() + wait
        while time.monotonic() < until: seen |= set(temporary.rglob("*"))
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not list(temporary.rglob("*"))
    assert not seen


@pytest.mark.browser
@pytest.mark.process
@pytest.mark.slow
def test_kernel_killed_during_an_upload_leaves_nothing_of_the_visitor(visit, server, tmp_path):
    class_of(60_000).to_csv(tmp_path/"marked.csv", index=False)
    since = time.time()
    for wait in (0.05, 0.3, 0.8, 2):
        page = visit("class")
        choose_file(page, tmp_path/"marked.csv")
        page.wait_for_timeout(1000*wait)
        server.kernel(page).kill()
        assert not left_on_disk(tempfile.gettempdir(), since, tmp_path)
        page.close()
    assert not left_on_disk(server.outputs.parent, since, tmp_path)


def test_without_files_in_memory_a_folder_is_emptied(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "memfd_create")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert len(read_file("class.csv", class_of(30).to_csv(index=False).encode(), SCHEMA).frame) == 30
    assert not list(tmp_path.iterdir())


def rewrite(book, part, content):
    "A workbook with one part replaced"
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(book)) as old, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist(): new.writestr(name, content if name == part else old.read(name))
    return made.getvalue()


MAIN = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
BOMBS = {"many cells": "<row>" + "<c><v>1</v></c>"*50 + "</row>",
         "far corner": '<row r="1"><c r="A1"><v>1</v></c></row><row r="1048576"><c r="XFD1048576"><v>1</v></c></row>'}


@pytest.mark.parametrize("kind", BOMBS)
def test_workbook_that_unfolds_to_millions_of_cells_is_refused_in_seconds(kind):
    rows = BOMBS[kind]*(300_000 if kind == "many cells" else 1)
    sheet = "worksheet"
    book = rewrite(as_book({"10A": class_of(3)}), f"xl/{sheet}s/sheet1.xml",
                   f"<{sheet} {MAIN}><sheetData>{rows}</sheetData></{sheet}>")
    started = time.perf_counter()
    with pytest.raises(GradeclassError, match="bomb.xlsx has a sheet of more than 2,500,000 cells"):
        read_file("bomb.xlsx", book, SCHEMA)
    assert time.perf_counter() - started < 30


def test_rows_that_stand_for_many_are_counted():
    names = " ".join(f'xmlns:{short}="urn:oasis:names:tc:opendocument:xmlns:{short}:1.0"'
                     for short in ("office", "table", "text"))
    cell = '<table:table-cell office:value-type="float" office:value="1" table:number-columns-repeated="1000"/>'
    rows = f'<table:table-row table:number-rows-repeated="1000000">{cell}</table:table-row>'
    book = io.BytesIO()
    with zipfile.ZipFile(book, "w") as packed:
        packed.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        packed.writestr("content.xml", f"<office:document-content {names}><office:body><office:spreadsheet><table:table>"
                        f"{rows}</table:table></office:spreadsheet></office:body></office:document-content>")
    with pytest.raises(GradeclassError, match="more than 2,500,000 cells"): read_file("bomb.ods", book.getvalue(), SCHEMA)


def test_students_on_several_sheets_are_read_together_or_by_choice():
    frame = class_of(30)
    book = as_book({"Cover": pd.DataFrame({"Made in": ["May"]}), "10A": frame.head(14),
                    "10B": frame.tail(16).rename(columns={"Absences": "absences"})})
    both = read_file("year 10.xlsx", book, SCHEMA)
    assert both.sheets == ["10A", "10B"] and both.frame.Sheet.value_counts().to_dict() == {"10A": 14, "10B": 16}
    assert both.frame.index.is_unique and both.dataset(SCHEMA).frame.Absences.notna().all()
    assert read_file("year 10.xlsx", book, SCHEMA, "10B").frame.Name.tolist() == frame.tail(16).Name.tolist()
    with pytest.raises(GradeclassError, match="no sheet '10C'"): read_file("year 10.xlsx", book, SCHEMA, "10C")


def test_errors_that_nobody_foresaw_keep_no_cell(tmp_path, monkeypatch):
    from gradeclass.pages import upload
    monkeypatch.setenv("GRADECLASS_OUTPUTS", str(tmp_path))
    def fail(*_): raise ValueError(f"could not convert {MARK}")
    monkeypatch.setattr(upload, "read_table", fail)
    with pytest.raises(GradeclassError, match="class.csv cannot be read, and it is not your mistake"):
        read_file("class.csv", b"a,b\n1,2\n", SCHEMA)
    log = (tmp_path/"app"/"errors.log").read_text()
    assert "ValueError" in log and MARK not in log and "in fail" in log

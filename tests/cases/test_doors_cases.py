"A table gets the same answer however it is written and whichever way it comes in: Python, command, service, page"
import gzip
import io
import json
import zipfile
from xml.sax.saxutils import escape

import openpyxl
import pandas as pd
import pytest
from doors_helpers import DOORS, make_class

from gradeclass.config import GradeclassError
from gradeclass.data.dataset import make_dataset
from gradeclass.data.sources import read_table
from gradeclass.data.validation import validate
from gradeclass.models.bundle import load_model
from gradeclass.pages.class_model import ClassModel
from gradeclass.scoring import opening
from gradeclass.scoring.answer import open_bundle
from gradeclass.scoring.batches import stream_table
from gradeclass.scoring.score import score
from gradeclass.scoring.table import score_table
from service_helpers import running_here

pytestmark = pytest.mark.process
CLASS = make_class(60, seed=2).drop(columns="Note")


def as_rows(table):
    "A header and the students, as texts"
    return [list(table.columns), *([str(cell) for cell in row] for row in table.itertuples(index=False))]


def as_text(rows, separator=",", end="\n"):
    "Rows as lines; cells that hold the separator are quoted"
    quote = lambda cell: f'"{cell}"' if separator in cell else cell
    return end.join(separator.join(map(quote, row)) for row in rows) + end


def with_numbers(change, table=CLASS):
    "The rows, their hours and points written in another way"
    return as_rows(table.assign(Stunden=[change(hours) for hours in table.Stunden],
                                Punkte=[change(points) for points in table.Punkte]))


def grouped(thousands, decimal):
    "How to write a number with separators of thousands"
    return lambda number: f"{number:,}".replace(",", "\0").replace(".", decimal).replace("\0", thousands)


def book(sheets):
    "Bytes of a workbook: title -> rows"
    made, out = openpyxl.Workbook(), io.BytesIO()
    made.remove(made.active)
    for title, rows in sheets.items():
        sheet = made.create_sheet(title)
        for row in rows: sheet.append(row)
    made.save(out)
    return out.getvalue()


def typed(rows):
    "Numbers of the students as a workbook holds them; student numbers stay texts"
    return [rows[0], *([row[0], float(row[1]), int(row[2]), *row[3:]] for row in rows[1:])]


def open_document(rows):
    "Bytes of an OpenDocument table"
    name = "urn:oasis:names:tc:opendocument:xmlns"
    cell = lambda text: f'<table:table-cell office:value-type="string"><text:p>{escape(text)}</text:p></table:table-cell>'
    lines = "".join(f"<table:table-row>{''.join(map(cell, row))}</table:table-row>" for row in rows)
    content = (f'<?xml version="1.0"?><office:document-content xmlns:office="{name}:office:1.0" xmlns:table="{name}:table:1.0" '
               f'xmlns:text="{name}:text:1.0" office:version="1.2"><office:body><office:spreadsheet>'
               f'<table:table table:name="Klasse">{lines}</table:table></office:spreadsheet></office:body>'
               '</office:document-content>')
    return packed({"mimetype": "application/vnd.oasis.opendocument.spreadsheet", "content.xml": content,
                   "META-INF/manifest.xml": f'<manifest:manifest xmlns:manifest="{name}:manifest:1.0"/>'})


def packed(files):
    "Bytes of a .zip file: name -> content"
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in files.items(): archive.writestr(name, content)
    return out.getvalue()


ROWS, PLAIN = as_rows(CLASS), as_text(as_rows(CLASS))
GERMAN = with_numbers(grouped("", ","))
TWO_HEADERS = [["Wer", "Leistung", "", "Hilfe"], ["Schülernr", "Stunden", "Punkte", "Förderung"]]
WAYS = {
    "separator": [as_text(ROWS, sign) for sign in (";", "\t", "|")],
    "encoding": [PLAIN.encode(name) for name in ("utf-16", "cp1252", "mac_roman", "utf-8-sig")],
    "title rows": ["Klasse 7B\n" + PLAIN, "Klasse 7B, Frühjahr,,\n\n" + PLAIN, "Notenliste\nStand: März\n" + PLAIN],
    "totals below": [PLAIN + "Durchschnitt,20.5,12000,\n", PLAIN + "\n60 Schüler,,,\n", PLAIN + "Total,1230,720000,\nAverage,20.5,12000,\n"],
    "header again": [as_text([*ROWS[:30], ROWS[0], *ROWS[30:]]), as_text([*ROWS, ROWS[0]])],
    "thousands": [as_text(with_numbers(grouped(",", "."))), as_text(with_numbers(grouped(".", ",")), ";"),
                  as_text(with_numbers(grouped(" ", ",")), ";"), as_text(with_numbers(grouped("'", ".")))],
    "decimal comma": [as_text(GERMAN, ";"), as_text(GERMAN, "\t"), as_text(GERMAN)],
    "percent": [as_text(as_rows(CLASS.assign(Stunden=[f"{hours}{unit}" for hours in CLASS.Stunden]))) for unit in ("%", " %", " h")],
    "signs beside numbers": [as_text(as_rows(CLASS.assign(Stunden=[text.format(hours) if row % 4 == 1 else hours for row, hours in enumerate(CLASS.Stunden)])))
                             for text in ("{}*", "{} (krank)", "~{}", "{}†", "{} L", "{}?", "{}¹")],
    "yes and no": [as_text([[*row[:3], cell] for row, cell in zip(ROWS, [ROWS[0][3], *(words[row[3] == "ja"] for row in ROWS[1:])], strict=True)])
                   for words in (("N", "Y"), ("no", " YES "), ("0", "1"), ("FALSE", "TRUE"), ("non", "x"), ("0.0", "1.0"), ("Nein", "JA"))],
    "sep line": [f"sep={sign}\n" + as_text(ROWS, sign) for sign in (";", ",", "|")],
    "header with commas": [as_text([[*row, note] for row, note in zip(ROWS, ["Bemerkung (kurz, lang, keine)", *["gut, aber"]*60],
                                                                      strict=True)], sign) for sign in (";", "\t", ",")],
    "line ends": [as_text(ROWS, end=end) for end in ("\r", "\r\n")] + [as_text(ROWS, ";", "\r").encode("mac_roman")],
    "index column": [as_text([["", *ROWS[0]], *([str(place), *row] for place, row in enumerate(ROWS[1:], first))]) for first in (0, 1)],
    "names of columns": [PLAIN.replace(name, written, 1) for name, written in {
        "Stunden": '"Stunden\n*"', "Punkte": "Punkte¹ ", "Schülernr": "Schüler\u00a0nr †", "Förderung": '"För\nderung"', "Stunden,": "Stunden (h),"}.items()],
    "packed": [packed({"klasse.csv": PLAIN}), gzip.compress(PLAIN.encode("utf-16")), packed({"7b/klasse.xlsx": book({"7B": typed(ROWS)})})],
    "workbook": [book({"7B": typed(ROWS)}), book({"Info": [["Notenliste"]], "7B": typed(ROWS)}), book({"7B": [["Klasse 7B"], [], *typed(ROWS)]}),
                 open_document(ROWS), open_document(GERMAN)],
    "web page": ["<html><table>" + "".join(f"<tr><td>{'</td><td>'.join(row)}</td></tr>" for row in ROWS) + "</table></html>"],
}
ENDINGS = {b"PK": ".zip", b"\x1f\x8b": ".gz"}
CASES = [pytest.param(content if isinstance(content, bytes) else content.encode(), id=f"{kind} {number}")
         for kind, contents in WAYS.items() for number, content in enumerate(contents, 1)]


def name_of(content):
    "A file name that fits the content"
    if content[:1] == b"<": return "klasse.xls"
    if content[:2] == b"\x1f\x8b": return "klasse.csv.gz"
    if content[:2] != b"PK": return "klasse.csv"
    with zipfile.ZipFile(io.BytesIO(content)) as archive: names = archive.namelist()
    return "klasse.xlsx" if "xl/workbook.xml" in names else "klasse.ods" if "content.xml" in names else "klasse.zip"


def told(numbers, grades, risks):
    "Student -> grade and risk; refused students are left out"
    return {number: (grade, round(float(risk), 6)) for number, grade, risk in zip(numbers, grades, risks, strict=True)
            if isinstance(grade, str) and grade}


def by_python(bundle, path, folder):
    frame, notes = read_table(path)
    found = score_table(load_model(bundle), make_dataset(frame, DOORS, notes)).predictions
    return told(found["Schülernr"], found.grade, found.at_risk)


def read_answer(path):
    found = pd.read_csv(path, dtype={"Schülernr": str, "grade": str})
    return told(found["Schülernr"], found.grade, found.at_risk)


def by_command(bundle, path, folder):
    score(bundle, path, folder/"command.csv")
    return read_answer(folder/"command.csv")


def by_stream(bundle, path, folder):
    "As large files are read: the first rows alone show how; workbooks and packed files are never streamed"
    if path.suffix != ".csv": return by_command(bundle, path, folder)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("START", "SAMPLE"): patch.setattr(opening, name, 1_000)
        stream_table(load_model(bundle), path, folder/"stream.csv", folder/"stream.rejected.csv")
    return read_answer(folder/"stream.csv")


def by_page(bundle, path, folder):
    page = ClassModel(open_bundle(bundle))
    page.read(path.name, path.read_bytes())
    ranked = page.ranked.sort_index()
    return told(page.students.loc[ranked.index, "Schülernr"], ranked.grade, ranked.risk)


@pytest.fixture(scope="module")
def service(doors_bundle, tmp_path_factory):
    with running_here(tmp_path_factory.mktemp("service"), doors_bundle) as client: yield client


def by_service(service, path, folder, kind="application/octet-stream"):
    reply = service.post("/predict/file", content=path.read_bytes(), headers={"content-type": kind})
    if reply.status_code != 200: raise GradeclassError(reply.json()["message"])
    (folder/"service.csv").write_bytes(reply.content)
    return read_answer(folder/"service.csv")


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    "Many blocks of few rows"
    monkeypatch.setattr(opening, "BLOCK", 400)


def ask_everywhere(bundle, service, path, folder):
    "Door -> what it answers, or what it says where it refuses"
    doors = {"python": (by_python, bundle), "command": (by_command, bundle), "stream": (by_stream, bundle),
             "page": (by_page, bundle), "service": (by_service, service)}
    found = {}
    for door, (ask, whom) in doors.items():
        try: found[door] = ask(whom, path, folder)
        except GradeclassError as error: found[door] = str(error)
    return found


@pytest.fixture(scope="module")
def truth(doors_bundle):
    found = score_table(load_model(doors_bundle), make_dataset(CLASS, DOORS)).predictions
    assert found.grade.nunique() > 2
    return told(found["Schülernr"], found.grade, found.at_risk)


@pytest.mark.parametrize("content", CASES)
def test_every_door_gives_the_same_answer(doors_bundle, service, truth, tmp_path, content):
    path = tmp_path/name_of(content)
    path.write_bytes(content)
    found = ask_everywhere(doors_bundle, service, path, tmp_path)
    wrong = {door: said if isinstance(said, str) else f"{len(said)} students" for door, said in found.items() if said != truth}
    assert not wrong


WORDS = {word: as_text(with_numbers(str, CLASS.assign(Stunden=[word if place % 7 == 3 else hours for place, hours in enumerate(CLASS.Stunden)])))
         for word in ("viel", "<5", ">30", "1:30")}
DAMAGED = {
    "row too long": as_text([*ROWS[:40], [*ROWS[40], "9"], *ROWS[41:]]).encode(),
    "binary": PLAIN.encode() + b"\0\1\2\n",
    "two columns of one name": PLAIN.replace("Punkte", "Stunden").encode(),
    "other columns": b"Name,Wert\nAda,3\nBen,4\n",
    "no table in the archive": packed({"read me.pdf": b"%PDF"}),
    "two tables in the archive": packed({"a.csv": PLAIN, "b.csv": PLAIN}),
    "damaged archive": gzip.compress(PLAIN.encode())[:-30],
    "two sheets alike": book({"7A": typed(ROWS), "7B": typed(ROWS)}),
}


@pytest.mark.parametrize("content", [pytest.param(content, id=kind) for kind, content in DAMAGED.items()])
def test_every_door_refuses_with_the_same_sentence(doors_bundle, service, tmp_path, content):
    path = tmp_path/name_of(content)
    path.write_bytes(content)
    found = ask_everywhere(doors_bundle, service, path, tmp_path)
    if content == DAMAGED["two sheets alike"]:
        assert isinstance(found.pop("page"), dict)  # There a visitor sees both, and can choose one
    assert all(isinstance(said, str) for said in found.values()), found
    said = {text.replace("students.", "klasse.").replace("klasse.gz", path.name).replace("klasse.zip", path.name) for text in found.values()}
    assert len(said) == 1, said


@pytest.mark.parametrize("word", WORDS)
def test_words_among_numbers_are_refused_row_by_row_everywhere(doors_bundle, service, truth, tmp_path, word):
    path = tmp_path/"klasse.csv"
    path.write_text(WORDS[word])
    absent = set(CLASS["Schülernr"][3::7])
    for door, said in ask_everywhere(doors_bundle, service, path, tmp_path).items():
        assert said == {number: answer for number, answer in truth.items() if number not in absent}, door


LEFT = {"below": (PLAIN + "Durchschnitt,20.5,12000,\n\n60 Schüler,,,\n", {62: "a total", 64: "a note"}),
        "between": (as_text([ROWS[0], ["Points Possible", "40", "90000", ""], *ROWS[1:20], ROWS[0], *ROWS[20:]], ";"),
                    {2: "the points that are possible", 22: "the header again"}),
        "with a refusal": ("sep=,\n" + PLAIN.replace(",".join(ROWS[5]), "S5,viel,1,ja") + "Total,1230,720000,\n", {63: "a total"})}


@pytest.mark.parametrize("name", LEFT)
def test_rows_of_no_student_stand_in_the_rejected_file(doors_bundle, tmp_path, name):
    text, left = LEFT[name]
    (tmp_path/"klasse.csv").write_text(text)
    for door, out in ((by_command, "command"), (by_stream, "stream")):
        door(doors_bundle, tmp_path/"klasse.csv", tmp_path)
        found = pd.read_csv(tmp_path/f"{out}.rejected.csv", dtype=str).set_index("row").sort_index()
        said = found.reason[found.reason.str.startswith("no student")].to_dict()
        assert said == {str(row): f"no student: {what}" for row, what in left.items()}, out
        assert len(found) == len(left) + (name == "with a refusal")
    assert "12000" in set(found.Punkte) or name != "below"


def test_rows_of_no_student_are_counted_in_what_validation_writes(tmp_path):
    (tmp_path/"klasse.csv").write_text(LEFT["below"][0])
    frame, notes = read_table(tmp_path/"klasse.csv")
    checked = validate(make_dataset(frame, DOORS, notes), "predict")
    table = checked.table()
    assert checked.summary().startswith("60 rows: 60 accepted, 0 refused; 2 more rows left out, not students")
    assert table[table.check == "left out"].row.tolist() == [62, 64] == checked.rejected.row.tolist()


def test_service_says_what_it_understood(service, tmp_path):
    content = ("Klasse 7B\n" + as_text(GERMAN, ";") + "Durchschnitt;20,5;12000;\n").encode("cp1252")
    reply = service.post("/predict/file", content=content, headers={"content-type": "text/csv"})
    notes = "\n".join(json.loads(reply.headers["x-notes"]))
    for word in ("row 2 is the header", "Windows-1252", "decimal comma", "'Durchschnitt'"): assert word in notes


def test_numbers_of_students_keep_their_zeros_at_every_door(doors_bundle, service, tmp_path):
    path = tmp_path/"klasse.csv"
    path.write_text(PLAIN)
    for door, said in ask_everywhere(doors_bundle, service, path, tmp_path).items():
        assert set(said) == set(CLASS["Schülernr"]) and "00021" in said, door


@pytest.mark.parametrize(("early", "late"), [("12.5", "1,020"), ("12,5", "1.020")])
def test_a_column_that_changes_its_way_of_writing_far_below_is_refused(doors_bundle, tmp_path, monkeypatch, early, late):
    for name in ("START", "SAMPLE"): monkeypatch.setattr(opening, name, 600)
    rows = [["Schülernr", "Stunden", "Punkte"], *([f"{number:03}", early, "900"] for number in range(90)), ["091", late, "900"]]
    (tmp_path/"klasse.csv").write_text(as_text(rows, ";"))
    with pytest.raises(GradeclassError, match=f"Stunden: '{late}' is written in another way than the first rows"):
        stream_table(load_model(doors_bundle), tmp_path/"klasse.csv", tmp_path/"g.csv", tmp_path/"r.csv")


def test_a_workbook_that_unfolds_is_refused_without_harm(service):
    root = "worksheet"
    sheet = (f'<?xml version="1.0"?><{root} xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>'
             '<row r="1"><c r="A1"><v>1</v></c></row><row r="1048576"><c r="XFD1048576"><v>1</v></c></row></sheetData>' f'</{root}>')
    with zipfile.ZipFile(io.BytesIO(book({"7B": typed(ROWS)}))) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    sheets = [name for name in files if name.startswith("xl/worksheets/sheet")]
    reply = service.post("/predict/file", content=packed(files | dict.fromkeys(sheets, sheet)),
                         headers={"content-type": "application/octet-stream"})
    assert reply.status_code == 422 and "takes too much memory" in reply.json()["message"]
    assert service.post("/predict/file", content=PLAIN.encode(), headers={"content-type": "text/csv"}).status_code == 200

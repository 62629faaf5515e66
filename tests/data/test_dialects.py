"A known table, written as many programs would write it, is read back equal, or somebody is asked: never wrong without a word"
import gzip
import io
import random
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from doors_helpers import DOORS

from gradeclass.data.dataset import make_dataset
from gradeclass.data.sources import read_table

pytestmark = pytest.mark.slow

MISSING = ["", "NA", "n/a", "-", "#N/A", "?"]
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "cp1252", "mac_roman", "utf-16-le"]


def known_table(draw, rows=30):
    "A table of students; None where a cell is missing"
    hours = [None if draw.random() < 0.1 else round(draw.uniform(0, 40), draw.choice([1, 2])) for _ in range(rows)]
    points = [None if draw.random() < 0.1 else draw.randint(0, 25000) for _ in range(rows)]
    return pd.DataFrame({"Schülernr": [f"{number:05}" for number in range(1, rows + 1)], "Stunden": hours, "Punkte": points,
                         "Förderung": draw.choices(["nein", "ja"], k=rows), "Note": draw.choices("ABCF", k=rows)})


def number_text(number, decimal, thousands):
    "A number as a program writes it"
    if number is None: return None
    text = f"{number:,}" if thousands else str(number)
    return text.replace(",", "\0").replace(".", decimal).replace("\0", thousands)


def written(draw, table):
    "Bytes of a file, and what was drawn"
    separator = draw.choice([",", ";", "\t", "|"])
    decimal = draw.choice([".", ","])
    thousands = draw.choice(["", "", "'", " ", "," if decimal == "." else "."])
    missing, ends = draw.choice(MISSING), draw.choice(["\n", "\r\n", "\r"])
    cells = table.astype(object).where(table.notna(), None)
    for name in ("Stunden", "Punkte"):
        cells[name] = [number_text(None if pd.isna(value) else value, decimal, thousands) for value in table[name].astype(object)]
    cells["Punkte"] = [None if pd.isna(value) else number_text(int(value), decimal, thousands) for value in table["Punkte"]]
    quote = lambda text: f'"{text}"' if separator in text or draw.random() < 0.1 else text
    lines = [separator.join(quote(missing if cell is None else str(cell)) for cell in row) for row in cells.itertuples(index=False)]
    head = ["sep=" + separator] if draw.random() < 0.2 else []
    head += draw.choice([[], [], ["Klasse 7B, Frühjahr"], ["Notenliste", ""]]) if not head else []
    tail = draw.choice([[], [], [f"Durchschnitt{separator}12{decimal}5"], [f"{len(table)} Schüler"]])
    text = ends.join([*head, separator.join(map(quote, table.columns)), *lines, *tail]) + ends
    encoding = draw.choice(ENCODINGS)
    data = text.encode(encoding)
    kind = draw.choice(["", "", ".gz", ".zip"])
    if kind == ".gz": data = gzip.compress(data)
    if kind == ".zip":
        held = io.BytesIO()
        with zipfile.ZipFile(held, "w") as archive: archive.writestr("noten.csv", data)
        data = held.getvalue()
    drawn = {"separator": separator, "decimal": decimal, "thousands": thousands, "missing": missing, "ends": ends, "head": head, "tail": tail}
    return data, kind, drawn | {"encoding": encoding, "kind": kind}


@pytest.mark.parametrize("part", range(8))
def test_any_dialect_is_read_back_or_asked_about(part, tmp_path):
    wrong = []
    for seed in range(part*250, (part + 1)*250):
        draw = random.Random(seed)
        table = known_table(draw)
        data, kind, how = written(draw, table)
        path = Path(tmp_path, f"{seed}.csv{kind}")
        path.write_bytes(data)
        raw, notes = read_table(path)
        dataset = make_dataset(raw, DOORS, notes)
        frame = dataset.frame.reset_index(drop=True)
        asked = any("two ways" in note for note in dataset.notes)
        same = len(frame) == len(table) and list(frame["Schülernr"]) == list(table["Schülernr"])
        for name in ("Stunden", "Punkte"):
            found = pd.to_numeric(frame[name], errors="coerce") if len(frame) == len(table) else pd.Series(np.nan, table.index)
            same &= bool(((found == table[name].astype(float)) | (found.isna() & (table[name].isna() | asked))).all())
        same &= len(frame) == len(table) and list(frame["Note"]) == list(table["Note"]) and list(frame["Förderung"]) == list(table["Förderung"])
        if not same: wrong.append((seed, how))
    assert not wrong, "\n".join(map(str, wrong[:5]))

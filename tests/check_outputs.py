"""Run the library notebooks and compare what they print with what they keep; times, paths and figures are left aside.

    python tests/check_outputs.py [NOTEBOOK ...]    # all of nbs/lib and nbs/studies unless named
"""
import copy
import math
import re
import sys
from concurrent.futures import ProcessPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import nbformat

ROOT = Path(__file__).parent.parent
NUMBER = re.compile(r"[-+±−]?\d[\d,]*\.?\d*(?:e[-+]?\d+)?%?")
# What changes from run to run: folders, digests, dates and times, sizes and addresses of this machine
CHANGES = [
    (re.compile(r"(?:/[\w.@+-]+){2,}/?|\btmp[\w.]{6,}"), "PATH"),
    (re.compile(r"\b(?=\w*\d)[0-9a-f]{8,}\b|0x[0-9a-f]+"), "DIGEST"),
    (re.compile(r"\d{4}-\d\d-\d\d[T ]?(?:\d\d:\d\d(?::\d\d(?:\.\d+)?)?)?(?:[+-]\d\d:?\d\d|Z)?|\d{8}-\d{6}"), "TIME"),
    (re.compile(r"\d[\d.,]*\s*(?:µs|ms|s|seconds?|MB|kB|GB|bytes|processes)\b"), "AMOUNT"),
    (re.compile(r"(?:127\.0\.0\.1|localhost):\d+"), "ADDRESS"),
]
NEAR = 0.1  # Numbers may differ by so much of themselves: other processors round otherwise


def text_of(output):
    "What a reader sees of an output as text; nothing for a figure or a warning"
    if output["output_type"] == "stream": return output["text"] if output["name"] == "stdout" else ""
    data = output.get("data", {})
    if "image/png" in data or "application/vnd.jupyter.widget-view+json" in data: return ""
    return data.get("text/plain", "")


def shown(cell):
    "The text of a cell's outputs without what changes from run to run"
    text = "".join(text_of(output) for output in cell.get("outputs", []))
    for pattern, name in CHANGES: text = pattern.sub(name, text)
    return " ".join(text.split())


def number(word):
    return float(word.strip("%").replace(",", "").replace("−", "-").lstrip("±"))


def alike(kept, found):
    "Whether two texts say the same, with numbers near each other"
    if NUMBER.sub("#", kept) != NUMBER.sub("#", found): return False
    pairs = zip(NUMBER.findall(kept), NUMBER.findall(found), strict=True)
    return all(math.isclose(number(one), number(other), rel_tol=NEAR, abs_tol=NEAR) for one, other in pairs)


def differences(path):
    "Cells of a notebook whose kept text is not what they print today"
    from nbclient import NotebookClient
    kept = nbformat.read(path, 4)
    fresh = copy.deepcopy(kept)
    NotebookClient(fresh, timeout=600, resources={"metadata": {"path": str(path.parent)}}).execute()
    name = path.relative_to(ROOT)
    return [f"{name}, cell {old.id}: keeps {shown(old)[:160]!r}, prints {shown(new)[:160]!r}"
            for old, new in zip(kept.cells, fresh.cells, strict=True)
            if old.cell_type == "code" and not alike(shown(old), shown(new))]


def notebooks():
    "The library notebooks and studies that can run here"
    found = sorted([*(ROOT/"nbs"/"lib").rglob("*.ipynb"), *(ROOT/"nbs"/"studies").glob("*.ipynb")])
    keras = find_spec("keras") is not None
    return [path for path in found if ".ipynb_checkpoints" not in path.parts
            and (keras or not path.stem.endswith("_neural"))]


def main():
    paths = [Path(word).resolve() for word in sys.argv[1:]] or notebooks()
    with ProcessPoolExecutor(2) as pool: wrong = [line for lines in pool.map(differences, paths) for line in lines]
    print("\n".join(wrong) or f"{len(paths)} notebooks print what they keep")
    if wrong: print("run `make notebooks` and look at what has changed")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

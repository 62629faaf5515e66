"Words that people found odd are not shown to them again; CONTRIBUTING.md says what to write instead"
import ast
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHOWN = ["gradeclass/templates/*", "docs/**/*.md", "README.md", "nbs/**/*.ipynb"]

def read_list():
    "Odd words -> what to write, from the table in CONTRIBUTING.md"
    table = (ROOT/"CONTRIBUTING.md").read_text(encoding="utf-8").partition("## Words")[2]
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", table, re.M)
    return {odd: plain for odd, plain in rows if odd not in ("not", "---")}

def cell_text(cell):
    "The source of a notebook's cell on one line, and its outputs"
    return " ".join("".join(cell["source"]).split()) + json.dumps(cell.get("outputs", []), ensure_ascii=False)

def texts_of(path):
    """Place and text of what a person may see in a file: strings of a module but its docstrings, a notebook's cells with
    their outputs, else every line"""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb": return [(cell["id"], cell_text(cell)) for cell in json.loads(text)["cells"]]
    if path.suffix != ".py": return list(enumerate(text.splitlines(), 1))
    tree = ast.parse(text)
    silent = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    return [(node.lineno, node.value) for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in silent]

def places_of(words, paths):
    "Every place where one of the words stands"
    return [f"{path.name}:{line}: {odd!r}, rather {words[odd]!r}" for path in paths for line, text in texts_of(path)
            for odd in words if odd.lower() in text.lower()]

def test_no_odd_word_is_shown():
    paths = [path for pattern in SHOWN for path in ROOT.glob(pattern)
             if path.is_file() and not {"_build", ".ipynb_checkpoints"} & {*path.parts}]
    found = places_of(read_list(), [*(ROOT/"gradeclass").rglob("*.py"), *paths])
    assert len(read_list()) >= 10 and not found, "\n".join(found)

@pytest.mark.parametrize("name, text", [("a.py", 'X = f"{1} With whom to talk first"\n'), ("a.md", "x\nwith whom to talk\n"),
                                        ("a.ipynb", '{"cells": [{"id": "a", "source": ["with\\n", "whom to talk"]}]}')])
def test_odd_word_is_found_with_its_place(name, text, tmp_path):
    (tmp_path/name).write_text(text, encoding="utf-8")
    assert len(places_of({"with whom to talk": "who to talk to"}, [tmp_path/name])) == 1

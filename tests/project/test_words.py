"Words that people found odd are not shown to them again; CONTRIBUTING.md says what to write instead"
import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHOWN = ["gradeclass/templates/*", "docs/**/*.md", "README.md"]

def read_list():
    "Odd words -> what to write, from the table in CONTRIBUTING.md"
    table = (ROOT/"CONTRIBUTING.md").read_text(encoding="utf-8").partition("## Words")[2]
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", table, re.M)
    return {odd: plain for odd, plain in rows if odd not in ("not", "---")}

def texts_of(path):
    "Line and text of each thing in a file that a person may see: strings of a module but its docstrings, else every line"
    text = path.read_text(encoding="utf-8")
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
    paths = [path for pattern in SHOWN for path in ROOT.glob(pattern) if path.is_file() and "_build" not in path.parts]
    found = places_of(read_list(), [*(ROOT/"gradeclass").rglob("*.py"), *paths])
    assert len(read_list()) >= 10 and not found, "\n".join(found)

@pytest.mark.parametrize("name, text", [("a.py", 'X = f"{1} With whom to talk first"\n'), ("a.md", "x\nwith whom to talk\n")])
def test_odd_word_is_found_with_its_place(name, text, tmp_path):
    (tmp_path/name).write_text(text, encoding="utf-8")
    assert len(places_of({"with whom to talk": "who to talk to"}, [tmp_path/name])) == 1

"Types of the public names, as a type checker sees them from outside"
import re
import subprocess
import sys
from pathlib import Path

import pytest

import gradeclass

ROOT = Path(__file__).parents[2]
CHECK = ["--strict", "--follow-imports", "silent", "--ignore-missing-imports"]  # Of other files only their types count
pytestmark = [pytest.mark.process, pytest.mark.slow]


def check(path, folder):
    "What mypy says of a file"
    pytest.importorskip("mypy")
    command = [sys.executable, "-m", "mypy", *CHECK, "--cache-dir", folder/"cache", path]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("types")


def test_strict_use_of_every_public_name_is_accepted(place):
    written = (ROOT/"tests/project/typed_use.py").read_text()
    imported = set(re.findall(r"\w+", re.search(r"from gradeclass import \((.*?)\)", written, re.S)[1]))
    assert imported == set(gradeclass.__all__) - {"__version__", "clean"}
    done = check(ROOT/"tests/project/typed_use.py", place)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("line, said", [
    ("gradeclass.load_model(3)", 'Argument 1 to "load_model" has incompatible type "int"'),
    ("gradeclass.load_modle('x')", 'Module has no attribute "load_modle"')])
def test_wrong_use_is_found(place, line, said):
    (place/"wrong.py").write_text(f"import gradeclass\n{line}\n")
    done = check(place/"wrong.py", place)
    assert done.returncode == 1 and said in done.stdout


def test_type_checkers_see_the_names_that_there_are():
    listed = set(re.findall(r"(\w+) as \1", (ROOT/"gradeclass/__init__.py").read_text()))
    assert listed == set(gradeclass._PLACES) and (ROOT/"gradeclass/py.typed").is_file()

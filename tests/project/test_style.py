"What every notebook and module of the project keeps to; each test lists all that offend"
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted(path for path in (ROOT/"nbs").rglob("*.ipynb")
                   if ".ipynb_checkpoints" not in path.parts and "_proc" not in path.parts)
MODULES = sorted((ROOT/"gradeclass").rglob("*.py"))
SOURCES = sorted(path for folder in ("gradeclass", "tests", "benchmarks") for path in (ROOT/folder).rglob("*.py"))
ABSOLUTE = (re.compile(r"(?<![\w.:/~-])/(?:work|root|home|Users|tmp/(?:w|tmp))/?[\w.]|[A-Z]:\\\\Users|\btmp\.[A-Za-z0-9]{10}\b"))
ANSI = re.compile(r"\\u001b\[|\x1b\[")
TOOLS = re.compile(r"^\s*(from|import) (nbdev|execnb|jupytext|pytest|hypothesis)\b", re.M)
# Words that were replaced by the field's own
GONE = re.compile(r"\b(crown|mend|papers|hear|heard|own_opinion|opinion_papers|sticks_out|unlikeliness|stand_back)\b")
LARGEST, MOST_CELLS = 500_000, 70

pytestmark = pytest.mark.skipif(not (ROOT/"nbs").is_dir(),
                                reason="needs the checkout: the notebooks are not beside the tests")


def cells(path):
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


def source(cell):
    return "".join(cell["source"])


def short(path):
    return path.relative_to(ROOT).as_posix()


def module_of(path):
    "The module that a notebook exports, or nothing"
    found = re.findall(r"^#\| ?default_exp (\S+)", "\n".join(map(source, cells(path))), re.M)
    assert len(found) < 2, f"{short(path)} exports {found}"
    return found[0] if found else ""


def test_notebooks_begin_with_a_title_and_a_lead():
    wrong = [short(path) for path in NOTEBOOKS if not re.match(r"# \S.*\n\n?> \S.+", source(cells(path)[0]))]
    assert not wrong


def problems_of(path):
    "What is wrong with a notebook as a file"
    notebook = json.loads(path.read_text(encoding="utf-8"))
    ids = [cell.get("id") for cell in notebook["cells"]]
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    if path.stat().st_size > LARGEST: yield "is too large"
    if notebook["metadata"]["kernelspec"]["language"] != "python": yield "names no language"
    if None in ids or len(set(ids)) < len(ids): yield "has cells without an id of their own"
    if any(output["output_type"] == "error" for output in outputs): yield "shows an error"
    if ANSI.search(json.dumps(outputs)): yield "shows terminal codes"
    if len(notebook["cells"]) > MOST_CELLS: yield f"has {len(ids)} cells"


def test_notebooks_are_small_and_clean():
    wrong = [f"{short(path)} {problem}" for path in NOTEBOOKS for problem in problems_of(path)]
    assert not wrong, "\n".join(wrong)


def test_no_path_of_someones_computer_and_no_word_that_was_replaced():
    texts = {short(path): path.read_text(encoding="utf-8") for path in [*NOTEBOOKS, *SOURCES] if path != Path(__file__)}
    wrong = [f"{name}: {found[0]}" for name, text in texts.items()
             for found in (ABSOLUTE.search(text), GONE.search(text)) if found]
    assert not wrong, "\n".join(wrong)


def test_each_module_comes_from_one_notebook_that_closes_with_the_export():
    made = {path: module for path in NOTEBOOKS if (module := module_of(path))}
    modules = {".".join(path.relative_to(ROOT/"gradeclass").with_suffix("").parts) for path in MODULES}
    assert sorted(made.values()) == sorted(name for name in modules
                                           if name.split(".")[-1] not in ("__init__", "_modidx"))
    lasts = {path: source(cells(path)[-1]) for path in made}
    wrong = [short(path) for path, last in lasts.items() if "#| hide" not in last or "nbdev_export()" not in last]
    assert not wrong


def test_notebook_of_a_module_lies_where_the_module_lies():
    wrong = []
    for path in NOTEBOOKS:
        *folders, name = module_of(path).split(".")
        place = "/".join(["nbs", "lib", *folders])
        if name and not re.fullmatch(rf"{place}/\d\d_{name}\.ipynb", short(path)): wrong.append(short(path))
    assert not wrong


def test_package_needs_none_of_the_tools_that_build_it():
    assert not [short(path) for path in MODULES if TOOLS.search(path.read_text(encoding="utf-8"))]


def test_notebooks_leave_no_variable_of_the_environment_behind():
    "`nbdev_test` runs one notebook after another in a process: what one of them sets, the next one would find"
    left = {}
    for path in NOTEBOOKS:
        code = "\n".join(source(cell) for cell in cells(path)
                         if cell["cell_type"] == "code" and "#| export" not in source(cell))
        was_set = set(re.findall(r'os\.environ\["(GRADECLASS_\w+)"\] = ', code))
        removals = [line for line in code.splitlines() if re.search(r"\bdel os\.|environ\.pop", line)]
        restored = set(re.findall(r'os\.environ\["(\w+)"\]', "\n".join(removals)))
        if any("name" in line for line in removals): restored = was_set
        if was_set - restored: left[short(path)] = sorted(was_set - restored)
    assert not left


def test_code_keeps_to_120_signs_a_line():
    "The list of public names aside, which nbdev writes"
    long = [f"{short(path)}:{number}" for path in MODULES if path.name != "_modidx.py"
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
            if len(line) > 120 and not line.startswith(("__all__", "           '"))]
    assert not long

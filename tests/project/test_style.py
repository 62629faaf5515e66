"What every notebook and module of the project keeps to"
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted(path for path in (ROOT/"nbs").rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts
                   and "_proc" not in path.parts)
SOURCES = sorted(path for folder in ("gradeclass", "tests", "benchmarks") for path in (ROOT/folder).rglob("*.py"))
ABSOLUTE = re.compile(r"(?<![\w.:/~-])/(?:work|root|home|Users|tmp/w)/[\w.]|[A-Z]:\\\\Users")

pytestmark = pytest.mark.skipif(not (ROOT/"nbs").is_dir(),
                                reason="needs the checkout: the notebooks are not beside the tests")

def cells(path):
    return json.loads(path.read_text(encoding="utf-8"))["cells"]

def source(cell):
    return "".join(cell["source"])

def short(path):
    return path.relative_to(ROOT).as_posix()

@pytest.mark.parametrize("path", NOTEBOOKS, ids=short)
def test_notebook_begins_with_a_title_and_a_lead(path):
    first = source(cells(path)[0])
    assert cells(path)[0]["cell_type"] == "markdown"
    assert re.match(r"# \S.*\n\n?> \S.+", first), f"{short(path)} begins with {first[:60]!r}"

@pytest.mark.parametrize("path", NOTEBOOKS, ids=short)
def test_notebook_is_small_and_kept_clean(path):
    assert path.stat().st_size < 500_000
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert notebook["metadata"]["kernelspec"]["language"] == "python"
    ids = [cell.get("id") for cell in notebook["cells"]]
    assert None not in ids and len(set(ids)) == len(ids)

@pytest.mark.parametrize("path", NOTEBOOKS, ids=short)
def test_notebook_shows_no_error_and_no_warning_as_its_result(path):
    outputs = [output for cell in cells(path) for output in cell.get("outputs", [])]
    assert not [output for output in outputs if output["output_type"] == "error"]

@pytest.mark.parametrize("path", [*NOTEBOOKS, *SOURCES], ids=short)
def test_no_path_of_someones_computer(path):
    found = ABSOLUTE.search(path.read_text(encoding="utf-8"))
    assert not found, f"{short(path)} holds {found[0]!r}"

@pytest.mark.parametrize("path", NOTEBOOKS, ids=short)
def test_library_notebook_exports_one_module_and_closes_with_the_export(path):
    sources = [source(cell) for cell in cells(path)]
    modules = re.findall(r"^#\| ?default_exp (\S+)", "\n".join(sources), re.M)
    if not modules: pytest.skip("exports no module")
    assert len(modules) == 1 and (ROOT/"gradeclass"/f"{modules[0].replace('.', '/')}.py").is_file()
    assert "#| hide" in sources[-1] and "nbdev_export()" in sources[-1]

def test_each_module_comes_from_a_notebook():
    made = {found for path in NOTEBOOKS for cell in cells(path)
            for found in re.findall(r"^#\| ?default_exp (\S+)", source(cell), re.M)}
    package = ROOT/"gradeclass"
    modules = {".".join(path.relative_to(package).with_suffix("").parts) for path in package.rglob("*.py")}
    assert {name for name in modules if name.split(".")[-1] not in ("__init__", "_modidx")} == made

@pytest.mark.parametrize("path", sorted((ROOT/"gradeclass").rglob("*.py")), ids=short)
def test_package_needs_none_of_the_tools_that_build_it(path):
    assert not re.search(r"^\s*(from|import) (nbdev|execnb|jupytext|pytest|hypothesis)\b",
                         path.read_text(encoding="utf-8"), re.M)

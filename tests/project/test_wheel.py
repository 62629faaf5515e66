"The wheel holds all that the pipeline runs on"
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from conftest import QUICK

ROOT = Path(__file__).parents[2]
BUILT_FROM = ["gradeclass", "nbs/pipeline", "nbs/app", "data/sample", "setup.py", "pyproject.toml", "MANIFEST.in",
              "README.md", "LICENSE"]
pytestmark = [pytest.mark.process, pytest.mark.slow]

def call(*command, **options):
    "Run a command; returns what it prints"
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=150, **options)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout

@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    "The wheel, built as it is published: from the source archive, and that from a copy, so that the checkout stays as it is"
    missing = [name for name in ("setuptools", "pip") if not importlib.util.find_spec(name)]
    if missing: pytest.skip(f"{missing[0]} is not installed, and building a wheel needs it")
    if not (ROOT/"setup.py").is_file(): pytest.skip("needs the checkout: setup.py is not beside the tests")
    source = tmp_path_factory.mktemp("wheel")/"source"
    for name in BUILT_FROM:
        if (ROOT/name).is_dir():
            shutil.copytree(ROOT/name, source/name, ignore=shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints"))
        elif (ROOT/name).is_file(): shutil.copy(ROOT/name, source/name)
    call(sys.executable, "-c", "from setuptools.build_meta import build_sdist; build_sdist('..')", cwd=source)
    archive = next(source.parent.glob("*.tar.gz"))
    call(sys.executable, "-m", "pip", "wheel", archive, "--no-deps", "--no-build-isolation", "--no-index", "-q", "-w",
         source.parent)
    return next(source.parent.glob("*.whl"))

@pytest.fixture(scope="module")
def installed(wheel):
    "The wheel installed into a folder of its own"
    target = wheel.parent/"installed"
    call(sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "-q", "--target", target, wheel)
    return target

@pytest.fixture
def bare(installed, tmp_path):
    "An empty folder, and an environment in which the installed package comes before the checkout"
    env = {name: value for name, value in os.environ.items() if not name.startswith("GRADECLASS_")}
    (tmp_path/"empty").mkdir()
    return {"cwd": tmp_path/"empty", "env": env | {"PYTHONPATH": str(installed), "DO_NOT_TRACK": "1"}}

def files(folder, pattern):
    return {path.relative_to(ROOT/folder).as_posix() for path in (ROOT/folder).rglob(pattern)
            if ".ipynb_checkpoints" not in path.parts}

def test_wheel_holds_notebooks_samples_schemas_and_templates(wheel):
    held = set(zipfile.ZipFile(wheel).namelist())
    wanted = {f"gradeclass/{name}"
              for name in files("gradeclass", "*.py") | files("gradeclass", "*.yaml") | files("gradeclass", "*.j2")}
    wanted |= {f"gradeclass/notebooks/pipeline/{name}" for name in files("nbs/pipeline", "*.ipynb")}
    wanted |= {f"gradeclass/notebooks/app/{name}" for name in files("nbs/app", "*.ipynb")}
    wanted |= {f"gradeclass/sample/{name}" for name in files("data/sample", "*.csv")}
    assert len(wanted) > 20 and not wanted - held

def test_wheel_holds_nothing_that_is_none_of_its_business(wheel):
    held = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0].split("-")[0] for name in held} == {"gradeclass"}
    assert not [name for name in held if "__pycache__" in name or "data/raw" in name or "checkpoint" in name]
    assert sum(info.file_size for info in zipfile.ZipFile(wheel).infolist()) < 5_000_000

def test_wheel_describes_itself(wheel):
    archive = zipfile.ZipFile(wheel)
    about = next(archive.read(name).decode() for name in archive.namelist() if name.endswith("METADATA"))
    assert "Requires-Python: >=3.11" in about and re.search(r"^License(-Expression)?: Apache-2.0", about, re.M)
    assert "Requires-Dist: papermill" in about and "extra == " in about
    commands = next(archive.read(name).decode() for name in archive.namelist() if name.endswith("entry_points.txt"))
    assert "gradeclass = gradeclass.cli.main:main" in commands

def test_pipeline_runs_from_the_wheel_in_an_empty_folder(installed, bare):
    code = "import gradeclass.config as c; print(c.__file__, c.stage_notebooks(), c.sample_folder())"
    assert all(Path(path).is_relative_to(installed) for path in call(sys.executable, "-c", code, **bare).split())
    options = [word for name, value in (QUICK | {"family": "majority", "params": "{}"}).items()
               for word in ("-p", f"{name}={value}")]
    made = json.loads(call(sys.executable, "-c", "from gradeclass.cli.main import main; main()", "run", "--json",
                           *options, **bare))
    assert [stage["cached"] for stage in made["stages"]] == [False]*5
    assert Path(made["report"]).is_file() and Path(made["bundle"]).is_relative_to(bare["cwd"]/"outputs")
    for stage in made["stages"]:
        executed = json.loads(Path(stage["folder"], "notebook.ipynb").read_text())
        assert Path(executed["metadata"]["papermill"]["input_path"]).is_relative_to(installed)
    assert sorted(path.name for path in bare["cwd"].iterdir()) == ["outputs"]

"The base predicts and explains; every further part says which extra it needs"
import json
import re
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from gradeclass.cluster import connect
from gradeclass.config import EXTRAS, GradeclassError

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT/"pyproject.toml").read_text())["project"]


def package_name(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def closure(requirements):
    "Names of the packages that requirements bring, as far as they are installed"
    found, waiting = set(), [Requirement(line) for line in requirements]
    while waiting:
        requirement = waiting.pop()
        name, extras = package_name(requirement.name), requirement.extras or {""}
        if requirement.marker and not any(requirement.marker.evaluate({"extra": extra}) for extra in ("", "*")): continue
        if (name, *sorted(extras)) in found: continue
        found.add((name, *sorted(extras)))
        try: below = [Requirement(line) for line in requires(name) or []]
        except PackageNotFoundError: continue
        for other in below:
            if other.marker and not any(other.marker.evaluate({"extra": extra}) for extra in extras): continue
            other.marker = None
            waiting.append(other)
    return {name for name, *_ in found}


HIDE = "import json, sys; sys.modules.update(dict.fromkeys(json.loads(sys.argv.pop(1))))\n"
COMMAND = HIDE + "from gradeclass.cli.main import main; sys.argv[0] = 'gradeclass'; main()"
EXPLAIN = HIDE + """
from gradeclass import load_model
from gradeclass.evaluation.explain import explain_student, one_student
from gradeclass.evaluation.what_if import suggest_changes
model = load_model(sys.argv[1])
student = {'Absences': '25', 'Tutoring': 'Yes'}
print(explain_student(model, student), suggest_changes(model, student))
"""


@pytest.fixture(scope="module")
def hidden():
    "Every module that a base installation lacks"
    base = closure(PROJECT["dependencies"])
    modules = packages_distributions()
    return [module for module, packages in modules.items()
            if module != "gradeclass" and not base & set(map(package_name, packages))]


def run(code, hidden, *words, **options):
    done = subprocess.run([sys.executable, "-c", code, json.dumps(hidden), *map(str, words)], capture_output=True,
                          text=True, **options)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("words, said", [
    ("--help", "Predict students' grade classes"), ("run --help", "Run the pipeline"),
    ("schema show students", "name: students"), ("registry list", "nothing is registered yet"),
    ("data synthesise -n 30 -o made.csv", "made.csv"), ("key make office", "gc_")])
def test_base_command_needs_no_extra(hidden, tmp_path, words, said):
    assert {"papermill", "voila", "fastapi", "mlflow", "evidently", "seaborn", "matplotlib"} <= set(hidden)
    code, printed, told = run(COMMAND, hidden, *words.split(), cwd=tmp_path)
    assert (code, told) == (0, "") and said in printed


def test_base_reads_tables_predicts_and_explains(hidden, trained, tmp_path):
    table = ROOT/"data"/"sample"/"students_sample.csv"
    assert run(COMMAND, hidden, "schema", "infer", table, "--target", "GradeClass", cwd=tmp_path)[0] == 0
    code, printed, _ = run(COMMAND, hidden, "data", "validate", table, cwd=tmp_path)
    assert code == 0 and "accepted" in printed
    for out in ("grades.csv", "grades.xlsx", "grades.parquet"):
        code, printed, told = run(COMMAND, hidden, "predict", table, "--model", trained, "-o", tmp_path/out)
        assert code == 0 and "students graded" in printed, told
    code, printed, told = run(EXPLAIN, hidden, trained, cwd=tmp_path)
    assert code == 0 and "Absences" in printed, told


@pytest.mark.parametrize("words, extra", [
    ("run", "pipeline"), ("sweep -p seed=1,2", "pipeline"), ("app", "pages"), ("serve", "serve"), ("ui", "tracking"),
    ("drift students.csv", "drift"), ("prefect", "prefect"), ("schedule --once", "prefect"),
    ("registry sync", "tracking")])
def test_command_says_which_extra_it_needs(hidden, tmp_path, words, extra):
    code, printed, said = run(COMMAND, hidden, *words.split(), cwd=tmp_path)
    command = " ".join(words.split()[:2]) if words.startswith("registry") else words.split()[0]
    sentence = f"gradeclass: {command} needs the extra `{extra}`: pip install 'gradeclass[{extra}]'\n"
    assert (code, printed, said) == (1, "", sentence)
    assert not list(tmp_path.iterdir()), "nothing is begun"


def test_cluster_says_which_extra_it_needs(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(GradeclassError) as caught: connect("tcp://127.0.0.1:9").__enter__()
    assert str(caught.value) == "a cluster needs the extra `cluster`: pip install 'gradeclass[cluster]'"


@pytest.mark.parametrize("extra, module", EXTRAS.items())
def test_extra_is_known_by_a_package_that_it_brings(extra, module):
    own = {package_name(Requirement(line).name) for line in PROJECT["optional-dependencies"][extra]}
    assert module in own and module not in closure(PROJECT["dependencies"])


def test_everything_that_is_promised_is_in_all():
    promised = {"jupyterlab", "papermill", "nbdev", "pandas", "seaborn", "scikit-learn", "xgboost", "imbalanced-learn",
                "evidently", "voila"}
    extras, waiting, found = PROJECT["optional-dependencies"], ["all"], set()
    while waiting:
        for requirement in map(Requirement, extras[waiting.pop()]):
            if requirement.name == "gradeclass": waiting += requirement.extras
            else: found.add(package_name(requirement.name))
    assert promised <= found | {Requirement(line).name for line in PROJECT["dependencies"]}

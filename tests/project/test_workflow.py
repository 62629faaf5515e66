"The workflow, as far as it can be checked on this machine: what it runs exists, on every system and Python that is promised"
import re
import shlex
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
JOBS = yaml.safe_load((ROOT/".github/workflows/ci.yml").read_text())["jobs"]
STEPS = [(job, shlex.split(step["run"])) for job, about in JOBS.items() for step in about["steps"] if "run" in step]
KNOWN = {"bash", "python", "uv", "make", "gradeclass", "sudo", "apt-get", ".venv/bin/python"}


def known_options(command):
    "Options of a command of gradeclass, such as `schema infer`"
    import typer
    from gradeclass.cli.main import app
    at = typer.main.get_command(app)
    for word in command: at = at.commands[word]
    return {name for option in at.params for name in option.opts}


@pytest.mark.parametrize("job, words", STEPS, ids=[" ".join(words) for _, words in STEPS])
def test_what_a_step_runs_exists(job, words):
    if words[0] == "sudo": words = words[1:]
    assert words[0] in KNOWN
    if words[0] == "make":
        targets = re.search(r"^\.PHONY: (.*)$", (ROOT/"Makefile").read_text(), re.M)[1].split()
        assert set(words[1:]) <= set(targets)
    if words[0] == "gradeclass":
        command = [word for word in words[1:3] if re.fullmatch(r"[a-z]+", word)]
        assert {word for word in words if word.startswith("-")} <= known_options(command)
    for word in words[1:]:
        if re.fullmatch(r"[\w./-]+\.(py|csv|lock)|\.ci/run", word) and word != "graded.csv": assert (ROOT/word).is_file(), word


def test_every_python_and_system_that_is_promised_is_tested():
    about = tomllib.loads((ROOT/"pyproject.toml").read_text())["project"]
    promised = {line.rpartition(" ")[2] for line in about["classifiers"] if re.search(r"Python :: 3\.\d+$", line)}
    assert set(JOBS["test"]["strategy"]["matrix"]["python"]) == promised == {"3.11", "3.12", "3.13", "3.14"}
    assert about["requires-python"] == ">=3.11"
    elsewhere = JOBS["elsewhere"]["strategy"]["matrix"]
    assert set(elsewhere["system"]) == {"macos-latest", "windows-latest"} and set(elsewhere["python"]) <= promised
    assert {"3.11", "3.13"} <= set(JOBS["install"]["strategy"]["matrix"]["python"])


def test_no_job_may_hang_or_write_and_each_begins_with_the_checkout():
    text = yaml.safe_load((ROOT/".github/workflows/ci.yml").read_text())
    assert text["permissions"] == {"contents": "read"} and {"push", "pull_request"} <= set(text[True])  # YAML reads `on` as yes
    for job in JOBS.values():
        assert 0 < job["timeout-minutes"] <= 90 and job["steps"][0]["uses"].startswith("actions/checkout@")

"Fixtures of the tests of the command"
import subprocess
import sys

import pytest

from gradeclass.cli.main import main


@pytest.fixture
def ask(place, monkeypatch, capsys):
    "Call the command in this process: exit code, standard output, standard error"
    def call(*words):
        monkeypatch.setattr(sys, "argv", ["gradeclass", *map(str, words)])
        with pytest.raises(SystemExit) as ended: main()
        return ended.value.code or 0, *capsys.readouterr()
    return call


@pytest.fixture(scope="module")
def sample_run(tmp_path_factory):
    "A run on the sample through the installed command: the folder, and how the command ended"
    folder = tmp_path_factory.mktemp("run")
    command = [sys.executable, "-c", "from gradeclass.cli.main import main; main()", "run", "--data", "sample", "-p",
               "resamples=50",
               "-p", "params={members: [linear]}", "--outputs", "outputs"]
    return folder, command, subprocess.run([*command, "--json"], cwd=folder, capture_output=True, text=True)

"Folders that runs begin in"
import shutil

import pytest

from gradeclass.pipeline.stages import STAGES

@pytest.fixture
def alone(tmp_path, monkeypatch):
    "A current folder outside the checkout, with nothing set in the environment but where outputs go"
    monkeypatch.delenv("GRADECLASS_HOME", raising=False)
    monkeypatch.setenv("GRADECLASS_OUTPUTS", str(tmp_path/"outputs"))
    (tmp_path/"elsewhere").mkdir()
    monkeypatch.chdir(tmp_path/"elsewhere")
    return tmp_path/"outputs"

@pytest.fixture
def begun(finished_run, tmp_path):
    "Outputs in which the first few stages are finished"
    def begin(stage):
        (tmp_path/"outputs"/"stages").mkdir(parents=True)
        names = list(STAGES)[:list(STAGES).index(stage)]
        for result in finished_run.stages:
            if result.name in names: shutil.copytree(result.folder, tmp_path/"outputs"/"stages"/result.folder.name)
        return tmp_path/"outputs"
    return begin

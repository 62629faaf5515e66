"The stage notebooks' parameters: what they hold, and what is refused before any kernel starts"
import ast
import re

import nbformat
import pytest

from gradeclass.config import stage_notebooks
from gradeclass.pipeline.runner import run_pipeline
from gradeclass.pipeline.stages import (
    STAGES, StageError, check_notebook, check_parameters, known_parameters, read_parameters,
)

NOTEBOOKS = sorted(stage_notebooks().glob("*.ipynb"))

WRONG = {
    "famly": ("xgboost", "no parameter famly: did you mean family?"),
    "out_folder": ("/tmp", "no parameter out_folder"),
    "prepare_folder": ("/tmp", "no parameter prepare_folder"),
    "resamples": ("many", "parameter resamples is 'many'; it needs a whole number"),
    "seed": ("4.5", "parameter seed is '4.5'; it needs a whole number"),
    "audit": ("perhaps", "parameter audit is 'perhaps'; it needs true or false"),
    "test_size": ("[0.1]", "parameter test_size is '[0.1]'; it needs a number"),
    "params": ("rounds", "parameter params is 'rounds'; it needs a mapping"),
}

@pytest.mark.parametrize("name", WRONG)
def test_wrong_parameter_is_refused_before_anything_runs(tmp_path, name):
    value, message = WRONG[name]
    with pytest.raises(StageError) as caught:
        run_pipeline("sample", parameters={name: value}, outputs=tmp_path/"outputs")
    assert message in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path/"outputs").exists()

@pytest.mark.parametrize("typed, value", [("7", 7), (" 7 ", 7), ("0", 0), ("42", 42)])
def test_whole_numbers_are_read_as_typed(typed, value):
    assert check_parameters({"seed": typed}, known_parameters(list(STAGES.values()))) == {"seed": value}

def test_texts_that_look_like_numbers_stay_texts():
    assert check_parameters({"data": "2024", "schema": "no"},
                            known_parameters(list(STAGES.values()))) == {"data": "2024", "schema": "no"}

def tagged(notebook):
    return [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]

@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_parameters_cell_holds_commented_literals_alone(path):
    notebook = nbformat.read(path, as_version=4)
    assert notebook.metadata.kernelspec.language == "python"
    assert len(tagged(notebook)) == 1
    lines = tagged(notebook)[0].source.splitlines()
    assert all(re.match(r"\w+ = .+  # \S.+", line) for line in lines)
    for node in ast.parse(tagged(notebook)[0].source).body:
        assert isinstance(node, ast.Assign)
        ast.literal_eval(node.value)

def test_every_stage_has_its_notebook_and_every_notebook_its_stage():
    assert {stage.notebook for stage in STAGES.values()} == {path.name for path in NOTEBOOKS}


@pytest.mark.parametrize("stage, name, value, wanted", [
    ("train", "audit", "no", "-y 'audit: no'"), ("train", "params", "{rounds: 30}", "-y 'params: {rounds: 30}'"),
    ("register", "promote_despite_drift", "false", "true or false"), ("prepare", "seed", "seven", "a whole number"),
    ("drift", "on_drift", "ignore", "use one of warn, fail, retrain"), ("evaluate", "places", "ten", "a number")])
def test_text_that_papermill_hands_on_is_refused_in_each_stage(stage, name, value, wanted):
    with pytest.raises(StageError) as caught: check_notebook(stage, {name: value, "other": "no"})
    assert wanted in str(caught.value) and name in str(caught.value)
    check_notebook(stage, read_parameters(STAGES[stage].path))

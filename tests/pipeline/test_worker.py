"Stages that fail, and kernels of both kinds"
import json
import re
import sys
from pathlib import Path

import nbformat
import psutil
import pytest
from conftest import QUICK
from pipeline_helpers import small_notebook, still_running, use_stages

from gradeclass.cli.main import main
from gradeclass.pipeline.runner import Pipeline, run_pipeline
from gradeclass.pipeline.stages import STAGES, Stage, StageError

def run_command(monkeypatch, stages, outputs):
    "`gradeclass run` with other stages; returns its exit code"
    use_stages(monkeypatch, stages)
    monkeypatch.setattr(sys, "argv", ["gradeclass", "run", "--data", "sample", "--outputs", str(outputs)])
    with pytest.raises(SystemExit) as caught: main()
    return caught.value.code

@pytest.mark.process
@pytest.mark.slow
def test_failing_cell_is_reported_with_its_error_and_notebook(tmp_path, monkeypatch, capsys):
    path = small_notebook(tmp_path/"small.ipynb", "print('so far')", "1/0", "print('never')")
    others = set(psutil.Process().children())  # Servers that other tests share, and whatever these start meanwhile
    assert run_command(monkeypatch, [Stage("prepare", path)], tmp_path/"outputs") == 1
    said = capsys.readouterr().err.strip().splitlines()[-1]
    found = re.fullmatch(r"gradeclass: stage prepare failed in cell (\d+): ZeroDivisionError: division by zero "
                         r"\(executed notebook: (.+)\)", said)
    assert found
    stage, executed = json.loads(Path(path).read_text()), Path(found[2]).read_text()
    numbered = [notebook["cells"][int(found[1]) - 1]["source"] for notebook in (stage, json.loads(executed))]
    # The number is that of a cell in the stage's notebook or in the executed one
    assert "1/0" in ["".join(source) for source in numbered]
    assert "so far" in executed and "ZeroDivisionError" in executed
    assert not list((tmp_path/"outputs"/"stages").iterdir())
    started = set(psutil.Process().children()) - others
    assert not still_running([process for child in started for process in [child, *child.children(recursive=True)]])

@pytest.mark.process
@pytest.mark.slow
def test_our_own_error_in_a_stage_is_shown_as_it_is(tmp_path, monkeypatch, capsys):
    path = small_notebook(tmp_path/"small.ipynb",
                          "from gradeclass.data.files import DataError\nraise DataError('row 7: Age is 99')")
    assert run_command(monkeypatch, [Stage("prepare", path)], tmp_path/"outputs") == 1
    assert "gradeclass: stage prepare: row 7: Age is 99 (executed notebook: " in capsys.readouterr().err

@pytest.mark.process
@pytest.mark.slow
def test_missing_output_is_an_error(tmp_path, monkeypatch, capsys):
    path = small_notebook(tmp_path/"small.ipynb", "open(out_folder + '/one.txt', 'w').close()")
    assert run_command(monkeypatch, [Stage("prepare", path, (), ("one.txt", "two.txt"))], tmp_path/"outputs") == 1
    said = capsys.readouterr().err
    assert "the notebook ended without writing two.txt" in said and said.count("\n") <= 2
    assert not list((tmp_path/"outputs"/"stages").iterdir())

@pytest.mark.process
@pytest.mark.slow
def test_kernel_that_dies_is_an_error(tmp_path, monkeypatch, capsys):
    path = small_notebook(tmp_path/"small.ipynb", "import os\nos._exit(3)")
    assert run_command(monkeypatch, [Stage("prepare", path)], tmp_path/"outputs") == 1
    said = capsys.readouterr().err
    assert "gradeclass: stage prepare failed" in said and "Traceback" not in said
    assert not list((tmp_path/"outputs"/"stages").iterdir())

def test_broken_notebook_is_an_error_and_not_a_traceback(tmp_path, monkeypatch, capsys):
    (tmp_path/"small.ipynb").write_text("{ no notebook")
    assert run_command(monkeypatch, [Stage("prepare", str(tmp_path/"small.ipynb"))], tmp_path/"outputs") == 1
    assert "small.ipynb" in capsys.readouterr().err

@pytest.mark.process
@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="kernels are forked on Linux alone")
@pytest.mark.parametrize("source, kernel, said",
                         [("open(out_folder + '/b.txt', 'w').close()", "python3", ""),
                          ("1/0", "python3", "ZeroDivisionError"),
                          ("import os; os._exit(3)", "python3", "DeadKernelError"),
                          ("1", "no_such", "No such kernel named no_such")])
def test_forked_kernels_leave_no_folder_of_sockets_however_a_stage_ends(source, kernel, said, tmp_path):
    (tmp_path/"data.csv").touch()
    first = small_notebook(tmp_path/"a.ipynb", "open(out_folder + '/a.txt', 'w').close()", "name = 'a'")
    second = small_notebook(tmp_path/"b.ipynb", source, "name = 'b'\na_folder = ''")
    notebook = json.loads(Path(second).read_text())
    notebook["metadata"]["kernelspec"] = {"name": kernel, "display_name": kernel, "language": "python"}
    Path(second).write_text(json.dumps(notebook))
    pipeline = Pipeline({"data": str(tmp_path/"data.csv")}, tmp_path/"outputs",
                        [Stage("a", first, (), ("a.txt",)), Stage("b", second, ("a",), ("b.txt",))])
    asked = []
    pipeline.on_event = lambda event: asked.append([worker.process.pid for worker in pipeline.workers.made])
    if said:
        with pytest.raises(StageError, match=said): pipeline.run()
        assert len(list((tmp_path/"outputs"/"failed").glob("b-*.ipynb"))) == 1
    else: pipeline.run()
    workers = {pid for pids in asked for pid in pids}
    assert workers and not [path for pid in workers for path in Path("/tmp").glob(f"gradeclass-warm-k{pid}-*")]

def test_others_on_this_computer_read_no_students_in_what_a_run_leaves(tmp_path, monkeypatch):
    outputs = tmp_path/"outputs"
    (outputs/"stages").mkdir(parents=True, mode=0o755) # As earlier versions left it
    assert run_command(monkeypatch, [Stage("prepare", small_notebook(tmp_path/"small.ipynb", "1/0"))], outputs) == 1
    for name in ("stages", "failed"): assert (outputs/name).stat().st_mode & 0o007 == 0

def shown(folder, outputs):
    "What an executed notebook says: sources and outputs, without its own paths and times"
    notebook = nbformat.read(Path(folder, "notebook.ipynb"), 4)
    text = json.dumps([[cell.source, cell.get("outputs", [])] for cell in notebook.cells])
    text = re.sub(rf"{re.escape(str(outputs))}/stages/\.?[\w.-]+", "FOLDER", text).replace(str(outputs), "OUTPUTS")
    return re.sub(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d)?|T_[0-9a-f]{5}(?=[_ \\])|0x[0-9a-f]{6,}", "VARIES", text)

@pytest.mark.process
@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="kernels are forked on Linux alone")
def test_notebooks_are_the_same_on_forked_and_on_ordinary_kernels(tmp_path, monkeypatch):
    said = {}
    for kind in ("warm", "ordinary"):
        monkeypatch.setenv("GRADECLASS_KERNELS", kind)
        run = run_pipeline("sample", parameters=QUICK, outputs=tmp_path/kind)
        said[kind] = {stage.name: shown(stage.folder, tmp_path/kind) for stage in run.stages}
    assert said["warm"].keys() == STAGES.keys()
    for name in STAGES: assert said["warm"][name] == said["ordinary"][name], name

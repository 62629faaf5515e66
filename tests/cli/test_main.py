"The command as a whole: how fast it answers, and how it ends"
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gradeclass.pipeline.stages import STAGES, known_parameters


def cpu_seconds():
    "What ended child processes have used of the processor"
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def python(code, *words):
    "Run Python in a fresh process as a user would: what it prints, and its seconds (of the processor, where that is busy with other work)"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    started, used = time.perf_counter(), cpu_seconds()
    ended = subprocess.run([sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True,
                           env=environment, check=True)
    return ended.stdout, min(time.perf_counter() - started, cpu_seconds() - used)


LOADED = "; import sys; print(*{name.partition('.')[0] for name in sys.modules})"


def test_version_is_that_of_the_package(ask):
    import gradeclass
    assert ask("--version") == (0, f"{gradeclass.__version__}\n", "")


@pytest.mark.process
def test_shell_completes_commands_after_it_was_installed(tmp_path):
    def ask(*words, **env):
        code = "import sys; sys.argv[0] = 'gradeclass'; from gradeclass.cli.main import main; main()"
        return subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True,
                              env={**os.environ, "HOME": str(tmp_path), **env})
    shown = ask("--show-completion", "bash").stdout
    assert "complete -o default -F _gradeclass_completion gradeclass" in shown
    assert ask("--install-completion", "bash").returncode == 0
    (script,) = (tmp_path/".bash_completions").iterdir()
    assert script.read_text().strip() == shown.strip() and str(script) in (tmp_path/".bashrc").read_text()
    asked = {"_GRADECLASS_COMPLETE": "complete_bash", "COMP_CWORD": "1", "COMP_WORDS": "gradeclass pre"}
    assert ask(**asked).stdout.split() == ["prefect", "predict"]


@pytest.mark.process
def test_import_is_quick_and_light():
    tries = [python("import gradeclass" + LOADED) for _ in range(3)]
    assert not {"pandas", "sklearn", "seaborn", "xgboost"} & set(tries[0][0].split())
    assert min(seconds for _, seconds in tries) < 0.3


@pytest.mark.process
@pytest.mark.parametrize("words", ["--help", "predict --help", "schema show students"])
def test_help_and_schemas_need_no_pandas(words):
    code = ("import sys, atexit; sys.argv[0] = 'gradeclass'; atexit.register(lambda: print(*{name.partition('.')[0] "
            "for name in sys.modules}))")
    printed, _ = python(code + "; from gradeclass.cli.main import main; main()", *words.split())
    assert not {"pandas", "numpy", "sklearn"} & set(printed.splitlines()[-1].split())


@pytest.mark.process
@pytest.mark.slow
def test_one_student_is_graded_quickly_without_what_only_training_needs(trained):
    code = ("import sys; from gradeclass.models.bundle import load_model; from gradeclass.scoring.table import "
            "predict_table; import pandas as pd; model = load_model(sys.argv[1]); "
            "predict_table(model, pd.DataFrame({'Absences': ['3'], 'Tutoring': ['Yes']}))")
    tries = [python(code + LOADED, trained) for _ in range(3)]
    assert not {"evidently", "mlflow", "optuna", "seaborn", "papermill", "pandera",
                "imblearn"} & set(tries[0][0].split())
    assert min(seconds for _, seconds in tries) < 4


@pytest.mark.parametrize("command", ["run", "schedule", "sweep"])
def test_help_names_every_parameter_with_its_default(command, ask):
    code, printed, _ = ask(command, "--help")
    words = printed.replace(",", " ").split()
    known = known_parameters(list(STAGES.values()))
    assert code == 0 and {f"{name}={value}" for name, value in known.items() if name not in ("data", "schema")} <= set(words)


def test_internal_error_is_one_sentence_with_a_log(ask, monkeypatch):
    monkeypatch.setattr("gradeclass.schema.load_schema", lambda name: 1/0)
    code, printed, said = ask("schema", "show", "students")
    assert (code, printed) == (1, "") and said.count("\n") == 1
    assert said.startswith("gradeclass: internal error: ZeroDivisionError: division by zero; please report it and "
                           "attach ")
    log = Path(said.rpartition(" ")[2].strip())
    assert "ZeroDivisionError" in log.read_text(encoding="utf-8")


@pytest.mark.process
def test_interrupted_command_ends_with_130_also_in_a_background_shell():
    code = """import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # A shell starts background processes with SIGINT ignored
import gradeclass.schema
from gradeclass.cli.main import main
gradeclass.schema.load_schema = lambda name: signal.raise_signal(signal.SIGINT)
sys.argv = ['gradeclass', 'schema', 'show', 'students']
main()"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "")


@pytest.mark.parametrize("in_file", [False, True])
@pytest.mark.parametrize("name, near", [("GRADECLASS_OUTPUT", "GRADECLASS_OUTPUTS"),
                                        ("GRADECLASS_SERVE_PROT", "GRADECLASS_SERVE_PORT")])
def test_mistyped_variable_ends_every_command_with_the_name_that_was_meant(ask, place, monkeypatch, name, near, in_file):
    if in_file: (place/".env").write_text(f"{name}=1\n")
    else: monkeypatch.setenv(name, "1")
    assert ask("schema", "show", "students") == (1, "", f"gradeclass: there is no variable {name}: did you mean {near}?\n")
    assert ask("--version")[0] == 0


def test_variable_that_is_like_none_of_ours_is_named_and_passed_over(ask, monkeypatch):
    monkeypatch.setenv("GRADECLASS_COLOUR", "red")
    code, printed, said = ask("schema", "show", "students")
    assert code == 0 and printed and said == "warning: there is no variable GRADECLASS_COLOUR: it has no effect\n"


def may_unshare():
    "Whether this user may start a process that is the first of its own space"
    return bool(shutil.which("unshare")) and not subprocess.run(["unshare", "--pid", "--fork", "true"], capture_output=True).returncode


@pytest.mark.process
@pytest.mark.skipif(not may_unshare(), reason="needs unshare, and the right to use it")
def test_first_process_of_a_container_ends_when_it_is_stopped():
    code = """import sys, time
import gradeclass.schema
from gradeclass.cli.main import main
gradeclass.schema.load_schema = lambda name: (print("at work", flush=True), time.sleep(600))
sys.argv = ["gradeclass", "schema", "show", "students"]
main()"""
    started = subprocess.Popen(["unshare", "--pid", "--fork", "--kill-child", sys.executable, "-c", code], stdout=subprocess.PIPE,
                               text=True)
    try:
        assert started.stdout.readline() == "at work\n"
        (inside,) = Path(f"/proc/{started.pid}/task/{started.pid}/children").read_text().split()
        os.kill(int(inside), signal.SIGTERM)
        assert started.wait(60) == 143
    finally: started.kill()

"""Settings: environment before `.env`, one sentence for a wrong value. The reference has a test of its own."""
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gradeclass import config
from gradeclass.service.settings import ServiceSettings, load_service_settings, serve_variable
from gradeclass.settings import BETWEEN, Settings, SettingsError, load_settings, unknown_variables, variable

ROOT = Path(__file__).parent.parent
VARIABLES = [variable(name) for name in Settings.model_fields]

@pytest.fixture
def home(tmp_path, monkeypatch):
    "An empty home folder; nothing else is set"
    for name in VARIABLES: monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GRADECLASS_HOME", str(tmp_path))
    return tmp_path

def test_defaults_lie_in_the_home_folder(home):
    settings = load_settings()
    assert (settings.home, settings.outputs, settings.real_data) == (home, home/"outputs", home/"data"/"raw")
    assert settings.mlflow_tracking_uri == f"sqlite:///{home}/outputs/mlflow.db"

@pytest.mark.parametrize("name, in_file, in_environment", [
    ("GRADECLASS_LOG_LEVEL", "info", "debug"), ("GRADECLASS_LOG_FORMAT", "json", "text"),
    ("MLFLOW_TRACKING_URI", "http://localhost:1", "http://localhost:2")])
def test_environment_wins_over_env_file(home, monkeypatch, name, in_file, in_environment):
    field = next(field for field in Settings.model_fields if variable(field) == name)
    (home/".env").write_text(f"{name}={in_file}\n")
    assert getattr(load_settings(), field) == in_file
    monkeypatch.setenv(name, in_environment)
    assert getattr(load_settings(), field) == in_environment

def test_folder_in_env_file_is_counted_from_the_file(home, monkeypatch, tmp_path_factory):
    (home/".env").write_text("GRADECLASS_OUTPUTS=results\n")
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert config.find_outputs() == home/"results" == load_settings().outputs

def test_outputs_of_the_environment_win_over_env_file(home, monkeypatch, tmp_path_factory):
    (home/".env").write_text("GRADECLASS_OUTPUTS=results\n")
    chosen = tmp_path_factory.mktemp("chosen")
    monkeypatch.setenv("GRADECLASS_OUTPUTS", str(chosen))
    assert config.find_outputs() == chosen == load_settings().outputs

def test_env_file_may_name_the_home(monkeypatch, tmp_path):
    for name in VARIABLES: monkeypatch.delenv(name, raising=False)
    (tmp_path/".env").write_text("GRADECLASS_HOME=school\n")
    monkeypatch.chdir(tmp_path)
    assert config.find_home() == tmp_path/"school" == load_settings().home

def test_changed_env_file_is_read_again(home):
    (home/".env").write_text("GRADECLASS_LOG_LEVEL=info\n")
    assert load_settings().log_level == "info"
    (home/".env").write_text("GRADECLASS_LOG_LEVEL=error\n")
    assert load_settings().log_level == "error"

def test_empty_variable_counts_as_not_set(home, monkeypatch):
    (home/".env").write_text("GRADECLASS_LOG_LEVEL=info\nGRADECLASS_LOG_FORMAT=\n")
    monkeypatch.setenv("GRADECLASS_LOG_LEVEL", "")
    assert (load_settings().log_level, load_settings().log_format) == ("info", "text")

@pytest.mark.parametrize("name, value, right", [
    ("GRADECLASS_LOG_LEVEL", "loud", "give debug, info, warning or error"),
    ("GRADECLASS_LOG_FORMAT", "xml", "give text or json"),
    ("MLFLOW_TRACKING_URI", "localhost:5000", "give an address such as")])
def test_wrong_value_names_variable_and_remedy(home, name, value, right):
    (home/".env").write_text(f"{name}={value}\n")
    with pytest.raises(SettingsError) as error: load_settings()
    assert str(error.value).startswith(f"{name} is '{value}': {right}") and "\n" not in str(error.value)

def test_file_where_a_folder_is_needed_is_refused(home, monkeypatch):
    (home/"results").write_text("")
    monkeypatch.setenv("GRADECLASS_OUTPUTS", str(home/"results"))
    with pytest.raises(SettingsError, match="GRADECLASS_OUTPUTS is .*results': give a folder"): load_settings()

def test_two_wrong_values_are_named_at_once(home):
    (home/".env").write_text("GRADECLASS_LOG_LEVEL=loud\nGRADECLASS_LOG_FORMAT=xml\n")
    with pytest.raises(SettingsError, match="GRADECLASS_LOG_LEVEL.*; GRADECLASS_LOG_FORMAT"): load_settings()

def test_binary_env_file_gets_a_sentence(home):
    (home/".env").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(config.GradeclassError, match="write lines NAME=value in UTF-8"): config.find_outputs()

def test_env_file_reaches_mlflow(home, monkeypatch):
    (home/".env").write_text("MLFLOW_TRACKING_URI=sqlite:///from-file.db\nMLFLOW_HTTP_REQUEST_TIMEOUT=7\nOTHER=1\n")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "9")
    monkeypatch.delenv("OTHER", raising=False)
    program = ("from gradeclass.config import export_mlflow_settings as export; print(export()); import mlflow, os; "
               "print(mlflow.get_tracking_uri(), os.environ['MLFLOW_HTTP_REQUEST_TIMEOUT'], os.environ.get('OTHER'))")
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True,
                          check=True).stdout.splitlines()
    assert told[-2:] == ["['MLFLOW_TRACKING_URI']", "sqlite:///from-file.db 9 None"]

@pytest.mark.parametrize("with_file", [False, True])
def test_config_stays_thin(home, with_file):
    if with_file: (home/".env").write_text("GRADECLASS_LOG_LEVEL=info\n")
    program = ("import sys; from gradeclass.config import find_outputs; find_outputs(); "
               "print([name for name in ('pydantic', 'pydantic_settings', 'pandas') if name in sys.modules], 'dotenv' "
               "in sys.modules)")
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True,
                          env=os.environ).stdout
    assert told.split("\n")[0] == f"[] {with_file}"

@pytest.mark.parametrize("name, near, load", [
    ("GRADECLASS_LOG_LEVLE", "GRADECLASS_LOG_LEVEL", load_settings),
    ("GRADECLASS_OUTPUT", "GRADECLASS_OUTPUTS", load_settings),
    ("GRADECLASS_SERVE_PROT", "GRADECLASS_SERVE_PORT", load_service_settings)])
@pytest.mark.parametrize("in_file", [False, True])
def test_slip_in_a_variable_is_named_with_what_was_meant(home, monkeypatch, name, near, load, in_file):
    if in_file: (home/".env").write_text(f"{name}=1\n")
    else: monkeypatch.setenv(name, "1")
    with pytest.raises(SettingsError, match=f"there is no variable {name}: did you mean {near}\\?$"): load()

def test_every_variable_that_the_package_reads_is_a_setting(home, monkeypatch):
    read = {name for path in (ROOT/"gradeclass").rglob("*.py")
            for name in re.findall(r"GRADECLASS_[A-Z_]+[A-Z]", path.read_text(encoding="utf-8"))}
    between = {*BETWEEN, "GRADECLASS_SERVE"}  # The last is how the names of the service begin
    served = {serve_variable(name) for name in ServiceSettings.model_fields}
    assert read <= set(VARIABLES) | served | between
    for name in read - {"GRADECLASS_SERVE"}: monkeypatch.setenv(name, "")
    load_settings(), load_service_settings()  # None of them is taken for a slip
    assert not set(unknown_variables(list(served))) & read

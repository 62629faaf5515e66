"The image and the compose file, as far as they can be checked without a container engine"
import json
import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def steps():
    "Instructions of the Dockerfile, continued lines joined, one list for each stage"
    text = re.sub(r"\\\n\s*", " ", (ROOT/"Dockerfile").read_text())
    lines = [line.split(maxsplit=1) for line in text.splitlines() if line and not line.startswith("#")]
    stages = []
    for word, rest in lines:
        if word == "FROM": stages.append([])
        stages[-1].append((word, rest.strip()))
    return stages


@pytest.fixture(scope="module")
def compose():
    return yaml.safe_load((ROOT/"compose.yaml").read_text())


def commands():
    import typer
    from gradeclass.cli.main import app
    return set(typer.main.get_command(app).commands)


def test_what_runs_is_not_root_and_holds_no_build_tools(steps):
    build, final = steps
    words = [word for word, _ in final]
    assert ("USER", "gradeclass") in final and words.index("USER") > max(
        i for i, word in enumerate(words) if word == "RUN")
    assert any(word == "COPY" and rest.startswith("--from=build /opt/venv") for word, rest in final)
    assert not any("pip install" in rest or "uv " in rest for word, rest in final)
    assert all(re.search(r"^python:3\.\d+-slim", rest) for stage in steps for word, rest in stage if word == "FROM")


def test_images_are_pinned_and_lists_of_packages_are_removed(steps):
    for stage in steps:
        for word, rest in stage:
            if word == "FROM": assert ":" in rest.split()[0] and "latest" not in rest
            if word == "RUN" and "apt-get install" in rest:
                assert "--no-install-recommends" in rest and "rm -rf /var/lib/apt/lists" in rest
            if word in ("ENTRYPOINT", "CMD"): assert json.loads(rest), "written as a list, so that signals arrive"


def test_everything_that_is_copied_exists(steps):
    for word, rest in steps[0]:
        if word != "COPY": continue
        for source in rest.split()[:-1]: assert (ROOT/source).exists(), source
    ignored = (ROOT/".dockerignore").read_text().split()
    assert {"outputs", "data/raw", ".git", ".venv"} <= set(ignored)


def test_the_image_holds_the_service_alone_unless_more_is_asked_for(steps, compose):
    assert ("ARG", "EXTRAS=serve") in steps[0] and any('".[$EXTRAS]"' in rest for _, rest in steps[0])
    known = tomllib.loads((ROOT/"pyproject.toml").read_text())["project"]["optional-dependencies"]
    wanted = {name: service["build"]["args"]["EXTRAS"].split(",") for name, service in compose["services"].items()
              if "build" in service}
    assert all(set(extras) <= set(known) for extras in wanted.values())
    assert wanted["service"] == ["serve", "postgres"] and {"pages", "tracking", "prefect"} <= set(wanted["scheduler"])


def test_compose_runs_commands_that_there_are(compose):
    named = {name: service["command"][0] for name, service in compose["services"].items() if "command" in service}
    assert named == {"service": "serve", "pages": "app", "experiments": "ui", "scheduler": "prefect"}
    assert set(named.values()) <= commands()


def test_compose_opens_ports_to_this_machine_alone_and_gives_no_rights(compose):
    for name, service in compose["services"].items():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
        assert not service.get("privileged") and "docker.sock" not in json.dumps(service)
        if name != "database": assert service["read_only"] and service["cap_drop"] == ["ALL"]
    assert (compose["services"]["service"]["ports"] == ["127.0.0.1:9696:9696"]
            and compose["services"]["database"]["ports"] == ["127.0.0.1:5432:5432"])


def test_settings_that_compose_gives_are_settings(compose):
    from gradeclass.service.settings import ServiceSettings, serve_variable
    known = {serve_variable(name) for name in ServiceSettings.model_fields}
    given = {name for service in compose["services"].values() for name in service.get("environment", {})
             if name.startswith("GRADECLASS_SERVE_")}
    assert given and given <= known
    assert "change" not in (ROOT/"compose.yaml").read_text().lower(), "no password is given as an example"


def test_the_health_check_asks_what_the_service_answers(steps):
    (check,) = [rest for word, rest in steps[1] if word == "HEALTHCHECK"]
    assert "/health" in check and "9696" in check

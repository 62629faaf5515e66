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
    assert named == {"service": "serve", "pages": "app", "experiments": "ui", "scheduler": "prefect", "monthly": "schedule"}
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


@pytest.fixture(scope="module")
def manifests():
    return list(yaml.safe_load_all((ROOT/"deploy/kubernetes.yaml").read_text()))


def pods(manifests):
    "What each manifest that starts something says of its pods"
    specs = {each["kind"]: each["spec"] for each in manifests}
    return {"Deployment": specs["Deployment"]["template"]["spec"],
            "CronJob": specs["CronJob"]["jobTemplate"]["spec"]["template"]["spec"]}


def test_cluster_starts_commands_that_there_are_as_the_images_user(manifests, steps, compose):
    writable = {"/data", *compose["services"]["service"]["tmpfs"]}
    user = int(re.search(r"useradd .*--uid (\d+)", " ".join(rest for word, rest in steps[1] if word == "RUN"))[1])
    for kind, pod in pods(manifests).items():
        (container,) = pod["containers"]
        assert container["args"][0] in commands(), kind
        assert pod["securityContext"]["runAsUser"] == pod["securityContext"]["fsGroup"] == user
        assert container["securityContext"]["readOnlyRootFilesystem"] and {"cpu", "memory"} <= set(
            container["resources"]["limits"])
        kept = {volume["name"] for volume in pod["volumes"]}
        assert {place["name"] for place in container["volumeMounts"]} == kept
        assert {place["mountPath"] for place in container["volumeMounts"]} == writable


def test_cluster_asks_what_the_service_answers_and_waits_as_long_as_it_takes_to_end(manifests, steps):
    from gradeclass.service.engine import ALIVE
    pod = pods(manifests)["Deployment"]
    (container,) = pod["containers"]
    asked = {name: probe["httpGet"]["path"] for name, probe in container.items() if name.endswith("Probe")}
    assert asked == {"startupProbe": "/health", "livenessProbe": "/health", "readinessProbe": "/readyz"}
    assert set(asked.values()) <= ALIVE
    assert ("EXPOSE", str(container["ports"][0]["containerPort"])) in steps[1]
    from gradeclass.service.app import PARTING
    assert pod["terminationGracePeriodSeconds"] > PARTING


def test_cluster_sets_no_variable_that_reads_like_a_mistyped_setting(manifests, monkeypatch):
    "For a Service called gradeclass a cluster sets GRADECLASS_SERVICE_PORT in each pod, unless it is told not to"
    from gradeclass.config import GradeclassError
    from gradeclass.service.settings import load_service_settings
    monkeypatch.setenv("GRADECLASS_SERVICE_PORT", "80")
    with pytest.raises(GradeclassError, match="GRADECLASS_SERVICE_PORT"): load_service_settings()
    assert all(pod["enableServiceLinks"] is False for pod in pods(manifests).values())


@pytest.fixture(scope="module")
def prove():
    "The script that performs the Dockerfile without a container engine"
    import importlib.util
    import sys
    spec = importlib.util.spec_from_file_location("docker_prove", ROOT/"docker/prove.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module # Where dataclasses look a class's module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_proof_takes_the_instructions_as_they_are_written(prove, steps):
    stages = prove.read_stages((ROOT/"Dockerfile").read_text())
    assert [[word for word, _ in stage.steps] for stage in stages] == [
        [word for word, _ in stage if word != "FROM"] for stage in steps]
    assert stages[0].name == "build" and not stages[1].name


def test_proof_copies_sets_and_refuses_as_an_engine_does(prove, tmp_path):
    text = ("FROM a AS first\nARG EXTRAS=serve\nWORKDIR /src\nCOPY LICENSE ./\nCOPY data/sample data/sample\n"
            "FROM a\nCOPY --from=first /src /kept\nENV PATH=/x:$PATH A=1\nUSER one\nCMD [\"serve\"]\n")
    stages = prove.read_stages(text)
    for number, stage in enumerate(stages):
        stage.root = tmp_path/str(number)
        prove.perform(stage, stages, {"EXTRAS": "pages"})
    first, last = stages
    assert first.args == {"EXTRAS": "pages"} and last.about == {"CMD": ["serve"]} and last.user == "one"
    assert (last.root/"kept/LICENSE").read_bytes() == (ROOT/"LICENSE").read_bytes()
    assert (last.root/"kept/data/sample/students_sample.csv").is_file()
    assert last.env["PATH"].startswith("/x:/usr/local/sbin") and last.env["A"] == "1"
    stages[1].steps = [("ADD", "x y")]
    with pytest.raises(SystemExit, match="ADD"): prove.perform(stages[1], stages, {})

"""What docker-compose.yml and the Dockerfile say fits the product: no engine is needed to see that it does not."""

from __future__ import annotations

import fnmatch
import re
import tomllib
from typing import Any

import pytest
from typer.main import get_command

from penstock.cli.main import app, hoist_globals
from penstock.cli.run import ROLES
from penstock.settings import Settings
from penstock.topology import STAGES
from tests.broker.docker import IMAGE
from tests.packaging.compose_file import ROOT, compose, start_order, waits

SERVICES: dict[str, Any] = compose()["services"]
OURS = {name: service for name, service in SERVICES.items() if name != "kafka"}
DOCKERFILE = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
INSTRUCTIONS = [line.split(maxsplit=1) for line in DOCKERFILE.splitlines() if line and not line.startswith((" ", "#"))]
PINNED = re.compile(r"[a-z0-9./-]+:\d+\.\d+\.\d+[a-z0-9.-]*")


def stages() -> dict[str, list[tuple[str, str]]]:
    """Each stage of the Dockerfile: its instructions after those of the stages that it starts from."""
    found: dict[str, list[tuple[str, str]]] = {}
    name = ""
    for word, rest in INSTRUCTIONS:
        if word == "FROM":
            source, _, name = rest.split()
            found[name] = list(found.get(source, []))
        elif name:
            found[name].append((word, rest))
    return found


def test_every_role_has_a_service_and_nothing_else_runs() -> None:
    assert set(SERVICES) == {"kafka", "topics"} | set(STAGES)
    assert set(ROLES) == set(STAGES)


@pytest.mark.parametrize("name", OURS)
def test_a_service_runs_a_command_that_exists(name: str) -> None:
    arguments = hoist_globals(OURS[name]["command"])
    assert arguments[0] == "--pipeline"
    assert (ROOT / arguments[1]).is_file()
    command: Any = get_command(app)
    rest = arguments[2:]
    while hasattr(command, "commands"):
        assert rest[0] in command.commands
        command, rest = command.commands[rest[0]], rest[1:]
    assert rest == ([] if name == "topics" else [name])


@pytest.mark.parametrize("name", STAGES)
def test_a_health_check_asks_the_port_that_the_role_answers_on(name: str) -> None:
    *command, code = OURS[name]["healthcheck"]["test"]
    assert command == ["CMD", "python", "-c"]
    asked = re.search(r"http://127\.0\.0\.1:(\d+)(/[a-z/]+)", code)
    assert asked is not None
    environment = OURS[name]["environment"]
    port = str(Settings.model_fields["port"].default) if name == "serving" else environment["PENSTOCK_PROBE_PORT"]
    assert asked.groups() == (port, "/health/ready")
    assert environment["PENSTOCK_HOST"] == "0.0.0.0"  # noqa: S104 - for who collects metrics


@pytest.mark.parametrize("name", STAGES)
def test_a_role_waits_for_its_topics_restarts_and_is_watched(name: str) -> None:
    service = SERVICES[name]
    assert waits(service) == {"topics": "service_completed_successfully", "kafka": "service_healthy"}
    assert service["restart"] == "unless-stopped"
    assert service["healthcheck"]["test"]
    assert service["volumes"] == ["state:/data"]
    assert service["init"] is True


def test_kafka_comes_first_then_the_topics_then_the_roles() -> None:
    order = start_order(SERVICES)
    assert order[:2] == ["kafka", "topics"]
    assert set(order[2:]) == set(STAGES)
    assert SERVICES["kafka"]["healthcheck"]["test"]
    assert SERVICES["topics"]["restart"].startswith("on-failure")


def test_images_are_pinned() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert SERVICES["kafka"]["image"] == IMAGE  # what the tests run
    assert {service["image"] for service in OURS.values()} == {
        f"penstock-worker:{version}",
        f"penstock-serving:{version}",
    }
    base = dict(rest.split("=") for word, rest in INSTRUCTIONS if word == "ARG")
    used = [rest.split()[0] for word, rest in INSTRUCTIONS if word == "FROM"]
    outside = {base.get(image.strip("${}"), image) for image in used if image not in stages()}
    assert all(PINNED.fullmatch(image) for image in outside | {service["image"] for service in SERVICES.values()})


def test_nothing_listens_beyond_this_machine() -> None:
    for service in SERVICES.values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


@pytest.mark.parametrize("target", ["serving", "worker"])
def test_images_run_as_a_user_of_their_own(target: str) -> None:
    users = [rest for word, rest in stages()[target] if word == "USER"]
    assert users == ["10001"]
    last = [word for word, _ in stages()[target]].index("USER")
    assert "RUN" not in [word for word, _ in stages()[target]][last:]
    assert "user" not in {key for service in OURS.values() for key in service}


def test_services_are_built_from_stages_that_exist() -> None:
    targets = {service["build"]["target"] for service in OURS.values()}
    assert targets == {"serving", "worker"}
    assert targets <= set(stages())
    assert SERVICES["serving"]["build"]["target"] == "serving"


def test_what_is_copied_is_there_and_not_ignored() -> None:
    wanted = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    copied = {
        source
        for word, rest in INSTRUCTIONS
        if word == "COPY" and not rest.startswith("--from")
        for source in rest.split()[:-1]
    }
    assert all((ROOT / source).exists() for source in copied)
    assert all(any(fnmatch.fnmatch(source, line[1:]) for line in wanted) for source in copied)
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert set(packages["packages"]) <= copied


def test_settings_that_are_set_exist() -> None:
    known = {f"PENSTOCK_{name.upper()}" for name in Settings.model_fields}
    used = {name for service in OURS.values() for name in service["environment"]}
    used |= set(re.findall(r"PENSTOCK_\w+(?==)", DOCKERFILE))
    assert used <= known
    assert {"PENSTOCK_LOG", "PENSTOCK_DATA_DIR"} <= used

"""What the compose file, the image and the code say of one another. `make compose-trial` brings it up for real."""

import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from millrace.reference import GROUPS, settings_of
from streams.worker import STAGES
from tests.servers import KAFKA_IMAGE, POSTGRES_IMAGE

ROOT = Path(__file__).parents[2]
COMPOSE_TEXT = (ROOT / "docker-compose.yml").read_text()
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(COMPOSE_TEXT)["services"]
OURS = sorted(name for name, service in SERVICES.items() if "build" in service)
DOCKERFILE = (ROOT / "Dockerfile").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SETTINGS = {setting.name for group in GROUPS for setting in settings_of(group)}
CONNECTIONS = {"KAFKA_BOOTSTRAP_SERVERS", "DATABASE_URL", "MILLRACE_BLOBS_URL"}
SCRIPTS = [
    path
    for path in (ROOT / ".ci/run", *sorted((ROOT / "deploy").rglob("*")))
    if path.is_file() and path.read_bytes().startswith(b"#!")
]


def with_defaults(text: str) -> str:
    """As compose reads it with none of the variables set."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)


def image_environment() -> dict[str, str]:
    block = re.findall(r"^ENV (.*?[^\\])$", DOCKERFILE, re.MULTILINE | re.DOTALL)[-1]
    return dict(re.findall(r"(\w+)=(\S+)", block))


def locked(path: str) -> Iterator[tuple[str, frozenset[str]]]:
    """Each pin with its hashes."""
    for pin in re.findall(r"^\S+==.*?(?=^\S|\Z)", (ROOT / path).read_text(), re.MULTILINE | re.DOTALL):
        yield pin.split()[0], frozenset(re.findall(r"sha256:\w+", pin))


def test_there_is_a_service_for_each_part() -> None:
    assert set(OURS) == {"migrate", "gateway", *STAGES}
    assert set(SERVICES) == {"kafka", "postgres", *OURS}


@pytest.mark.parametrize("stage", STAGES)
def test_each_stage_has_a_worker_that_can_be_scaled(stage: str) -> None:
    worker = SERVICES[stage]
    assert worker["command"] == ["worker", stage]
    assert not worker.keys() & {"ports", "container_name"}, "a second one would collide with the first"
    assert "MILLRACE_WORKER_INSTANCE_ID" not in worker["environment"], "the group would take two for one"


@pytest.mark.parametrize("name", OURS)
def test_our_services_set_known_settings_and_all_connections(name: str) -> None:
    environment = SERVICES[name]["environment"]
    assert environment.keys() <= SETTINGS
    assert environment.keys() >= CONNECTIONS


def test_what_can_be_set_from_outside_bears_a_setting_s_name() -> None:
    assert set(re.findall(r"(?<!\$)\$\{(\w+)", COMPOSE_TEXT)) <= SETTINGS | {"POSTGRES_PASSWORD", "MILLRACE_VERSION"}


def test_the_image_sets_known_settings() -> None:
    assert {name for name in image_environment() if name.startswith("MILLRACE_")} <= SETTINGS


def test_the_database_s_url_fits_the_database() -> None:
    url = urlsplit(with_defaults(SERVICES["gateway"]["environment"]["DATABASE_URL"]))
    database = SERVICES["postgres"]["environment"]
    assert url.hostname == "postgres"
    assert url.username == database["POSTGRES_USER"]
    assert url.password == with_defaults(database["POSTGRES_PASSWORD"])
    assert url.path == f"/{database['POSTGRES_DB']}"


def test_the_broker_listens_where_our_services_look_for_it() -> None:
    broker = SERVICES["kafka"]["environment"]
    advertised = dict(each.split("://") for each in broker["KAFKA_ADVERTISED_LISTENERS"].split(","))
    assert advertised["INTERNAL"] == SERVICES["gateway"]["environment"]["KAFKA_BOOTSTRAP_SERVERS"]
    assert broker["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_each_service_is_watched_limited_and_started_again(name: str) -> None:
    service = SERVICES[name]
    assert service["deploy"]["resources"]["limits"]["memory"]
    assert service["logging"]["options"]["max-size"]
    if name == "migrate":
        assert "restart" not in service, "it ends when it is done"
        return
    assert service["healthcheck"]["test"]
    assert service["restart"] == "unless-stopped"
    assert service["stop_grace_period"]


@pytest.mark.parametrize("name", [*STAGES, "gateway"])
def test_our_services_wait_for_what_they_need(name: str) -> None:
    assert SERVICES[name]["depends_on"] == {
        "migrate": {"condition": "service_completed_successfully"},
        "kafka": {"condition": "service_healthy"},
        "postgres": {"condition": "service_healthy"},
    }


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_ports_are_open_to_this_machine_alone(name: str) -> None:
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", ()))


@pytest.mark.parametrize("name", OURS)
def test_gateway_and_workers_share_the_documents_where_the_image_lets_them_write(name: str) -> None:
    folder = SERVICES[name]["environment"]["MILLRACE_BLOBS_URL"]
    assert f"blobs:{folder}" in SERVICES[name]["volumes"]
    assert folder == image_environment()["MILLRACE_BLOBS_URL"]
    assert re.search(rf"install --directory --owner=millrace .*{folder}$", DOCKERFILE, re.MULTILINE)


def test_the_servers_are_those_of_the_tests() -> None:
    assert SERVICES["kafka"]["image"] == KAFKA_IMAGE
    assert SERVICES["postgres"]["image"] == POSTGRES_IMAGE


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_images_are_pinned(name: str) -> None:
    _, _, tag = with_defaults(SERVICES[name]["image"]).partition(":")
    assert tag
    assert tag != "latest"


def test_the_image_does_not_run_as_root() -> None:
    user = re.findall(r"^USER (\S+)", DOCKERFILE, re.MULTILINE)[-1]
    assert int(user.partition(":")[0]) > 0
    assert not any("user" in SERVICES[name] for name in OURS)


def test_the_image_has_a_python_that_the_project_takes() -> None:
    version = re.findall(r"^ARG PYTHON_VERSION=(\S+)", DOCKERFILE, re.MULTILINE)[0]
    assert version in SpecifierSet(PROJECT["project"]["requires-python"])


def test_the_image_is_made_of_what_the_lock_pins_without_the_local_servers() -> None:
    everything, runtime = dict(locked("requirements.lock")), dict(locked("requirements-runtime.lock"))
    assert runtime.items() <= everything.items()
    names = {pin.partition("==")[0] for pin in runtime}
    assert names >= {Requirement(each).name for each in PROJECT["project"]["dependencies"]}
    extras = [each for extra in PROJECT["project"]["optional-dependencies"].values() for each in extra]
    assert not names & {Requirement(each).name for each in extras}


def test_all_packages_reach_the_image_s_builder() -> None:
    ignored = (ROOT / ".dockerignore").read_text().split()
    needed = [*PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"], PROJECT["project"]["readme"]]
    assert {f"!{each}" for each in [*needed, *PROJECT["project"]["license-files"]]} <= set(ignored)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_scripts_can_be_read_and_run(script: Path) -> None:
    assert script.stat().st_mode & 0o111 == 0o111
    subprocess.run(["bash", "-n", script], check=True)

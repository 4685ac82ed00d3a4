"""docker-compose.yml against the services' own settings, and the secrets that it asks for."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import json
import os
import re
import runpy
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from shared.settings import ServiceSettings, load_settings

ROOT = Path(__file__).parents[3]
MAKE_SECRETS = ROOT / "deploy/compose/make_secrets.py"
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVERS = {"postgres", "rabbitmq"}
HTTP_PORT = 8000  # what deploy/healthcheck.py asks and the other services call
OURS = sorted(set(COMPOSE["services"]) - SERVERS)
# Compose's interpolation: https://docs.docker.com/reference/compose-file/interpolation/
VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?P<operator>:[-?])?(?P<rest>[^}]*)\}")


@pytest.fixture(scope="module")
def secrets() -> dict[str, str]:
    """What the script would write."""
    made: dict[str, str] = runpy.run_path(str(MAKE_SECRETS))["make_secrets"]()
    return made


def _settings_class(service: str) -> type[ServiceSettings]:
    """The Settings of the package whose command the compose service runs."""
    program = COMPOSE["services"][service]["command"][0]
    (entry,) = (each for each in importlib.metadata.entry_points(group="console_scripts") if each.name == program)
    package = entry.value.split(".")[0]
    found: type[ServiceSettings] = importlib.import_module(f"{package}.settings").Settings
    return found


def _environment(service: str, values: dict[str, str]) -> dict[str, str]:
    """The environment as compose would pass it."""

    def replace(match: re.Match[str]) -> str:
        if match["operator"] == ":?":
            return values[match["name"]]
        return values.get(match["name"], match["rest"])

    given = COMPOSE["services"][service].get("environment", {})
    return {name: VARIABLE.sub(replace, str(value)) for name, value in given.items()}


@pytest.mark.parametrize("service", OURS)
def test_every_variable_is_a_setting_and_the_settings_are_complete(
    service: str, secrets: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings_class = _settings_class(service)
    prefix = str(settings_class.model_config["env_prefix"])
    environment = _environment(service, secrets)
    known = {f"{prefix}{name}".upper() for name in settings_class.model_fields}
    assert set(environment) <= known
    for name in [name for name in os.environ if name.startswith(prefix)]:
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    settings = load_settings(settings_class)
    if COMPOSE["services"][service]["command"][1] == "serve":
        assert (settings.bind_host, settings.bind_port) == ("0.0.0.0", HTTP_PORT)


@pytest.mark.parametrize("service", OURS)
def test_the_command_exists(service: str) -> None:
    program, command = COMPOSE["services"][service]["command"]
    (entry,) = (each for each in importlib.metadata.entry_points(group="console_scripts") if each.name == program)
    source = ROOT / "services" / entry.value.split(".")[0] / "src" / entry.module.replace(".", "/")
    tree = ast.parse(source.with_suffix(".py").read_text())
    functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    assert command in functions


def test_all_services_of_the_suite_are_there() -> None:
    expected = {"controller-api", "controller-worker", "passport", "builder", "hooks", "registry-refresher"}
    assert expected | SERVERS <= set(COMPOSE["services"])


def test_secrets_have_no_default_and_the_script_makes_all_of_them(secrets: dict[str, str]) -> None:
    used = {match["name"]: match["operator"] for match in VARIABLE.finditer((ROOT / "docker-compose.yml").read_text())}
    required = {name for name, operator in used.items() if operator == ":?"}
    assert set(used) - required == {"HOOKS_URLS"}
    assert required <= set(secrets)
    assert set(secrets) - required == {"OPERATOR_CLIENT_SECRET"}


def test_clients_know_the_same_secrets_as_their_services(secrets: dict[str, str]) -> None:
    clients = {each["client_id"]: each["client_secret"] for each in json.loads(secrets["PASSPORT_CLIENTS"])}
    for client_id, secret in clients.items():
        assert secret == secrets[f"{client_id.upper()}_CLIENT_SECRET"]


def test_servers_and_services_agree_on_databases_and_the_broker(secrets: dict[str, str]) -> None:
    created = (ROOT / "deploy/compose/postgres/create-databases.sql").read_text()
    for name in ("controller", "passport", "builder", "hooks"):
        secret = f"{name.upper()}_DATABASE_PASSWORD"
        assert rf"\getenv password {secret}" in created
        assert secret in COMPOSE["services"]["postgres"]["environment"]
        url = f"postgresql+asyncpg://{name}:{secrets[secret]}@postgres/{name}"
        assert _environment(f"{name}-migrate", secrets)[f"{name.upper()}_DATABASE_URL"] == url
    user = COMPOSE["services"]["rabbitmq"]["environment"]["RABBITMQ_DEFAULT_USER"]
    assert _environment("hooks", secrets)["HOOKS_BUS_URL"] == f"amqp://{user}:{secrets['RABBITMQ_PASSWORD']}@rabbitmq/"


def test_ports_are_open_to_this_machine_only() -> None:
    ports = [port for service in COMPOSE["services"].values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_secrets_are_written_once_and_for_the_owner_only(tmp_path: Path) -> None:
    script = tmp_path / "make_secrets.py"
    script.write_text(MAKE_SECRETS.read_text())
    first = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    written = tmp_path / ".env"
    before = written.read_text()
    assert stat.S_IMODE(written.stat().st_mode) == 0o600
    assert str(written) in first.stdout
    second = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert second.returncode == 1
    assert "is there already" in second.stdout
    assert written.read_text() == before
    lines = [line.partition("=") for line in before.splitlines()]
    assert all(value[0] == value[-1] == "'" and not re.search(r"['$\\]", value[1:-1]) for _, _, value in lines)

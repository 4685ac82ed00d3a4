"""What builds may see, and what an app's variables may not change."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.domain.variables import app_variables, is_protected
from builder.runner.local.environment import build_environment, tool_environment

HOST = {
    "PATH": "/usr/bin",
    "HOME": "/home/owner",
    "LC_ALL": "C.UTF-8",
    "HTTPS_PROXY": "http://proxy.example.com",
    "PIP_INDEX_URL": "https://mirror.example.com",
    "BUILDER_CLIENT_SECRET": "x",
    "AWS_SECRET_ACCESS_KEY": "x",
    "DOCKER_HOST": "unix:///run/docker.sock",
    "GIT_DIR": "/somewhere",
}


def environment(variables: dict[str, str], host: dict[str, str] = HOST) -> dict[str, str]:
    return build_environment(host, variables, home=Path("/w/.home"), temporary=Path("/w/.tmp"))


def test_only_named_variables_of_the_platform_pass() -> None:
    seen = environment({"DEBUG": "1"})
    assert seen["PATH"] == "/usr/bin"
    assert seen["HOME"] == "/w/.home"
    assert seen["PIP_INDEX_URL"] == "https://mirror.example.com"
    assert seen["DEBUG"] == "1"
    assert not seen.keys() & {"BUILDER_CLIENT_SECRET", "AWS_SECRET_ACCESS_KEY", "DOCKER_HOST", "GIT_DIR"}


@pytest.mark.parametrize(
    "name",
    [
        "PATH",
        "HOME",
        "TMPDIR",
        "LD_PRELOAD",
        "DYLD_INSERT_LIBRARIES",
        "GIT_DIR",
        "BASH_ENV",
        "PYTHONHOME",
        "VIRTUAL_ENV",
        "WORKFLOW_HOME_ID",
        "PIP_TARGET",
        "PIP_CACHE_DIR",
        "PIP_CONFIG_FILE",
        "pip_prefix",
        "npm_config_cache",
        "NPM_CONFIG_PREFIX",
        "npm_config_SCRIPT_SHELL",
        "DOCKER_HOST",
        "XDG_RUNTIME_DIR",
        "a-b",
        "1A",
        "A=B",
    ],
)
def test_variables_that_would_break_the_platform_are_kept_away(name: str) -> None:
    assert is_protected(name)
    assert app_variables({name: "x", "OK": "1"}) == {"OK": "1"}


@pytest.mark.parametrize("name", ["DEBUG", "PIP_INDEX_URL", "npm_config_registry", "DATABASE_URL", "_x", "PATHS"])
def test_other_variables_pass(name: str) -> None:
    assert app_variables({name: "x"}) == {name: "x"}


def test_values_that_no_process_can_have_are_left_out() -> None:
    assert app_variables({"A": "x\0y"}) == {}


def test_the_owners_package_managers_stay_configured(tmp_path: Path) -> None:
    (tmp_path / ".config" / "pip").mkdir(parents=True)
    (tmp_path / ".config" / "pip" / "pip.conf").touch()
    (tmp_path / ".npmrc").touch()
    seen = environment({}, {"HOME": str(tmp_path)})
    assert seen["PIP_CONFIG_FILE"] == str(tmp_path / ".config" / "pip" / "pip.conf")
    assert seen["npm_config_userconfig"] == str(tmp_path / ".npmrc")


def test_container_tools_keep_the_owners_set_up() -> None:
    seen = tool_environment(HOST)
    assert seen["HOME"] == "/home/owner"
    assert seen["DOCKER_HOST"] == "unix:///run/docker.sock"
    assert "BUILDER_CLIENT_SECRET" not in seen

"""Environments of build processes: an allow list of the platform's own, then the app's variables, then ours."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from uuid import UUID

from builder.domain.variables import TOOL_PREFIXES, app_variables

BUILD_MARK = "WORKFLOW_BUILD_ID"
HOME_MARK = "WORKFLOW_HOME_ID"

_HOST_NAMES = frozenset(
    {
        "LANG",
        "LANGUAGE",
        "TZ",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "NO_PROXY",
        "ALL_PROXY",
        "http_proxy",
        "https_proxy",
        "no_proxy",
        "all_proxy",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "REQUESTS_CA_BUNDLE",
        "CURL_CA_BUNDLE",
        "GIT_SSL_CAINFO",
        "NODE_EXTRA_CA_CERTS",
    }
)
# How the owner of the machine set up the package managers, private indexes included.
_HOST_PREFIXES = ("LC_", "PIP_", "NPM_CONFIG_", "npm_config_")
# Container tools find their storage, their daemon and the owner's registry logins with these.
_TOOL_NAMES = frozenset({"HOME", "USER", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "REGISTRY_AUTH_FILE"})


def marks(build_id: UUID, process_mark: str | None) -> dict[str, str]:
    """What every process of a build carries, so that it can be found and ended."""
    return {BUILD_MARK: str(build_id)} | ({HOME_MARK: process_mark} if process_mark else {})


def build_environment(
    host: Mapping[str, str], variables: Mapping[str, str], *, home: Path, temporary: Path
) -> dict[str, str]:
    """Environment of language build steps: nothing of the platform that is not named above, a home of its own.

    The owner's pip and npm configuration files are named explicitly, because the home directory is not theirs.
    """
    environment = _allowed(host, _HOST_NAMES, _HOST_PREFIXES) | _owner_configuration(host)
    environment |= app_variables(variables)
    return environment | {
        "PATH": host.get("PATH", "/usr/local/bin:/usr/bin:/bin"),
        "HOME": str(home),
        "TMPDIR": str(temporary),
        "SHELL": "/bin/sh",
        "NO_COLOR": "1",
        "TERM": "dumb",
    }


def tool_environment(host: Mapping[str, str]) -> dict[str, str]:
    """Environment of a container tool, which is the machine owner's program and runs no foreign code itself."""
    allowed = _allowed(host, _HOST_NAMES | _TOOL_NAMES, ("LC_", *TOOL_PREFIXES))
    return allowed | {"PATH": host.get("PATH", "/usr/local/bin:/usr/bin:/bin"), "NO_COLOR": "1", "TERM": "dumb"}


def _allowed(host: Mapping[str, str], names: frozenset[str], prefixes: tuple[str, ...]) -> dict[str, str]:
    return {name: value for name, value in host.items() if name in names or name.startswith(prefixes)}


def _owner_configuration(host: Mapping[str, str]) -> dict[str, str]:
    home = host.get("HOME")
    if not home:
        return {}
    config_home = Path(host.get("XDG_CONFIG_HOME") or Path(home, ".config"))
    found: dict[str, str] = {}
    # pip.pypa.io, "Configuration": the per-user file, the legacy one as a fallback.
    for path in (config_home / "pip" / "pip.conf", Path(home, ".pip", "pip.conf")):
        if "PIP_CONFIG_FILE" not in host and path.is_file():
            found.setdefault("PIP_CONFIG_FILE", str(path))
    if not {"NPM_CONFIG_USERCONFIG", "npm_config_userconfig"} & host.keys() and Path(home, ".npmrc").is_file():
        found["npm_config_userconfig"] = str(Path(home, ".npmrc"))
    return found

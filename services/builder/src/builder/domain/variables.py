"""Which of an app's variables a build may see."""

from __future__ import annotations

import re
from collections.abc import Mapping

TOOL_PREFIXES = ("DOCKER_", "BUILDAH_", "BUILDKIT_", "CONTAINERS_", "CONTAINER_", "STORAGE_")
"""With these, container tools are told where their storage, their daemon and the owner's registry logins are."""

DISABLE_CACHE = "DRYCC_DISABLE_CACHE"
"""With this variable of an app its builds do not use what earlier ones left (builder.md 13.4 and 18.21)."""

# Variables of an app never replace these in a build: they decide which programs run and where things are written.
_PROTECTED = frozenset(
    {
        "PATH",
        "HOME",
        "TMPDIR",
        "PWD",
        "OLDPWD",
        "SHELL",
        "USER",
        "LOGNAME",
        "IFS",
        "ENV",
        "BASH_ENV",
        "VIRTUAL_ENV",
        "PYTHONHOME",
        "PYTHONPATH",
        "PYTHONEXECUTABLE",
        "PYTHONPLATLIBDIR",
        "PYTHONUSERBASE",
        "PYTHONSTARTUP",
        "NODE_PATH",
        "DRYCC_APP",
        "SOURCE_VERSION",
        "REGISTRY_AUTH_FILE",
    }
)
# Options of pip (PIP_...) and npm (npm_config_..., in any case) that would write elsewhere or run something else.
_PROTECTED_PIP = frozenset({"CACHE_DIR", "TARGET", "PREFIX", "ROOT", "USER", "PYTHON", "LOG", "SRC", "CONFIG_FILE"})
_PROTECTED_NPM = frozenset({"CACHE", "PREFIX", "USERCONFIG", "GLOBALCONFIG", "SCRIPT_SHELL", "GLOBAL", "LOCATION"})
_PROTECTED_PREFIXES = ("LD_", "DYLD_", "GIT_", "WORKFLOW_", "XDG_", "CNB_", *TOOL_PREFIXES)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LONGEST_FILE_NAME = 255


def is_protected(name: str) -> bool:
    """Whether an app's variable of that name is kept away from builds (or cannot be an environment variable)."""
    upper = name.upper()
    return (
        _NAME.fullmatch(name) is None
        or upper in _PROTECTED
        or upper.startswith(_PROTECTED_PREFIXES)
        or (upper.startswith("PIP_") and upper.removeprefix("PIP_") in _PROTECTED_PIP)
        or (upper.startswith("NPM_CONFIG_") and upper.removeprefix("NPM_CONFIG_") in _PROTECTED_NPM)
    )


def is_file_name(name: str) -> bool:
    """Whether a volume of a Secret takes it for the name of a file (Kubernetes' KeyToPath.path, NAME_MAX of Linux)."""
    return name != "." and not name.startswith("..") and len(name.encode()) <= _LONGEST_FILE_NAME


def is_disabled(value: str) -> bool:
    """Whether that value of `DISABLE_CACHE` says so."""
    return value.strip().lower() in ("1", "true", "yes")


def app_variables(values: Mapping[str, str]) -> dict[str, str]:
    """The app's variables that a build may see."""
    return {name: value for name, value in values.items() if not is_protected(name) and "\0" not in value}

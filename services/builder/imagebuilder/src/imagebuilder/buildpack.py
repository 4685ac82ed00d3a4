"""What we do around the phases of a buildpack build; the phases themselves are programs of the builder image.

`platform` hands the app's configuration to the buildpacks, `finish` tells the result of the export.
"""

from __future__ import annotations

import json
import re
import sys
import tomllib
from pathlib import Path

BUILD = Path("/build")
PLATFORM = Path("/platform")
REPORT = Path("/facts/report.toml")
RESULT = Path("/dev/termination-log")

# Variables of an app never replace these in a build: they decide which programs run and where things are written.
_KEPT = frozenset(
    [
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
        "NODE_OPTIONS",
    ]
)
_KEPT_PREFIXES = ("LD_", "DYLD_", "GIT_", "CNB_", "WORKFLOW_", "KUBERNETES_", "DOCKER_", "XDG_")
# Options of pip and npm that would write elsewhere or run something else.
_KEPT_PIP = frozenset(["CACHE_DIR", "TARGET", "PREFIX", "ROOT", "USER", "PYTHON", "LOG", "SRC", "CONFIG_FILE"])
_KEPT_NPM = frozenset(["CACHE", "PREFIX", "USERCONFIG", "GLOBALCONFIG", "SCRIPT_SHELL", "GLOBAL", "LOCATION"])
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def main(step: str) -> int:
    """Run the step of that name; its exit code."""
    if step == "platform":
        left_out = write_platform(BUILD / "config", PLATFORM)
        if left_out:
            print(f"---> Not given to the build, because it needs its own: {', '.join(left_out)}", flush=True)
        return 0
    if step == "finish":
        RESULT.write_text(json.dumps(finish(BUILD / "request.json", REPORT)))
        return 0
    print(f"imagebuilder buildpack: `{step}` is no step; there are `platform` and `finish`", file=sys.stderr)
    return 2


def is_kept(name: str) -> bool:
    """Whether that variable of an app stays out of builds (or cannot be one at all)."""
    upper = name.upper()
    return (
        _NAME.fullmatch(name) is None
        or upper in _KEPT
        or upper.startswith(_KEPT_PREFIXES)
        or (upper.startswith("PIP_") and upper.removeprefix("PIP_") in _KEPT_PIP)
        or (upper.startswith("NPM_CONFIG_") and upper.removeprefix("NPM_CONFIG_") in _KEPT_NPM)
    )


def write_platform(config: Path, platform: Path) -> list[str]:
    """Copy the files of `config` to `<platform>/env`; the names that are left out, sorted.

    The directory is memory, not disk: the values are secrets. Kubernetes' own files there begin with a dot.
    """
    env = platform / "env"
    env.mkdir(mode=0o750, exist_ok=True)
    left_out: list[str] = []
    files = config.iterdir() if config.is_dir() else ()
    for file in sorted(path for path in files if path.is_file() and not path.name.startswith(".")):
        if is_kept(file.name):
            left_out.append(file.name)
        else:
            (env / file.name).write_bytes(file.read_bytes())
    return left_out


def finish(request: Path, report: Path) -> dict[str, dict[str, str]]:
    """The digest-pinned image for the builder; every process type runs this one.

    Raises:
        ValueError: the export left no digest.
    """
    image = json.loads(request.read_text())["image"]
    digest = str(tomllib.loads(report.read_text()).get("image", {}).get("digest", ""))
    if _DIGEST.fullmatch(digest) is None:
        raise ValueError("the export told no digest")
    host, slash, path = str(image).rpartition("/")
    return {"images": {"web": f"{host}{slash}{path.partition(':')[0]}@{digest}"}}

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

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def main(step: str) -> int:
    """Run the step of that name; its exit code."""
    if step == "platform":
        write_platform(BUILD / "config", PLATFORM)
        return 0
    if step == "finish":
        RESULT.write_text(json.dumps(finish(BUILD / "request.json", REPORT)))
        return 0
    print(f"imagebuilder buildpack: `{step}` is no step; there are `platform` and `finish`", file=sys.stderr)
    return 2


def write_platform(config: Path, platform: Path) -> None:
    """Copy the files of `config` to `<platform>/env`. The builder gives only variables that a build may see.

    The directory is memory, not disk: the values are secrets. Kubernetes' own files there begin with a dot.
    """
    env = platform / "env"
    env.mkdir(mode=0o750, exist_ok=True)
    for file in config.iterdir() if config.is_dir() else ():
        if file.is_file() and not file.name.startswith("."):
            (env / file.name).write_bytes(file.read_bytes())


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

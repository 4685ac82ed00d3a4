"""Buildpacks and layers on disk, and detection."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phases.errors import DETECT_FAILED, NOT_DETECTED, PhaseError
from phases.files import is_folder, read_bytes, read_toml

_NOT_FIT = 100
# Buildpack interface, "Buildpack ID"; with these names below the layers, others are there.
_ID = re.compile(r"[0-9A-Za-z./-]{1,200}")
_RESERVED = ("app", "config", "sbom", "generated", ".", "..")


@dataclass(frozen=True)
class Buildpack:
    """One buildpack of the builder image."""

    id: str
    version: str
    folder: Path
    clear_env: bool = False

    @property
    def escaped(self) -> str:
        """Its id as the name of a directory."""
        return self.id.replace("/", "_")

    def environment(self, platform: Path, **places: Path) -> dict[str, str]:
        """Variables of its programs: this process's, the user's unless it wants none, then the interface's."""
        user = {} if self.clear_env else user_variables(platform)
        own = {"CNB_BUILDPACK_DIR": str(self.folder), "CNB_PLATFORM_DIR": str(platform)}
        return {**os.environ, **user, **own, **{f"CNB_{name.upper()}": str(path) for name, path in places.items()}}


@dataclass(frozen=True)
class Layer:
    """A layer as its buildpack declared it, or as an earlier build left it."""

    buildpack: Buildpack
    name: str
    path: Path
    launch: bool
    build: bool
    cache: bool
    metadata: Mapping[str, Any]

    @property
    def facts(self) -> dict[str, Any]:
        """What images remember of it."""
        return {"launch": self.launch, "build": self.build, "cache": self.cache, "data": dict(self.metadata)}


def user_variables(platform: Path) -> dict[str, str]:
    """The files of `<platform>/env`: name of a variable -> content."""
    folder = platform / "env"
    if not folder.is_dir():
        return {}
    # A Secret's files are links within its volume, so links are followed here; only the platform writes there.
    return {
        path.name: path.read_bytes().decode(errors="surrogateescape")
        for path in sorted(folder.iterdir())
        if path.is_file() and not path.name.startswith(".")
    }


def find(buildpacks: Path, id_: str, version: str) -> Buildpack:
    """That buildpack.

    Raises:
        PhaseError: the builder image does not have it.
    """
    folder = buildpacks / id_.replace("/", "_") / version
    table = read_toml(folder / "buildpack.toml").get("buildpack")
    if table is None:
        raise PhaseError(DETECT_FAILED, f"the builder image lacks the buildpack {id_} {version}", code="internal")
    return Buildpack(id_, version, folder, bool(table.get("clear-env", False)))


def read_group(file: Path, buildpacks: Path) -> list[Buildpack]:
    """The buildpacks that detection chose."""
    return [find(buildpacks, str(item["id"]), str(item["version"])) for item in read_toml(file).get("group", [])]


def named_group(file: Path) -> list[Buildpack]:
    """The buildpacks that detection chose, by name alone: in these images they may not be.

    The file was written where code of buildpacks runs, perhaps of an image of somebody else.

    Raises:
        ValueError: a name that would be something outside of the layers of buildpacks.
    """
    group = []
    for item in read_toml(file).get("group", []):
        buildpack = Buildpack(str(item["id"]), str(item["version"]), Path())
        if _ID.fullmatch(buildpack.id) is None or buildpack.escaped in _RESERVED:
            raise ValueError(f"{file.name} names a buildpack that cannot be one: {buildpack.id[:80]!r}")
        group.append(buildpack)
    return group


def detect(order: Path, buildpacks: Path, app: Path, platform: Path) -> list[Buildpack]:
    """The first group that fits; optional buildpacks that do not are left out.

    Raises:
        PhaseError: none fits, or a buildpack failed to say.
    """
    titles: list[str] = []
    for group in read_toml(order).get("order", []):
        chosen: list[Buildpack] = []
        for item in group["group"]:
            buildpack = find(buildpacks, item["id"], item["version"])
            titles.append(buildpack.id)
            if _fits(buildpack, app, platform):
                chosen.append(buildpack)
            elif not item.get("optional"):
                break
        else:
            if chosen:
                return chosen
    known = ", ".join(dict.fromkeys(titles))
    raise PhaseError(
        NOT_DETECTED,
        f"no buildpack fits this repository; asked were {known}",
        code="nothing-recognised",
        hint="commit requirements.txt, pyproject.toml, setup.py, package.json, index.html, a Procfile or a Dockerfile",
    )


def _fits(buildpack: Buildpack, app: Path, platform: Path) -> bool:
    with tempfile.NamedTemporaryFile(suffix=".toml") as plan:
        environment = buildpack.environment(platform, build_plan_path=Path(plan.name))
        program = [str(buildpack.folder / "bin" / "detect"), str(platform), plan.name]
        code = subprocess.run(program, cwd=app, env=environment, stdin=subprocess.DEVNULL, check=False).returncode
    if code not in (0, _NOT_FIT):
        raise PhaseError(DETECT_FAILED, f"the buildpack {buildpack.id} failed to look at the repository (code {code})")
    return code == 0


def layers_of(buildpack: Buildpack, layers: Path) -> Iterator[Layer]:
    """What the buildpack declared, by name.

    Raises:
        ValueError: a file is no TOML, or a layer would be something outside of its directory.
    """
    folder = layers / buildpack.escaped
    if not is_folder(folder):
        return
    for file in sorted(folder.glob("*.toml")):
        if file.stem in ("launch", "build", "store") or read_bytes(file) is None:
            continue
        table, path = read_toml(file), folder / file.stem
        types = table.get("types", {})
        if path.is_symlink():
            raise ValueError(f"the layer {buildpack.id}:{file.stem} is a link")
        flags = {name: types.get(name) is True for name in ("launch", "build", "cache")}
        yield Layer(buildpack, file.stem, path, metadata=table.get("metadata", {}), **flags)


def run_build(buildpack: Buildpack, *, app: Path, layers: Path, platform: Path, variables: Mapping[str, str]) -> int:
    """Run `bin/build`; its exit code. `variables` are what layers of earlier buildpacks add."""
    folder = layers / buildpack.escaped
    folder.mkdir(exist_ok=True)
    with tempfile.NamedTemporaryFile(suffix=".toml") as plan:
        environment = buildpack.environment(platform, layers_dir=folder, bp_plan_path=Path(plan.name))
        program = [str(buildpack.folder / "bin" / "build"), str(folder), str(platform), plan.name]
        sys.stdout.flush()
        done = subprocess.run(program, cwd=app, env={**environment, **variables}, stdin=subprocess.DEVNULL, check=False)
    return done.returncode

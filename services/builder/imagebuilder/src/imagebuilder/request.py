"""What a build is told: one Secret of the build, mounted at /build."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from imagebuilder.result import BuildFailed

BUILD: Final = Path("/build")
SOURCE_MAX_BYTES: Final = 2 * 1024**3
T = TypeVar("T")


@dataclass(frozen=True)
class Dockerfile:
    """One image to build: of which process type, from which Dockerfile in the source, with which build arguments."""

    ptype: str
    path: str
    image: str
    args: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Request:
    """`request.json`. `image` and the images of `dockerfiles` are full names with a tag that nothing else has.

    `insecure_registries` are `host:port` that may be spoken to in plain HTTP. `registry_mirrors` says where to look
    first for images of a registry: `{"docker.io": "host:port"}`. `source_max_bytes` limits the unpacked source.
    """

    build_id: str
    app: str
    number: str
    sha: str
    stack: str
    source_url: str
    image: str
    insecure_registries: tuple[str, ...] = ()
    registry_mirrors: dict[str, str] = field(default_factory=dict)
    cache_image: str | None = None
    dockerfiles: tuple[Dockerfile, ...] = ()
    builder_image: str | None = None
    run_image: str | None = None
    processes: dict[str, str] = field(default_factory=dict)
    source_max_bytes: int = SOURCE_MAX_BYTES


@dataclass(frozen=True)
class Inputs:
    """The mounted Secret. Everything in it but the request is secret."""

    directory: Path = BUILD

    def request(self) -> Request:
        """What to build.

        Raises:
            BuildFailed: internal, with the name of what is missing or wrong.
        """
        return parse_request(self._read("request.json"))

    def token(self) -> str:
        """The bearer token that the source is fetched with."""
        return self._read("token").decode().strip()

    def config(self) -> dict[str, Path]:
        """The app's config values: name -> file that holds the value. Kubernetes keeps its own files as `..data`."""
        directory = self.directory / "config"
        if not directory.is_dir():
            return {}
        return {path.name: path for path in sorted(directory.iterdir()) if path.name[:2] != ".." and path.is_file()}

    def registry_credentials(self) -> Path | None:
        """The docker auth file, if the registry wants one."""
        path = self.directory / "registry" / "config.json"
        return path if path.is_file() else None

    def _read(self, name: str) -> bytes:
        try:
            return (self.directory / name).read_bytes()
        except OSError as error:
            raise BuildFailed(
                "internal", f"the build was not told all: {name} cannot be read: {error.strerror}"
            ) from error


def parse_request(content: bytes) -> Request:
    """The request of a build; keys that are not known are passed over, for a newer builder may send more.

    Raises:
        BuildFailed: internal, with the name of what is missing or wrong.
    """
    try:
        document = json.loads(content)
    except ValueError as error:
        raise BuildFailed("internal", f"request.json is not JSON: {error}") from error
    facts = _Facts(document, "")
    return Request(
        **{name: facts.text(name) for name in ("build_id", "app", "sha", "stack", "source_url", "image")},
        number=str(facts.get("number", (int, str))),
        insecure_registries=tuple(facts.texts("insecure_registries")),
        registry_mirrors=facts.mapping("registry_mirrors"),
        cache_image=facts.text_or_none("cache_image"),
        dockerfiles=tuple(
            _dockerfile(_Facts(entry, f"dockerfiles[{index}]."))
            for index, entry in enumerate(facts.get("dockerfiles", list, list))
        ),
        builder_image=facts.text_or_none("builder_image"),
        run_image=facts.text_or_none("run_image"),
        processes=facts.mapping("processes"),
        source_max_bytes=facts.get("source_max_bytes", int, lambda: SOURCE_MAX_BYTES),
    )


def _dockerfile(facts: _Facts) -> Dockerfile:
    return Dockerfile(facts.text("ptype"), facts.text("path"), facts.text("image"), facts.mapping("args"))


class _Facts:
    """One object of the request, read key by key."""

    def __init__(self, document: Any, where: str) -> None:
        if not isinstance(document, dict):
            raise BuildFailed("internal", f"request.json: {where.rstrip('.') or 'it'} is not an object")
        self._document = document
        self._where = where

    def get(self, name: str, kind: type | tuple[type, ...], default: Callable[[], T] | None = None) -> Any:
        value = self._document.get(name)
        if value is None and default is not None:
            return default()
        if not isinstance(value, kind) or isinstance(value, bool):
            raise BuildFailed("internal", f"request.json: {self._where}{name} is missing or of the wrong kind")
        return value

    def text(self, name: str) -> str:
        return str(self.get(name, str))

    def text_or_none(self, name: str) -> str | None:
        value = self.get(name, str, str)
        return str(value) or None

    def texts(self, name: str) -> list[str]:
        return [str(value) for value in self.get(name, list, list)]

    def mapping(self, name: str) -> dict[str, str]:
        values = self.get(name, dict, dict)
        if not all(isinstance(value, str) for value in values.values()):
            raise BuildFailed("internal", f"request.json: {self._where}{name} has a value that is not a string")
        return dict(values)

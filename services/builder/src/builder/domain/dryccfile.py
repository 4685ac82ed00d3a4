"""The `.drycc` directory: pipelines (one YAML document a process type) and config groups, checked and joined.

Reading YAML is the caller's; what arrives here are plain values that know the line that they came from.
The schema is that of the compatible API (builder facts, section 14; controller API, 4.10).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from builder.domain.procfile import ptype_problem
from shared.errors import InvalidInputError

DIRECTORY = ".drycc"
_GROUP = re.compile(r"[a-z0-9]+(\.[a-z0-9]+)*")
# `A-z` also admits [ \ ] ^ and the backtick: the published pattern is kept as it is.
_VARIABLE = re.compile(r"(?P<name>[A-z0-9_\-.]+)=(?P<value>.*)", re.DOTALL)
_NAME = re.compile(r"[A-z0-9_\-.]+")

Path = tuple[str | int, ...]
Pipeline = dict[str, object]


class DryccfileError(InvalidInputError):
    """Something below `.drycc` cannot be used; the detail begins with file and line."""

    code: ClassVar[str] = "bad-dryccfile"
    title: ClassVar[str] = "The .drycc directory is not valid"


@dataclass(frozen=True)
class Document:
    """One pipeline file: its name (`web.yaml`), its value, and the line on which each part of the value stands."""

    name: str
    value: object
    lines: Mapping[Path, int] = field(default_factory=dict)

    def error(self, path: Path, problem: str) -> DryccfileError:
        """The error for what stands at `path`, or at the nearest place above that has a line."""
        while path and path not in self.lines:
            path = path[:-1]
        return DryccfileError(f"{DIRECTORY}/{self.name} line {self.lines.get(path, 1)}: {problem}")


def parse_group(name: str, content: bytes) -> dict[str, str]:
    """Variables of `.drycc/config/<name>`: lines `NAME=VALUE`, empty lines and `#` comments aside.

    Raises:
        DryccfileError: with the line; what stands there is not repeated, for it may be half of a secret.
    """
    where = f"{DIRECTORY}/config/{name}"
    if _GROUP.fullmatch(name) is None:
        raise DryccfileError(
            f"{where}: the file's name is the group's name: lower-case letters and digits, parts joined by dots"
        )
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        where_bad = content.count(b"\n", 0, exc.start) + 1
        raise DryccfileError(f"{where} line {where_bad}: not valid UTF-8; save the file as UTF-8") from exc
    values: dict[str, str] = {}
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        match = _VARIABLE.fullmatch(line)
        if match is None or "\0" in line:
            raise DryccfileError(f"{where} line {number}: does not match the pattern 'key=var', ex: MODE=test")
        values[match["name"]] = match["value"]
    return values


def join_dryccfile(documents: Iterable[Document], groups: Mapping[str, Mapping[str, str]]) -> dict[str, object]:
    """`{"config": ..., "pipeline": ...}` without the parts that are empty; `{}` when there is nothing at all.

    Raises:
        DryccfileError: a document breaks the schema, a process type occurs twice, or there are groups but no pipeline.
    """
    pipelines: dict[str, Pipeline] = {}
    owners: dict[str, str] = {}
    for document in documents:
        pipeline = _checked_pipeline(document)
        ptype = str(pipeline["ptype"])
        if ptype in owners:
            raise document.error(("ptype",), f"Pipeline's ptype must be unique: `{ptype}` is also in {owners[ptype]}")
        owners[ptype] = f"{DIRECTORY}/{document.name}"
        pipelines[document.name] = pipeline
    if groups and not pipelines:
        raise DryccfileError(
            f"{DIRECTORY}: 'pipeline' is a required property: add a file such as {DIRECTORY}/web.yaml beside config/"
        )
    joined: dict[str, object] = {}
    if groups:
        joined["config"] = {name: dict(values) for name, values in groups.items()}
    if pipelines:
        joined["pipeline"] = pipelines
    return joined


def dockerfiles(dryccfile: Mapping[str, object]) -> dict[str, tuple[str, dict[str, str]]]:
    """Process type -> (path of its Dockerfile, build arguments) of every pipeline that has `build`."""
    found: dict[str, tuple[str, dict[str, str]]] = {}
    for pipeline in _mapping(dryccfile.get("pipeline")).values():
        parts = _mapping(pipeline)
        if "build" in parts:
            build = _mapping(parts["build"])
            arguments = {str(name): str(value) for name, value in _mapping(build.get("arg")).items()}
            found[str(parts["ptype"])] = (str(build.get("docker", "Dockerfile")), arguments)
    return found


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _checked_pipeline(document: Document) -> Pipeline:
    if _GROUP.fullmatch(document.name) is None:
        raise document.error(
            (), "rename the file: lower-case letters and digits, parts joined by dots, such as web.yaml"
        )
    pipeline = _object(document, (), required=("kind", "ptype", "deploy"), optional=("build", "env", "run", "config"))
    if pipeline["kind"] != "pipeline":
        raise document.error(("kind",), f"{pipeline['kind']!r} does not match '^pipeline$'")
    _string(document, ("ptype",))
    if problem := ptype_problem(str(pipeline["ptype"])):
        raise document.error(("ptype",), problem)
    _check_build(document, pipeline)
    if "env" in pipeline:
        _string_values(document, ("env",))
    _check_config(document, pipeline)
    for step in ("run", "deploy"):
        if step in pipeline:
            _check_step(document, step)
    return pipeline


def _check_build(document: Document, pipeline: Pipeline) -> None:
    if "build" not in pipeline:
        return
    build = _object(document, ("build",), optional=("docker", "arg"))
    if "docker" in build:
        _string(document, ("build", "docker"))
        parts = str(build["docker"]).split("/")
        if not all(parts) or ".." in parts or "\0" in str(build["docker"]):
            raise document.error(("build", "docker"), "build.docker is a path inside the repository")
    if "arg" in build:
        _string_values(document, ("build", "arg"))


def _check_config(document: Document, pipeline: Pipeline) -> None:
    if "config" not in pipeline:
        return
    for index, name in enumerate(_list_of_strings(document, ("config",))):
        if _GROUP.fullmatch(name) is None:
            raise document.error(("config", index), f"{name!r} does not match '^(?P<name>[a-z0-9]+(\\.[a-z0-9]+)*)$'")


def _check_step(document: Document, step: str) -> None:
    optional = ("command", "args", "image", "timeout") if step == "run" else ("command", "args", "image")
    value = _object(document, (step,), optional=optional)
    for name in ("command", "args"):
        if name in value:
            _list_of_strings(document, (step, name))
    if "image" in value:
        _string(document, (step, "image"))
    timeout = value.get("timeout", 1)
    if not isinstance(timeout, int) or isinstance(timeout, bool):
        raise document.error((step, "timeout"), f"{timeout!r} is not of type 'integer'")
    if timeout < 1:
        raise document.error((step, "timeout"), "run.timeout is a number of seconds, at least 1")


def _at(document: Document, path: Path) -> object:
    value = document.value
    for part in path:
        value = value[part]  # type: ignore[index]  # the callers checked each level above
    return value


def _object(
    document: Document, path: Path, *, required: tuple[str, ...] = (), optional: tuple[str, ...] = ()
) -> dict[str, object]:
    value = _at(document, path)
    if not isinstance(value, dict):
        raise document.error(path, f"{_label(path)} is not of type 'object': write `name: value` lines")
    for name in required:
        if name not in value:
            raise document.error(path, f"{name!r} is a required property")
    for name in value:
        if name not in (*required, *optional):
            raise document.error((*path, name), f"Additional properties are not allowed ({name!r} was unexpected)")
    return value


def _string(document: Document, path: Path) -> None:
    if not isinstance(_at(document, path), str):
        raise document.error(path, f"{_label(path)} is not of type 'string': put the value into quotes")


def _string_values(document: Document, path: Path) -> None:
    """Check a mapping of strings. The value is not repeated in the error: variables may be secrets."""
    value = _at(document, path)
    if not isinstance(value, dict):
        raise document.error(path, f"{_label(path)} is not of type 'object': write `NAME: value` lines")
    for name in value:
        if not isinstance(name, str) or _NAME.fullmatch(name) is None:
            raise document.error((*path, name), f"{name!r} does not match '^[A-z0-9_\\-\\.]+$'")
        _string(document, (*path, name))


def _list_of_strings(document: Document, path: Path) -> list[str]:
    value = _at(document, path)
    if not isinstance(value, list):
        raise document.error(path, f"{_label(path)} is not of type 'array': write `[first, second]`")
    for index in range(len(value)):
        _string(document, (*path, index))
    return value


def _label(path: Path) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.lstrip(".") or "the document"

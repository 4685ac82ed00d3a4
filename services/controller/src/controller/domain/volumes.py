"""Volumes: what may be asked for, how they grow, where they are mounted (controller-api.md 4.23, 4.12)."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from controller.domain.errors import NON_FIELD, InvalidFieldsError, InvalidValueError
from controller.domain.fields import NULL, FieldChecker
from controller.domain.names import RUN, name_problem, ptype_problem
from controller.domain.schemas import schema_problem
from controller.domain.shown import shown
from controller.domain.spec_storage import Mount, VolumeSpec
from shared.errors import InvalidInputError

CSI: Final = "csi"
NO_SIZE: Final = "0G"
LABEL_MESSAGE: Final = "Can only contain a-z (lowercase), 0-9 and hyphens"
MOUNT_MESSAGE: Final = "Volume path format: /path"
MOST_PATH_BYTES: Final = 4096
"""PATH_MAX of Linux, with the byte that ends a path."""
TAKEN: Final = "The fields app, name must make a unique set."

MOST_PARAMETERS: Final = 64 * 1024
"""Characters of all parameters as JSON."""

_LABEL: Final = re.compile(r"[a-z0-9-]+")
_SIZE: Final = re.compile(r"([1-9][0-9]{0,8})[gG]", re.ASCII)
# The contract's ^\/([\w]+[\w-]*\/?)+$, written so that it takes linear time.
_MOUNT_PATH: Final = re.compile(r"/\w[\w-]*(?:/\w[\w-]*)*/?")


def _required_texts(*names: str) -> dict[str, Any]:
    return {
        "type": "object",
        "required": list(names),
        "properties": {name: {"type": "string", "minLength": 1} for name in names},
    }


_PARAMETERS: Final[Mapping[str, Mapping[str, Any]]] = {
    "nfs": _required_texts("server", "path"),
    "oss": _required_texts("bucket", "server", "access_key", "secret_key"),
}
TYPES: Final = (CSI, *_PARAMETERS)
_VISIBLE: Final = frozenset(("server", "path", "bucket"))


@dataclass(frozen=True)
class Volume:
    """A volume. `size` is `5G`, or `0G` where nobody named one; `path` is process type -> where it is mounted;
    `parameters` are those of its type, secrets included."""

    uuid: UUID
    app: str
    owner: str
    name: str
    type: str
    size: str
    path: Mapping[str, str]
    created: datetime
    updated: datetime
    parameters: Mapping[str, object] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class VolumeRequest:
    """A volume that somebody wants, checked."""

    name: str
    type: str
    size: str
    parameters: Mapping[str, object] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class SizeRange:
    """How small and how large a volume may be, in GiB, both included."""

    least: int
    most: int

    def parse(self, text: str) -> str | None:
        """The size as it is stored (`5G`); None when it is malformed or out of range."""
        found = _SIZE.fullmatch(text)
        return text.upper() if found and self.least <= int(found[1]) <= self.most else None

    @property
    def message(self) -> str:
        """What clients are told of a bad size."""
        return (
            "Volume size limit format: <number><unit> or <number><unit>/<number><unit>, "
            f"where unit = G, range: {self.most}G~{self.least}G"
        )


def check_volume(body: Mapping[str, object], sizes: SizeRange) -> VolumeRequest:
    """The volume that a request asks for; `csi` without a size when it says nothing else.

    Raises:
        InvalidFieldsError: all that is wrong with its fields.
    """
    check = FieldChecker(body)
    name = check_object_name(check)
    size = _size(check, body, sizes)
    kind = _type(check, body)
    parameters = _parameters(check, body)
    check.finish()
    if kind != CSI and not parameters:
        raise InvalidFieldsError.of("type", "parameters cannot be empty when the type is not csi.")
    if kind != CSI and kind not in parameters:
        problem = f"could not validate {shown(_masked(parameters))}: {kind!r} is a required property"
        raise InvalidFieldsError.of("parameters", problem)
    foreign = next((other for other in _PARAMETERS if other in parameters and other != kind), None)
    if foreign is not None:
        problem = f"the type is {kind}, but these are parameters of {foreign}: give the type that is meant"
        raise InvalidFieldsError.of("parameters", problem)
    return VolumeRequest(name, kind, size, parameters)


def check_object_name(check: FieldChecker) -> str:
    """The field `name` of a volume or a resource: both name rules, the one for labels first (4.7, 4.23)."""
    name = check.text("name", required=True)
    if name and (problem := LABEL_MESSAGE if not _LABEL.fullmatch(name) else name_problem(name)) is not None:
        check.fail("name", problem)
    return name


def taken() -> InvalidFieldsError:
    """The app has another one of that name."""
    return InvalidFieldsError.of(NON_FIELD, TAKEN)


def grown_size(volume: Volume, body: Mapping[str, object], sizes: SizeRange) -> str:
    """The size to which a request expands the volume, which may be the one that it has.

    Raises:
        InvalidFieldsError: there is no size, or none that a volume can have.
        InvalidInputError: the volume cannot grow, or would shrink.
    """
    if volume.type != CSI:
        raise InvalidInputError(f"{volume.type} volume is not support expand.")
    check = FieldChecker(body)
    size = check.text("size", required=True)
    if size:
        size = sizes.parse(size) or ""
        if not size:
            check.fail("size", sizes.message)
    check.finish()
    if _gib(size) < _gib(volume.size):
        raise InvalidInputError("Shrink volume is not supported.")
    return size


def parse_mounts(body: Mapping[str, object]) -> dict[str, str | None]:
    """Process type -> where to mount, None to unmount, without a slash at the end.

    Raises:
        InvalidInputError: there is none.
        InvalidFieldsError: it is no object.
        InvalidValueError: a path is malformed.
    """
    raw = body.get("path")
    if not raw:
        raise InvalidInputError("path is a required field")
    if not isinstance(raw, Mapping):
        raise InvalidFieldsError.of("path", f"Expected a dictionary, but got {type(raw).__name__}.")
    return {ptype: None if place is None else mount_path(place) for ptype, place in raw.items()}


def mount_path(place: object) -> str:
    """Where a volume is mounted, without a slash at the end.

    Raises:
        InvalidValueError: it is no such path.
    """
    if not isinstance(place, str) or not _MOUNT_PATH.fullmatch(place):
        raise InvalidValueError(MOUNT_MESSAGE)
    if len(place.encode()) >= MOST_PATH_BYTES:
        raise InvalidValueError(f"{MOUNT_MESSAGE}, less than {MOST_PATH_BYTES} bytes")
    return place.removesuffix("/")


def remounted(
    volume: Volume, changes: Mapping[str, str | None], *, others: Iterable[Volume], structure: Collection[str]
) -> dict[str, str]:
    """The volume's `path` after a change. One-offs (`run`) can always be named; what is mounted can be unmounted, even
    from a process type that is gone.

    Raises:
        InvalidInputError: a process type is unknown, nothing changes, or another volume of the app is mounted there.
    """
    for ptype, place in changes.items():
        if ptype not in structure and ptype != RUN and not (place is None and ptype in volume.path):
            raise InvalidInputError(f"process type {ptype} is not included in procfile")
    if all(place is not None and volume.path.get(ptype) == place for ptype, place in changes.items()):
        raise InvalidInputError("mount path not changed")
    used = {pair for other in others if other.uuid != volume.uuid for pair in other.path.items()}
    clash = next((place for ptype, place in changes.items() if (ptype, place) in used), None)
    if clash is not None:
        raise InvalidInputError(f"path {clash} is used by another volume")
    merged = {**volume.path, **changes}
    return {ptype: place for ptype, place in merged.items() if place is not None}


def refuse_mounted(volume: Volume, *, structure: Collection[str]) -> None:
    """Keep a volume that a process type still uses; one that is gone uses nothing.

    Raises:
        InvalidInputError: it is mounted.
    """
    if any(ptype in structure or ptype == RUN for ptype in volume.path):
        raise InvalidInputError("this volume is mounting")


def mounts_of(volumes: Iterable[Volume], ptype: str) -> tuple[Mount, ...]:
    """The volumes in the instances of a process type, by name."""
    mounts = [Mount(volume.name, volume.path[ptype]) for volume in volumes if ptype in volume.path]
    return tuple(sorted(mounts, key=lambda mount: mount.volume))


def job_mounts(volumes: Sequence[Volume], requested: Mapping[str, str]) -> tuple[Mount, ...]:
    """The volumes in a one-off: those that it asks for (name -> path), by default those of the process type `run`.

    Raises:
        InvalidValueError: a name or a path is malformed (names go by the rule for process types, 4.12).
        InvalidInputError: the app has no such volume, or two are wanted in one place.
    """
    if not requested:
        return mounts_of(volumes, RUN)
    places: dict[str, str] = {}
    for name, place in requested.items():
        if (problem := ptype_problem(name)) is not None:
            raise InvalidValueError(problem)
        places[name] = mount_path(place)
    known = sorted(volume.name for volume in volumes)
    unknown = [name for name in places if name not in known]
    if unknown:
        has = f"which has: {', '.join(known)}" if known else "which has none"
        raise InvalidInputError(f"volume {','.join(unknown)} is not one of this app, {has}")
    if len(set(places.values())) < len(places):
        raise InvalidInputError("two volumes cannot be mounted at one path")
    return tuple(Mount(name, place) for name, place in sorted(places.items()))


def volume_spec(volume: Volume | VolumeRequest) -> VolumeSpec:
    """What the engine is told of a volume."""
    return VolumeSpec(volume.name, volume.type, _gib(volume.size) or None, volume.parameters)


def size_bytes(size: str) -> int:
    """The size of a volume (`5G`: GiB) in bytes; 0 where nobody named one."""
    return _gib(size) * 1024**3


def _gib(size: str) -> int:
    return int(size[:-1])


def _size(check: FieldChecker, body: Mapping[str, object], sizes: SizeRange) -> str:
    if "size" not in body:
        return NO_SIZE
    if body["size"] is None:
        check.fail("size", NULL)
        return NO_SIZE
    size = sizes.parse(check.text("size"))
    if size is None:
        check.fail("size", sizes.message)
    return size or NO_SIZE


def _type(check: FieldChecker, body: Mapping[str, object]) -> str:
    kind = body.get("type", CSI)
    if isinstance(kind, str) and kind in TYPES:
        return kind
    check.fail("type", NULL if kind is None else f'"{str(kind)[:63]}" is not a valid choice.')
    return CSI


def _parameters(check: FieldChecker, body: Mapping[str, object]) -> Mapping[str, object]:
    raw = body.get("parameters", {})
    if raw is None:
        check.fail("parameters", NULL)
        return {}
    # Both the value and the reason would show keys: the message is made of what may be seen.
    problem = schema_problem(_masked(raw), {"type": "object", "properties": _PARAMETERS})
    if len(json.dumps(raw, ensure_ascii=False)) > MOST_PARAMETERS:
        problem = f"Ensure this field has no more than {MOST_PARAMETERS} characters of JSON."
    if problem is not None:
        check.fail("parameters", problem)
    return raw if isinstance(raw, Mapping) else {}


def _masked(value: object, key: str = "") -> object:
    """`value` with everything hidden that may be a secret; what was no text is no text afterwards either."""
    if isinstance(value, Mapping):
        return {name: _masked(item, str(name)) for name, item in value.items()}
    if isinstance(value, list):
        return [_masked(item, "") for item in value]
    if key in _VISIBLE or value == "":
        return value
    return "***" if isinstance(value, str) else None

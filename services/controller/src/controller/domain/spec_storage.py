"""The storage part of what the engine is told: volumes and where they are mounted. Plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class VolumeSpec:
    """A volume; `type` is csi, nfs or oss, `size_gib` None where the server behind it decides. `parameters` are those
    of its type, secrets included."""

    name: str
    type: str
    size_gib: int | None
    parameters: Mapping[str, object] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Mount:
    """A volume in an instance."""

    volume: str
    path: str


@dataclass(frozen=True)
class FileEntry:
    """A file or a directory of a volume. `path` is relative to its root; `modified` is UTC, `2025-02-03T04:05:06Z`."""

    name: str
    path: str
    size: int
    is_dir: bool
    modified: str

"""What all manifests have in common."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from controller.engine.kubernetes import names

Manifest = dict[str, Any]
"""An object as the API server takes it: JSON alone."""

MOST_INT32: Final = 2**31 - 1
_EMPTY: Final[tuple[object, ...]] = ({}, [], "")


def app_object(
    api_version: str,
    kind: str,
    app: str,
    name: str,
    *,
    ptype: str | None = None,
    more_labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    **content: object,
) -> Manifest:
    """An object in the app's namespace with our labels; `content` is what stands beside the metadata."""
    metadata: Manifest = {"name": name, "namespace": names.namespace(app)}
    metadata["labels"] = {**names.labels(app, ptype), **(more_labels or {})}
    if annotations:
        metadata["annotations"] = dict(annotations)
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **content}


def present(parts: Mapping[str, object]) -> Manifest:
    """`parts` without those that are None or empty."""
    return {name: part for name, part in parts.items() if part is not None and part not in _EMPTY}


def plain(value: object) -> Any:
    """A value of a spec as JSON of its own: changing it changes nothing else."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def whole_seconds(time: timedelta, *, least: int = 0) -> int:
    """Full seconds, rounded up, no more than the API has place for."""
    return min(max(math.ceil(time.total_seconds()), least), MOST_INT32)

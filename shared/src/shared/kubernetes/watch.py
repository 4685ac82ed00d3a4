"""Reads the lines of a watch."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Literal

from shared.kubernetes.errors import ClusterUnavailableError, error_of_event
from shared.kubernetes.kinds import Manifest

EventType = Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]


@dataclass(frozen=True)
class WatchEvent:
    """One change. A BOOKMARK's object has a resourceVersion and nothing else worth reading."""

    type: EventType
    object: Manifest

    @property
    def resource_version(self) -> str:
        """Where a watch may go on after this event."""
        return str(self.object["metadata"]["resourceVersion"])


async def events(action: str, chunks: AsyncIterator[bytes]) -> AsyncIterator[WatchEvent]:
    """The events of a watch until its connection ends; a line cut off at its end is dropped.

    Raises:
        ClusterGoneError: the version to go on from is too old.
        ClusterError: the API server ends the watch with another error, or what comes is no watch.
    """
    async for line in _lines(chunks):
        event = _parsed(action, line)
        if event["type"] == "ERROR":
            raise error_of_event(action, event["object"])
        yield WatchEvent(event["type"], event["object"])


async def _lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Whole lines; they have no longest length, as an object may take megabytes."""
    parts: list[bytes] = []
    async for chunk in chunks:
        first, *rest = chunk.split(b"\n")
        parts.append(first)
        for following in rest:
            line = b"".join(parts)
            parts = [following]
            if line.strip():
                yield line


def _parsed(action: str, line: bytes) -> dict[str, Any]:
    try:
        event = json.loads(line)
        is_sound = isinstance(event["object"], dict) and isinstance(event["type"], str)
        if event["type"] != "ERROR":
            is_sound = is_sound and bool(event["object"]["metadata"]["resourceVersion"])
    except (ValueError, KeyError, TypeError, RecursionError):
        is_sound = False
    if not is_sound:
        raise ClusterUnavailableError(action, "what the API server sent is no event")
    return dict(event)

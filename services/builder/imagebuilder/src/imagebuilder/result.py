"""How a build ended, as the builder reads it from the pod: at most 4096 bytes of JSON (the kubelet keeps no more)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

TERMINATION_LOG: Final = Path("/dev/termination-log")
MAX_BYTES: Final = 4096

# Those of the builder's runner port that can come from inside a pod.
FailureCode = Literal["build-failed", "disk-limit", "disk-full", "cancelled", "internal"]


class BuildFailed(Exception):  # noqa: N818  # an outcome, not a defect of the program
    """The build ended without an image: `message` says what happened, `hint` what to do. Both go to the pusher."""

    def __init__(self, code: FailureCode, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code: FailureCode = code
        self.message = message
        self.hint = hint


def success(images: Mapping[str, str]) -> bytes:
    """The result of a build: process type -> image name with its digest.

    Raises:
        BuildFailed: internal, when that is more than the kubelet keeps.
    """
    content = json.dumps({"images": dict(images)}, separators=(",", ":")).encode()
    if len(content) > MAX_BYTES:
        raise BuildFailed("internal", f"{len(images)} images in one build are more than can be reported: build fewer")
    return content


def failure(error: BuildFailed) -> bytes:
    """The result of a build that failed; a message that is too long loses its end."""
    message, hint = error.message, error.hint[: MAX_BYTES // 8]
    while True:
        facts = {"code": error.code, "message": message, "hint": hint}
        content = json.dumps({"error": facts}, ensure_ascii=False).encode(errors="replace")
        if len(content) <= MAX_BYTES:
            return content
        message = message[: len(message) * 3 // 4]

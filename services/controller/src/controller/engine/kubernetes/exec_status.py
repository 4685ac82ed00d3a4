"""How a command ended, as the API server tells it in the end of an exec session. Pure (kubernetes.md 2.8)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from controller.engine.kubernetes.findings import own_words

NOT_FOUND: Final = 127
NOT_EXECUTABLE: Final = 126
LOST: Final = 255
"""Exit code when nobody knows how it ended, as ssh has it."""

Kind = Literal["ended", "not-started", "not-running", "lost"]

_GONE: Final = re.compile(r"container not found|not found in pod|is not running|container .* is terminated", re.I)
_NOT_FOUND: Final = re.compile(r"executable file not found|no such file or directory")
_DENIED: Final = re.compile(r"permission denied|exec format error|is a directory")
_CHAIN: Final = re.compile(
    r"^.*unable to start container process: (?:exec: )?|^(?:Internal error occurred: )+|: unknown$"
)


@dataclass(frozen=True)
class Outcome:
    """`not-started`: the program could not be run; `not-running`: the container does not run; `lost`: the connection
    ended before the command did. `message` explains all but `ended`."""

    kind: Kind
    exit_code: int
    message: str = ""


LOST_CONNECTION: Final = Outcome("lost", LOST, "the connection to the command was lost")


def outcome_of(payload: bytes) -> Outcome:
    """What the Status object in the error channel says."""
    try:
        status = json.loads(payload)
    except (ValueError, RecursionError):
        return LOST_CONNECTION
    if not isinstance(status, dict):
        return LOST_CONNECTION
    if status.get("status") == "Success":
        return Outcome("ended", 0)
    code = _exit_code(status)
    return Outcome("ended", code) if code is not None else _failed(str(status.get("message") or ""))


def _exit_code(status: Mapping[str, Any]) -> int | None:
    details = status.get("details")
    causes = details.get("causes") if isinstance(details, dict) else None
    for cause in causes if isinstance(causes, list) else ():
        if isinstance(cause, dict) and cause.get("reason") == "ExitCode":
            text = str(cause.get("message"))
            return int(text) if text.isascii() and text.isdigit() else None
    return None


def _failed(message: str) -> Outcome:
    words = _CHAIN.sub("", _CHAIN.sub("", own_words(message))) or "the command could not be run"
    if _GONE.search(message):
        return Outcome("not-running", LOST, words)
    if _NOT_FOUND.search(message):
        return Outcome("not-started", NOT_FOUND, words)
    if _DENIED.search(message):
        return Outcome("not-started", NOT_EXECUTABLE, words)
    return Outcome("lost", LOST, words)

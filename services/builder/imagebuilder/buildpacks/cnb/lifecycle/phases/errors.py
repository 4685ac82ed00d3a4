"""How a phase ends badly: exit codes of the platform interface, reasons for people and for the builder."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

NOT_DETECTED, DETECT_FAILED = 20, 21
ANALYZE, RESTORE, BUILDPACK, EXPORT = 32, 42, 51, 62

TERMINATION_LOG = Path(os.environ.get("WORKFLOW_TERMINATION_LOG", "/dev/termination-log"))


class PhaseError(Exception):
    """A phase cannot go on; `status` is its exit code, `code` one of `runner/port.py`."""

    def __init__(self, status: int, message: str, *, code: str = "build-failed", hint: str = "") -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.hint = status, message, code, hint


def tell(error: PhaseError) -> None:
    """Say it on stdout; as JSON in the termination log, unless a buildpack has told its reason there."""
    print(f"---> Error: {error.message}", flush=True)
    if error.hint:
        print(f"     {error.hint}", flush=True)
    with suppress(OSError):
        if not TERMINATION_LOG.exists() or not TERMINATION_LOG.stat().st_size:
            content = {"error": {"code": error.code, "message": error.message[:1500], "hint": error.hint[:500]}}
            TERMINATION_LOG.write_text(json.dumps(content))

"""How a process ended, in words for the person who deployed it; the same for all engines."""

from __future__ import annotations

import signal
from collections.abc import Sequence


def describe_exit(exit_status: int) -> str:
    """`exit code 3`, or the name of the signal, which counts as -n or as 128 + n."""
    number = -exit_status if exit_status < 0 else exit_status - 128
    try:
        return f"signal {signal.Signals(number).name}"
    except ValueError:
        return f"exit code {exit_status}"


def crash_hint(log: Sequence[str], exit_status: int | None) -> str:
    """What to do about a process that ended so, after these last lines of output."""
    if exit_status in (-signal.SIGKILL, 128 + signal.SIGKILL):
        return "Something killed it; often that is the system, short of memory. See `drycc limits`."
    text = "\n".join(log)
    if "Address already in use" in text or "EADDRINUSE" in text:
        return "The address is taken: listen on the port in the environment variable PORT, not on a fixed one."
    if "ModuleNotFoundError" in text or "Cannot find module" in text:
        return "A package is missing: add it to requirements.txt or package.json and push again."
    return "The lines above are the last of its output. Try the command with `drycc run`."

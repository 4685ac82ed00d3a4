"""What a pusher reads and may do while somebody else's deploy of the same app is under way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from builder.domain.refs import RefUpdate
from builder.domain.text import progress, refusal
from builder.services.runs import BuildRun
from builder.services.turns import Turn

CANCEL, SUPERSEDE, STACK = "cancel", "supersede", "stack"
"""Push options: `git push -o <name>`."""
_KNOWN: Final = (CANCEL, STACK, SUPERSEDE)


def unknown_options(options: Mapping[str, str]) -> str:
    """A line for the pusher about options that mean nothing here; empty when there are none."""
    unknown = [name for name in options if name not in _KNOWN]
    if not unknown:
        return ""
    return progress(f"Push option {', '.join(unknown)[:100]} is not known here; these are: {', '.join(_KNOWN)}.")


def row_text(ahead: Sequence[Turn]) -> str:
    """Who does what since when, and what one who does not want to wait may do."""
    present = ahead[0]
    place = "you are next" if len(ahead) == 1 else f"you are number {len(ahead)} of those who wait"
    text = progress(f"{present.username} {_doing(present)} since {present.since:%H:%M:%S} UTC; {place}.")
    return text + progress("Not to wait: `git push -o supersede` takes its place, `git push -o cancel` ends it.")


def supersede(ahead: Sequence[Turn], username: str) -> str:
    """End what is ahead, the last one first so that none of it begins meanwhile; returns a line for the pusher."""
    ended = [turn for turn in reversed(ahead) if turn.cancel(f"{username} superseded it with a newer push")]
    if not ended:
        return ""
    return progress(f"Superseded: {', '.join(what(turn) for turn in reversed(ended))}.")


def same_build(ahead: Sequence[Turn], update: RefUpdate, options: Mapping[str, str]) -> BuildRun | None:
    """The build under way of just what is pushed, with nobody between: its pusher may have been cut off."""
    run = ahead[0].run if len(ahead) == 1 else None
    if run is None or SUPERSEDE in options or run.cancel_reason is not None:
        return None
    is_same = (run.spec.sha, run.spec.branch) == (update.new, update.branch)
    return run if is_same and run.spec.options.get(STACK) == options.get(STACK) else None


def cancel(present: Turn | None, app: str, username: str) -> str:
    """End what is under way for the app; returns what the pusher, whose own push is not taken, is told."""
    if present is None:
        return refusal(f"Nothing is built for {app} now, so there is nothing to cancel; nothing was changed.")
    if not present.cancel(f"{username} cancelled it with `git push -o cancel`"):
        return refusal(f"Too late: {what(present)} is made, its release goes on; `drycc releases rollback` undoes it.")
    return progress(f"Cancelled: {what(present)}.") + refusal("This push changes nothing, so git calls it rejected.")


def what(turn: Turn) -> str:
    """`build 7 of ana (main at 1a2b3c4d5e6f)`."""
    if turn.run is None:
        return f"the push of {turn.username}"
    spec = turn.run.spec
    return f"build {spec.number} of {turn.username} ({spec.branch} at {spec.sha[:12]})"


def _doing(turn: Turn) -> str:
    if turn.run is None:
        return f"pushes {turn.app}"
    spec = turn.run.spec
    verb = "releases" if turn.run.is_built else "builds"
    return f"{verb} {spec.branch} at {spec.sha[:12]} (build {spec.number})"

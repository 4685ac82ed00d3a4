"""Which of the pushed refs is built, and what the pusher is told about the others."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

DEPLOY_BRANCHES = ("main", "master")
HEADS = "refs/heads/"
# git-check-ref-format(1), and not too long to be shown: it becomes a path and the words of a line.
_BRANCH = re.compile(
    r"(?!.*(?:\.\.|//|/\.|@\{|\.lock(?:/|$)|[./]$))[^\x00-\x20\x7f-\x9f~^:?*\[\\./-][^\x00-\x20\x7f-\x9f~^:?*\[\\]{0,199}"
)
_OBJECT_ID = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


@dataclass(frozen=True)
class RefUpdate:
    """One line of pre-receive's input."""

    old: str
    new: str
    ref: str

    @property
    def is_deletion(self) -> bool:
        return not self.new.strip("0")

    @property
    def branch(self) -> str | None:
        """Branch name; None for tags and whatever else stands outside refs/heads/."""
        return self.ref.removeprefix(HEADS) if self.ref.startswith(HEADS) else None


@dataclass(frozen=True)
class Decision:
    """What a push leads to. `refusal` declines the whole push; without `deploy` the refs are stored and no more."""

    deploy: RefUpdate | None = None
    notes: tuple[str, ...] = ()
    refusal: str | None = None


def deploy_branches(asked: str | None) -> tuple[str, ...]:
    """The branches that deploy, the first one found wins: what was asked for (the variable DRYCC_DEPLOY_BRANCH), else
    `main` or `master`; none where that is no name of a branch."""
    name = (asked or "").strip().removeprefix(HEADS)
    if not name:
        return DEPLOY_BRANCHES
    return (name,) if _BRANCH.fullmatch(name) else ()


def decide(updates: Sequence[RefUpdate], branches: Sequence[str] = DEPLOY_BRANCHES) -> Decision:
    """Apply the branch rule: `branches` deploy, everything else is only stored."""
    if not branches:
        return Decision(refusal="DRYCC_DEPLOY_BRANCH does not name a branch: set it to one such as `main`, or unset it")
    if any(not _OBJECT_ID.fullmatch(oid) for update in updates for oid in (update.old, update.new)):
        return Decision(refusal="git sent an object id that is neither SHA-1 nor SHA-256; nothing was changed")
    by_branch = {update.branch: update for update in updates if update.branch in branches}
    for branch, update in by_branch.items():
        if update.is_deletion:
            return Decision(
                refusal=f"{branch} is the deploy branch and cannot be deleted; `drycc destroy` removes the app"
            )
    deploy = next((by_branch[branch] for branch in branches if branch in by_branch), None)
    others = [update for update in updates if update is not deploy]
    return Decision(deploy=deploy, notes=_notes(others, deploy, branches))


def _notes(others: Sequence[RefUpdate], deploy: RefUpdate | None, branches: Sequence[str]) -> tuple[str, ...]:
    stored = [_name(update) for update in others if not update.is_deletion]
    removed = [_name(update) for update in others if update.is_deletion]
    notes = [f"{_listed(removed)} removed; the running app does not change."] if removed else []
    if stored and deploy is not None:
        notes.append(f"{_listed(stored)} stored, not deployed: this push deploys {deploy.branch}.")
    elif stored:
        notes.append(f"{_listed(stored)} stored, nothing is deployed: only {' or '.join(branches)[:200]} deploys.")
        notes.append(f"To deploy it: git push <remote> {_short(others, stored)}:{branches[0][:200]}")
    return tuple(notes)


def _name(update: RefUpdate) -> str:
    if update.branch is not None:
        return f"branch {update.branch}"
    if update.ref.startswith("refs/tags/"):
        return f"tag {update.ref.removeprefix('refs/tags/')}"
    return update.ref


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"


def _short(others: Sequence[RefUpdate], stored: Sequence[str]) -> str:
    first = next(update for update in others if _name(update) == stored[0])
    if first.branch is not None:
        return first.branch
    # A tag object cannot be a branch tip: `^{}` names the commit that it points to.
    return f"{first.ref.removeprefix('refs/tags/')}^{{}}"

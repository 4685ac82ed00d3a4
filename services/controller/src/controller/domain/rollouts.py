"""The rules of a rollout: which process types move, and what an observation means for it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from hashlib import sha256
from uuid import UUID

from controller.domain.names import WEB
from controller.domain.pauses import doubled
from controller.domain.plans import Catalog
from controller.domain.releases import Landing, ProcessTarget, ReleaseBundle, Rollout
from controller.domain.render import is_changed
from controller.domain.spec import AppObservation, AppSpec, Failure, JobState, ProcessSpec, PtypeState

DEADLINE_HINT = (
    "`drycc ps list` shows the processes and `drycc apps logs` what they say; DRYCC_DEPLOY_TIMEOUT gives them longer"
)
AGAIN_HINT = "nothing was rolled out; try again with `drycc releases deploy --force`"
RELEASE_PHASE_HINT = "nothing was rolled out; correct the command in the `run` section of the pipeline and push again"

_ENDS = {
    "deadline-exceeded": "it did not end in time",
    "platform-stopped": "it was ended when the platform stopped",
    "stopped": "somebody stopped it",
}
_NOT_ITS_FAULT = ("platform-stopped", "stopped")


@dataclass(frozen=True)
class Waiting:
    """Not there yet. `progress` counts the new instances that are ready."""

    progress: int


@dataclass(frozen=True)
class Settled:
    """Every process type of the rollout runs as it should."""


@dataclass(frozen=True)
class Broken:
    """It will not get there. `late`: the process types that its deadline found unready, where that is the reason."""

    failure: Failure
    late: tuple[str, ...] = ()


Verdict = Waiting | Settled | Broken


def moving_ptypes(
    after: ReleaseBundle,
    wanted: Sequence[str],
    *,
    running: Mapping[str, ReleaseBundle | None],
    carried: Collection[str],
    everything: bool,
    catalog: Catalog,
) -> tuple[str, ...]:
    """The types among `wanted` that a rollout to `after` has to move.

    `running` is the release that each type should run so far; a failed one or none always moves, and so does what an
    unfinished rollout was moving (`carried`). `everything` skips the comparison: forced, or autodeploy is off.
    `catalog` says which plan a type without one has.
    """
    if everything:
        return tuple(wanted)
    return tuple(ptype for ptype in wanted if ptype in carried or _must_move(running.get(ptype), after, ptype, catalog))


def _must_move(before: ReleaseBundle | None, after: ReleaseBundle, ptype: str, catalog: Catalog) -> bool:
    return before is None or before.build is None or before.release.failed or is_changed(before, after, ptype, catalog)


def merge_targets(
    targets: Iterable[ProcessTarget], rollout: Rollout, release_ptypes: Sequence[str], now: datetime
) -> dict[str, ProcessTarget]:
    """What should run once the rollout rolls (4.11): new types start at web 1, others 0; counts stay; types that the
    release does not have go when they are at 0."""
    merged = {target.ptype: target for target in targets if target.ptype in release_ptypes or target.replicas > 0}
    for ptype in release_ptypes:
        if ptype not in merged:
            merged[ptype] = ProcessTarget(ptype, default_count(ptype), None, "", now)
    for ptype in rollout.ptypes:
        old = merged[ptype]
        token = rollout.restart_token or old.restart_token
        merged[ptype] = replace(old, release=rollout.version, restart_token=token)
    return merged


def default_count(ptype: str) -> int:
    """How many instances a new process type starts with."""
    return 1 if ptype == WEB else 0


def judge(rollout: Rollout, spec: AppSpec, observed: AppObservation, *, now: datetime) -> Verdict:
    """What the observation means for a rollout that rolls towards `spec`. A passed deadline is never success."""
    progress, unsettled = 0, []
    for ptype in rollout.ptypes:
        process = spec.process(ptype)
        if process is None:
            continue
        state = observed.ptype(ptype)
        current = state is not None and state.fingerprint == process.fingerprint
        if state is None or not current:
            unsettled.append(_tell(process, None))
            continue
        if state.failure is not None and not state.settled:
            return Broken(state.failure)
        progress += min(state.updated, state.ready)
        if not state.settled:
            unsettled.append(_tell(process, state))
    if not unsettled:
        return Settled()
    if rollout.deadline_at is not None and now >= rollout.deadline_at:
        message = f"not ready in time: {'; '.join(text for _, text in unsettled)}"
        failure = Failure("deadline-exceeded", unsettled[0][0], message, hint=DEADLINE_HINT)
        return Broken(failure, late=tuple(ptype for ptype, _ in unsettled))
    return Waiting(progress)


def _tell(process: ProcessSpec, state: PtypeState | None) -> tuple[str, str]:
    ready = 0 if state is None else min(state.ready, state.updated)
    return process.ptype, f"{process.ptype} has {ready} of {process.replicas} new processes ready"


def job_name(app: str, rollout: UUID, step: int) -> str:
    """The name of a release-phase job: always the same for the same step, so that it never runs twice."""
    return f"{app}-run-{sha256(f'{rollout}:{step}'.encode()).hexdigest()[:10]}"


def job_failure(ptype: str, command: Sequence[str], state: JobState) -> Failure:
    """Why the release phase failed."""
    shown = " ".join(command) or "the image's own command"
    how = f"exit code {state.exit_code}" if state.exit_code is not None else (state.reason or "it did not start")
    message = f"the release phase of {ptype} failed: `{shown}`: {_ENDS.get(state.reason or '', how)}"
    hint = AGAIN_HINT if state.reason in _NOT_ITS_FAULT else RELEASE_PHASE_HINT
    return Failure("release-phase-failed", ptype, message, state.log, hint)


def rollback_targets(
    targets: Iterable[ProcessTarget], rollout: Rollout, *, good: Collection[int], fallback: Mapping[str, int]
) -> dict[str, Landing | None] | None:
    """Where each moved type goes back to: what it ran before if that release is `good`, else `fallback`.

    None for a type means that it goes away, because no good release had it. The whole is None when no type has
    anything to go back to: then the failed release stays, for people to look at.
    """
    goals: dict[str, Landing | None] = {}
    for target in targets:
        if target.ptype not in rollout.ptypes or target.release != rollout.version:
            continue
        before = rollout.previous.get(target.ptype)
        if before is None or before.release not in good:
            version = fallback.get(target.ptype)
            before = None if version is None else Landing(version, "")
        goals[target.ptype] = before
    return goals if any(goals.values()) else None


def pause_before_retry(attempt: int) -> timedelta:
    """How long after failure number `attempt` (1-based) of its own kind the reconciler looks again: 1 s to 60 s."""
    return doubled(timedelta(seconds=1), attempt, timedelta(minutes=1))


def condition(
    state: str,
    rollout: Rollout,
    now: datetime,
    *,
    failure: Failure | None = None,
    rolled_back_to: int | None = None,
) -> dict[str, object]:
    """What a release remembers of the end of a rollout. `failure` and `rolled_back_to` extend the contract."""
    record: dict[str, object] = {
        "state": state,
        "action": "pipeline",
        "ptypes": list(rollout.ptypes),
        "created": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    if failure is not None:
        record |= {"exception": failure_text(failure, rolled_back_to), "failure": failure.as_json()}
    if rolled_back_to is not None:
        record["rolled_back_to"] = rolled_back_to
    return record


def superseded_condition(rollout: Rollout, by: int, now: datetime) -> dict[str, object]:
    """What a release remembers when a newer one took its place before it was rolled out."""
    text = f"v{by} took the place of v{rollout.version} before that was rolled out"
    return {**condition("superseded", rollout, now), "exception": text}


def failure_line(failure: Failure) -> str:
    """A failure in one line, as a column holds it: PostgreSQL refuses U+0000 in texts."""
    return " ".join(f"{failure.code}: {failure.message}".replace("\0", " ").split())


def failure_text(failure: Failure, rolled_back_to: int | None = None) -> str:
    """A failure in lines for people: what, the last output, what to do, what happened then."""
    lines = [failure.message, *(f"  {line}" for line in failure.log)]
    if failure.hint:
        lines.append(f"Hint: {failure.hint}")
    if rolled_back_to is not None:
        lines.append(f"Rolled back to v{rolled_back_to}.")
    return "\n".join(lines)

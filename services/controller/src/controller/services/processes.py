"""Process types: how many run, starting them anew, clearing away what no release has any more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import uuid4

from controller.domain.apps import Actor
from controller.domain.builds import ptypes_of
from controller.domain.jobs import Command
from controller.domain.names import RUN
from controller.domain.plans import LimitPlan
from controller.domain.releases import ProcessTarget
from controller.domain.render import render_process
from controller.domain.shown import brief, shown
from controller.domain.spec import AppObservation, ProcessSpec
from controller.repositories.volumes import VolumeRepository
from controller.services.base import AppService
from shared.errors import InvalidInputError
from shared.logging import get_logger

log = get_logger(__name__)


@dataclass(frozen=True)
class PtypeView:
    """A deployed process type: what is wanted and what is there."""

    name: str
    release: int
    desired: int
    ready: int
    up_to_date: int
    garbage: bool
    started: datetime


@dataclass(frozen=True)
class PtypeDetail:
    """What a process type runs, the plan that limits it, and its probes as they are configured."""

    spec: ProcessSpec
    plan: LimitPlan
    healthcheck: Mapping[str, Mapping[str, object]]


class Processes(AppService):
    """What apps run."""

    async def scale(self, app: str, counts: Mapping[str, object], *, actor: Actor) -> None:
        """Want so many instances of each named process type. One that is not deployed yet starts with that many.

        Raises:
            InvalidInputError: a count is none or too high, a type is unknown or reserved, or there is no build.
        """
        wanted = _counts(counts, most=self._uow.policy.max_replicas)
        locked = await self._apps.lock(app)
        current = await self._usable(locked)
        if current.build is None:
            raise InvalidInputError("No build associated with this release")
        targets = {target.ptype: target for target in await self._processes.list(locked)}
        _refuse_unknown(wanted, [*targets, *ptypes_of(current.build)])
        now = self._uow.now()
        changed = [
            replace(targets.get(ptype, ProcessTarget(ptype, -1, None, "", now)), replicas=count)
            for ptype, count in wanted.items()
            if ptype not in targets or targets[ptype].replicas != count
        ]
        if changed:
            await self._processes.put(locked, *changed, now=now)
            await self._changed(locked)
            before = {each.ptype: targets[each.ptype].replicas for each in changed if each.ptype in targets}
            after = {each.ptype: each.replicas for each in changed}
            await self._record(locked, "processes.scaled", actor=actor, before=before, after=after)
        log.info("scaled", app=app, actor=actor.username, counts=wanted)

    async def restart(self, app: str, ptypes: Sequence[str] = (), *, actor: Actor) -> None:
        """Give the named process types (default: all) new instances, one after the other.

        Raises:
            InvalidInputError: a type is unknown.
        """
        locked = await self._apps.lock(app)
        targets = {target.ptype: target for target in await self._processes.list(locked)}
        unknown = [ptype for ptype in ptypes if ptype not in targets]
        if unknown:
            raise InvalidInputError(f"process type {brief(','.join(unknown))} is not included in procfile")
        token = uuid4().hex[:12]
        running = [target for target in targets.values() if target.replicas and target.release is not None]
        chosen = [replace(target, restart_token=token) for target in running if not ptypes or target.ptype in ptypes]
        if chosen:
            await self._processes.put(locked, *chosen, now=self._uow.now())
            await self._changed(locked)
            await self._record(locked, "processes.restarted", actor=actor, target=_names(chosen))
        log.info("restarted", app=app, actor=actor.username, ptypes=[target.ptype for target in chosen])

    async def clean(self, app: str, ptypes: Sequence[str], *, actor: Actor) -> None:
        """Forget process types that the newest release does not have; names that are not there are ignored.

        Raises:
            InvalidInputError: none is named, or one of them still has instances.
        """
        if not ptypes:
            raise InvalidInputError("ptypes is a required field")
        locked = await self._apps.lock(app)
        targets = {target.ptype: target for target in await self._processes.list(locked)}
        for ptype in ptypes:
            if ptype in targets and targets[ptype].replicas:
                raise InvalidInputError(f"ptype {ptype} should not garbage.")
        known = ptypes_of((await self._releases.newest(locked)).build)
        kept = {name: target for name, target in targets.items() if name not in ptypes or name in known}
        if len(kept) < len(targets):
            await self._processes.replace(locked, kept, now=self._uow.now())
            await self._changed(locked)
            gone = [target for name, target in targets.items() if name not in kept]
            await self._record(locked, "processes.cleaned", actor=actor, target=_names(gone))
        log.info("cleaned", app=app, actor=actor.username, ptypes=sorted(set(targets) - set(kept)))

    async def note_stop(self, app: str, instances: Sequence[str], *, actor: Actor) -> None:
        """Note that somebody has ended these instances."""
        found = await self._apps.get(app)
        for instance in instances:
            await self._record(found, "instance.stopped", actor=actor, target=instance)

    async def note_exec(self, app: str, instance: str, command: Sequence[str], *, actor: Actor) -> None:
        """Note that somebody is about to run a command beside an instance: only its name, arguments may be secret."""
        found = await self._apps.get(app)
        after = {"command": Command(tuple(command), is_line=False).shown}
        await self._record(found, "instance.entered", actor=actor, target=instance, after=after)

    async def list_ptypes(self, app: str, observation: AppObservation) -> list[PtypeView]:
        """The deployed process types, newest first, with what the engine sees of them."""
        found = await self._apps.get(app)
        known = ptypes_of((await self._releases.newest(found)).build)
        targets = await self._processes.list(found)
        scaled = (await self._settings.get(found)).autoscale
        views = [
            _view(
                target,
                target.release,
                observation,
                garbage=target.ptype not in known,
                is_scaled=bool(scaled.get(target.ptype)),
            )
            for target in targets
            if target.release is not None
        ]
        return sorted(views, key=lambda view: view.started, reverse=True)

    async def spec(self, app: str, ptype: str, *, release: int | None = None) -> ProcessSpec | None:
        """What that process type should run now, or what instances of another release run; None when it is not
        deployed."""
        detail = await self.describe(app, ptype, release=release)
        return None if detail is None else detail.spec

    async def describe(self, app: str, ptype: str, *, release: int | None = None) -> PtypeDetail | None:
        """The same with what its release configures."""
        found = await self._apps.get(app)
        targets = {target.ptype: target for target in await self._processes.list(found)}
        target = targets.get(ptype)
        if target is None or target.release is None:
            return None
        bundle = await self._releases.find(found, release or target.release)
        if bundle is None or bundle.build is None:
            return None
        volumes = await VolumeRepository(self._uow.session, self._uow.cipher).list_all(found)
        policy = self._uow.policy
        process = render_process(found.name, bundle, bundle.build, target.ptype, policy, volumes=volumes)
        spec = replace(process, replicas=target.replicas, restart_token=target.restart_token)
        healthcheck = bundle.config.data.healthcheck.get(ptype, {})
        return PtypeDetail(spec, policy.catalog.plan_of(spec.plan), healthcheck)


def _names(targets: Sequence[ProcessTarget]) -> str:
    return ",".join(sorted(target.ptype for target in targets))


def _counts(counts: Mapping[str, object], *, most: int) -> dict[str, int]:
    if RUN in counts:
        raise InvalidInputError(f"Cannot set scale for reserved types, procfile type is: {RUN}")
    wanted = {}
    for ptype, count in counts.items():
        if isinstance(count, bool) or not isinstance(count, int) or count < 0:
            raise InvalidInputError(
                f"Invalid scaling format: {brief(ptype)}={shown(count)} is not a number of processes"
            )
        if count > most:
            name = brief(ptype)
            raise InvalidInputError(
                f"{name}={shown(count)} is more than the {most} processes that a type may have here"
            )
        wanted[ptype] = count
    return wanted


def _refuse_unknown(wanted: Mapping[str, int], known: Sequence[str]) -> None:
    unknown = sorted(set(wanted) - set(known))
    if unknown:
        names = ", ".join(dict.fromkeys(known))
        raise InvalidInputError(
            f"process type {brief(','.join(unknown))} is not included in procfile, which has: {names}", known=names
        )


def _view(
    target: ProcessTarget, release: int, observation: AppObservation, *, garbage: bool, is_scaled: bool
) -> PtypeView:
    """With `is_scaled` the number of instances is the engine's business, unless there are to be none at all."""
    state = observation.ptype(target.ptype)
    return PtypeView(
        name=target.ptype,
        release=release,
        desired=state.desired if state and is_scaled and target.replicas else target.replicas,
        ready=state.ready if state else 0,
        up_to_date=state.updated if state else 0,
        garbage=garbage,
        started=target.created,
    )

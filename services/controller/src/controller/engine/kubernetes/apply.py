"""Makes what an app has in the cluster equal to what was rendered, with as few requests as possible."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum, auto
from typing import Final

from controller.domain.pauses import doubled
from controller.engine.kubernetes.cache import Cache
from controller.engine.kubernetes.client import Client
from controller.engine.kubernetes.compare import Difference, differences, stamped
from controller.engine.kubernetes.kinds import (
    ALL,
    CERTIFICATE,
    DEPLOYMENT,
    HORIZONTAL_POD_AUTOSCALER,
    JOB,
    NAMESPACE,
    ROLE_BINDING,
    SECRET,
    Kind,
    address,
)
from controller.engine.kubernetes.names import MANIFEST, TYPE
from controller.engine.kubernetes.namespaces import NamespaceGoingError, NamespaceTakenError, ensure
from controller.engine.kubernetes.prune import Leftover, leftovers
from controller.engine.kubernetes.store import app_of
from controller.engine.kubernetes.write import write
from shared.clock import Clock, SystemClock
from shared.errors import SuiteError
from shared.kubernetes.errors import (
    ClusterConflictError,
    ClusterError,
    ClusterForbiddenError,
    ClusterUnavailableError,
)
from shared.kubernetes.kinds import Manifest
from shared.logging import get_logger

SECRET_GRACE: Final = timedelta(minutes=5)
_AT_A_TIME: Final = 6
# Rights in a new namespace count a moment after they were given: authorizers learn of them through watches, too.
_RIGHTS_SECONDS: Final = 5.0
_RIGHTS_PAUSE: Final = timedelta(milliseconds=10)
_LONGEST_RIGHTS_PAUSE: Final = timedelta(milliseconds=160)
log = get_logger(__name__)


class _Stage(Enum):
    """What is applied together: within one, nothing but the network goes by what others of it are."""

    NAMESPACE = auto()
    RIGHTS = auto()
    NEEDED = auto()
    WORK = auto()
    LEADS = auto()


@dataclass(frozen=True)
class ObjectError:
    """What keeps one object from becoming what it should be. `message` has the API server's own words; `cause` is None
    where the object was left alone because of another one. `ptype`: the process type that it belongs to, if to one."""

    kind: str
    name: str
    code: str
    message: str
    cause: SuiteError | None = field(default=None, compare=False)
    ptype: str = ""


@dataclass(frozen=True)
class Applied:
    """What an apply did: counts of objects, and what it could not do."""

    written: int = 0
    skipped: int = 0
    deleted: int = 0
    errors: tuple[ObjectError, ...] = ()

    def __add__(self, other: Applied) -> Applied:
        return Applied(
            self.written + other.written,
            self.skipped + other.skipped,
            self.deleted + other.deleted,
            self.errors + other.errors,
        )


class Applier:
    """Applies one app at a time or several at once; never the same app twice at once.

    `secret_grace` is how long a Secret that nothing refers to is kept at least.
    """

    def __init__(
        self, client: Client, cache: Cache, *, secret_grace: timedelta = SECRET_GRACE, clock: Clock | None = None
    ) -> None:
        self._client = client
        self._cache = cache
        self._secret_grace = secret_grace
        self._clock = clock or SystemClock()
        # Differences that were there right after a write: somebody in the cluster insists on values of their own.
        self._settled: dict[tuple[Kind, str, str], tuple[str, frozenset[Difference]]] = {}

    async def apply(self, app: str, manifests: Sequence[Manifest]) -> Applied:
        """Write what differs and delete what is not among the manifests; see `put`."""
        done = await self.put(manifests)
        is_taken = any(isinstance(error.cause, NamespaceTakenError | NamespaceGoingError) for error in done.errors)
        return done if is_taken else done + await self._prune(app, manifests, done.errors)

    async def put(self, manifests: Sequence[Manifest]) -> Applied:
        """Write what differs, in the order of the manifests; nothing is deleted.

        Within an app that order is: its namespace and our rights in there; what its workloads need; then these, and at
        the same time what leads to them, kind after kind. What an object is refused for becomes a part of the result;
        the objects after it are still applied, but the workloads are left as they are when something that they need is
        refused.

        Raises:
            ClusterUnavailableError: the API server does not answer; part of it may be done.
        """
        objects = [stamped(manifest) for manifest in manifests]
        stages: dict[_Stage, list[Manifest]] = {stage: [] for stage in _Stage}
        for one in objects:
            stages[_stage(one)].append(one)
        is_new = False
        for space in stages[_Stage.NAMESPACE]:
            try:
                is_new = await ensure(self._client, self._cache, space)
            except (NamespaceTakenError, NamespaceGoingError, ClusterError) as exc:
                return _refused(space, exc)
        done = await self._group([*stages[_Stage.NAMESPACE], *stages[_Stage.RIGHTS]], is_new=is_new)
        is_new = is_new or (bool(stages[_Stage.RIGHTS]) and done.written > 0)
        done += await self._group(stages[_Stage.NEEDED], is_new=is_new)
        return done + await _together(
            self._workloads(stages[_Stage.WORK], done.errors, is_new=is_new),
            self._in_order(stages[_Stage.LEADS], is_new=is_new),
        )

    def forget(self, app: str) -> None:
        """The app is gone."""
        for key in [key for key in self._settled if key[1] == app]:
            del self._settled[key]

    async def _workloads(self, objects: Iterable[Manifest], errors: Iterable[ObjectError], *, is_new: bool) -> Applied:
        needed = next((error for error in errors if error.kind in _PREREQUISITES), None)
        if needed is not None:
            return Applied(errors=tuple(_left_alone(one, needed) for one in objects))
        return await self._in_order(objects, is_new=is_new)

    async def _in_order(self, objects: Iterable[Manifest], *, is_new: bool) -> Applied:
        """Kind after kind."""
        done = Applied()
        for _, group in itertools.groupby(objects, key=lambda one: address(one)[0].order):
            done += await self._group(group, is_new=is_new)
        return done

    async def _group(self, objects: Iterable[Manifest], *, is_new: bool) -> Applied:
        slots = asyncio.Semaphore(_AT_A_TIME)

        async def one(manifest: Manifest) -> Applied:
            async with slots:
                return await self._one(manifest, is_new=is_new)

        return await _together(*(one(manifest) for manifest in objects))

    async def _one(self, manifest: Manifest, *, is_new: bool) -> Applied:
        kind, _, name = address(manifest)
        key = (kind, app_of(kind, manifest), name)
        known = self._cache.find(*key)
        if known is not None:
            found = differences(manifest, known.object)
            if known.is_terminating or not found or self._is_settled(key, manifest, found):
                return Applied(skipped=1)
        try:
            live = await self._write(manifest, is_new=is_new)
        except ClusterError as exc:
            return _refused(manifest, exc)
        found = differences(manifest, self._cache.take_written(live).object)
        self._settle(key, manifest, found)
        return Applied(written=1)

    async def _write(self, manifest: Manifest, *, is_new: bool) -> Manifest:
        kind, _, name = address(manifest)
        end, attempt = asyncio.get_running_loop().time() + _RIGHTS_SECONDS, 0
        while True:
            attempt += 1
            try:
                return await write(self._client, manifest, self._cache.find(kind, app_of(kind, manifest), name))
            except ClusterForbiddenError:
                if not is_new or asyncio.get_running_loop().time() > end:
                    raise
                await asyncio.sleep(doubled(_RIGHTS_PAUSE, attempt, _LONGEST_RIGHTS_PAUSE).total_seconds())

    def _is_settled(self, key: tuple[Kind, str, str], manifest: Manifest, found: frozenset[Difference]) -> bool:
        rendered, accepted = self._settled.get(key, ("", frozenset()))
        return rendered == manifest["metadata"]["annotations"][MANIFEST] and found <= accepted

    def _settle(self, key: tuple[Kind, str, str], manifest: Manifest, found: frozenset[Difference]) -> None:
        if not found:
            self._settled.pop(key, None)
            return
        self._settled[key] = (manifest["metadata"]["annotations"][MANIFEST], found)
        kind, app, name = key
        log.warning("object_altered_on_write", app=app, kind=kind.kind, name=name, fields=sorted(p for p, _ in found))

    async def _prune(self, app: str, manifests: Iterable[Manifest], errors: Iterable[ObjectError]) -> Applied:
        rendered = {(kind, name) for kind, _, name in map(address, manifests)}
        failed = {error.kind for error in errors}
        done = Applied()
        for leftover in leftovers(self._cache, app, rendered, now=self._clock.now(), secret_grace=self._secret_grace):
            # What was to come in its place may be what was refused.
            if leftover.kind.kind not in failed:
                done += await self._delete(app, leftover)
        return done

    async def _delete(self, app: str, leftover: Leftover) -> Applied:
        kind, name = leftover.kind, leftover.name
        try:
            was_there = await self._client.delete(kind, name, app if kind.namespaced else None, uid=leftover.uid)
            if kind is CERTIFICATE:  # what cert-manager has made of it is not ours, and stays without being told
                await self._client.delete(SECRET, name, app)
        except ClusterConflictError:
            return Applied()  # another object of that name: the next time
        except ClusterError as exc:
            if isinstance(exc, ClusterUnavailableError) and exc.http_status != 500:
                raise
            return Applied(errors=(ObjectError(kind.kind, name, exc.code, exc.detail, exc),))
        self._cache.take_deleted(kind, app, name, uid=leftover.uid)
        self._settled.pop((kind, app, name), None)
        return Applied(deleted=int(was_there))


_STAGES: Final = {
    NAMESPACE: _Stage.NAMESPACE,
    ROLE_BINDING: _Stage.RIGHTS,
    DEPLOYMENT: _Stage.WORK,
    HORIZONTAL_POD_AUTOSCALER: _Stage.WORK,
    JOB: _Stage.WORK,
}
_PREREQUISITES: Final = frozenset(kind.kind for kind in ALL if kind.is_prerequisite)


async def _together(*parts: Awaitable[Applied]) -> Applied:
    """What all of them did; they all come to their end, and then the first error of one is raised."""
    done = Applied()
    for result in await asyncio.gather(*parts, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result
        done += result
    return done


def _stage(manifest: Manifest) -> _Stage:
    kind = address(manifest)[0]
    return _STAGES.get(kind, _Stage.NEEDED if kind.addon is None else _Stage.LEADS)


def _refused(manifest: Manifest, exc: SuiteError) -> Applied:
    """The API server's answer as a part of the result; no answer at all is an exception.

    Status 500 with words is an answer: an admission webhook that fails makes one, for some objects and not for others.
    """
    if isinstance(exc, ClusterUnavailableError) and exc.http_status != 500:
        raise exc
    kind, _, name = address(manifest)
    ptype = str((manifest["metadata"].get("labels") or {}).get(TYPE, ""))
    return Applied(errors=(ObjectError(kind.kind, name, exc.code, exc.detail, exc, ptype),))


def _left_alone(manifest: Manifest, needed: ObjectError) -> ObjectError:
    kind, _, name = address(manifest)
    message = f"Not applied, as it needs {needed.kind} {needed.name}, which failed"
    return ObjectError(kind.kind, name, "not-applied", message)

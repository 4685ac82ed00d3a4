"""Use cases of resources. What is about to be done is written before the broker is asked, and no transaction is open
while it works: whatever dies in between, the next look at the resource finds out how it stands."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Final, Protocol
from uuid import UUID

from controller.domain.apps import Actor, App
from controller.domain.errors import ObjectNotFoundError
from controller.domain.page import Page
from controller.domain.resources import (
    BINDING,
    DEPROVISIONING,
    LOST_MESSAGE,
    UPDATING,
    BrokerUnavailableError,
    PlanOffer,
    Resource,
    ResourceBroker,
    ResourceRequest,
    ResourceState,
    ServiceOffer,
    changed_resource,
    check_offered,
    check_resource,
    observed,
    refuse_bind,
    refuse_delete,
    refuse_unbind,
)
from controller.repositories.resources import ResourceRepository
from controller.services.base import AppService
from controller.uow import Uow
from shared.errors import SuiteError
from shared.logging import get_logger

log = get_logger(__name__)

Change = Callable[[Resource], Resource]
_CHOSEN: Final = ("plan", "options", "status", "binding")
"""What commands change before the broker is asked."""


class UnitsOfWork(Protocol):
    """Makes units of work."""

    def __call__(self) -> AbstractAsyncContextManager[Uow]:
        """One transaction."""

    def reading(self) -> AbstractAsyncContextManager[Uow]:
        """For queries alone."""


class Resources(AppService):
    """The resources of apps as they are stored, in the transaction of `uow`."""

    def __init__(self, uow: Uow) -> None:
        super().__init__(uow)
        self._resources = ResourceRepository(uow.session, uow.cipher)

    async def get(self, app: str, name: str) -> Resource:
        """One of them.

        Raises:
            ObjectNotFoundError: there is none of that name.
        """
        return await self._resources.get(await self._apps.get(app), name)

    async def list(self, app: str, *, limit: int = 100, offset: int = 0) -> Page[Resource]:
        """Resources, newest first, as they were seen last."""
        return await self._resources.list(await self._apps.get(app), limit=limit, offset=offset)

    async def uuids(self, app: UUID) -> Sequence[UUID]:
        """The keys of all that an app has, be it on its way out."""
        return await self._resources.uuids(app)

    async def add(self, app: str, request: ResourceRequest, *, actor: Actor) -> Resource:
        """A new resource, about to be provisioned.

        Raises:
            InvalidFieldsError: the app has one of that name.
        """
        locked = await self._apps.lock(app)
        resource = await self._resources.add(locked, request, owner=actor, now=self._uow.now())
        await self._note(locked, "created", actor, after=resource)
        return resource

    async def change(
        self, before: Resource, change: Change, *, actor: Actor | None = None, verb: str = "changed"
    ) -> Resource:
        """Apply `change` to the resource as it is now and store it. With an `actor` it leaves an entry in the audit
        trail, without one nobody did anything: it was only looked at.

        Raises:
            ObjectNotFoundError: it is gone, also when another one has its name.
        """
        locked, current = await self._lock(before)
        after = change(current)
        if after == current:
            return current
        after = replace(after, updated=self._uow.now())
        await self._resources.save(after)
        if actor is not None:
            await self._note(locked, verb, actor, before=current, after=after)
        return after

    async def remove(self, resource: Resource, *, actor: Actor, reason: str | None = None) -> None:
        """Forget the resource, which the broker has not (any more); `reason`: why it was never made.

        Raises:
            ObjectNotFoundError: it is gone.
        """
        locked, current = await self._lock(resource)
        await self._resources.delete(current)
        await self._note(locked, "deleted" if reason is None else "failed", actor, before=current, reason=reason)

    async def _lock(self, resource: Resource) -> tuple[App, Resource]:
        locked = await self._apps.lock(resource.app)
        current = await self._resources.get(locked, resource.name)
        if current.uuid != resource.uuid:
            raise ObjectNotFoundError("Resource")
        return locked, current

    async def _note(
        self,
        app: App,
        verb: str,
        actor: Actor,
        *,
        before: Resource | None = None,
        after: Resource | None = None,
        reason: str | None = None,
    ) -> None:
        name = next(resource.name for resource in (after, before) if resource is not None)
        told = {"reason": reason} if reason else _facts(after)
        await self._record(app, f"resource.{verb}", actor=actor, target=name, before=_facts(before), after=told)
        log.info("resource_changed", app=app.name, resource=name, verb=verb, actor=actor.username)


class ManagedResources:
    """Resources of apps together with the broker that makes them."""

    def __init__(self, unit_of_work: UnitsOfWork, broker: ResourceBroker) -> None:
        self._work = unit_of_work
        self._broker = broker

    async def services(self) -> Sequence[ServiceOffer]:
        """What the broker offers, by name.

        Raises:
            BrokerUnavailableError: there is no broker.
        """
        return sorted(await self._broker.services(), key=lambda offer: offer.name)

    async def plans(self, service: str) -> Sequence[PlanOffer]:
        """The plans of a class, short names first, so that sizes ascend; none for an unknown class.

        Raises:
            BrokerUnavailableError: there is no broker.
        """
        return sorted(await self._broker.plans(service), key=lambda offer: (len(offer.name), offer.name))

    async def create(self, app: str, body: Mapping[str, object], *, actor: Actor) -> Resource:
        """A new resource (`name`, `plan`, `options`).

        Raises:
            InvalidFieldsError: the request is malformed, the plan is not offered, or the app has one of that name.
            ResourceExistsError: the broker has one of that name. BrokerUnavailableError: there is no broker.
        """
        request = check_resource(body)
        check_offered(request.plan, await self._broker.plans(request.service))
        async with self._work() as uow:
            resource = await Resources(uow).add(app, request, actor=actor)
        try:
            state = await self._broker.provision(resource)
        except SuiteError as error:
            async with self._work() as uow:
                await Resources(uow).remove(resource, actor=actor, reason=error.detail)
            raise
        try:
            return await self._settle(resource, state)
        except ObjectNotFoundError:
            # The app was destroyed meanwhile: nobody else would ever remove what has just been made.
            await self._broker.deprovision(resource.uuid)
            raise

    async def look(self, app: str, name: str) -> tuple[Resource, str | None]:
        """A resource as its broker sees it now, with the broker's last word; as it was seen last while that is away.

        Raises:
            ObjectNotFoundError: there is none of that name.
        """
        async with self._work.reading() as uow:
            resource = await Resources(uow).get(app, name)
        try:
            state = await self._broker.observe(resource.uuid)
        except BrokerUnavailableError as error:
            return resource, error.detail
        message = LOST_MESSAGE if state is None else state.message
        return await self._refreshed(resource, state), message

    async def update(self, app: str, name: str, body: Mapping[str, object], *, actor: Actor) -> Resource:
        """Another plan of the same class (`plan`), and options to merge into those that it has (`options`).

        Raises:
            ObjectNotFoundError: there is none of that name.
            InvalidInputError, InvalidFieldsError: it cannot become that.
            BrokerUnavailableError: there is no broker.
        """

        def begin(resource: Resource) -> Resource:
            return replace(changed_resource(resource, body), status=UPDATING)

        known = await self._fresh(app, name)
        wanted = changed_resource(known, body)
        check_offered(wanted.plan, await self._broker.plans(wanted.service))
        before, resource = await self._begin(known, begin, actor=actor, verb="updated")
        try:
            state = await self._broker.update(resource)
        except SuiteError:
            await self._restore(resource, before, actor)
            raise
        return await self._settle(resource, state)

    async def bind(self, app: str, name: str, *, actor: Actor) -> Resource:
        """Have the broker make what connects to the resource.

        Raises:
            ObjectNotFoundError: there is none of that name.
            InvalidInputError: it is not ready, or bound. ResourceBusyError: it is being bound.
            BrokerUnavailableError: there is no broker.
        """

        def begin(resource: Resource) -> Resource:
            refuse_bind(resource)
            return replace(resource, binding=BINDING)

        before, resource = await self._begin(await self._fresh(app, name), begin, actor=actor, verb="bound")
        try:
            state = await self._broker.bind(resource.uuid)
        except SuiteError:
            await self._restore(resource, before, actor)
            raise
        return await self._settle(resource, state)

    async def unbind(self, app: str, name: str, *, actor: Actor) -> Resource:
        """Take away what connects to the resource.

        Raises:
            ObjectNotFoundError: there is none of that name.
            InvalidInputError: it is not bound. BrokerUnavailableError: there is no broker.
        """
        before = await self._fresh(app, name)
        refuse_unbind(before)
        state = await self._broker.unbind(before.uuid)
        return await self._settle(before, state, actor=actor, verb="unbound")

    async def delete(self, app: str, name: str, *, actor: Actor) -> None:
        """Destroy a resource.

        Raises:
            ObjectNotFoundError: there is none of that name.
            InvalidInputError: it is bound, or being made. BrokerUnavailableError: the broker is away.
        """

        def begin(resource: Resource) -> Resource:
            refuse_delete(resource)
            return replace(resource, status=DEPROVISIONING)

        before, resource = await self._begin(await self._fresh(app, name), begin)
        try:
            await self._broker.deprovision(resource.uuid)
        except SuiteError:
            await self._restore(resource, before, actor)
            raise
        async with self._work() as uow:
            await Resources(uow).remove(resource, actor=actor)

    async def release(self, app: UUID) -> None:
        """Destroy all that an app has, which is on its way out. Safe to repeat.

        Raises:
            BrokerUnavailableError: the broker is away; come again.
        """
        async with self._work.reading() as uow:
            uuids = await Resources(uow).uuids(app)
        for uuid in uuids:
            await self._broker.deprovision(uuid)

    async def _fresh(self, app: str, name: str) -> Resource:
        async with self._work.reading() as uow:
            resource = await Resources(uow).get(app, name)
        return await self._refreshed(resource, await self._broker.observe(resource.uuid))

    async def _refreshed(self, resource: Resource, state: ResourceState | None) -> Resource:
        """Store what was seen of it, unless somebody has changed it since."""
        if observed(resource, state) == resource:
            return resource
        async with self._work() as uow:
            return await Resources(uow).change(resource, lambda now: observed(now, state) if now == resource else now)

    async def _begin(
        self, known: Resource, change: Change, *, actor: Actor | None = None, verb: str = ""
    ) -> tuple[Resource, Resource]:
        """Store what the broker is about to be asked for; the resource before and after."""
        before = known

        def begin(now: Resource) -> Resource:
            nonlocal before
            before = now
            return change(now)

        async with self._work() as uow:
            after = await Resources(uow).change(known, begin, actor=actor, verb=verb)
        return before, after

    async def _settle(
        self, resource: Resource, state: ResourceState, *, actor: Actor | None = None, verb: str = ""
    ) -> Resource:
        """Store what the broker answered to a command."""

        def settled(now: Resource) -> Resource:
            if now.status == DEPROVISIONING:
                return now
            return replace(now, status=state.status, binding=state.binding, data=state.data)

        async with self._work() as uow:
            return await Resources(uow).change(resource, settled, actor=actor, verb=verb)

    async def _restore(self, resource: Resource, before: Resource, actor: Actor) -> None:
        """The broker refused: take back what was begun, and nothing that others have done meanwhile."""
        begun = [name for name in _CHOSEN if getattr(before, name) != getattr(resource, name)]

        def undo(now: Resource) -> Resource:
            still = [name for name in begun if getattr(now, name) == getattr(resource, name)]
            return replace(now, **{name: getattr(before, name) for name in still})

        async with self._work() as uow:
            await Resources(uow).change(resource, undo, actor=actor, verb="failed")


def _facts(resource: Resource | None) -> dict[str, object] | None:
    """What the audit trail keeps: neither options nor data, which hold passwords."""
    return None if resource is None else {"plan": resource.plan, "binding": resource.binding}

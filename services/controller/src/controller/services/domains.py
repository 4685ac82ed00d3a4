"""Host names of apps: added, listed, removed."""

from __future__ import annotations

from collections.abc import Mapping

import idna

from controller.domain.apps import Actor, App
from controller.domain.domains import (
    FIELD,
    TAKEN_MESSAGE,
    Domain,
    app_label,
    is_platform_name,
    normalise,
    spellings,
    taken_after_conversion,
)
from controller.domain.errors import InvalidFieldsError, ObjectNotFoundError
from controller.domain.fields import FieldChecker
from controller.domain.names import ptype_problem
from controller.domain.page import Page
from controller.engine.port import NotSupportedError
from controller.repositories.domains import DomainRepository
from controller.services.base import AppService
from controller.services.ingress import Ingress
from controller.uow import Uow
from shared.logging import get_logger

log = get_logger(__name__)


class Domains(AppService):
    """The domains of apps. A name belongs to one app of the whole platform."""

    def __init__(self, uow: Uow) -> None:
        super().__init__(uow)
        self._domains = DomainRepository(uow.session)

    async def list(self, app: str, *, limit: int, offset: int) -> Page[Domain]:
        """A page of the app's domains, by name."""
        return await self._domains.page(await self._apps.get(app), limit=limit, offset=offset)

    async def add(self, app: str, body: Mapping[str, object], *, actor: Actor) -> Domain:
        """Have a host name lead to a process type; the type need not exist yet.

        Raises:
            InvalidFieldsError: the request is malformed, the name is none, or it is in use. Whose it is is not told.
            NotSupportedError: it is a wildcard and the engine routes none, or it is one name too many for it.
        """
        sent, domain, ptype = _check(body)
        if domain.startswith("*.") and "wildcards" not in self._uow.engine.features:
            raise NotSupportedError("the edge of this platform routes no wildcards: add each host name by itself")
        locked = await self._apps.lock(app)
        await self._check_free(locked, sent, domain)
        now = self._uow.now()
        added = await self._domains.add(locked, owner=actor, domain=domain, sent=sent, ptype=ptype, now=now)
        if added is None:
            raise InvalidFieldsError.of(FIELD, TAKEN_MESSAGE)
        await Ingress(self._uow).extend(locked)
        await self._changed(locked)
        await self._record(locked, "domain.added", actor=actor, target=domain, after={"ptype": ptype})
        log.info("domain_added", app=app, domain=domain, ptype=ptype, actor=actor.username)
        return added

    async def remove(self, app: str, domain: str, *, actor: Actor) -> None:
        """Have the host name lead nowhere, and free it. It may be given as it was sent or in ASCII.

        Raises:
            ObjectNotFoundError: the app has no such domain.
        """
        locked = await self._apps.lock(app)
        found = await find_domain(self._domains, locked, domain)
        await self._domains.delete(found)
        await Ingress(self._uow).refresh(locked)
        await self._changed(locked)
        before = {"ptype": found.ptype, "certificate": found.certificate}
        await self._record(locked, "domain.removed", actor=actor, target=found.domain, before=before)
        log.info("domain_removed", app=app, domain=found.domain, actor=actor.username)

    async def _check_free(self, app: App, sent: str, domain: str) -> None:
        """See that neither the platform nor another app answers to the name."""
        policy = self._uow.policy
        if is_platform_name(domain, policy):
            raise InvalidFieldsError.of(FIELD, TAKEN_MESSAGE)
        label = app_label(domain, policy.app_domain)
        if label is not None and label != app.name:
            await self._domains.lock_label(label)
            if await self._apps.is_taken(label):
                raise InvalidFieldsError.of(FIELD, TAKEN_MESSAGE)
        taken = await self._domains.taken(spellings(domain, policy.app_domain))
        if sent.lower() in taken:
            raise InvalidFieldsError.of(FIELD, TAKEN_MESSAGE)
        if taken:
            raise InvalidFieldsError.of(FIELD, taken_after_conversion(sent))


async def find_domain(domains: DomainRepository, app: App, name: str) -> Domain:
    """The app's domain of that name, in whatever form.

    Raises:
        ObjectNotFoundError: it has none; that it is another app's is not told.
    """
    try:
        found = await domains.find(app, normalise(name, to_ace))
    except InvalidFieldsError:
        found = None
    if found is None:
        raise ObjectNotFoundError("Domain")
    return found


def to_ace(label: str) -> str:
    """The label in ASCII, by IDNA 2008.

    Raises:
        ValueError: it is none; says why.
    """
    return idna.alabel(label).decode("ascii")


def _check(body: Mapping[str, object]) -> tuple[str, str, str]:
    """The name as sent, in ASCII, and the process type."""
    fields = FieldChecker(body)
    sent, domain = fields.text("domain", required=True), ""
    if sent:
        try:
            domain = normalise(sent, to_ace)
        except InvalidFieldsError as error:
            fields.fail(FIELD, error.detail)
    ptype = fields.text("ptype", required=True)
    problem = ptype_problem(ptype) if ptype else None
    if problem is not None:
        fields.fail("ptype", problem)
    fields.finish()
    return sent, domain, ptype

"""Certificates that users bring: stored, listed, removed, attached to domains and detached."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import ClassVar

from controller.domain.apps import Actor, App
from controller.domain.certificates import (
    MAX_CERTIFICATE,
    MAX_KEY,
    NOT_UNIQUE_MESSAGE,
    Certificate,
    check_certificate_name,
    is_good_for,
)
from controller.domain.errors import NON_FIELD, InvalidFieldsError, ObjectNotFoundError
from controller.domain.fields import FieldChecker
from controller.domain.page import Page
from controller.repositories.domains import CertificateRepository, DomainRepository
from controller.services.base import AppService
from controller.services.domains import find_domain
from controller.services.ingress import Ingress
from controller.services.pem import read_key_pair
from controller.services.tls import require_tls
from controller.uow import Uow
from shared.errors import ConflictError, InvalidInputError
from shared.logging import get_logger

log = get_logger(__name__)


class NotAttachedError(ConflictError):
    """The domain has another certificate, or none. The sentence is the contract's (controller-api.md 3.20)."""

    code: ClassVar[str] = "certificate-not-attached"
    title: ClassVar[str] = "The certificate is not attached to this domain"

    def __init__(self, certificate: Certificate) -> None:
        super().__init__(f"Could not delete certificate secret {certificate.secret} for application {certificate.app}")


class Certificates(AppService):
    """The certificates of apps."""

    def __init__(self, uow: Uow) -> None:
        super().__init__(uow)
        self._certificates = CertificateRepository(uow.session, uow.cipher)
        self._domains = DomainRepository(uow.session)

    async def list(self, app: str, *, limit: int, offset: int) -> Page[Certificate]:
        """A page of the app's certificates, by name."""
        return await self._certificates.page(await self._apps.get(app), limit=limit, offset=offset)

    async def get(self, app: str, name: str) -> Certificate:
        """One of them.

        Raises:
            ObjectNotFoundError: the app has none of that name.
        """
        return await self._get(await self._apps.get(app), name)

    async def add(self, app: str, body: Mapping[str, object], *, actor: Actor) -> Certificate:
        """Keep a certificate with its key. One that has expired is kept as well: clients show until when it holds.

        Raises:
            InvalidFieldsError: the request is malformed, a text is no PEM, or the name is in use.
            InvalidValueError: certificate and key do not belong together.
        """
        fields = FieldChecker(body)
        name = check_certificate_name(fields)
        certificate = fields.text("certificate", required=True, most=MAX_CERTIFICATE)
        key = fields.text("key", required=True, most=MAX_KEY)
        fields.finish()
        pair = await asyncio.to_thread(read_key_pair, certificate, key)
        locked = await self._apps.lock(app)
        now = self._uow.now()
        added = await self._certificates.add(locked, owner=actor, name=name, pair=pair, now=now)
        if added is None:
            raise InvalidFieldsError.of(NON_FIELD, NOT_UNIQUE_MESSAGE)
        after = {**_facts(added), "expired": added.expires <= now}
        await self._record(locked, "certificate.added", actor=actor, target=name, after=after)
        log.info("certificate_added", app=app, certificate=name, actor=actor.username, expired=added.expires <= now)
        return added

    async def remove(self, app: str, name: str, *, actor: Actor) -> None:
        """Forget a certificate; its domains have none then.

        Raises:
            ObjectNotFoundError: the app has none of that name.
        """
        locked = await self._apps.lock(app)
        found = await self._get(locked, name)
        await self._certificates.delete(found)
        await Ingress(self._uow).refresh(locked)
        await self._changed(locked)
        before = {**_facts(found), "domains": list(found.domains)}
        await self._record(locked, "certificate.removed", actor=actor, target=name, before=before)
        log.info("certificate_removed", app=app, certificate=name, actor=actor.username, domains=found.domains)

    async def attach(self, app: str, name: str, body: Mapping[str, object], *, actor: Actor) -> None:
        """Secure a domain of the app with the certificate, in place of one that it has. Whether the certificate is for
        that name is not checked but noted: another one may stand behind the same secret soon.

        Raises:
            InvalidInputError: no domain is named.
            ObjectNotFoundError: the app has no such certificate or no such domain.
            NotSupportedError: the engine ends no TLS, or has no room for one more domain with it.
        """
        domain = body.get("domain")
        if not isinstance(domain, str) or not domain.strip():
            raise InvalidInputError("domain is a required field")
        locked = await self._apps.lock(app)
        found = await self._get(locked, name)
        target = await find_domain(self._domains, locked, domain.strip())
        require_tls(self._uow.engine)
        if target.certificate == found.name:
            return
        await self._domains.attach(target, found, now=self._uow.now())
        await Ingress(self._uow).extend(locked)
        await self._changed(locked)
        facts = {"is_for_this_name": is_good_for(target.domain, found.san), "expired": found.expires <= self._uow.now()}
        before, after = {"certificate": target.certificate}, {"certificate": name, **facts}
        await self._record(
            locked, "certificate.attached", actor=actor, target=target.domain, before=before, after=after
        )
        log.info("certificate_attached", app=app, domain=target.domain, actor=actor.username, **after)

    async def detach(self, app: str, name: str, domain: str, *, actor: Actor) -> None:
        """Leave a domain without the certificate.

        Raises:
            ObjectNotFoundError: the app has no such certificate or no such domain.
            NotAttachedError: the domain does not have this certificate.
        """
        locked = await self._apps.lock(app)
        found = await self._get(locked, name)
        target = await find_domain(self._domains, locked, domain)
        if target.certificate != found.name:
            raise NotAttachedError(found)
        await self._domains.attach(target, None, now=self._uow.now())
        await Ingress(self._uow).refresh(locked)
        await self._changed(locked)
        before = {"certificate": name}
        await self._record(locked, "certificate.detached", actor=actor, target=target.domain, before=before)
        log.info("certificate_detached", app=app, domain=target.domain, certificate=name, actor=actor.username)

    async def _get(self, app: App, name: str) -> Certificate:
        found = await self._certificates.find(app, name)
        if found is None:
            raise ObjectNotFoundError("Certificate")
        return found


def _facts(certificate: Certificate) -> dict[str, object]:
    """What the audit trail keeps of a certificate: all public."""
    return {
        "common_name": certificate.common_name,
        "san": list(certificate.san),
        "fingerprint": certificate.fingerprint,
        "expires": certificate.expires.isoformat(),
    }

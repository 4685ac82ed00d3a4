"""SQL of the names that apps answer to, of users' certificates and of how apps do TLS."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, cast

from sqlalchemy import Select, Text, bindparam, delete, exists, func, or_, select, text, update
from sqlalchemy.dialects.postgresql import aggregate_order_by, array, insert

from controller.domain.apps import Actor, App
from controller.domain.certificates import Certificate, KeyPair
from controller.domain.domains import Domain
from controller.domain.page import Page
from controller.domain.tls import Issuer, Tls, TlsChoice, default_tls
from controller.repositories.cipher import Cipher
from controller.schema.accounts import UserRow
from controller.schema.domains import CertificateRow, DomainRow, TlsRow
from shared.db import DbSession, uuid7

_NAMES = (
    select(func.coalesce(func.array_agg(aggregate_order_by(DomainRow.domain, DomainRow.domain)), array([], type_=Text)))
    .where(DomainRow.certificate_id == CertificateRow.id)
    .correlate(CertificateRow)
    .scalar_subquery()
)
# Columns in the order of the fields of the values, without the app.
_DOMAIN: tuple[Any, ...] = (
    DomainRow.id, UserRow.username, DomainRow.domain, DomainRow.sent, DomainRow.ptype, CertificateRow.name,
    DomainRow.created, DomainRow.updated,
)  # fmt: skip
_CERTIFICATE: tuple[Any, ...] = (
    CertificateRow.id, UserRow.username, CertificateRow.name, CertificateRow.certificate, CertificateRow.sealed_key,
    CertificateRow.common_name, CertificateRow.san, CertificateRow.fingerprint, CertificateRow.expires,
    CertificateRow.starts, CertificateRow.issuer, CertificateRow.subject, _NAMES, CertificateRow.created,
    CertificateRow.updated,
)  # fmt: skip
_TLS = (
    select(
        TlsRow.uuid, UserRow.username, TlsRow.sealed_issuer, TlsRow.https_enforced, TlsRow.certs_auto_enabled,
        TlsRow.created, TlsRow.updated,
    )
    .join(UserRow, UserRow.id == TlsRow.owner_id)
    .where(TlsRow.app_uuid == bindparam("app"))
)  # fmt: skip


class DomainRepository:
    """Domains, of one app or of all."""

    def __init__(self, session: DbSession) -> None:
        self._session = session

    async def list_all(self, app: App) -> tuple[Domain, ...]:
        """The app's domains, by name."""
        rows = await self._session.execute(_domains(app))
        return tuple(_domain(app, row) for row in rows)

    async def page(self, app: App, *, limit: int, offset: int) -> Page[Domain]:
        """Some of them, by name."""
        rows = await self._session.execute(_domains(app).limit(limit).offset(offset))
        return Page(tuple(_domain(app, row) for row in rows), await _count(self._session, DomainRow, app))

    async def find(self, app: App, domain: str) -> Domain | None:
        """The app's domain of that name, in the form in which it is stored."""
        row = (await self._session.execute(_domains(app).where(DomainRow.domain == domain))).one_or_none()
        return None if row is None else _domain(app, row)

    async def taken(self, names: Collection[str]) -> frozenset[str]:
        """Which of these some app has."""
        return frozenset(await self._session.scalars(select(DomainRow.domain).where(DomainRow.domain.in_(names))))

    async def lock_label(self, label: str) -> None:
        """Wait until nobody else is about to take the host of the app of that name, as a domain or by such an app."""
        statement = text("SELECT pg_advisory_xact_lock(hashtextextended('app-host:' || :label, 0))")
        await self._session.execute(statement, {"label": label})

    async def has_host_of(self, app: str, app_domain: str | None) -> bool:
        """Whether the host that an app of that name would have, or a name below it, is some app's domain already."""
        if not app_domain:
            return False
        host = f"{app}.{app_domain.lower()}"
        below = DomainRow.domain.endswith(f".{host}", autoescape=True)
        return bool(await self._session.scalar(select(exists().where(or_(DomainRow.domain.in_((app, host)), below)))))

    async def add(self, app: App, *, owner: Actor, domain: str, sent: str, ptype: str, now: datetime) -> Domain | None:
        """A new domain; None when another app was quicker to take the name."""
        values = {
            "app_uuid": app.uuid, "owner_id": owner.id, "domain": domain, "sent": sent, "ptype": ptype,
            "created": now, "updated": now,
        }  # fmt: skip
        statement = insert(DomainRow).values(values).on_conflict_do_nothing(index_elements=[DomainRow.domain])
        number = (await self._session.execute(statement.returning(DomainRow.id))).scalar_one_or_none()
        if number is None:
            return None
        return Domain(number, app.name, owner.username, domain, sent, ptype, None, now, now)

    async def attach(self, domain: Domain, certificate: Certificate | None, *, now: datetime) -> None:
        """Have the domain secured by that certificate and no other; by none with None."""
        number = None if certificate is None else certificate.id
        statement = update(DomainRow).where(DomainRow.id == domain.id)
        await self._session.execute(statement.values(certificate_id=number, updated=now))

    async def delete(self, domain: Domain) -> None:
        """Remove it."""
        await self._session.execute(delete(DomainRow).where(DomainRow.id == domain.id))


class CertificateRepository:
    """Certificates of apps. Their keys are ciphertext in the rows."""

    def __init__(self, session: DbSession, cipher: Cipher) -> None:
        self._session = session
        self._cipher = cipher

    async def list_all(self, app: App) -> tuple[Certificate, ...]:
        """The app's certificates, by name."""
        rows = await self._session.execute(_certificates(app))
        return tuple(self._certificate(app, row) for row in rows)

    async def page(self, app: App, *, limit: int, offset: int) -> Page[Certificate]:
        """Some of them, by name."""
        rows = await self._session.execute(_certificates(app).limit(limit).offset(offset))
        items = tuple(self._certificate(app, row) for row in rows)
        return Page(items, await _count(self._session, CertificateRow, app))

    async def find(self, app: App, name: str) -> Certificate | None:
        """The app's certificate of that name."""
        row = (await self._session.execute(_certificates(app).where(CertificateRow.name == name))).one_or_none()
        return None if row is None else self._certificate(app, row)

    async def add(self, app: App, *, owner: Actor, name: str, pair: KeyPair, now: datetime) -> Certificate | None:
        """A new certificate; None when the app has one of that name."""
        facts = {
            "certificate": pair.certificate, "common_name": pair.common_name, "fingerprint": pair.fingerprint,
            "expires": pair.expires, "starts": pair.starts, "issuer": pair.issuer, "subject": pair.subject,
        }  # fmt: skip
        statement = (
            insert(CertificateRow)
            .values(
                app_uuid=app.uuid,
                owner_id=owner.id,
                name=name,
                sealed_key=self._cipher.seal(pair.key),
                san=list(pair.san),
                created=now,
                updated=now,
                **facts,
            )
            .on_conflict_do_nothing(index_elements=[CertificateRow.app_uuid, CertificateRow.name])
            .returning(CertificateRow.id)
        )
        number = (await self._session.execute(statement)).scalar_one_or_none()
        if number is None:
            return None
        return Certificate(
            number, app.name, owner.username, name, pair.certificate, pair.key, pair.common_name, pair.san,
            pair.fingerprint, pair.expires, pair.starts, pair.issuer, pair.subject, (), now, now,
        )  # fmt: skip

    async def delete(self, certificate: Certificate) -> None:
        """Remove it; domains that it was attached to have none then."""
        await self._session.execute(delete(CertificateRow).where(CertificateRow.id == certificate.id))

    def _certificate(self, app: App, row: Sequence[Any]) -> Certificate:
        (
            number, owner, name, certificate, sealed_key, common_name, san, fingerprint, expires, starts, issuer,
            subject, domains, created, updated,
        ) = row  # fmt: skip
        key = cast("str", self._cipher.open(sealed_key))
        return Certificate(
            number, app.name, owner, name, certificate, key, common_name, tuple(san), fingerprint, expires, starts,
            issuer, subject, tuple(domains), created, updated,
        )  # fmt: skip


class TlsRepository:
    """How apps do TLS. The issuer is ciphertext in the rows."""

    def __init__(self, session: DbSession, cipher: Cipher) -> None:
        self._session = session
        self._cipher = cipher

    async def get(self, app: App) -> Tls:
        """The app's settings; the defaults when nobody has chosen any."""
        row = (await self._session.execute(_TLS, {"app": app.uuid})).one_or_none()
        if row is None:
            return default_tls(app)
        uuid, owner, sealed_issuer, https_enforced, certs_auto_enabled, created, updated = row
        issuer = Issuer(**cast("dict[str, str]", self._cipher.open(sealed_issuer)))
        return Tls(uuid, app.name, owner, issuer, https_enforced, certs_auto_enabled, created, updated)

    async def put(self, app: App, choice: TlsChoice, *, owner: Actor, now: datetime) -> Tls:
        """Make these the app's settings, in place of the former ones."""
        issuer = choice.issuer or default_tls(app).issuer
        facts: dict[str, Any] = {
            "uuid": uuid7(),
            "owner_id": owner.id,
            "sealed_issuer": self._cipher.seal(vars(issuer)),
            "https_enforced": choice.https_enforced,
            "certs_auto_enabled": choice.certs_auto_enabled,
            "created": now,
            "updated": now,
        }
        statement = insert(TlsRow).values(app_uuid=app.uuid, **facts)
        await self._session.execute(statement.on_conflict_do_update(index_elements=[TlsRow.app_uuid], set_=facts))
        enforced, automatic = choice.https_enforced, choice.certs_auto_enabled
        return Tls(facts["uuid"], app.name, owner.username, issuer, enforced, automatic, now, now)


def _domains(app: App) -> Select[Any]:
    return (
        select(*_DOMAIN)
        .join(UserRow, UserRow.id == DomainRow.owner_id)
        .outerjoin(CertificateRow, CertificateRow.id == DomainRow.certificate_id)
        .where(DomainRow.app_uuid == app.uuid)
        .order_by(DomainRow.domain)
    )


def _domain(app: App, row: Sequence[Any]) -> Domain:
    number, *facts = row
    return Domain(number, app.name, *facts)


def _certificates(app: App) -> Select[Any]:
    return (
        select(*_CERTIFICATE)
        .join(UserRow, UserRow.id == CertificateRow.owner_id)
        .where(CertificateRow.app_uuid == app.uuid)
        .order_by(CertificateRow.name)
    )


async def _count(session: DbSession, row: type[DomainRow | CertificateRow], app: App) -> int:
    return await session.scalar(select(func.count()).select_from(row).where(row.app_uuid == app.uuid)) or 0

"""Domains, certificates and TLS settings as the JSON that clients know."""

from __future__ import annotations

from collections.abc import Iterable

from controller.api.documents_domains import CertificateDocument, DomainDocument, TlsDocument, TlsEventDocument
from controller.api.present import instant
from controller.domain.certificates import Certificate
from controller.domain.domains import Domain
from controller.domain.spec_network import TlsEvent
from controller.domain.tls import Tls


def domain(value: Domain) -> DomainDocument:
    """A domain."""
    return {
        "owner": value.owner,
        "created": instant(value.created),
        "updated": instant(value.updated),
        "app": value.app,
        "domain": value.domain,
        "ptype": value.ptype,
    }


def certificate(value: Certificate) -> CertificateDocument:
    """A certificate, without its texts."""
    return {
        "id": value.id,
        "app": value.app,
        "owner": value.owner,
        "domains": list(value.domains),
        "san": list(value.san),
        "created": instant(value.created),
        "updated": instant(value.updated),
        "name": value.name,
        "common_name": value.common_name,
        "fingerprint": value.fingerprint,
        "expires": instant(value.expires),
        "starts": instant(value.starts),
        "issuer": value.issuer,
        "subject": value.subject,
    }


def tls(value: Tls, events: Iterable[TlsEvent]) -> TlsDocument:
    """TLS settings, and how things stand in the cluster. Who may view the app sees the issuer's key."""
    issuer = value.issuer
    return {
        "uuid": str(value.uuid),
        "app": value.app,
        "owner": value.owner,
        "events": [_event(event) for event in events],
        "created": instant(value.created),
        "updated": instant(value.updated),
        "issuer": {
            "email": issuer.email,
            "server": issuer.server,
            "key_id": issuer.key_id,
            "key_secret": issuer.key_secret,
        },
        "https_enforced": value.https_enforced,
        "certs_auto_enabled": value.certs_auto_enabled,
    }


def _event(value: TlsEvent) -> TlsEventDocument:
    return {
        "name": value.name,
        "kind": value.kind,
        "time": value.time,
        "type": value.type,
        "status": value.status,
        "message": value.message,
    }

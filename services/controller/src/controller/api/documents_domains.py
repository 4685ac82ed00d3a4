"""The JSON of domains, certificates and TLS settings (controller-api.md 3.14, 3.19, 3.20)."""

from __future__ import annotations

from typing_extensions import TypedDict

from controller.api.documents import Created, Timestamp


class DomainRequest(TypedDict):
    """A host name for a process type; both are needed."""

    domain: str
    ptype: str


class DomainDocument(TypedDict):
    """A host name in ASCII, and the process type that it leads to."""

    owner: str
    created: Timestamp
    updated: Timestamp
    app: str
    domain: str
    ptype: str


class CertificateRequest(TypedDict):
    """A certificate with its chain and its key, unencrypted PEM."""

    name: str
    certificate: str
    key: str


class CertificateDocument(TypedDict):
    """What a certificate says of itself, and the domains that it is attached to. The PEM texts are never shown."""

    id: int
    app: str
    owner: str
    domains: list[str]
    san: list[str]
    created: Timestamp
    updated: Timestamp
    name: str
    common_name: str | None
    fingerprint: str
    expires: Timestamp
    starts: Timestamp
    issuer: str
    subject: str


class AttachRequest(TypedDict):
    """The domain to secure."""

    domain: str


class IssuerRequest(TypedDict, total=False):
    """An ACME account; `email` and `server` are needed."""

    email: str
    server: str
    key_id: str | None
    key_secret: str | None


class TlsRequest(TypedDict, total=False):
    """What is to change."""

    https_enforced: bool | None
    certs_auto_enabled: bool | None
    issuer: IssuerRequest | None


class IssuerDocument(TypedDict):
    """An ACME account."""

    email: str
    server: str
    key_id: str
    key_secret: str


class TlsEventDocument(TypedDict):
    """A condition of the issuer or of a certificate, in the cluster's words."""

    name: str
    kind: str
    time: str
    type: str
    status: str
    message: str


class TlsDocument(Created):
    """How an app does TLS; a flag that nobody has set is null."""

    app: str
    owner: str
    events: list[TlsEventDocument]
    issuer: IssuerDocument
    https_enforced: bool | None
    certs_auto_enabled: bool | None

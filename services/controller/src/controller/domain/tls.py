"""How an app does TLS: whether plain HTTP is sent to HTTPS, and where automatic certificates come from."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from urllib.parse import urlsplit
from uuid import UUID

from controller.domain.apps import App
from controller.domain.errors import InvalidFieldsError
from controller.domain.fields import FieldChecker

EMAIL_MESSAGE: Final = "Enter a valid email address."
SERVER_MESSAGE: Final = "Enter the https URL of an ACME directory, e.g. https://acme-v02.api.letsencrypt.org/directory."
HALF_KEY_MESSAGE: Final = "Give both key_id and key_secret, or neither."
_LONGEST_EMAIL: Final = 254
_LONGEST_TEXT: Final = 2048
_EMAIL = re.compile(r"[^\s@\"<>(),;:\\\[\]]{1,64}@[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?")
_PRINTABLE = re.compile(r"[!-~]+")


@dataclass(frozen=True)
class Issuer:
    """The ACME account for automatic certificates; the key binds it to another account (RFC 8555 section 7.3.4)."""

    email: str
    server: str
    key_id: str = ""
    key_secret: str = field(default="", repr=False)


DEFAULT_ISSUER: Final = Issuer("anonymous@cert-manager.io", "https://acme-v02.api.letsencrypt.org/directory")


@dataclass(frozen=True)
class Tls:
    """The TLS settings of an app. A flag that nobody has set is None; `uuid` is new with each change."""

    uuid: UUID
    app: str
    owner: str
    issuer: Issuer
    https_enforced: bool | None
    certs_auto_enabled: bool | None
    created: datetime
    updated: datetime


@dataclass(frozen=True)
class TlsChoice:
    """What of it people choose; in a request, None is what they leave as it is."""

    https_enforced: bool | None = None
    certs_auto_enabled: bool | None = None
    issuer: Issuer | None = None


def default_tls(app: App) -> Tls:
    """The settings of an app whose owner never chose any."""
    return Tls(app.uuid, app.name, app.owner.username, DEFAULT_ISSUER, None, None, app.created, app.created)


def check_tls(body: Mapping[str, object]) -> TlsChoice:
    """The choice in a request. Messages about the issuer are under the names of its fields, where clients look.

    Raises:
        InvalidFieldsError: it is malformed. No value of the issuer is repeated.
    """
    fields = FieldChecker(body)
    enforced, automatic = fields.flag("https_enforced"), fields.flag("certs_auto_enabled")
    fields.finish()
    return TlsChoice(enforced, automatic, _issuer(body["issuer"]) if body.get("issuer") is not None else None)


def choose(current: TlsChoice, request: TlsChoice) -> TlsChoice:
    """The settings as they are to be: what the request leaves out stays."""
    return TlsChoice(
        https_enforced=current.https_enforced if request.https_enforced is None else request.https_enforced,
        certs_auto_enabled=(
            current.certs_auto_enabled if request.certs_auto_enabled is None else request.certs_auto_enabled
        ),
        issuer=request.issuer or current.issuer,
    )


def choice_of(tls: Tls) -> TlsChoice:
    """What is chosen now."""
    return TlsChoice(tls.https_enforced, tls.certs_auto_enabled, tls.issuer)


def audit_facts(choice: TlsChoice) -> dict[str, object]:
    """What may be told of a choice: everything but the issuer's secret."""
    issuer = choice.issuer
    return {
        "https_enforced": choice.https_enforced,
        "certs_auto_enabled": choice.certs_auto_enabled,
        "issuer": None if issuer is None else {"email": issuer.email, "server": issuer.server, "key_id": issuer.key_id},
    }


def _issuer(value: object) -> Issuer:
    if not isinstance(value, Mapping):
        raise InvalidFieldsError.of("issuer", "Give an object with email, server, key_id and key_secret.")
    fields = FieldChecker(value)
    email = fields.text("email", required=True, most=_LONGEST_EMAIL)
    server = fields.text("server", required=True, most=_LONGEST_TEXT)
    key_id = fields.text("key_id", most=_LONGEST_TEXT, null=True)
    key_secret = fields.text("key_secret", most=_LONGEST_TEXT, null=True)
    if email and not _EMAIL.fullmatch(email):
        fields.fail("email", EMAIL_MESSAGE)
    if server and not _is_https(server):
        fields.fail("server", SERVER_MESSAGE)
    if bool(key_id) != bool(key_secret):
        fields.fail("key_secret" if key_id else "key_id", HALF_KEY_MESSAGE)
    fields.finish()
    return Issuer(email, server, key_id, key_secret)


def _is_https(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return (
            parts.scheme == "https"
            and bool(parts.hostname)
            and parts.username is None
            and parts.port != 0
            and bool(_PRINTABLE.fullmatch(text))
        )
    except ValueError:  # a port that is no number, an address that is none
        return False

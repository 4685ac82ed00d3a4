"""Certificates that users bring: what is kept of them, what they may be called, which names they are good for."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from controller.domain.fields import FieldChecker
from controller.domain.names import NAME_MESSAGE

MAX_NAME: Final = 253
MAX_CERTIFICATE: Final = 128 * 1024
MAX_KEY: Final = 8 * 1024
"""Characters of PEM; an RSA key of 8192 bits has 6400."""
LETTERS_MESSAGE: Final = "Can only contain a-z (lowercase), 0-9 and hyphens"
MISMATCH_MESSAGE: Final = "Certificate and private key do not match!"
NOT_UNIQUE_MESSAGE: Final = "The fields app, name must make a unique set."

_LETTERS = re.compile(r"[a-z0-9-]+")
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


@dataclass(frozen=True)
class KeyPair:
    """A certificate with its chain and the private key to it, both PEM, and what the certificate says of itself."""

    certificate: str
    key: str = field(repr=False)
    common_name: str | None
    san: tuple[str, ...]
    fingerprint: str
    expires: datetime
    starts: datetime
    issuer: str
    subject: str


@dataclass(frozen=True)
class Certificate:
    """A key pair that an app has under a name. `domains` are those that it is attached to, by name; `fingerprint` is
    SHA-256 in colon form; `issuer` and `subject` look like `/C=DE/O=Shop/CN=shop.example.org`."""

    id: int
    app: str
    owner: str
    name: str
    certificate: str
    key: str = field(repr=False)
    common_name: str | None
    san: tuple[str, ...]
    fingerprint: str
    expires: datetime
    starts: datetime
    issuer: str
    subject: str
    domains: tuple[str, ...]
    created: datetime
    updated: datetime

    @property
    def secret(self) -> str:
        """The name of the secret that holds it in a cluster."""
        return secret_name(self.name)


def secret_name(certificate: str) -> str:
    """The name of the secret for the certificate of that name."""
    return f"{certificate}-certificate"


def check_certificate_name(fields: FieldChecker) -> str:
    """The text under `name`, noting what is wrong with it: names that no path can hold are refused as well."""
    name = fields.text("name", required=True, most=MAX_NAME)
    if name and not _LETTERS.fullmatch(name):
        fields.fail("name", LETTERS_MESSAGE)
    elif name and not _NAME.fullmatch(name):
        fields.fail("name", NAME_MESSAGE)
    return name


def is_good_for(domain: str, names: Iterable[str]) -> bool:
    """Whether a certificate with these alternative names is valid for `domain`, which is in lower case: a `*` stands
    for one label (RFC 6125 section 6.4.3)."""
    _, _, parent = domain.partition(".")
    accepted = {domain, f"*.{parent}"} if parent else {domain}
    return any(name.lower() in accepted for name in names)

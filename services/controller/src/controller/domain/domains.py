"""The names of the outside world that an app answers to: how they are written, and which of them are not to be had."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from urllib.parse import urlsplit

from controller.domain.errors import InvalidFieldsError
from controller.domain.policy import Policy

FIELD: Final = "domain"
MAX_LENGTH: Final = 253
"""Octets of a host name (RFC 1035 section 2.3.4, without the dot at the end)."""
WILDCARD: Final = "*"
_LONGEST_TEXT: Final = 1024

BARE_WILDCARD_MESSAGE: Final = "Hostname can't only be a wildcard"
INVALID_MESSAGE: Final = "Hostname does not look valid."
TOO_LONG_MESSAGE: Final = f"Hostname must be {MAX_LENGTH} characters or less."
TAKEN_MESSAGE: Final = "Domain is already in use by another application"

ToAce = Callable[[str], str]
"""One label in ASCII (IDNA 2008); ValueError, which says why, for what is none."""


@dataclass(frozen=True)
class Domain:
    """A host name that leads to a process type. `domain` is the ASCII form, `sent` what the user wrote, `certificate`
    the name of the app's own certificate for it, if one is attached."""

    id: int
    app: str
    owner: str
    domain: str
    sent: str
    ptype: str
    certificate: str | None
    created: datetime
    updated: datetime


def without_dot(sent: str) -> str:
    """The name without the dot that may end it."""
    return sent.removesuffix(".")


def normalise(sent: str, to_ace: ToAce) -> str:
    """The host name in ASCII and lower case (controller-api.md 4.19). A leading `*` label stays.

    Raises:
        InvalidFieldsError: it is none; under `domain`.
    """
    text = without_dot(sent)
    if text == WILDCARD:
        raise InvalidFieldsError.of(FIELD, BARE_WILDCARD_MESSAGE)
    if len(text) > _LONGEST_TEXT:
        raise InvalidFieldsError.of(FIELD, TOO_LONG_MESSAGE)
    labels = text.split(".")
    wildcards, labels = (labels[:1], labels[1:]) if labels[0] == WILDCARD else ([], labels)
    try:
        encoded = [to_ace(label).lower() for label in labels]
    except ValueError as error:
        message = f"Hostname does not look valid, could not convert to ACE {text}: {error}"
        raise InvalidFieldsError.of(FIELD, message) from None
    if encoded[-1].isdigit():
        raise InvalidFieldsError.of(FIELD, INVALID_MESSAGE)
    name = ".".join((*wildcards, *encoded))
    if len(name) > MAX_LENGTH:
        raise InvalidFieldsError.of(FIELD, TOO_LONG_MESSAGE)
    return name


def taken_after_conversion(sent: str) -> str:
    """The sentence for a name that is in use, though not as the user wrote it."""
    return f"The domain {without_dot(sent)} is already in use by another app"


def spellings(domain: str, app_domain: str | None) -> frozenset[str]:
    """All names that lead where `domain` leads: a single label also stands below the domain of the apps."""
    names = {domain, full_host(domain, app_domain)}
    if app_domain and domain.endswith(f".{app_domain.lower()}"):
        label = domain.removesuffix(f".{app_domain.lower()}")
        names |= {label} if "." not in label and label != WILDCARD else set()
    return frozenset(names)


def full_host(domain: str, app_domain: str | None) -> str:
    """The host that requests name: released clients and the edge expand a single label with the domain of the apps."""
    return f"{domain}.{app_domain.lower()}" if app_domain and "." not in domain else domain


def app_label(domain: str, app_domain: str | None) -> str | None:
    """The name of the app whose own host this is, or lies below; None for names outside of the apps' domain."""
    host = full_host(domain, app_domain)
    if not app_domain or not host.endswith(f".{app_domain.lower()}"):
        return None
    return host.removesuffix(f".{app_domain.lower()}").rpartition(".")[2]


def platform_hosts(public_url: str, issuer: str) -> frozenset[str]:
    """The platform's own hosts: the API, passport, and the git endpoint as released clients find it (cli.md 3)."""
    api, passport = (urlsplit(url).hostname or "" for url in (public_url, issuer))
    label, dot, parent = api.partition(".")
    return frozenset(filter(None, (api, passport, f"{label}-builder{dot}{parent}")))


def is_platform_name(domain: str, policy: Policy) -> bool:
    """Whether requests for the platform itself, for reserved names or for the apps as a whole would come this way."""
    own = {*policy.platform_hosts, *((policy.app_domain.lower(),) if policy.app_domain else ())}
    host = full_host(domain, policy.app_domain)
    if domain in own or any(is_covered(name, host) for name in own):
        return True
    label = app_label(domain, policy.app_domain)
    return label is not None and (label == WILDCARD or label in policy.reserved_names)


def is_covered(host: str, pattern: str) -> bool:
    """Whether `pattern`, which may begin with `*.`, takes requests for `host` (Gateway API: any number of labels)."""
    if pattern.startswith("*."):
        return host.endswith(pattern[1:])
    return host == pattern

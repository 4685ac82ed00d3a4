"""The app, who acts on it, its settings, and the rules for its name."""

from __future__ import annotations

import re
import secrets
import string
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol
from uuid import UUID

from controller.domain.errors import InvalidFieldsError

MAX_NAME = 63
NAME_MESSAGE = (
    "App name must start with an alphabetic character, cannot end with a hyphen and can only contain a-z "
    "(lowercase), 0-9 and hyphens."
)
SLUG_MESSAGE = 'Enter a valid "slug" consisting of letters, numbers, underscores or hyphens.'
TAKEN_MESSAGE = "Application with this id already exists."

_NAME = re.compile(r"[a-z]([a-z0-9-]*[a-z0-9])?")
_SLUG = re.compile(r"[-a-zA-Z0-9_]+")


class Actor(Protocol):
    """Who acts; any account value fits. `id` is the identity provider's."""

    @property
    def id(self) -> int: ...

    @property
    def username(self) -> str: ...


@dataclass(frozen=True)
class Person:
    """The least that is an `Actor`."""

    id: int
    username: str


@dataclass(frozen=True)
class App:
    """An application. `structure` is ptype -> wanted count; `generation` grows with every change of what is wanted.
    `blocked` says why nobody may use it: the remark on its block or its owner's, None without one."""

    uuid: UUID
    name: str
    owner: Person
    structure: Mapping[str, int]
    generation: int
    created: datetime
    updated: datetime
    blocked: str | None = None


@dataclass(frozen=True)
class AppSettings:
    """One version of an app's settings; the newest counts."""

    uuid: UUID
    app: str
    owner: str
    created: datetime
    updated: datetime
    routable: bool = True
    autodeploy: bool = True
    autorollback: bool = True
    autoscale: Mapping[str, object] = field(default_factory=dict)
    label: Mapping[str, object] = field(default_factory=dict)


def check_name(name: object, *, reserved: Collection[str]) -> str:
    """The name, if an app may be called so. All that is wrong with it is said at once.

    Raises:
        InvalidFieldsError: under `id`.
    """
    text = name if isinstance(name, str) else str(name)
    if text == "":
        raise InvalidFieldsError.of("id", "This field may not be blank.")
    messages = []
    if len(text) > MAX_NAME:
        messages.append(f"Ensure this field has no more than {MAX_NAME} characters.")
    if not _NAME.fullmatch(text):
        messages.append(NAME_MESSAGE)
    if not _SLUG.fullmatch(text):
        messages.append(SLUG_MESSAGE)
    if text in reserved:
        messages.append(f"{text} is a reserved name.")
    if messages:
        raise InvalidFieldsError({"id": messages})
    return text


def generate_name() -> str:
    """A random name: six lower-case letters, a hyphen, eight more. The caller looks whether it is free."""
    letters = string.ascii_lowercase
    return "-".join("".join(secrets.choice(letters) for _ in range(size)) for size in (6, 8))

"""People, their tokens and keys, as values."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True)
class Profile:
    """What the identity provider says of a person; `id` is its number for them."""

    id: int
    username: str
    email: str = ""
    first_name: str = ""
    last_name: str = ""
    is_active: bool = True
    is_staff: bool = False
    is_superuser: bool = False


@dataclass(frozen=True)
class Account(Profile):
    """A person as the controller knows them. `confirmed_at`: when the identity provider last spoke of them."""

    last_login: datetime | None = None
    date_joined: datetime | None = None
    confirmed_at: datetime | None = None


@dataclass(frozen=True)
class AccessToken:
    """A token that a client keeps. Its text is not kept here, only what lists may show of it."""

    uuid: UUID
    owner: str
    alias: str
    fuzzy_key: str
    created: datetime
    updated: datetime
    last_used_at: datetime | None = None


@dataclass(frozen=True)
class Key:
    """A public SSH key. `fingerprint` is MD5 in colon form (what clients show), `sha256` is `SHA256:...`."""

    uuid: UUID
    owner: str
    name: str
    public: str
    fingerprint: str
    sha256: str
    created: datetime
    updated: datetime


@dataclass(frozen=True)
class LoginAttempt:
    """A login that was started and may be finished until `expires_at`.

    `browser` attempts go pending -> approved | denied; password ones are born approved. `hint` is the end of the key
    that the client polls with, for people to compare.
    """

    uuid: UUID
    mode: str
    status: str
    hint: str
    address: str
    client: str
    created: datetime
    expires_at: datetime
    sealed_exchange: str | None = field(default=None, repr=False)

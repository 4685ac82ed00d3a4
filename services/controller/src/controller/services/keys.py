"""SSH keys of people: added, listed, removed, and found by the fingerprint that an SSH server sees."""

from __future__ import annotations

import base64
import binascii
import hashlib

from controller.domain.accounts import Account, Key
from controller.domain.errors import InvalidFieldsError, ObjectNotFoundError
from controller.domain.page import Page
from controller.repositories.accounts import KeyRepository
from controller.services.audit import AuditTrail
from controller.uow import Uow
from shared.db import uuid7

MAX_NAME = 128
MAX_PUBLIC = 16384
BAD_BASE64 = "Key contains invalid base64 chars"
TAKEN = "Public Key is already in use"
NAME_TAKEN = "SSH Key with this id already exists."


class Keys:
    """The keys of one transaction."""

    def __init__(self, uow: Uow) -> None:
        self._uow = uow
        self._keys = KeyRepository(uow.session)
        self._trail = AuditTrail(uow)

    async def add(self, owner: Account, *, name: str, public: str) -> Key:
        """Store a public key; the names of a person's keys differ, and no two people have the same key.

        Raises:
            InvalidFieldsError: the name is taken, the key is not one or is in use, whatever its comment.
        """
        fingerprint, sha256 = fingerprints(public)
        now = self._uow.now()
        key = Key(uuid7(), owner.username, name, public, fingerprint, sha256, now, now)
        values = {
            "uuid": key.uuid,
            "owner_id": owner.id,
            "name": name,
            "public": public,
            "fingerprint": fingerprint,
            "sha256": sha256,
            "created": now,
            "updated": now,
        }
        if await self._keys.insert(values) is None:
            raise await self._refusal(owner, name, sha256)
        await self._trail.record("key.added", actor=owner.username, target=name, after={"fingerprint": sha256})
        return key

    async def _refusal(self, owner: Account, name: str, sha256: str) -> InvalidFieldsError:
        errors: dict[str, list[str]] = {}
        if await self._keys.is_public_taken(sha256):
            errors["public"] = [TAKEN]
            # Released clients look for this sentence under `key` only.
            errors["key"] = [TAKEN]
        if await self._keys.find(owner.id, name) is not None:
            errors["id"] = [NAME_TAKEN]
        return InvalidFieldsError(errors or {"public": [TAKEN]})

    async def list_of(self, owner: Account, *, limit: int, offset: int) -> Page[Key]:
        """A page of the owner's keys."""
        items, total = await self._keys.list_of(owner.id, limit=limit, offset=offset)
        return Page(tuple(items), total)

    async def get(self, owner: Account, name: str) -> Key:
        """One of the owner's keys.

        Raises:
            ObjectNotFoundError: there is none of that name.
        """
        key = await self._keys.find(owner.id, name)
        if key is None:
            raise ObjectNotFoundError("Key")
        return key

    async def delete(self, owner: Account, name: str) -> None:
        """Remove one of the owner's keys.

        Raises:
            ObjectNotFoundError: there is none of that name.
        """
        if not await self._keys.delete(owner.id, name):
            raise ObjectNotFoundError("Key")
        await self._trail.record("key.deleted", actor=owner.username, target=name)

    async def owner_of(self, fingerprint: str) -> Account:
        """Who may sign in with the key of that fingerprint, `SHA256:...` or MD5 in colon form.

        Raises:
            ObjectNotFoundError: nobody, or somebody whose account is closed.
        """
        owner = await self._keys.owner_of(_canonical(fingerprint))
        if owner is None or not owner.is_active:
            raise ObjectNotFoundError("Key")
        return owner

    async def of_users(self, user_ids: list[int]) -> dict[str, list[Key]]:
        """The keys of some people, by user name; people without keys are left out."""
        found: dict[str, list[Key]] = {}
        for key in await self._keys.list_of_users(user_ids):
            found.setdefault(key.owner, []).append(key)
        return found


def fingerprints(public: str) -> tuple[str, str]:
    """MD5 in colon form and `SHA256:...` of the key blob in a line `type base64 [comment]` (RFC 4253 section 6.6).

    Raises:
        InvalidFieldsError: the line holds no base64, or there are several lines.
    """
    if "\n" in public or "\r" in public:
        raise InvalidFieldsError.of("public", "Only one key can be added at a time")
    words = public.split()
    try:
        blob = base64.b64decode(words[1], validate=True)
    except (IndexError, binascii.Error, ValueError):
        raise InvalidFieldsError.of("public", BAD_BASE64) from None
    if not blob:
        raise InvalidFieldsError.of("public", BAD_BASE64)
    md5 = hashlib.md5(blob, usedforsecurity=False).hexdigest()
    sha256 = base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")
    return ":".join(md5[i : i + 2] for i in range(0, 32, 2)), f"SHA256:{sha256}"


def _canonical(fingerprint: str) -> str:
    if fingerprint.upper().startswith("SHA256:"):
        return "SHA256:" + fingerprint[7:].rstrip("=")
    return fingerprint.removeprefix("MD5:").lower()

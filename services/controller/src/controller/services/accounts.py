"""People and the tokens that their clients keep: what passport says of them is stored here, by its number for them."""

from __future__ import annotations

import hashlib
import secrets
import string
from datetime import datetime
from uuid import UUID

from controller.domain.accounts import AccessToken, Account, Profile
from controller.domain.errors import ObjectNotFoundError
from controller.domain.page import Page
from controller.repositories.accounts import DeletedToken, TokenRepository, UserRepository
from controller.services.audit import AuditTrail
from controller.uow import Uow
from shared.db import notify

TOKEN_PREFIX = "drycc_pat_"  # noqa: S105  lets secret scanners recognise what a client lost
TOKEN_LENGTH = 128
MAX_ALIAS = 32
SIGN_INS_CHANNEL = "sign_ins"
"""Notified when a token or a person may have lost something that processes remember of them."""
_ALPHABET = string.ascii_letters + string.digits


class Accounts:
    """The people and tokens of one transaction."""

    def __init__(self, uow: Uow) -> None:
        self._uow = uow
        self._users = UserRepository(uow.session)
        self._tokens = TokenRepository(uow.session)
        self._trail = AuditTrail(uow)

    async def find(self, user_id: int) -> Account | None:
        """The person of that number, if they were ever here."""
        return await self._users.get(user_id)

    async def get_by_name(self, username: str) -> Account:
        """The person of that name.

        Raises:
            ObjectNotFoundError: nobody is called so.
        """
        account = await self._users.find(username)
        if account is None:
            raise ObjectNotFoundError("User")
        return account

    async def list_all(self, *, limit: int, offset: int) -> Page[Account]:
        """A page of everybody, by name."""
        items, total = await self._users.list_all(limit=limit, offset=offset)
        return Page(tuple(items), total)

    async def set_disabled(self, username: str, disabled: bool, *, actor: Account) -> Account:
        """Shut a person out of this controller until they log in anew, or let them in again; who it was.

        Raises:
            ObjectNotFoundError: nobody is called so.
        """
        user = await self.get_by_name(username)
        if await self._users.set_disabled(user.id, self._uow.now() if disabled else None):
            action = "user.disabled" if disabled else "user.enabled"
            await self._trail.record(action, actor=actor.username, target=username)
            await self._tell_processes()
        return user

    async def store(self, profile: Profile, *, signed_in: bool, said_at: datetime | None = None) -> Account:
        """Take over what passport says of a person. `said_at`: these are news of that time; what is older than what is
        stored is dropped, all else is told to every process."""
        if said_at is not None:
            known = await self._users.get(profile.id)
            if known is not None and known.confirmed_at is not None and known.confirmed_at > said_at:
                return known
            await self._tell_processes()
        return await self._users.upsert(profile, now=said_at or self._uow.now(), signed_in=signed_in)

    async def issue_token(self, owner: Account, *, alias: str, sealed_refresh_token: str | None) -> str:
        """A new token for the owner's client. The text is returned here and is nowhere else.

        `alias` is cut at 32 characters.
        """
        text = new_token()
        now = self._uow.now()
        uuid = await self._tokens.insert(
            {
                "owner_id": owner.id,
                "alias": alias[:MAX_ALIAS],
                "digest": digest(text),
                "fuzzy_key": fuzzy(text),
                "sealed_refresh_token": sealed_refresh_token,
                "created": now,
                "updated": now,
            }
        )
        facts = {"alias": alias[:MAX_ALIAS]}
        await self._trail.record("token.created", actor=owner.username, target=str(uuid), after=facts)
        return text

    async def list_tokens(self, owner: Account, *, limit: int, offset: int) -> Page[AccessToken]:
        """A page of the owner's tokens, without their texts."""
        items, total = await self._tokens.list_of(owner.id, limit=limit, offset=offset)
        return Page(tuple(items), total)

    async def delete_token(self, owner: Account, uuid: UUID) -> DeletedToken:
        """Remove one of the owner's tokens.

        Raises:
            ObjectNotFoundError: the owner has none of that id.
        """
        deleted = await self._tokens.delete(owner.id, uuid)
        if deleted is None:
            raise ObjectNotFoundError("Token")
        await self._trail.record("token.deleted", actor=owner.username, target=str(uuid))
        await self._tell_processes()
        return deleted

    async def end_token(self, owner: Account, uuid: UUID) -> None:
        """Remove a token whose login at passport is over; one that is gone already is fine."""
        if await self._tokens.delete(owner.id, uuid) is not None:
            await self._trail.record("token.ended", actor=owner.username, target=str(uuid))
            await self._tell_processes()

    async def _tell_processes(self) -> None:
        await notify(self._uow.session, SIGN_INS_CHANNEL)


def new_token() -> str:
    """128 characters, of which 118 are random: far more than 256 bits."""
    size = TOKEN_LENGTH - len(TOKEN_PREFIX)
    return TOKEN_PREFIX + "".join(secrets.choice(_ALPHABET) for _ in range(size))


def digest(secret: str) -> bytes:
    """What is stored of a random secret. It has too many bits to be guessed, so that one round of SHA-256 is enough."""
    return hashlib.sha256(secret.encode()).digest()


def fuzzy(token: str) -> str:
    """What lists show of a token, so that people can tell theirs apart."""
    return f"{token[:14]}...{token[-14:]}"

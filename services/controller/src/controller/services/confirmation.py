"""Keeps what is known of a person in step with passport: asked at most once a minute, one question at a time."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypeVar
from uuid import UUID

from controller.domain.accounts import Account, Profile
from controller.passport_client import GrantEndedError, PassportClient
from controller.repositories.accounts import SignedIn, TokenRepository
from controller.services.accounts import Accounts
from controller.uow import Uow
from shared.clock import Clock
from shared.db import Database
from shared.errors import UnavailableError
from shared.logging import get_logger

CONFIRM_EVERY: Final = timedelta(seconds=60)
TRUST_WITHOUT_PASSPORT: Final = timedelta(minutes=10)
PAUSE_AFTER_FAILURE: Final = timedelta(seconds=5)
DEADLINE_SECONDS: Final = 5.0
CLOSE_SECONDS: Final = 1.0
MAX_REMEMBERED: Final = 10_000

K = TypeVar("K")
V = TypeVar("V")
UnitOfWork = Callable[[], AbstractAsyncContextManager[Uow]]
log = get_logger(__name__)


@dataclass(frozen=True)
class _Question:
    token: UUID
    task: asyncio.Task[Account]


class Confirmations:
    """Asks passport for the standing of people whose tokens are in use."""

    def __init__(self, *, unit_of_work: UnitOfWork, database: Database, passport: PassportClient, clock: Clock) -> None:
        self._unit_of_work = unit_of_work
        self._database = database
        self._passport = passport
        self._clock = clock
        self._questions: dict[int, _Question] = {}
        self._not_before: OrderedDict[int, datetime] = OrderedDict()
        self._access_tokens: OrderedDict[UUID, str] = OrderedDict()

    async def close(self) -> None:
        """Let the questions under way end, for a moment, and give up the others."""
        tasks = [question.task for question in self._questions.values()]
        if tasks:
            await asyncio.wait(tasks, timeout=CLOSE_SECONDS)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def confirm(self, signed_in: SignedIn) -> Account:
        """The owner of a token as passport knows them, at most a minute old.

        Without an answer from passport what was known stays valid for ten minutes.

        Raises:
            GrantEndedError: the login behind the token is over, and so is the token.
            UnavailableError: passport was away for too long.
        """
        account, now = signed_in.account, self._clock.now()
        age = now - (account.confirmed_at or now)
        if age < CONFIRM_EVERY or not signed_in.is_backed:
            return account
        try:
            if self._not_before.get(account.id, now) > now:
                raise _no_answer()
            return await self._ask_once(signed_in)
        except UnavailableError:
            if age > TRUST_WITHOUT_PASSPORT:
                raise
            return account

    async def _ask_once(self, signed_in: SignedIn) -> Account:
        while True:
            question = self._questions.get(signed_in.account.id) or self._start(signed_in)
            try:
                # Shielded: neither a client that goes away nor one that has waited enough ends the question. Cut off
                # between passport's new refresh token and our storing it, the login behind the token would be lost.
                async with asyncio.timeout(DEADLINE_SECONDS):
                    return await asyncio.shield(question.task)
            except TimeoutError:
                raise _no_answer() from None
            except GrantEndedError:
                if question.token == signed_in.token:
                    raise

    def _start(self, signed_in: SignedIn) -> _Question:
        user_id = signed_in.account.id
        task = asyncio.create_task(self._ask(signed_in), name=f"confirm-user-{user_id}")
        self._questions[user_id] = question = _Question(signed_in.token, task)
        task.add_done_callback(lambda done: self._end(user_id, done))
        return question

    def _end(self, user_id: int, task: asyncio.Task[Account]) -> None:
        self._questions.pop(user_id, None)
        if not task.cancelled():
            task.exception()  # retrieved: everyone who waited for it may have left

    async def _ask(self, signed_in: SignedIn) -> Account:
        try:
            profile = await self._profile(signed_in)
        except UnavailableError as error:
            log.warning("user_not_confirmed", user_id=signed_in.account.id, reason=error.detail)
            _remember(self._not_before, signed_in.account.id, self._clock.now() + PAUSE_AFTER_FAILURE)
            raise
        if profile is None:
            return signed_in.account
        async with self._unit_of_work() as uow:
            return await Accounts(uow).store(profile, signed_in=False)

    async def _profile(self, signed_in: SignedIn) -> Profile | None:
        """What passport says now; None when another process is asking."""
        access_token = self._access_tokens.get(signed_in.token)
        if access_token is not None:
            try:
                return await self._passport.userinfo(access_token)
            except GrantEndedError:
                self._access_tokens.pop(signed_in.token, None)  # most likely just expired
        # A refresh token may be used once: whoever uses it twice ends the whole login.
        async with self._database.try_lock(f"token:{signed_in.token}") as is_ours:
            return await self._refreshed_profile(signed_in) if is_ours else None

    async def _refreshed_profile(self, signed_in: SignedIn) -> Profile:
        try:
            access_token = await self._refresh(signed_in)
            return await self._passport.userinfo(access_token)
        except GrantEndedError:
            async with self._unit_of_work() as uow:
                await Accounts(uow).end_token(signed_in.account, signed_in.token)
            log.info("token_ended", user_id=signed_in.account.id, uuid=str(signed_in.token))
            raise

    async def _refresh(self, signed_in: SignedIn) -> str:
        async with self._unit_of_work() as uow:
            sealed = await TokenRepository(uow.session).refresh_token(signed_in.token)
            if sealed is None:
                raise GrantEndedError
            refresh_token = str(uow.cipher.open(sealed))
        tokens = await self._passport.refresh(refresh_token)
        async with self._unit_of_work() as uow:
            sealed = uow.cipher.seal(tokens.refresh_token or refresh_token)
            await TokenRepository(uow.session).set_refresh_token(signed_in.token, sealed, now=uow.now())
        _remember(self._access_tokens, signed_in.token, tokens.access_token)
        return tokens.access_token


def _no_answer() -> UnavailableError:
    return UnavailableError("passport, the identity provider, does not answer; try again later")


def _remember(memory: OrderedDict[K, V], key: K, value: V) -> None:
    memory[key] = value
    while len(memory) > MAX_REMEMBERED:
        memory.popitem(last=False)

"""Requests that may be sent again: each takes effect once, and is answered every time as it was the first time."""

from __future__ import annotations

from datetime import timedelta

from controller.domain.idempotency import Answer, Claim, KeyReusedError, StillRunningError
from controller.repositories.idempotency import AnswerRepository
from controller.uow import Uow


class Answers:
    """Answers that were given, kept in the transaction of the request's effect."""

    def __init__(self, uow: Uow, *, retention: timedelta) -> None:
        self._uow = uow
        self._rows = AnswerRepository(uow.session, uow.cipher)
        self._retention = retention

    async def begin(self, claim: Claim) -> Answer | None:
        """Hold the key until this transaction ends; the answer of an earlier request that had it.

        Raises:
            StillRunningError: another transaction has it.
            KeyReusedError: that request was another one.
        """
        # The lock comes first: whoever gets it sees what the one before has committed.
        if not await self._rows.try_lock(claim.lock):
            raise StillRunningError
        return await self.find(claim)

    async def find(self, claim: Claim) -> Answer | None:
        """The answer of an earlier request that had the key.

        Raises:
            KeyReusedError: that request was another one.
        """
        found = await self._rows.find(claim, since=self._uow.now() - self._retention)
        if found is None:
            return None
        digest, answer = found
        if digest != claim.digest:
            raise KeyReusedError
        return answer

    async def keep(self, claim: Claim, answer: Answer) -> None:
        """Keep the answer of the request that holds the key."""
        await self._rows.put(claim, answer, now=self._uow.now())

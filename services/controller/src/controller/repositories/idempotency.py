"""SQL of answers that are kept for requests that come again."""

from __future__ import annotations

import base64
from datetime import datetime
from typing import Any, cast

from sqlalchemy import delete, func, select, tuple_
from sqlalchemy.dialects.postgresql import insert

from controller.domain.idempotency import Answer, Claim
from controller.repositories.cipher import Cipher
from controller.schema.audit import IdempotencyRow
from controller.schema.base import table_of
from shared.db import DbSession


class AnswerRepository:
    """Answers by caller and key. They may hold whatever the API answers, so that they are ciphertext."""

    def __init__(self, session: DbSession, cipher: Cipher) -> None:
        self._session = session
        self._cipher = cipher

    async def try_lock(self, name: str) -> bool:
        """Hold the lock until the transaction ends; False at once when somebody else does."""
        lock = func.pg_try_advisory_xact_lock(func.hashtextextended(name, 0))
        return bool(await self._session.scalar(select(lock)))

    async def find(self, claim: Claim, *, since: datetime) -> tuple[bytes, Answer] | None:
        """The digest of the request that came with the key, and its answer; what is older than `since` is forgotten."""
        query = select(table_of(IdempotencyRow)).where(
            IdempotencyRow.caller == claim.caller, IdempotencyRow.key == claim.key
        )
        row = (await self._session.execute(query)).one_or_none()
        if row is None or row.created < since:
            return None
        sealed = cast("dict[str, Any]", self._cipher.open(row.sealed_answer))
        headers = tuple((name, value) for name, value in sealed["headers"])
        # Those of earlier versions stand beside the answer, in clear.
        digest = base64.b64decode(sealed["request"]) if row.request_digest is None else row.request_digest
        return digest, Answer(row.status, headers, base64.b64decode(sealed["body"]))

    async def put(self, claim: Claim, answer: Answer, *, now: datetime) -> None:
        """Keep an answer, instead of one that was forgotten."""
        # The digest is sealed too: requests may hold secrets, which could be guessed by it.
        kept = {
            "headers": [list(pair) for pair in answer.headers],
            "body": base64.b64encode(answer.body).decode(),
            "request": base64.b64encode(claim.digest).decode(),
        }
        facts = {
            "request_digest": None,
            "status": answer.status,
            "sealed_answer": self._cipher.seal(kept),
            "created": now,
        }
        statement = insert(IdempotencyRow).values(caller=claim.caller, key=claim.key, **facts)
        index = [IdempotencyRow.caller, IdempotencyRow.key]
        await self._session.execute(statement.on_conflict_do_update(index_elements=index, set_=facts))


async def prune_answers(session: DbSession, *, older_than: datetime, most: int) -> int:
    """Forget answers that are older, so many at once; how many they were."""
    key = tuple_(IdempotencyRow.caller, IdempotencyRow.key)
    due = select(IdempotencyRow.caller, IdempotencyRow.key).where(IdempotencyRow.created < older_than).limit(most)
    gone = delete(IdempotencyRow).where(key.in_(due)).returning(IdempotencyRow.caller)
    return len((await session.scalars(gone)).all())

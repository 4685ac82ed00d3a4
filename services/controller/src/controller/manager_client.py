"""The billing manager: whether the owners of apps may be served, and what their apps use (controller-api.md 4.27)."""

from __future__ import annotations

import asyncio
import base64
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import httpx
from pydantic import SecretStr

from controller.domain.measurements import Verdict
from shared.clock import Clock
from shared.logging import get_logger

DEADLINE_SECONDS: Final = 3.0
KEEP_ANSWER: Final = timedelta(seconds=1800)
PAUSE_AFTER_FAILURE: Final = timedelta(seconds=60)
MOST_OWNERS: Final = 10_000
INACTIVE: Final = "The account of the owner is not active."
REFUSALS: Final = frozenset({400, 409, 413, 422})
"""What says that records are wrong, or too many at once. Other failures are the manager's own, or about our keys."""

log = get_logger(__name__)


@dataclass(frozen=True)
class _Answer:
    remark: str | None
    until: datetime


class Manager:
    """What the manager says of owners, kept for half an hour, and what it is told of usage.

    A manager that does not answer within three seconds changes nothing: who was active stays so, and who is not known
    counts as active. It is asked again after a minute.
    """

    def __init__(
        self, client: httpx.AsyncClient, *, access_key: SecretStr, secret_key: SecretStr, clock: Clock
    ) -> None:
        self._client = client
        self._credential = credential_of(access_key, secret_key)
        self._clock = clock
        self._answers: OrderedDict[int, _Answer] = OrderedDict()
        self._questions: dict[int, asyncio.Task[None]] = {}

    async def close(self) -> None:
        """Give up the questions under way."""
        tasks = list(self._questions.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def inactive(self, owner_id: int) -> str | None:
        """Why the owner may not be served, as last heard; None when they may, or were never asked about."""
        answer = self._answers.get(owner_id)
        return None if answer is None else answer.remark

    async def ask(self, owner_id: int) -> None:
        """Have `inactive` know of the owner. Asks when the last answer is too old; one question at a time for each."""
        answer = self._answers.get(owner_id)
        if answer is not None and answer.until > self._clock.now():
            return
        question = self._questions.get(owner_id)
        if question is None:
            question = asyncio.create_task(self._ask(owner_id), name=f"ask-manager-{owner_id}")
            self._questions[owner_id] = question
            question.add_done_callback(lambda _: self._questions.pop(owner_id, None))
        await asyncio.shield(question)  # others may wait for it too

    async def report(self, records: Sequence[Mapping[str, Any]]) -> tuple[Verdict, str]:
        """Hand usage records over: what becomes of them, and why in a few words."""
        try:
            response = await self._send("POST", "/measurements/", json=records)
        except (httpx.HTTPError, TimeoutError) as error:
            return Verdict.AWAY, type(error).__name__
        if response.is_success:
            return Verdict.TAKEN, ""
        refused = response.status_code in REFUSALS
        return Verdict.REFUSED if refused else Verdict.AWAY, f"status {response.status_code}"

    async def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        async with asyncio.timeout(DEADLINE_SECONDS):
            headers = {"Authorization": f"token {self._credential}"}
            return await self._client.request(method, path, headers=headers, **options)

    async def _ask(self, owner_id: int) -> None:
        try:
            response = await self._send("GET", f"/users/{owner_id}/status/")
            self._remember(owner_id, _remark_in(response), KEEP_ANSWER)
        except (httpx.HTTPError, ValueError, TimeoutError) as error:
            log.warning("manager_not_answering", user_id=owner_id, reason=f"{type(error).__name__}: {error}")
            self._remember(owner_id, self.inactive(owner_id), PAUSE_AFTER_FAILURE)

    def _remember(self, owner_id: int, remark: str | None, how_long: timedelta) -> None:
        self._answers[owner_id] = _Answer(remark, self._clock.now() + how_long)
        self._answers.move_to_end(owner_id)
        if len(self._answers) > MOST_OWNERS:
            self._answers.popitem(last=False)


def credential_of(access_key: SecretStr, secret_key: SecretStr) -> str:
    """What we and the manager show each other: `access:secret` in base85 (RFC 1924's alphabet, as Python has it)."""
    return base64.b85encode(f"{access_key.get_secret_value()}:{secret_key.get_secret_value()}".encode()).decode()


def _remark_in(response: httpx.Response) -> str | None:
    """The remark in an answer `{"is_active": bool, "message": str}`, None for an active owner.

    Raises:
        ValueError: the answer is another one.
    """
    body = response.json() if response.is_success else {}
    is_active = body.get("is_active") if isinstance(body, dict) else None
    if is_active is True:
        return None
    if is_active is False:
        return str(body["message"] or INACTIVE) if "message" in body else INACTIVE
    raise ValueError(f"status {response.status_code} without is_active")

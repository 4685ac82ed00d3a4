"""A bounded stream of HTTP requests at a steady rate, and what became of each."""

from __future__ import annotations

import asyncio
import statistics
from collections import Counter
from dataclasses import dataclass, field

import httpx


@dataclass
class Outcome:
    """Counts and times of one stream. `failures` holds a line for each request that was not answered 200."""

    answers: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    @property
    def total(self) -> int:
        """Requests made."""
        return sum(self.answers.values()) + len(self.failures)

    @property
    def median_seconds(self) -> float:
        """Median time of the answered ones."""
        return statistics.median(self.seconds)


class Traffic:
    """Sends `rate` requests a second until told to stop, at most `limit` of them."""

    def __init__(self, url: str, *, host: str, rate: int, limit: int, keep_alive: bool, method: str = "GET") -> None:
        self._url = url
        self._host = host
        self._interval = 1 / rate
        self._limit = limit
        self._method = method
        self._stop = asyncio.Event()
        self.outcome = Outcome()
        connections = 20 if keep_alive else 0
        limits = httpx.Limits(max_connections=200, max_keepalive_connections=connections)
        self._client = httpx.AsyncClient(limits=limits, timeout=10.0, trust_env=False)

    async def run(self) -> Outcome:
        """The whole stream, on a fixed timetable: a slow answer does not thin it out."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with self._client, asyncio.TaskGroup() as group:
            for number in range(self._limit):
                if self._stop.is_set():
                    break
                await asyncio.sleep(max(0.0, began + number * self._interval - loop.time()))
                group.create_task(self._send())
        return self.outcome

    def stop(self) -> None:
        """No further requests."""
        self._stop.set()

    async def _send(self) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        body = b"some body" if self._method == "POST" else None
        try:
            answer = await self._client.request(self._method, self._url, headers={"Host": self._host}, content=body)
        except httpx.HTTPError as exc:
            self.outcome.failures.append(f"{type(exc).__name__}: {exc}")
            return
        if answer.status_code == httpx.codes.OK:
            self.outcome.seconds.append(loop.time() - began)
            self.outcome.answers[answer.text.split()[0]] += 1
        else:
            self.outcome.failures.append(f"{answer.status_code} {answer.text.strip()}")

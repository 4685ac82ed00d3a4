"""Asks Prometheus about apps. What cannot be answered counts as no data: figures are no reason to fail a request."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import httpx

from controller.domain.metrics import (
    MetricsConfig,
    Sample,
    Traffic,
    Usage,
    UsageQuery,
    exposition,
    last_samples_query,
    traffic_queries,
    usage_queries,
)
from shared.clock import Clock
from shared.errors import UnavailableError
from shared.http import create_client
from shared.logging import get_logger

DEADLINE_SECONDS: Final = 10.0
_MOST_KEPT: Final = 128
_MOST_SAMPLES: Final = 10_000
_UNREADABLE = (ValueError, KeyError, TypeError, IndexError)
_UNANSWERED = (httpx.HTTPError, TimeoutError, *_UNREADABLE)

log = get_logger(__name__)


class Prometheus:
    """The metrics store at `url`, whose path is kept: `<url>/api/v1/query`. Answers are kept for `expiry_seconds`."""

    def __init__(self, url: str, *, config: MetricsConfig, interval: str, expiry_seconds: float, clock: Clock) -> None:
        self._client = create_client(base_url=f"{url.rstrip('/')}/api/v1/", timeout=DEADLINE_SECONDS)
        self._config = config
        self._interval = interval
        self._expiry_seconds = expiry_seconds
        self._clock = clock
        self._kept: dict[tuple[str, ...], tuple[float, Any]] = {}

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def last_samples(self, app: str) -> str:
        """The last samples of the configured metrics of an app, in Prometheus' text format."""
        if not self._config:
            return ""
        key = ("samples", app)
        if (kept := self._find(key)) is not None:
            return str(kept)
        found = await self._ask("query", query=last_samples_query(self._config, app, interval=self._interval))
        try:
            samples = [Sample(series["metric"], str(series["value"][1])) for series in found]
        except _UNREADABLE as error:
            samples = _nothing(error)
        return str(self._keep(key, exposition(samples, self._config)))

    async def usage(self, app: str, ptype: str, query: UsageQuery, *, key: Sequence[str]) -> Usage:
        """What the instances of a process type used. `key` is how the caller asked: the same gets the same answer
        until that expires."""
        whole_key = ("usage", app, ptype, *key)
        if isinstance(kept := self._find(whole_key), Usage):
            return kept
        queries = usage_queries(app, ptype, every=query.every)
        answers = await asyncio.gather(*(self._range(text, query) for text in queries.values()))
        usage = Usage(**dict(zip(queries, answers, strict=True)))
        if sum(len(samples) for answer in answers for samples in answer.values()) <= _MOST_SAMPLES:
            self._keep(whole_key, usage)
        return usage

    async def traffic(self, apps: Sequence[str], *, since: datetime, until: datetime) -> list[Traffic]:
        """What the pods of these apps received and sent in that time, as far as it was anything.

        Raises:
            UnavailableError: there is no answer. Here that is not the same as no data: bills are made of it.
        """
        try:
            return [
                Traffic(str(labels["namespace"]), str(labels["pod"]), direction, count)
                for direction, query in traffic_queries(apps, seconds=int((until - since).total_seconds())).items()
                for labels, value in [
                    (series["metric"], float(series["value"][1]))
                    for series in await self._fetch("query", query=query, time=int(until.timestamp()))
                ]
                if math.isfinite(value) and (count := round(value)) > 0
            ]
        except _UNANSWERED as error:
            raise UnavailableError(f"the metrics store did not tell traffic: {type(error).__name__}") from error

    async def _range(self, text: str, query: UsageQuery) -> dict[str, list[tuple[int, str]]]:
        found = await self._ask("query_range", query=text, start=query.start, end=query.stop, step=query.step)
        try:
            return {
                str(series["metric"]["pod"]): [(int(moment), str(value)) for moment, value in series["values"]]
                for series in found
            }
        except _UNREADABLE as error:
            _nothing(error)
            return {}

    async def _ask(self, path: str, **parameters: str | int) -> Sequence[Mapping[str, Any]]:
        try:
            return await self._fetch(path, **parameters)
        except _UNANSWERED as error:
            return _nothing(error)

    async def _fetch(self, path: str, **parameters: str | int) -> Sequence[Mapping[str, Any]]:
        async with asyncio.timeout(DEADLINE_SECONDS):
            response = await self._client.get(path, params=parameters)
        response.raise_for_status()
        found: list[Mapping[str, Any]] = response.json()["data"]["result"]
        return found

    def _find(self, key: tuple[str, ...]) -> Any:
        expires, kept = self._kept.get(key, (0.0, None))
        return kept if self._clock.now().timestamp() < expires else None

    def _keep(self, key: tuple[str, ...], answer: Any) -> Any:
        if len(self._kept) >= _MOST_KEPT:
            self._kept.pop(next(iter(self._kept)))
        self._kept[key] = (self._clock.now().timestamp() + self._expiry_seconds, answer)
        return answer


def _nothing(error: Exception) -> list[Any]:
    log.warning("metrics_unavailable", reason=type(error).__name__)
    return []

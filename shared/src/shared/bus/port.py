"""What a bus promises, the pattern rules, and how one event is handed to one consumer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

from structlog.contextvars import bound_contextvars

from shared.errors import UnavailableError
from shared.events.base import Envelope
from shared.logging import get_logger
from shared.metrics import EVENTS_HANDLED
from shared.redaction import redact_text

Handler = Callable[[Envelope], Awaitable[None]]
HANDLER_TIMEOUT_SECONDS: Final = 60.0
log = get_logger(__name__)


class NotDeliveredError(UnavailableError):
    """The bus did not take the event, or (in process) a consumer could not handle it; publish it again later."""

    code = "not-delivered"
    title = "The event was not delivered"


class Bus(Protocol):
    """At-least-once delivery of events to named consumers, each of which sees every event that its patterns match."""

    async def publish(self, envelope: Envelope) -> None:
        """Return when the event is safe: the broker confirmed it, or (in process) every handler is done.

        Raises:
            NotDeliveredError: it is not; publish the same envelope again.
        """
        ...

    async def subscribe(self, *, consumer: str, patterns: Sequence[str], handler: Handler, prefetch: int = 16) -> None:
        """Hand events whose routing key matches one of `patterns` (AMQP topic: `*` a word, `#` any words) to `handler`.

        Durable by name: the same `consumer` continues where it stopped; two subscriptions under one name share the
        work. `handler` is called with up to `prefetch` events at once, may see one event twice, and fails by raising.
        """
        ...

    async def ping(self) -> None:
        """Return when the bus can take events; raise otherwise."""
        ...

    async def close(self) -> None:
        """Stop the subscriptions, wait for running handlers, end the connection."""
        ...


def matches(pattern: str, routing_key: str) -> bool:
    """Whether an AMQP 0-9-1 topic `pattern` matches: `*` stands for exactly one word, `#` for zero or more."""
    return _match(pattern.split("."), routing_key.split("."))


def _match(pattern: list[str], words: list[str]) -> bool:
    if not pattern:
        return not words
    head, rest = pattern[0], pattern[1:]
    if head == "#":
        return any(_match(rest, words[skip:]) for skip in range(len(words) + 1))
    return bool(words) and head in ("*", words[0]) and _match(rest, words[1:])


async def deliver(consumer: str, handler: Handler, envelope: Envelope) -> None:
    """Call `handler` with the event's facts bound to the log and a deadline; count and log how it went.

    Raises:
        Exception: whatever the handler raised; TimeoutError when it took longer than a minute.
    """
    facts = {
        "consumer": consumer,
        "event_id": envelope.id,
        "event_type": envelope.routing_key,
        "request_id": envelope.requestid or envelope.id,
        "traceparent": envelope.traceparent,
    }
    with bound_contextvars(**facts):
        try:
            async with asyncio.timeout(HANDLER_TIMEOUT_SECONDS):
                await handler(envelope)
        except Exception as exc:
            EVENTS_HANDLED.labels(consumer, "failed").inc()
            log.warning("event_not_handled", subject=envelope.subject, error=describe(exc))
            raise
        EVENTS_HANDLED.labels(consumer, "handled").inc()


def describe(exc: BaseException) -> str:
    """One short line about `exc` without secrets, fit for a header, a row or a log."""
    return redact_text(f"{type(exc).__name__}: {exc}").replace("\n", " ")[:1000]

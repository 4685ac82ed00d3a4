"""Names and arguments of exchanges and queues at the broker, and the way of a failed event through them.

workflow.events (topic) -> <consumer> -- failed --> <consumer>.retry.<ms> -- after <ms> --> <consumer>
                                      -- failed too often --> <consumer>.dead
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

from aio_pika import DeliveryMode, ExchangeType, Message
from aio_pika.abc import AbstractIncomingMessage, AbstractRobustChannel, AbstractRobustExchange, AbstractRobustQueue

from shared.events.base import CONTENT_TYPE, Envelope
from shared.logging import get_logger
from shared.metrics import EVENTS_HANDLED

EXCHANGE: Final = "workflow.events"
ATTEMPTS_HEADER: Final = "x-workflow-attempts"
ERROR_HEADER: Final = "x-workflow-error"
RETRY_DELAYS: Final = tuple(timedelta(seconds=seconds) for seconds in (1, 5, 30, 120, 600))
_DELIVERY_LIMIT: Final = 20
_SECONDS: Final = 10.0
log = get_logger(__name__)


async def declare_exchange(channel: AbstractRobustChannel) -> AbstractRobustExchange:
    """The exchange that all events go through."""
    return await channel.declare_exchange(EXCHANGE, ExchangeType.TOPIC, durable=True, timeout=_SECONDS)


async def declare_consumer(
    channel: AbstractRobustChannel, consumer: str, patterns: Sequence[str]
) -> AbstractRobustQueue:
    """The queue of `consumer`, bound to `patterns`, and its dead-letter queue.

    An event that ends its consumer's process again and again (delivered, never settled) goes to the dead ones too.
    """
    await _declare(channel, f"{consumer}.dead", {})
    arguments = _dead_letter_to(f"{consumer}.dead") | {"x-delivery-limit": _DELIVERY_LIMIT}
    queue = await _declare(channel, consumer, arguments)
    for pattern in patterns:
        await queue.bind(EXCHANGE, pattern, timeout=_SECONDS)
    return queue


def to_message(envelope: Envelope) -> Message:
    """The persistent message that carries `envelope`."""
    return Message(
        envelope.to_bytes(),
        content_type=CONTENT_TYPE,
        delivery_mode=DeliveryMode.PERSISTENT,
        message_id=envelope.id,
        type=envelope.type,
        timestamp=envelope.time,
    )


class RetryQueues:
    """Where failed events wait. `channel` confirms what is published on it."""

    def __init__(self, channel: AbstractRobustChannel, delays: Sequence[timedelta]) -> None:
        self._channel = channel
        self._delays = delays

    async def again_or_bury(self, consumer: str, message: AbstractIncomingMessage, *, error: str) -> None:
        """Let the event come back later, or bury it when it has failed once more than there are delays."""
        attempts = _attempts(message) + 1
        if attempts > len(self._delays):
            await self.bury(consumer, message, error=error)
            return
        delay = int(self._delays[attempts - 1].total_seconds() * 1000)
        name = f"{consumer}.retry.{delay}"
        await _declare(self._channel, name, _dead_letter_to(consumer) | {"x-message-ttl": delay})
        await self._send(message, name, {ATTEMPTS_HEADER: attempts, ERROR_HEADER: error})

    async def bury(self, consumer: str, message: AbstractIncomingMessage, *, error: str) -> None:
        """Put the event into `<consumer>.dead`, with `error` in a header."""
        EVENTS_HANDLED.labels(consumer, "dead").inc()
        log.error("event_parked", consumer=consumer, event_id=message.message_id, error=error)
        headers: dict[str, Any] = {ATTEMPTS_HEADER: _attempts(message) + 1, ERROR_HEADER: error}
        await self._send(message, f"{consumer}.dead", headers)

    async def replay(self, consumer: str) -> int:
        """Move every dead event back to `consumer`, as if it had never failed; returns how many there were."""
        dead = await self._channel.get_queue(f"{consumer}.dead")
        count = 0
        while (message := await dead.get(fail=False, timeout=_SECONDS)) is not None:
            await self._send(message, consumer, {})
            await message.ack()
            count += 1
        return count

    async def _send(self, message: AbstractIncomingMessage, queue: str, headers: dict[str, Any]) -> None:
        copy = Message(
            message.body,
            headers=headers,
            content_type=message.content_type,
            delivery_mode=DeliveryMode.PERSISTENT,
            message_id=message.message_id,
            type=message.type,
            timestamp=message.timestamp,
        )
        await self._channel.default_exchange.publish(copy, queue, mandatory=True, timeout=_SECONDS)


def _attempts(message: AbstractIncomingMessage) -> int:
    value = message.headers.get(ATTEMPTS_HEADER, 0)
    return value if isinstance(value, int) else 0


async def _declare(channel: AbstractRobustChannel, name: str, arguments: dict[str, Any]) -> AbstractRobustQueue:
    quorum = {"x-queue-type": "quorum"}
    return await channel.declare_queue(name, durable=True, arguments=quorum | arguments, timeout=_SECONDS)


def _dead_letter_to(queue: str) -> dict[str, Any]:
    # "at-least-once" needs "reject-publish" (RabbitMQ, quorum queues, dead lettering).
    return {
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": queue,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }

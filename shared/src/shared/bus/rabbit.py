"""The bus of a cluster: RabbitMQ with confirms, a quorum queue per consumer, delayed retries and dead letters."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from aio_pika import RobustConnection
from aio_pika.abc import AbstractIncomingMessage, AbstractRobustChannel, AbstractRobustQueue
from aio_pika.connection import make_url
from aio_pika.exceptions import CONNECTION_EXCEPTIONS
from tenacity import AsyncRetrying, retry_if_exception_type, wait_exponential_jitter

from shared.bus.port import Handler, NotDeliveredError, deliver, describe, matches
from shared.bus.rabbit_queues import EXCHANGE, RETRY_DELAYS, RetryQueues, declare_consumer, declare_exchange, to_message
from shared.events.base import Envelope, UnknownEventError
from shared.logging import get_logger

_CONNECT_SECONDS: Final = 5.0
_PUBLISH_SECONDS: Final = 10.0
_DRAIN_SECONDS: Final = 10.0
_SUBSCRIBE_SECONDS: Final = 5.0
_RECONNECT_SECONDS: Final = 1.0
_AWAY: Final = (*CONNECTION_EXCEPTIONS, TimeoutError)
log = get_logger(__name__)


@dataclass(frozen=True)
class _Subscription:
    consumer: str
    patterns: tuple[str, ...]
    handler: Handler
    prefetch: int


class RabbitBus:
    """Speaks to the broker at `url`; connects at first use and again whenever the connection is lost.

    A failed event comes back after each of `retry_delays` in turn, then goes to the queue `<consumer>.dead` with the
    error in a header. Retried events may be overtaken by later ones of their subject.
    """

    def __init__(self, url: str, *, retry_delays: Sequence[timedelta] = RETRY_DELAYS) -> None:
        self._url = url
        self._delays = tuple(retry_delays)
        self._connection: RobustConnection | None = None
        self._publisher: AbstractRobustChannel | None = None
        self._connecting = asyncio.Lock()
        self._subscribing: set[asyncio.Task[None]] = set()
        self._consuming: list[tuple[AbstractRobustQueue, str]] = []
        self._handling: set[asyncio.Task[object]] = set()
        self._closed = False

    async def publish(self, envelope: Envelope) -> None:
        """Return when the broker has confirmed the event.

        Raises:
            NotDeliveredError: it did not within ten seconds; the event may have arrived nevertheless.
        """
        try:
            async with asyncio.timeout(_PUBLISH_SECONDS):
                channel = await self._publishing_channel()
                exchange = await channel.get_exchange(EXCHANGE, ensure=False)
                await exchange.publish(to_message(envelope), envelope.routing_key, mandatory=False)
        except _AWAY as exc:
            raise NotDeliveredError(f"the broker did not take the event: {describe(exc)}") from exc

    async def subscribe(self, *, consumer: str, patterns: Sequence[str], handler: Handler, prefetch: int = 16) -> None:
        """See `Bus.subscribe`. With a broker that is away it returns after five seconds and goes on trying."""
        subscription = _Subscription(consumer, tuple(patterns), handler, prefetch)
        task = asyncio.create_task(self._establish(subscription), name=f"subscribe-{consumer}")
        self._subscribing.add(task)
        task.add_done_callback(self._subscribing.discard)
        done, _ = await asyncio.wait((task,), timeout=_SUBSCRIBE_SECONDS)
        if not done:
            log.warning("broker_not_there_yet", consumer=consumer)
            return
        task.result()

    async def replay_dead(self, consumer: str) -> int:
        """Give `consumer` its dead events once more; returns how many there were."""
        channel = await self._publishing_channel()
        return await RetryQueues(channel, self._delays).replay(consumer)

    async def ping(self) -> None:
        """Return when the broker is connected.

        Raises:
            NotDeliveredError: it is not.
        """
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                channel = await self._publishing_channel()
                await channel.get_underlay_channel()
        except _AWAY as exc:
            raise NotDeliveredError(f"the broker does not answer: {describe(exc)}") from exc

    async def close(self) -> None:
        """Stop taking events, give running handlers ten seconds, disconnect. What is not done comes again later."""
        self._closed = True
        for task in self._subscribing:
            task.cancel()
        await asyncio.gather(*self._subscribing, return_exceptions=True)
        for queue, tag in self._consuming:
            with contextlib.suppress(*_AWAY):
                await queue.cancel(tag, timeout=1.0)
        if self._handling:
            _, late = await asyncio.wait(self._handling, timeout=_DRAIN_SECONDS)
            for each in late:
                each.cancel()
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def _publishing_channel(self) -> AbstractRobustChannel:
        async with self._connecting:
            if self._closed:
                raise NotDeliveredError("the bus is closed")
            if self._connection is None:
                self._connection = await self._connected()
            if self._publisher is None:
                channel = self._connection.channel(publisher_confirms=True, on_return_raises=True)
                await channel.initialize()
                await declare_exchange(channel)
                self._publisher = channel
            return self._publisher

    async def _connected(self) -> RobustConnection:
        connection = RobustConnection(make_url(self._url), reconnect_interval=_RECONNECT_SECONDS)
        try:
            await connection.connect(timeout=_CONNECT_SECONDS)
        except BaseException:
            await connection.close()  # else it would close itself when it is found in the garbage
            raise
        return connection

    async def _establish(self, subscription: _Subscription) -> None:
        retry = retry_if_exception_type(_AWAY)
        async for attempt in AsyncRetrying(
            retry=retry, wait=wait_exponential_jitter(multiplier=0.1, max=5.0, jitter=0.1)
        ):
            with attempt:
                await self._publishing_channel()
                assert self._connection is not None  # noqa: S101  the line above connected or raised
                channel = self._connection.channel(publisher_confirms=False)
                await channel.initialize()
                await channel.set_qos(prefetch_count=subscription.prefetch)
                queue = await declare_consumer(channel, subscription.consumer, subscription.patterns)

                async def on_message(message: AbstractIncomingMessage) -> None:
                    await self._on_message(subscription, message)

                self._consuming.append((queue, await queue.consume(on_message)))

    async def _on_message(self, subscription: _Subscription, message: AbstractIncomingMessage) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  the driver makes a task for each message
        self._handling.add(task)
        try:
            await self._handle(subscription, message)
        except _AWAY as exc:
            # Not acknowledged, hence delivered again once the connection is back.
            log.warning("event_not_settled", consumer=subscription.consumer, error=describe(exc))
        finally:
            self._handling.discard(task)

    async def _handle(self, subscription: _Subscription, message: AbstractIncomingMessage) -> None:
        consumer = subscription.consumer
        try:
            envelope = Envelope.from_bytes(message.body)
        except UnknownEventError as exc:
            await self._retries().bury(consumer, message, error=describe(exc))
            await message.ack()
            return
        # A queue keeps the bindings of older versions of its consumer.
        if any(matches(pattern, envelope.routing_key) for pattern in subscription.patterns):
            try:
                await deliver(consumer, subscription.handler, envelope)
            except Exception as exc:
                await self._retries().again_or_bury(consumer, message, error=describe(exc))
        await message.ack()

    def _retries(self) -> RetryQueues:
        if self._publisher is None:
            raise NotDeliveredError("the bus is closed")
        return RetryQueues(self._publisher, self._delays)

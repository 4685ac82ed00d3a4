"""Events that others publish and the controller acts on: finished builds become releases."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from controller.domain.apps import Actor, App
from controller.domain.builds import check_build
from controller.domain.errors import AppNotFoundError
from controller.services.apps import Apps
from controller.services.builds import Builds
from controller.uow import Uow
from shared.bus import Bus
from shared.db import Database
from shared.errors import SuiteError
from shared.events import BuildSucceeded, Envelope, ReleaseRejected
from shared.logging import get_logger

CONSUMER: Final = "controller.builds"
PATTERNS: Final = ("build.succeeded",)

Authorise = Callable[[AsyncSession, App, str], Awaitable[Actor]]
"""The account of that username, if it may change the app now; raises `ForbiddenError` otherwise."""

log = get_logger(__name__)


class BuildConsumer:
    """Makes one release of each finished build, however often it is told of it."""

    def __init__(self, *, database: Database, make_uow: Callable[[AsyncSession], Uow], authorise: Authorise) -> None:
        self._database = database
        self._make_uow = make_uow
        self._authorise = authorise

    async def subscribe(self, bus: Bus) -> None:
        """Start to receive."""
        await bus.subscribe(consumer=CONSUMER, patterns=PATTERNS, handler=self.handle)

    async def handle(self, envelope: Envelope) -> None:
        """Make the release, or say why there is none. Raises for what may work the next time."""
        event = envelope.unwrap()
        if not isinstance(event, BuildSucceeded):
            return
        try:
            await self._release(envelope.id, event)
        except SuiteError as error:
            if error.status >= 500:
                raise
            await self._reject(envelope.id, event, error)

    async def _release(self, event_id: str, event: BuildSucceeded) -> None:
        async with self._database.transaction() as session:
            uow = self._make_uow(session)
            if not await uow.inbox.first_time(CONSUMER, event_id):
                return
            app = await Apps(uow).get(event.app)
            actor = await self._authorise(session, app, event.actor)
            body = event.model_dump(include={"image", "stack", "sha", "procfile", "dryccfile", "dockerfile"})
            request = check_build(body, null_is_empty=True, allow_loopback=True)
            await Builds(uow).create(event.app, request, actor=actor, build_id=event.build_id)

    async def _reject(self, event_id: str, event: BuildSucceeded, error: SuiteError) -> None:
        gone = isinstance(error, AppNotFoundError)
        message = f"the app {event.app} does not exist any more" if gone else error.detail
        async with self._database.transaction() as session:
            uow = self._make_uow(session)
            if await uow.inbox.first_time(CONSUMER, event_id):
                rejected = ReleaseRejected(
                    app=event.app, build_id=event.build_id, code=error.code, message=_sentence(error, message)
                )
                await uow.outbox.add(rejected)
                log.info("release_rejected", app=event.app, build_id=str(event.build_id), code=error.code)


def _sentence(error: SuiteError, message: str) -> str:
    return f"{error.field}: {message}" if error.field else message

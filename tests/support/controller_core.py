"""A controller's core without its API: real tables, an engine, a reconciler that works when asked to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Generic
from uuid import UUID

from cryptography.fernet import Fernet
from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncSession
from typing_extensions import TypeVar

from controller.background.reconcile import Reconciler
from controller.domain.apps import App, Person
from controller.domain.builds import check_build
from controller.domain.policy import Policy
from controller.domain.releases import Release
from controller.engine.memory import MemoryEngine
from controller.engine.port import Engine
from controller.repositories.cipher import Cipher
from controller.schema.accounts import UserRow
from controller.schema.base import INBOX, OUTBOX
from controller.services.apps import Apps
from controller.services.builds import Builds
from controller.services.configs import Configs
from controller.services.processes import Processes
from controller.services.releases import Releases
from controller.uow import EVENT_SOURCE, Uow
from shared.clock import Clock
from shared.db import Database
from shared.events import Envelope, Event
from shared.outbox import Inbox, Outbox

POLICY = Policy(
    reserved_names=frozenset(("drycc",)),
    app_domain="apps.test",
    app_url_template="http://{app}.apps.test:8080",
)
ANA = Person(7, "ana")
BO = Person(8, "bo")
EngineT = TypeVar("EngineT", bound=Engine, default=MemoryEngine)


@dataclass
class Core(Generic[EngineT]):
    """The parts, and the moves that most tests make."""

    database: Database
    engine: EngineT
    clock: Clock
    cipher: Cipher
    policy: Policy

    def around(self, session: AsyncSession) -> Uow:
        """The unit of work in a transaction."""
        return Uow(
            session=session,
            outbox=Outbox(session, OUTBOX, source=EVENT_SOURCE),
            inbox=Inbox(session, INBOX),
            clock=self.clock,
            engine=self.engine,
            cipher=self.cipher,
            policy=self.policy,
        )

    @asynccontextmanager
    async def work(self) -> AsyncIterator[Uow]:
        """One unit of work, committed at the end."""
        async with self.database.transaction() as session:
            yield self.around(session)

    def reconciler(self) -> Reconciler:
        """A new reconciler that remembers nothing."""
        return Reconciler(
            database=self.database,
            engine=self.engine,
            clock=self.clock,
            make_uow=self.around,
            policy=self.policy,
        )

    async def reconcile(self, app: str = "shop") -> None:
        """One pass of a new reconciler."""
        await self.reconciler().reconcile(app)

    async def add_users(self) -> None:
        """ana and bo."""
        async with self.database.transaction() as session:
            for person in (ANA, BO):
                await session.execute(insert(UserRow).values(**_user(person, self.clock)))

    async def app(self, name: str = "shop") -> App:
        """A new app of ana's."""
        async with self.work() as uow:
            return await Apps(uow).create(owner=ANA, name=name)

    async def build(self, app: str = "shop", *, build_id: UUID | None = None, **body: Any) -> Release:
        """A build by ana: a pushed one with a web and a worker, unless told otherwise."""
        sha = body.setdefault("sha", "abcdef1234567890")
        facts = {"image": f"workspace/{app}:{sha}", "stack": "python", "procfile": PROCFILE}
        request = check_build(facts | body)
        async with self.work() as uow:
            return await Builds(uow).create(app, request, actor=ANA, build_id=build_id)

    async def config(self, app: str = "shop", **patch: Any) -> None:
        """A change of the config by ana."""
        async with self.work() as uow:
            await Configs(uow).change(app, patch, actor=ANA)

    async def set(self, app: str = "shop", **values: str | None) -> None:
        """Variables in the global group."""
        items = [{"name": name, "value": value, "group": "global"} for name, value in values.items()]
        await self.config(app, values=items)

    async def scale(self, app: str = "shop", **counts: int) -> None:
        """Other counts, by ana."""
        async with self.work() as uow:
            await Processes(uow).scale(app, counts, actor=ANA)

    async def release(self, version: int, app: str = "shop") -> Release:
        """The release of that version."""
        async with self.work() as uow:
            return await Releases(uow).get(app, version)

    async def structure(self, app: str = "shop") -> Mapping[str, int]:
        """What is wanted of each process type."""
        async with self.work() as uow:
            return (await Apps(uow).get(app)).structure

    async def events(self, *types: str) -> list[Event]:
        """What was published, in order; with `types` only those."""
        async with self.database.session() as session:
            rows = await session.scalars(select(OUTBOX.c.envelope).order_by(OUTBOX.c.seq))
        events = [Envelope.model_validate(row).unwrap() for row in rows]
        return [event for event in events if not types or event.type in types]

    async def running(self, app: str = "shop") -> dict[str, list[int]]:
        """The releases of the running instances, by process type."""
        found: dict[str, list[int]] = {}
        for instance in (await self.engine.observe(app)).instances:
            if instance.state == "up" and instance.ptype != "run":
                found.setdefault(instance.ptype, []).append(instance.release)
        return found


PROCFILE = {"web": "python web.py", "worker": "python worker.py"}


def make_core(database: Database, clock: Clock, **policy: Any) -> Core:
    """A core on these tables."""
    rules = Policy(**{**vars(POLICY), **policy})
    return Core(database, MemoryEngine(clock=clock), clock, Cipher([Fernet.generate_key().decode()]), rules)


def _user(person: Person, clock: Clock) -> dict[str, Any]:
    return {
        "id": person.id,
        "username": person.username,
        "email": f"{person.username}@example.org",
        "first_name": "",
        "last_name": "",
        "is_active": True,
        "is_staff": False,
        "is_superuser": False,
        "date_joined": clock.now(),
        "confirmed_at": clock.now(),
    }

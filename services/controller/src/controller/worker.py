"""The other half of the controller: consumers of events, the outbox relay, the reconciler.

Runs inside the API process or, with `workflow-controller work`, in one of its own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from sqlalchemy.ext.asyncio import AsyncSession

from controller.background.consumers import BuildConsumer
from controller.background.jobs import JobKeeper
from controller.background.measurements import Meter, UsageReporter
from controller.background.pruning import Pruner
from controller.background.reconcile import Reconciler
from controller.background.users import UserConsumer
from controller.context import Context, open_context
from controller.domain.accounts import Account
from controller.domain.apps import App
from controller.engine.port import Engine
from controller.engines import make_engine
from controller.manager_client import Manager
from controller.schema.base import OUTBOX
from controller.services.access import Access
from controller.services.resources import ManagedResources
from controller.settings import Settings
from shared.bus import Bus, connect_bus
from shared.clock import Clock
from shared.outbox import Relay
from shared.tasks import TaskOwner


@asynccontextmanager
async def open_process(
    settings: Settings,
    *,
    is_worker: bool,
    bus: Bus | None = None,
    engine: Engine | None = None,
    clock: Clock | None = None,
) -> AsyncIterator[Context]:
    """The context of a process. A bus or an engine that is not given is made, started and closed here."""
    async with AsyncExitStack() as stack:
        if bus is None:
            bus = connect_bus(settings.bus_url)
            stack.push_async_callback(bus.close)
        if engine is None:
            engine = make_engine(settings, is_worker=is_worker)
            stack.push_async_callback(engine.close)
            await engine.start()
        yield await stack.enter_async_context(open_context(settings, bus=bus, engine=engine, clock=clock))


@asynccontextmanager
async def working(context: Context) -> AsyncIterator[None]:
    """Do the background work of the controller during the block."""

    async def authorise(session: AsyncSession, app: App, username: str) -> Account:
        return await Access(context.unit_of_work.around(session)).changer(app, username)

    reconciler = Reconciler(
        database=context.database,
        engine=context.engine,
        clock=context.clock,
        make_uow=context.unit_of_work.around,
        policy=context.unit_of_work.policy,
        release=ManagedResources(context.unit_of_work, context.broker).release,
    )
    jobs = JobKeeper(
        database=context.database,
        engine=context.engine,
        clock=context.clock,
        make_uow=context.unit_of_work.around,
    )
    pruner = Pruner(
        database=context.database,
        clock=context.clock,
        audit_retention=context.settings.audit_retention,
        idempotency_retention=context.settings.idempotency_retention,
    )
    builds = BuildConsumer(database=context.database, make_uow=context.unit_of_work.around, authorise=authorise)
    users = UserConsumer(unit_of_work=context.unit_of_work, forget=context.authenticator.forget_user)
    async with TaskOwner() as tasks:
        await users.subscribe(context.bus)
        await builds.subscribe(context.bus)
        tasks.start("relay", Relay(context.database, OUTBOX, context.bus).run)
        tasks.start("reconciler", reconciler.run)
        tasks.start("jobs", jobs.run)
        tasks.start("pruning", pruner.run)
        if context.manager is not None:
            _report_usage(context, context.manager, tasks)
        yield


def _report_usage(context: Context, manager: Manager, tasks: TaskOwner) -> None:
    """Measure what apps use, and tell the billing manager."""
    work, clock = context.unit_of_work, context.clock
    meter = Meter(unit_of_work=work, engine=context.engine, metrics=context.metrics, clock=clock)
    tasks.start("measure_apps", meter.watch_apps)
    tasks.start("measure_hours", meter.watch_hours)
    tasks.start("usage_reports", UsageReporter(unit_of_work=work, manager=manager, clock=clock).run)

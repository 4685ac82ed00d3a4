"""The consumer of finished builds: one release for each, or a reason."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from controller.background.consumers import BuildConsumer
from controller.domain.apps import Actor, App
from controller.services.builds import Builds
from shared.bus.memory import InProcessBus
from shared.errors import ForbiddenError, UnavailableError
from shared.events import BuildStarted, BuildSucceeded, Envelope, ReleaseCreated, ReleaseDeployed, ReleaseRejected
from shared.testing.wait import eventually
from support.controller_core import ANA, Core


async def authorise(_session: AsyncSession, app: App, username: str) -> Actor:
    if username == "down":
        raise UnavailableError("the directory is away")
    if username != app.owner.username:
        raise ForbiddenError(f"{username} may not change {app.name}")
    return ANA


def consumer(core: Core) -> BuildConsumer:
    return BuildConsumer(database=core.database, make_uow=core.around, authorise=authorise)


def built(app: str = "shop", **facts: object) -> BuildSucceeded:
    base = {
        "app": app,
        "build_id": uuid4(),
        "number": 1,
        "actor": "ana",
        "sha": "abc1234",
        "branch": "main",
        "image": f"workspace/{app}:1",
        "stack": "python",
        "procfile": {"zeta": "./z", "web": "./web"},
    }
    return BuildSucceeded.model_validate(base | facts)


def wrapped(event: BuildSucceeded | BuildStarted) -> Envelope:
    return Envelope.wrap(event, source="/services/builder")


async def rejection(core: Core) -> ReleaseRejected:
    [event] = await core.events("release.rejected")
    assert isinstance(event, ReleaseRejected)
    return event


async def test_a_build_becomes_a_release_however_often_it_is_told(core: Core) -> None:
    await core.app()
    event = built(image="127.0.0.1:5000/shop:1")
    once, again = wrapped(event), wrapped(event)
    await asyncio.gather(*(consumer(core).handle(envelope) for envelope in (once, once, again)))
    created = [e for e in await core.events("release.created") if isinstance(e, ReleaseCreated)]
    assert [(e.version, e.build_id) for e in created] == [(1, None), (2, event.build_id)]
    async with core.work() as uow:
        build = await Builds(uow).find("shop")
    assert build is not None
    assert list(build.procfile) == ["zeta", "web"]


async def test_it_comes_over_the_bus(core: Core) -> None:
    await core.app()
    bus = InProcessBus()
    try:
        await consumer(core).subscribe(bus)
        await bus.publish(wrapped(built()))
        await eventually(lambda: _has_build(core))
    finally:
        await bus.close()


@pytest.mark.parametrize(
    ("facts", "code", "message"),
    [
        ({"app": "gone"}, "not-found", "the app gone does not exist any more"),
        ({"actor": "bo"}, "forbidden", "bo may not change shop"),
        (
            {"procfile": {"we": "x"}},
            "invalid-fields",
            "procfile: The length of ptype must be between 3 and 63",
        ),
        (
            {"dryccfile": {"pipeline": {}}},
            "invalid-input",
            "skip deploy, ptypes are not within the optional range: []",
        ),
        (
            {"dryccfile": {"config": {"jobs": {"PIN": 123456, "TOKEN": "s3cret"}}, "pipeline": {}}},
            "invalid-fields",
            "dryccfile: could not validate {'config': {'jobs': {'PIN': '***', 'TOKEN': '***'}}, 'pipeline': {}}: "
            "'***' is not of type 'string'",
        ),
        (
            {"image": "workspace/other:1"},
            "invalid-input",
            "workspace/other:1 was built for another app",
        ),
    ],
)
async def test_a_build_without_a_release_says_why(
    core: Core, facts: dict[str, object], code: str, message: str
) -> None:
    await core.app()
    envelope = wrapped(built(**facts))  # type: ignore[arg-type]
    await consumer(core).handle(envelope)
    await consumer(core).handle(envelope)
    event = await rejection(core)
    assert (event.code, event.message) == (code, message)


async def test_times_beyond_all_dates_count_as_long_ones(core: Core) -> None:
    await core.app()
    most = 2**31 - 1
    probe = {"tcpSocket": {"port": 80}, "periodSeconds": most, "timeoutSeconds": most, "failureThreshold": most}
    checks = {"livenessProbe": probe, "startupProbe": probe, "readinessProbe": probe}
    await core.config(healthcheck={"web": checks})
    run = {"command": ["true"], "timeout": most}
    pipeline = {"kind": "pipeline", "ptype": "web", "run": run, "deploy": {"command": ["serve"]}}
    event = built(dryccfile={"pipeline": {"web.yaml": pipeline}})
    await consumer(core).handle(wrapped(event))
    for _ in range(3):
        await core.reconcile()
    assert [e.version for e in await core.events("release.deployed") if isinstance(e, ReleaseDeployed)]


async def test_what_may_work_later_is_left_to_the_bus(core: Core) -> None:
    await core.app()
    envelope = wrapped(built(actor="down"))
    with pytest.raises(UnavailableError):
        await consumer(core).handle(envelope)
    assert await core.events("release.rejected") == []


async def test_other_events_are_let_be(core: Core) -> None:
    await core.app()
    event = built()
    started = BuildStarted(app="shop", build_id=event.build_id, number=1, actor="ana", sha="abc", branch="main")
    await consumer(core).handle(wrapped(started))
    assert len(await core.events("release.created")) == 1


async def _has_build(core: Core) -> bool:
    async with core.work() as uow:
        return await Builds(uow).find("shop") is not None

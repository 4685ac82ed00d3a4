"""The registry refresher: what it knows after events, and that it answers about itself."""

from __future__ import annotations

import re
from datetime import timedelta

from registry_refresher.main import create_app
from registry_refresher.settings import Settings
from shared.bus import InProcessBus
from shared.events import AppCreated, AppDeleted, Envelope, Event
from shared.settings import load_settings
from support import FakeClock, client_for, eventually


async def _publish(bus: InProcessBus, event: Event) -> Envelope:
    envelope = Envelope.wrap(event, source="/services/controller")
    await bus.publish(envelope)
    return envelope


def _measured(metrics: str, name: str) -> float:
    found = re.search(rf"^{name} (\S+)$", metrics, re.MULTILINE)
    assert found, name
    return float(found[1])


async def test_it_follows_the_apps_that_come_and_go() -> None:
    bus = InProcessBus()
    app = create_app(load_settings(Settings), bus=bus)
    async with client_for(app):
        shop = await _publish(bus, AppCreated(app="shop", owner="mina"))
        await _publish(bus, AppCreated(app="blog", owner="mina"))
        await bus.publish(shop)
        assert app.state.apps.names == {"shop", "blog"}
        await _publish(bus, AppDeleted(app="shop", actor="mina"))
        await _publish(bus, AppDeleted(app="never-seen", actor="mina"))
        assert app.state.apps.names == {"blog"}


async def test_a_pass_is_made_at_start_and_then_every_interval() -> None:
    bus, clock = InProcessBus(), FakeClock()
    app = create_app(load_settings(Settings, interval_seconds=300), bus=bus, clock=clock)
    async with client_for(app) as client:
        await eventually(lambda: clock.sleepers == 1)
        before = (await client.get("/metrics")).text
        await _publish(bus, AppCreated(app="shop", owner="mina"))
        clock.advance(timedelta(seconds=299))
        assert clock.sleepers == 1
        clock.advance(timedelta(seconds=1))
        await eventually(lambda: clock.sleepers == 1)
        after = (await client.get("/metrics")).text
        passes = "workflow_registry_refresher_passes_total"
        assert _measured(after, passes) == _measured(before, passes) + 1
        assert _measured(after, "workflow_registry_refresher_apps") == 1


async def test_it_is_ready_while_the_bus_is() -> None:
    bus = InProcessBus()
    async with client_for(create_app(load_settings(Settings), bus=bus)) as client:
        assert (await client.get("/healthz")).text == "OK"
        assert (await client.get("/readiness")).status_code == 200
        await bus.close()
        answer = await client.get("/readiness")
        assert answer.status_code == 503
        assert answer.json()["failing"] == ["bus"]

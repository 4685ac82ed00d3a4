"""The stored truth about a build: its end is written once, whatever is heard of it later."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

from builder.runner.port import AppConfig, BuildFailedError, BuildLimits, BuildSpec, Plan
from builder.services.records import BuildRecords
from integration.builder_ssh.world import World
from support import eventually


async def test_the_first_end_of_a_build_counts(world: World) -> None:
    records: BuildRecords = world.context.records
    spec = BuildSpec(
        build_id=uuid4(),
        app="shop",
        number=1,
        sha="1" * 40,
        branch="main",
        actor="ana",
        config=AppConfig(values=()),
        options={},
        limits=BuildLimits(timedelta(minutes=1), 1),
    )
    plan = Plan("container", "container", {"web": "run \0"}, {"pipeline": {}}, "FROM scratch")
    await records.requested(spec, plan)
    assert await records.request(await records.get(spec.build_id)) == (spec, plan)
    await records.cancelled(spec.build_id, "the user said so")
    await records.failed(spec.build_id, BuildFailedError("internal", "too late"))
    await records.cancelled(spec.build_id, "again")
    stored = await records.get(spec.build_id)
    assert (stored.state, stored.message) == ("cancelled", "the user said so")
    await eventually(lambda: "build.cancelled" in world.event_types())
    assert world.event_types() == ["build.requested", "build.cancelled"]

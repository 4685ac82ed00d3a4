"""Releases by `POST /v2/hooks/build/`, for controllers that hear no events: never lost, and never asked for twice."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncssh
import pytest
import pytest_asyncio
from fastapi import Response
from pydantic import SecretStr
from sqlalchemy import text

from builder.domain.builds import Build
from builder.main import create_app
from builder.runner.port import AppConfig, BuildLimits, BuildResult, BuildSpec, Log, Plan, Tree
from builder.services import releases_by_hook as by_hook
from builder.services.controller import BuilderKey
from builder.services.logs import BuildLogs
from builder.services.records import BuildRecords
from builder.services.release_calls import ReleaseCalls
from builder.services.release_records import ReleaseRecords
from builder.services.releases_by_hook import ReleasesByHook
from builder.services.runs import BuildRun
from integration.builder_ssh.far_side import FarSide, ScriptedRunner
from integration.builder_ssh.world import FarSettings, Outcome, World, commit, open_world
from shared.clock import SystemClock
from shared.db import Database, uuid7
from shared.http import create_client
from shared.settings import SettingsError, load_settings
from shared.web.server import serving
from standalone.postgres import EmbeddedPostgres
from support import eventually
from support.controller_api import BUILDER_KEY, running_api
from support.fixtures import MakeDatabase
from support.killing import kill_at
from support.logs import captured_log
from support.tcp_proxy import TcpProxy

APP: dict[str, str | bytes] = {"Procfile": "web: ./serve\n"}
PLAN = Plan("buildpack", "procfile", {"web": "x"}, {}, "")
KEY = "64-random-characters"


@dataclass
class OldPlatform:
    """An old controller behind a line that can be cut, and one builder after the other beside it."""

    path: Path
    database_url: str
    far_side: FarSide
    line: TcpProxy
    runner: ScriptedRunner = field(init=False)

    def __post_init__(self) -> None:
        self.runner = ScriptedRunner(self.path / "scratch")

    @asynccontextmanager
    async def builder(self, **overrides: object) -> AsyncIterator[World]:
        facts: dict[str, object] = {"releases_by": "hook", "controller_key": SecretStr(KEY)}
        facts["controller_url"] = f"http://127.0.0.1:{self.line.port}"
        async with open_world(
            self.path,
            self.database_url,
            far_side=self.far_side,
            scripted=self.runner,
            **facts | overrides,
        ) as world:
            yield world

    async def push(self, world: World) -> Outcome:
        """Push another commit of Ana's."""
        key = self.path / "key-ana"
        if not key.exists():
            world.add_user("ana", "shop")
        await commit(self.path / "app", APP | {"count": str(len(self.runner.specs))})
        return await world.push(key, self.path / "app", "shop")

    async def built(self, world: World) -> Build:
        """The record of the newest build."""
        return (await builds(world))[0]

    def says(self, words: str) -> bool:
        """Whether a log has these words."""
        return any(words in path.read_text() for path in (self.path / "build-logs").glob("shop/*.log"))

    def when_built(self, act: Callable[[], Awaitable[None]]) -> None:
        """Do this at the end of the build, just before its release."""

        async def script(_tree: Tree, _spec: BuildSpec, log: Log) -> None:
            await log.write("---> Scripted build\n")
            await act()

        self.runner.script = script


async def builds(world: World) -> list[Build]:
    found: list[Build] = await world.context.records.page(app="shop", before=None, limit=9)
    return found


@pytest_asyncio.fixture
async def platform(
    short_path: Path, make_database: MakeDatabase, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[OldPlatform]:
    monkeypatch.setattr(by_hook, "FIRST_PAUSE_SECONDS", 0.05)
    far_side = FarSide(builder_key=KEY)
    async with AsyncExitStack() as stack:
        address = await stack.enter_async_context(serving(far_side.app(), load_settings(FarSettings, bind_port=0)))
        line = TcpProxy("127.0.0.1", int(address.base_url.rpartition(":")[2]))
        await line.open()
        stack.push_async_callback(line.cut)
        yield OldPlatform(short_path, await make_database("builder"), far_side, line)


async def never() -> Response:
    await asyncio.Event().wait()
    raise AssertionError


def spec_of(number: int) -> BuildSpec:
    return BuildSpec(
        build_id=uuid7(),
        app="shop",
        number=number,
        sha=f"{number:08x}" * 5,
        branch="main",
        actor="ana",
        config=AppConfig(),
        options={},
        limits=BuildLimits(timedelta(minutes=1), 1),
    )


def answer(status: int, body: object) -> Callable[[], Awaitable[Response]]:
    content = body if isinstance(body, str) and body.startswith("<") else json.dumps(body)

    async def give() -> Response:
        return Response(content, status_code=status)

    return give


async def test_a_release_is_asked_for_and_told(platform: OldPlatform) -> None:
    async with platform.builder() as world:
        told = await platform.push(world)
        build = await platform.built(world)
        (spec,) = platform.runner.specs

    assert told.status == 0, told.output
    assert "---> Done, shop:v2 deployed to Workflow" in told.output
    assert platform.far_side.releases == [
        {
            "receive_user": "ana",
            "receive_repo": "shop",
            "sha": spec.sha[:8],
            "image": f"workspace/shop:{spec.build_id}",
            "stack": "buildpack",
            "procfile": {"web": "./serve"},
            "dryccfile": {},
            "dockerfile": "",
        }
    ]
    assert (build.state, build.verdict, build.release_version) == ("succeeded", "deployed", 2)
    assert build.deployed_at is not None


async def test_nobody_else_hears_of_the_build_and_no_event_is_left(platform: OldPlatform) -> None:
    async with platform.builder() as world:
        await platform.push(world)
        database = Database(platform.database_url)

        async def are_gone() -> bool:
            async with database.session() as session:
                return not (await session.execute(text("SELECT 1 FROM outbox WHERE published_at IS NULL"))).all()

        await eventually(are_gone)
        await database.close()
        assert world.events == []


async def test_a_bus_beside_it_is_refused(short_path: Path, make_database: MakeDatabase) -> None:
    url = await make_database("builder")
    async with open_world(short_path, url) as world:
        settings = world.settings.model_copy(update={"releases_by": "hook", "bus_url": "amqp://broker/"})
    app = create_app(settings)
    with pytest.raises(SettingsError, match="BUILDER_BUS_URL: is not used with BUILDER_RELEASES_BY=hook"):
        async with app.router.lifespan_context(app):
            raise AssertionError


@pytest.mark.parametrize(
    ("status", "body", "code", "words"),
    [
        (
            400,
            {"procfile": ["Command can't be empty for process type web"]},
            "invalid-input",
            "procfile: Command can't",
        ),
        (
            400,
            {"detail": "there is an executing pipeline, please wait or force deploy"},
            "invalid-input",
            "an executing",
        ),
        (401, {"detail": "Invalid token."}, "unauthenticated", "tell an administrator"),
        (403, "this app is \x1b[31mblocked\x1b[0m", "forbidden", "this app is  [31mblocked"),
        (404, "No App matches the given query.", "not-found", "drycc apps list"),
        (409, {"error": {"detail": "it is locked"}}, "conflict", "it is locked"),
        (422, {"detail": "skip deploy"}, "invalid-input", "skip deploy"),
        (418, "<html>proxy</html>", "refused", "the controller answered 418 (I'm a Teapot)"),
        (302, "<html>proxy</html>", "refused", "the controller answered 302 (Found)"),
    ],
)
async def test_a_refusal_is_told_with_its_reason(
    platform: OldPlatform, status: int, body: object, code: str, words: str
) -> None:
    platform.far_side.answer_release = answer(status, body)
    async with platform.builder() as world:
        told = await platform.push(world)
        build = await platform.built(world)

    assert told.status == 1
    assert f"!     Not deployed ({code}): " in told.output
    assert words in told.output
    assert "\x1b" not in told.output
    assert (build.verdict, build.verdict_code, build.release_version) == ("rejected", code, None)
    async with platform.builder():
        pass
    assert len(platform.far_side.releases) == 1


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (500, {"detail": "Server Error"}, "it answered 500 (Internal Server Error): Server Error"),
        (502, "<html><h1>Bad gateway</h1></html>", "it answered 502 (Bad Gateway)"),
        (200, "<html>login</html>", "what it answered names no release"),
        (200, {"release": {"version": "two"}}, "what it answered names no release"),
    ],
)
async def test_an_answer_that_says_nothing_is_not_asked_for_again(
    platform: OldPlatform, status: int, body: object, words: str
) -> None:
    platform.far_side.answer_release = answer(status, body)
    async with platform.builder() as world:
        told = await platform.push(world)
        build = await platform.built(world)

    assert told.status == 1
    assert "!     No verdict (no-verdict): the build is complete, but the controller did not say" in told.output
    assert words in told.output
    assert "drycc releases list -a shop" in told.output
    assert (build.verdict, build.verdict_code) == (None, "no-verdict")
    async with platform.builder():
        pass
    assert len(platform.far_side.releases) == 1


async def test_a_controller_that_does_not_answer_is_asked_once(platform: OldPlatform) -> None:
    platform.far_side.answer_release = never
    async with platform.builder(verdict_timeout=timedelta(seconds=0.6)) as world:
        told = await platform.push(world)
        assert (await platform.built(world)).verdict_code == "no-verdict"

    assert told.status == 1
    assert "it did not answer for 0.01 min" in told.output
    assert len(platform.far_side.releases) == 1


async def test_a_connection_that_breaks_after_the_question_is_not_asked_again(platform: OldPlatform) -> None:
    platform.far_side.answer_release = never
    async with platform.builder() as world:
        pushing = asyncio.create_task(platform.push(world))
        await eventually(lambda: len(platform.far_side.releases) == 1)
        await platform.line.cut()
        told = await pushing
        assert (await platform.built(world)).verdict_code == "no-verdict"
        await platform.line.open()

    assert told.status == 1
    assert "the connection broke" in told.output
    assert len(platform.far_side.releases) == 1


async def test_a_controller_that_is_not_reached_is_asked_again(platform: OldPlatform) -> None:
    platform.when_built(platform.line.cut)
    async with platform.builder() as world:
        pushing = asyncio.create_task(platform.push(world))
        await eventually(lambda: platform.says("The controller cannot be reached; trying again..."))
        await platform.line.open()
        told = await pushing
        assert (await platform.built(world)).verdict == "deployed"

    assert told.status == 0, told.output
    assert len(platform.far_side.releases) == 1


async def test_a_controller_that_puts_us_off_is_asked_again(platform: OldPlatform) -> None:
    async def put_off() -> Response:
        platform.far_side.answer_release = None
        return Response("slow down", status_code=429)

    platform.far_side.answer_release = put_off
    async with platform.builder() as world:
        told = await platform.push(world)

    assert told.status == 0, told.output
    assert "shop:v3 deployed" in told.output


async def test_a_controller_that_stays_away_ends_it(platform: OldPlatform) -> None:
    platform.when_built(platform.line.cut)
    async with platform.builder(verdict_timeout=timedelta(seconds=3)) as world:
        told = await platform.push(world)
        build = await platform.built(world)
    await platform.line.open()
    async with platform.builder():
        pass

    assert told.status == 1
    assert "the controller could not be reached for 0.05 min" in told.output
    assert "Nothing was deployed; push again later." in told.output
    assert (build.verdict, build.verdict_code) == ("rejected", "controller-unavailable")
    assert platform.far_side.releases == []


async def test_who_waits_sees_that_somebody_does(platform: OldPlatform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(by_hook, "PROGRESS_SECONDS", 0.05)

    async def slowly() -> Response:
        await eventually(lambda: platform.says("Waiting for the controller to make the release..."))
        return Response(json.dumps({"release": {"version": 7}}))

    platform.far_side.answer_release = slowly
    async with platform.builder() as world:
        told = await platform.push(world)

    assert told.status == 0, told.output
    assert "shop:v7 deployed" in told.output


@pytest.mark.parametrize("comes_back", [True, False])
async def test_an_answer_is_told_also_while_the_database_is_away(
    platform: OldPlatform, postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch, comes_back: bool
) -> None:
    monkeypatch.setattr(by_hook, "DATABASE_PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(by_hook, "DATABASE_TRIES", 100 if comes_back else 3)
    server = Database(postgres.url("postgres"))
    name = platform.database_url.rpartition("?")[0].rpartition("/")[2]

    async def let_in(allowed: bool) -> None:
        kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name"
        async with server.transaction() as session:
            await session.execute(text(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS {str(allowed).lower()}'))
        async with server.transaction() as session:
            await session.execute(text(kill), {"name": name})

    async def answer_without_database() -> Response:
        await let_in(False)
        return Response(json.dumps({"release": {"version": 2}}))

    platform.far_side.answer_release = answer_without_database
    try:
        async with platform.builder() as world:
            with captured_log("builder") as log:
                pushing = asyncio.create_task(platform.push(world))
                await eventually(lambda: "not_stored_yet" in log.getvalue())
                if not comes_back:
                    await eventually(lambda: "release_not_recorded" in log.getvalue())
                await let_in(True)
                told = await pushing
            build = await platform.built(world)
    finally:
        await let_in(True)
        await server.close()

    assert "shop:v2 deployed to Workflow" in told.output
    assert build.verdict == ("deployed" if comes_back else None)
    async with platform.builder() as world:
        if not comes_back:
            await eventually(lambda: platform.says("No verdict (no-verdict)"))
    assert len(platform.far_side.releases) == 1


async def test_what_was_not_asked_when_the_builder_stopped_is_asked_by_the_next(platform: OldPlatform) -> None:
    platform.when_built(platform.line.cut)
    async with platform.builder() as world:
        pushing = asyncio.create_task(platform.push(world))
        await eventually(lambda: platform.says("trying again..."))
        stopped = await platform.built(world)
    assert (await pushing).status != 0
    assert (stopped.state, stopped.verdict, platform.far_side.releases) == ("succeeded", None, [])

    await platform.line.open()
    async with platform.builder() as world:
        await eventually(lambda: platform.says("---> Done, shop:v2 deployed to Workflow"))
        build = await platform.built(world)
    async with platform.builder():
        pass

    assert (build.verdict, build.release_version) == ("deployed", 2)
    assert len(platform.far_side.releases) == 1
    assert len(platform.runner.specs) == 1  # nothing is built again


async def test_what_was_asked_when_the_builder_stopped_is_not_asked_again(platform: OldPlatform) -> None:
    platform.far_side.answer_release = never
    async with platform.builder() as world:
        pushing = asyncio.create_task(platform.push(world))
        await eventually(lambda: len(platform.far_side.releases) == 1)
    assert (await pushing).status != 0

    platform.far_side.answer_release = None
    async with platform.builder() as world:
        await eventually(lambda: platform.says("the builder was stopped while it waited for the answer"))
        build = await platform.built(world)
        assert (build.verdict, build.verdict_code, build.release_version) == (None, "no-verdict", None)
        told = await platform.push(world)

    assert told.status == 0, told.output
    assert [body["sha"] for body in platform.far_side.releases] == [spec.sha[:8] for spec in platform.runner.specs]
    assert len(platform.far_side.releases) == 2


async def test_an_older_build_does_not_undo_a_newer_one(platform: OldPlatform) -> None:
    async with platform.builder() as world:
        await platform.push(world)
        await platform.push(world)
        newer, older = await builds(world)
    database = Database(platform.database_url)
    async with database.transaction() as session:  # as if the builder had died before it asked for the older one
        values = "release_request = '{}', release_asked_at = NULL, verdict = NULL, release_version = NULL"
        await session.execute(text(f"UPDATE builds SET {values} WHERE id = :id"), {"id": older.id})
    await database.close()
    async with platform.builder() as world:
        await eventually(lambda: platform.says("build 2 of this app was released before it"))
        assert [(build.number, build.verdict) for build in await builds(world)] == [(2, "deployed"), (1, "rejected")]

    assert newer.number == 2
    assert len(platform.far_side.releases) == 2


async def test_builds_of_a_time_with_events_are_never_asked_for(platform: OldPlatform) -> None:
    async with platform.builder(releases_by="events", verdict_timeout=timedelta(seconds=0.2)) as world:
        world.deploys = False
        await platform.push(world)
        assert (await platform.built(world)).verdict is None
    async with platform.builder() as world:
        assert (await platform.push(world)).status == 0

    assert [body["sha"] for body in platform.far_side.releases] == [platform.runner.specs[1].sha[:8]]


async def test_wherever_the_builder_dies_no_release_is_asked_for_twice(platform: OldPlatform) -> None:
    async with AsyncExitStack() as stack:
        database = Database(platform.database_url)
        stack.push_async_callback(database.close)
        auth = BuilderKey(SecretStr(KEY))
        client = await stack.enter_async_context(
            create_client(base_url=f"http://127.0.0.1:{platform.line.port}", auth=auth)
        )
        second = timedelta(seconds=10)
        calls, records = ReleaseCalls(client, timeout=second, patience=second), BuildRecords(database, SystemClock())
        releases = ReleasesByHook(calls, ReleaseRecords(database, SystemClock()), patience=second)
        logs = BuildLogs(platform.path / "logs", max_bytes=1024)

        async def have_released(spec: BuildSpec) -> None:
            run = BuildRun(spec, PLAN, None, logs.create(spec.app, spec.build_id), is_built=True)
            with releases.expect(run) as outcome:
                await outcome()

        endings: Counter[tuple[int, str]] = Counter()
        for number in range(1, 200):
            spec = spec_of(number)
            result = BuildResult("registry/shop/shop@sha256:1", "buildpack", {"web": "x"}, {}, "")
            await records.requested(spec, PLAN)
            await records.succeeded(spec.build_id, result, release=releases.request(spec, result))
            was_killed = await kill_at(have_released(spec), number)
            await asyncio.sleep(0)
            for build in await releases.unreleased():  # the next process
                await have_released(replace(spec, build_id=build.id))
            build = await records.get(spec.build_id)
            asked = sum(body["sha"] == spec.sha[:8] for body in platform.far_side.releases)
            endings[asked, build.verdict or build.verdict_code or ""] += 1
            assert await releases.unreleased() == []
            if not was_killed:
                break

    assert not was_killed
    # At most once; where it was not asked at all, or what came of it is not known, the record says so.
    assert set(endings) <= {(1, "deployed"), (1, "no-verdict"), (0, "no-verdict")}
    assert endings[1, "deployed"] > 1
    assert endings[1, "no-verdict"] + endings[0, "no-verdict"] > 1


async def test_a_builder_of_the_old_contract_with_our_controller(short_path: Path, make_database: MakeDatabase) -> None:
    """Our controller's own hooks, the builder's key, and nothing else in common."""
    async with running_api(await make_database("controller"), served=True) as api:
        assert api.address is not None
        facts: dict[str, Any] = {"controller_url": api.address.base_url, "controller_key": SecretStr(BUILDER_KEY)}
        async with open_world(short_path, await make_database("builder"), releases_by="hook", **facts) as world:
            key = world.add_user("ana")
            public = asyncssh.read_private_key(key).export_public_key().decode().strip()
            await api.create("shop")
            ana = await api.person("ana")
            added = await ana.client.post("/v2/keys/", json={"id": "laptop", "public": f"{public} ana"})
            assert added.status_code == 201, added.text
            await commit(world.path / "app", APP)

            told = await world.push(key, world.path / "app", "shop")
            release = await api.settled("shop")
            (build,) = await builds(world)

            assert told.status == 0, told.output
            assert "Done, shop:v2 deployed to Workflow" in told.output
            assert (release["version"], release["state"]) == (2, "succeed")
            assert release["summary"] == f"ana deployed {build.sha[:7]}"
            assert (build.verdict, build.release_version) == ("deployed", 2)

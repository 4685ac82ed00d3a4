"""Releases that fail for every reason a cluster has: what people are told, and that the old version answers on.

The scenarios run side by side, some after each other in one app; each test asks how one of them ended.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any, Final

import pytest
import pytest_asyncio

from shared.events import ReleaseFailed
from support.cluster_image import REGISTRY
from support.cluster_platform import Platform, PlatformApp, StartPlatform, until
from support.events import Recorder
from support.tools import unavailable
from support.useless_registry import UselessRegistry, useless_registry

pytestmark = pytest.mark.timeout(240)
QUOTA: Final = json.dumps({"hard": {"limits.memory": "2Gi"}})
HASTE: Final = {"values": [{"name": "DRYCC_DEPLOY_TIMEOUT", "value": "8", "group": "global"}]}
"""A release that has little time to become ready."""
READY: Final = {"httpGet": {"path": "/ready", "port": 5000}, "periodSeconds": 1, "failureThreshold": 1}
Begin = Callable[[PlatformApp, UselessRegistry], Awaitable[int]]
After = Callable[[PlatformApp, UselessRegistry], Awaitable[None]]


@dataclass(frozen=True)
class Scenario:
    """How a release is made that fails, and what is told of it. `words` are the cluster's own, or the app's; `after` is
    done when it has failed and been rolled back, before the old version can be alone again."""

    code: str
    begin: Begin
    words: tuple[str, ...] = ()
    hint: str = ""
    log: tuple[str, ...] = ()
    after: After | None = None
    needs_this_machine: bool = False


@dataclass
class Outcome:
    """How one ended: the release, the failure, the answer of the old version, what runs and what is told of `web`."""

    good: str
    version: int
    release: dict[str, Any]
    failure: dict[str, Any]
    answer: str
    releases: set[str]
    told: list[tuple[str, str]]


@dataclass
class Lanes:
    """The scenarios under way."""

    recorder: Recorder
    outcomes: dict[str, asyncio.Future[Outcome]] = field(default_factory=dict)


def configured(patch: Mapping[str, Any] | None = None, **values: str) -> Begin:
    """By a change of the config of web."""

    async def begin(app: PlatformApp, _: UselessRegistry) -> int:
        variables = [{"name": name, "value": value, "ptype": "web"} for name, value in values.items()]
        changes = dict(patch or {})
        return await app.configure(**{**changes, "values": [*changes.get("values", ()), *variables]})

    return begin


def built(**facts: Any) -> Begin:
    """By another build."""

    async def begin(app: PlatformApp, _: UselessRegistry) -> int:
        return await app.build(**facts)

    return begin


async def with_private_image(app: PlatformApp, registry: UselessRegistry) -> int:
    """An image that the registry gives to nobody without credentials."""
    return await app.build(image=registry.private)


async def with_endless_image(app: PlatformApp, registry: UselessRegistry) -> int:
    """An image that is still being pulled when the time is over."""
    dryccfile = {
        "config": {"global": {"DRYCC_DEPLOY_TIMEOUT": "8"}},
        "pipeline": {"web.yaml": {"kind": "pipeline", "ptype": "web", "deploy": {"image": registry.endless}}},
    }
    return await app.build(procfile={}, dryccfile=dryccfile)


async def without_endless_image(_: PlatformApp, registry: UselessRegistry) -> None:
    """The kubelet does not give up a pull: the pod goes when that has ended."""
    registry.ended.set()


async def with_missing_image(app: PlatformApp, _: UselessRegistry) -> int:
    """An image whose registry knows no such tag."""
    return await app.build(image=f"{app.platform.image.rpartition(':')[0]}:never-pushed")


async def with_lost_volume(app: PlatformApp, _: UselessRegistry) -> int:
    """A volume of a server that is not there."""
    where = {"nfs": {"server": "127.0.0.1", "path": "/nowhere"}}
    await app.call("POST", "volumes/", expect=201, json={"name": "lost", "type": "nfs", "parameters": where})
    await app.call("PATCH", "volumes/lost/path/", json={"path": {"web": "/data"}})

    async def is_tried() -> bool:
        """A claim that is not bound yet is another reason."""
        pods = [pod["name"] for pod in await app.pods("web") if pod["ready"] == "0/1"]
        told = [(await app.call("GET", f"pods/{pod}/describe/"))["results"] for pod in pods]
        return any("MountVolume" in container["message"] for found in told for container in found)

    await until(is_tried)
    return await app.configure(**HASTE)


async def without_lost_volume(app: PlatformApp, _: UselessRegistry) -> None:
    """A volume is no part of a release: new processes of the old one would want it as well."""
    await app.call("PATCH", "volumes/lost/path/", json={"path": {"web": None}})
    await app.call("DELETE", "volumes/lost/", expect=204)


def pipeline(**deploy: Any) -> dict[str, Any]:
    """A dryccfile with web alone."""
    return {"pipeline": {"web.yaml": {"kind": "pipeline", "ptype": "web", "deploy": deploy}}}


SCENARIOS: Final[Mapping[str, Scenario]] = {
    "crash": Scenario(
        "process-crashed",
        configured(EXIT_CODE="3", EXIT_LINES="4"),
        words=("exit code 3",),
        log=("line 1 before the end", "line 4 before the end"),
    ),
    "memory": Scenario(
        "out-of-memory",
        configured({"limits": {"web": "test.tiny"}}, EAT_MEMORY_MB="80", LISTEN="no"),
        words=("limit of 48Mi",),
        hint="drycc limits set web=PLAN",
        log=("web of v",),
    ),
    "liveness": Scenario(
        "liveness-refused",
        configured(
            {"healthcheck": {"web": {"readinessProbe": READY, "livenessProbe": READY}}},
            READY_STATUS="503",
        ),
        words=("liveness check", "statuscode: 503"),
        hint="drycc healthchecks",
    ),
    "post-start": Scenario(
        "post-start-failed",
        configured({"lifecycle_post_start": {"web": {"exec": {"command": ["sh", "-c", "exit 1"]}}}}),
        words=("postStart",),
        hint="drycc lifecycle",
    ),
    "command": Scenario(
        "command-not-found",
        built(procfile={}, dryccfile=pipeline(command=["no-such-program"])),
        words=("no-such-program", "executable file not found"),
        hint="Procfile",
    ),
    "root": Scenario(
        "config-error",
        built(image="busybox:1", procfile={"web": "sleep 1000"}),
        words=("runAsNonRoot",),
        hint="USER 1000",
    ),
    "readiness": Scenario(
        "readiness-refused",
        configured({**HASTE, "healthcheck": {"web": {"readinessProbe": READY}}}, READY_STATUS="503"),
        words=("HTTP probe failed with statuscode: 503",),
        hint="drycc healthchecks",
        log=("listening",),
    ),
    "deaf": Scenario(
        "never-listened",
        configured(HASTE, LISTEN="no"),
        words=("connection refused",),
        hint="PORT",
        log=("web of v",),
    ),
    "huge": Scenario(
        "unschedulable",
        configured({**HASTE, "limits": {"web": "test.huge"}}),
        words=("Insufficient cpu",),
        hint="drycc limits set",
    ),
    "quota": Scenario(
        "quota-exceeded",
        configured({**HASTE, "limits": {"web": "test.greedy"}}),
        words=("exceeded quota", "limits.memory=4Gi", "limited: limits.memory=2Gi"),
        hint="scale down",
    ),
    "mount": Scenario(
        "mount-failed",
        with_lost_volume,
        words=("MountVolume.SetUp failed", "/nowhere"),
        hint="drycc volumes list",
        after=without_lost_volume,
    ),
    "denied": Scenario(
        "image-denied",
        with_private_image,
        words=("private/shop:1", "401 Unauthorized"),
        hint="drycc registry set",
        needs_this_machine=True,
    ),
    "missing": Scenario("image-not-found", with_missing_image, words=(":never-pushed", "not found"), hint="the tag"),
    "slow": Scenario(
        "image-slow",
        with_endless_image,
        words=("still being pulled",),
        hint="DRYCC_DEPLOY_TIMEOUT",
        after=without_endless_image,
        needs_this_machine=True,
    ),
}
LANES: Final = (
    ("crash", "deaf", "command"),
    ("memory", "readiness", "root"),
    ("liveness", "quota", "huge"),
    ("post-start", "mount"),
    ("denied", "missing", "slow"),
)
"""What ends three times takes half a minute, as does an image that is tried twice: one of these in each app."""


@pytest_asyncio.fixture(scope="module")
async def platform(start_platform: StartPlatform) -> AsyncIterator[Platform]:
    """A controller whose apps have a quota and may not run as root."""
    restricted = {"pod_security_level": "restricted"}
    async with start_platform(prefix="hg", config=restricted, namespace_default_quota_spec=QUOTA) as running:
        yield running


@pytest_asyncio.fixture(scope="module")
async def lanes(platform: Platform, request: pytest.FixtureRequest) -> AsyncIterator[Lanes]:
    """All scenarios that this run asks for, under way."""
    asked = {item.callspec.params.get("name") for item in request.session.items if hasattr(item, "callspec")}
    started = Lanes(Recorder())
    await platform.api.bus.subscribe(consumer="tests", patterns=["release.failed"], handler=started.recorder)
    started.outcomes = {name: asyncio.get_running_loop().create_future() for name in asked & set(SCENARIOS)}
    async with useless_registry() as registry:
        chosen = [[name for name in lane if name in asked] for lane in LANES]
        tasks = [asyncio.create_task(drive(platform, registry, lane, started)) for lane in chosen if lane]
        yield started
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def hasty(platform: Platform) -> PlatformApp:
    """An app that runs, and whose processes end soon when they are to end."""
    app = await platform.create()
    await app.configure(termination_grace_period={"web": "2"})
    await app.build()
    await app.succeeds()
    return app


async def drive(platform: Platform, registry: UselessRegistry, names: list[str], lanes: Lanes) -> None:
    """One app, and a release of it that fails for each of these reasons."""
    app: PlatformApp | None = None
    for name in names:
        future, scenario = lanes.outcomes[name], SCENARIOS[name]
        if scenario.needs_this_machine and not REGISTRY.startswith("localhost"):
            continue
        try:
            app = app or await hasty(platform)
            future.set_result(await fail(app, scenario, registry))
        except Exception as error:  # the test that waits for it raises it
            if not future.done():
                future.set_exception(error)


async def fail(app: PlatformApp, scenario: Scenario, registry: UselessRegistry) -> Outcome:
    """Make the release, wait until it has failed and the old version runs alone again."""
    good = (await app.answers()).split()[0]
    version = await scenario.begin(app, registry)
    failure = await app.fails(version, seconds=120)
    answer = (await app.get()).text.split()[0]
    if scenario.after is not None:
        await scenario.after(app, registry)
    pods = await app.runs(web=1)
    told = (await app.call("GET", f"events/?ptype={app.name}-web"))["results"]
    return Outcome(
        good=good,
        version=version,
        release=await app.release(version),
        failure=failure,
        answer=answer,
        releases={pod["release"] for pod in pods},
        told=[(event["reason"], event["message"]) for event in told],
    )


@pytest.mark.parametrize("name", [name for turn in zip_longest(*LANES) for name in turn if name])
async def test_a_release_that_fails_tells_why_and_leaves_the_old_version_running(lanes: Lanes, name: str) -> None:
    scenario = SCENARIOS[name]
    if scenario.needs_this_machine and not REGISTRY.startswith("localhost"):
        unavailable("the machines of the cluster do not pull from this one")
    outcome = await lanes.outcomes[name]
    failure = outcome.failure
    assert set(failure) == {"code", "ptype", "message", "log", "hint"}
    assert (failure["code"], failure["ptype"]) == (scenario.code, "web"), failure
    assert [word for word in scenario.words if word not in failure["message"]] == [], failure
    assert scenario.hint in failure["hint"], failure
    said = "\n".join(failure["log"])
    assert [line for line in scenario.log if line not in said] == [], failure
    assert outcome.release["failed"] is True
    assert outcome.answer == outcome.good
    assert outcome.releases == {outcome.good}
    (told,) = [message for reason, message in outcome.told if reason == scenario.code]
    assert told.startswith(failure["message"])
    assert told.endswith(f"Rolled back to {outcome.good}.")
    (event,) = [
        one
        for one in (envelope.unwrap() for envelope in lanes.recorder.seen)
        if isinstance(one, ReleaseFailed) and (one.app, one.version) == (outcome.release["app"], outcome.version)
    ]
    assert (event.code, event.ptype, event.message) == (failure["code"], "web", failure["message"])
    assert (list(event.log), event.hint) == (failure["log"], failure["hint"])


@pytest_asyncio.fixture(scope="module")
async def troubled(platform: Platform) -> PlatformApp:
    """An app whose web is well, and whose other process types all fail, each for a reason of its own."""
    app = await platform.create()
    await app.configure(
        values=[
            {"name": "EXIT_CODE", "value": "5", "ptype": "crashing"},
            {"name": "READY_STATUS", "value": "503", "ptype": "refused"},
        ],
        limits={"huge": "test.huge", "greedy": "test.greedy"},
        healthcheck={"refused": {"readinessProbe": READY}},
        termination_grace_period=dict.fromkeys(("web", "refused", "crashing"), "2"),
    )
    broken = {"crashing": "sample worker", "huge": "sample worker", "greedy": "sample worker", "refused": "sample web"}
    await app.build(procfile={"web": "sample web", **broken})
    await app.succeeds()
    await app.scale(**dict.fromkeys(broken, 1))
    return app


async def events(app: PlatformApp, query: str) -> dict[str, str]:
    """The last message of each reason, in the order in which the reasons were first seen."""
    found: dict[str, str] = {}
    for event in (await app.call("GET", f"events/?{query}"))["results"]:
        found[event["reason"]] = event["message"]
    return found


@dataclass(frozen=True)
class Trouble:
    """What is told of a pod that fails."""

    states: tuple[str, ...]
    code: str
    words: str
    noted: tuple[str, ...]


TROUBLES: Final = {
    "crashing": Trouble(
        ("error", "starting", "up"), "process-crashed", "exit code 5", ("Scheduled", "Created", "Started", "BackOff")
    ),
    "huge": Trouble(("initializing",), "unschedulable", "Insufficient cpu", ("FailedScheduling",)),
    "refused": Trouble(
        ("starting",), "readiness-refused", "statuscode: 503", ("Scheduled", "Created", "Started", "Unhealthy")
    ),
}


@pytest.mark.parametrize("ptype", TROUBLES)
async def test_weakness_05_42_pods_tell_what_is_wrong_with_them(troubled: PlatformApp, ptype: str) -> None:
    trouble = TROUBLES[ptype]

    async def told() -> tuple[dict[str, Any], dict[str, Any], dict[str, str]]:
        pods = await troubled.pods(ptype)
        assert [pod["state"] in trouble.states for pod in pods] == [True], pods
        (container,) = (await troubled.call("GET", f"pods/{pods[0]['name']}/describe/"))["results"]
        assert container["message"].startswith(f"{trouble.code}: "), container
        assert pods[0]["restarts"] == container["restartCount"]  # one was asked for after the other
        happened = await events(troubled, f"pod_name={pods[0]['name']}")
        assert [reason for reason in happened if reason in trouble.noted] == list(trouble.noted), happened
        return pods[0], container, happened

    pod, container, happened = await until(told)
    assert trouble.words in container["message"]
    assert (container["container"], container["ready"]) == (f"{troubled.name}-{ptype}", False)
    assert (pod["ready"], pod["release"]) == ("0/1", f"v{await troubled.newest_version()}")
    assert any(reason in happened for reason in ("BackOff", "FailedScheduling", "Unhealthy"))


async def test_weakness_02_a_process_type_without_pods_tells_what_is_wrong_with_it(troubled: PlatformApp) -> None:
    async def told() -> dict[str, str]:
        assert await troubled.pods("greedy") == []
        found = await events(troubled, f"ptype={troubled.name}-greedy")
        assert "FailedCreate" in found, found
        return found

    assert "exceeded quota" in (await until(told))["FailedCreate"]


async def test_what_is_well_is_not_touched_by_what_is_not(troubled: PlatformApp) -> None:
    rows = {row["name"]: row for row in (await troubled.call("GET", "ptypes/"))["results"]}
    assert {name: row["ready"] for name, row in rows.items()} == {
        "web": "1/1",
        **dict.fromkeys(("crashing", "huge", "greedy", "refused"), "0/1"),
    }
    assert (rows["web"]["up_to_date"], rows["web"]["available_replicas"]) == (1, 1)
    (web,) = await troubled.pods("web")
    (container,) = (await troubled.call("GET", f"pods/{web['name']}/describe/"))["results"]
    assert (container["status"], container["ready"], container["message"]) == ("Running", True, "")
    assert list(container["state"]) == ["running"]
    happened = await events(troubled, f"pod_name={web['name']}")
    order = ("Scheduled", "Pulled", "Created", "Started")
    assert [reason for reason in happened if reason in order] == list(order), happened
    scaled = await events(troubled, f"ptype={troubled.name}-web")
    assert "ScalingReplicaSet" in scaled, scaled
    assert "Deployed" in scaled, scaled
    (described,) = (await troubled.call("GET", f"ptypes/{troubled.name}-refused/describe/"))["results"]
    assert described["readiness_probe"]["httpGet"]["path"] == "/ready"
    assert described["image"] == troubled.platform.image

"""`kill -9` of the builder in each phase of a push: no build is lost, none is done twice, and nothing is left.

The builder is the real service in a process of its own, with the real cluster behind it; database, bus, controller and
volume outlive it. Moments are seen from outside: commits to the database, requests to the API server, files, pods.
Besides them pushes are killed at random moments: `KILLS` of them (6), or 60 with `KILLS=every`; `SEED` repeats a run.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Final
from uuid import uuid4

import pytest
import pytest_asyncio

from integration.builder_ssh.world import Outcome, commit, git_environment, run
from support import eventually
from support.broker import Broker
from support.builder_cluster import build_images, build_place
from support.cluster_image import REGISTRY, REGISTRY_OF_PODS
from support.fixtures import MakeDatabase
from support.killed_builder import Change, Record, Site, running_site
from support.kubectl import Kubectl
from support.registry_images import TestedRegistry

_KILLS: Final = os.environ.get("KILLS", "6")
KILLS: Final = 60 if _KILLS == "every" else int(_KILLS)
SEED: Final = int(os.environ.get("SEED", "0")) or random.randrange(1, 10**6)
AT_ONCE: Final = 2
PUSH_SECONDS: Final = 12.0
"""How long a push takes about, on a machine with something else to do."""
LINES: Final = 20
MIB: Final = 1024 * 1024
log = logging.getLogger(__name__)
FINAL: Final = ("succeeded", "failed", "cancelled")
pytestmark = [pytest.mark.timeout(2400), pytest.mark.asyncio(loop_scope="session")]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def site(
    kubectl: Kubectl, rabbitmq: Broker, make_module_database: MakeDatabase, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Site]:
    """One builder, killed again and again."""
    path = tmp_path_factory.mktemp("kills")
    images, database_url = build_images(), await make_module_database("builder")
    with build_place(kubectl, path) as place:
        bus_url = rabbitmq.url(rabbitmq.next_vhost())
        async with running_site(path, database_url, bus_url, place=place, images=images, kubectl=kubectl) as site:
            yield site


@pytest.fixture
def name() -> Callable[[str], str]:
    """Makes names of apps that nobody had."""
    suffix = uuid4().hex[:6]
    return lambda word: f"{word}-{suffix}"


async def committed(
    site: Site, app: str, files: Mapping[str, str | bytes] | None = None, *, is_fast: bool = False
) -> str:
    """Commit an app that takes some seconds to build and says lines all along; the commit. `is_fast`: git's client
    sends it without thinking about how to make it small."""
    if is_fast:
        await run("git", "init", "-q", "-b", "main", str(site.path / app), environment=git_environment(site.path))
        for option in ("core.compression", "pack.window"):
            await run("git", "-C", str(site.path / app), "config", option, "0")
    word = uuid4().hex  # no cache has it
    steps = f"RUN for i in $(seq {LINES}); do echo {word} says $i; sleep 0.2; done"
    return await commit(site.path / app, {"Dockerfile": f"FROM busybox:1\n{steps}\nCMD true\n", **(files or {})})


async def settled(site: Site, commits: Mapping[str, str]) -> None:
    """All that was begun for these apps comes to its end, the same push again succeeds, and then everything is as if
    nobody had been killed."""
    await eventually(lambda: is_over(site, *commits), timeout=120)
    again = await asyncio.gather(*(site.push(app) for app in commits))
    assert [one.status for one in again] == [0] * len(commits), "\n".join(one.output for one in again)
    await eventually(lambda: is_told(site, *commits), timeout=30)
    for build in await site.builds(*commits):
        is_sound(site, build)
    for app, tip in commits.items():
        numbers = Counter(build for build, _ in site.released[app])
        assert set(numbers.values()) == {1}, numbers
        assert site.released[app][-1][1] == tip
        assert await site.branch(app) == tip
    await eventually(lambda: is_clean(site), timeout=30)
    assert "Traceback" not in (site.path / "builder.log").read_text()


async def is_over(site: Site, *apps: str) -> bool:
    states = [(one.app, one.number, one.state) for one in await site.builds(*apps)]
    assert all(state in FINAL for _, _, state in states), states
    return True


async def is_told(site: Site, *apps: str) -> bool:
    """Each event of each build was heard, by one id."""
    for build in await site.builds(*apps):
        told = site.told(build.id)
        assert told.items() >= {"build.requested": 1, f"build.{build.state}": 1}.items(), (build, told)
        assert told - Counter({"build.requested": 1, "build.started": 1, f"build.{build.state}": 1}) == {}, told
    return True


def is_sound(site: Site, build: Record) -> None:
    """A reason or an image, and a log that has each line of the build once and in order."""
    text = site.log(build)
    said = [int(number) for number in re.findall(r"^ *[0-9a-f]{32} says (\d+)$", text, flags=re.MULTILINE)]
    if build.state == "succeeded":
        assert said == list(range(1, LINES + 1)) or "Using cache" in text, text
        (image,) = build.images
        assert TestedRegistry(REGISTRY).has(image.replace(REGISTRY_OF_PODS, REGISTRY))
    else:
        assert said == list(range(1, len(said) + 1)), text
        assert build.code
        assert build.message
        assert f"({build.code})" in text


async def is_clean(site: Site) -> bool:
    left = await site.left()
    assert left == []
    return True


def pod_of(site: Site, app: str) -> dict[str, Any]:
    """The newest pod of the app's builds; AssertionError when there is none."""
    pods = site.kubectl.get("pods", "-n", site.place.namespace, "-l", f"workflow.dev/app={app}")["items"]
    assert pods
    return dict(max(pods, key=lambda one: one["metadata"]["creationTimestamp"]))


async def phase(site: Site, app: str) -> str:
    return str((await asyncio.to_thread(pod_of, site, app))["status"]["phase"])


def begin(site: Site, app: str, *options: str) -> asyncio.Task[Outcome]:
    return asyncio.create_task(site.push(app, *options))


async def cut_off(*pushes: asyncio.Task[Outcome]) -> None:
    """These pushes failed, as their clients see it."""
    for outcome in await asyncio.gather(*pushes):
        assert outcome.status != 0, outcome.output


async def in_mid_output(site: Site, app: str) -> Record:
    async def says() -> Record:
        builds = await site.builds(app)
        assert builds
        assert " says 3\n" in site.log(builds[0])
        return builds[0]

    return await eventually(says, timeout=60)


@pytest.mark.parametrize("with_children", [False, True], ids=["alone", "with-its-git"])
async def test_during_an_upload_in_the_row_and_in_mid_output(
    site: Site, name: Callable[[str], str], with_children: bool
) -> None:
    large, shop = name("large"), name("shop")
    blobs = {f"{one}.bin": random.randbytes(MIB // 2) for one in range(128)}  # git keeps fewer in no pack
    commits = {large: await committed(site, large, blobs, is_fast=True)}
    first = await committed(site, shop)
    building = begin(site, shop)
    build = await in_mid_output(site, shop)
    commits[shop] = await committed(site, shop)
    waiting = begin(site, shop)
    quarantines = site.path / "repos" / f"{shop}.git" / "objects"
    await eventually(lambda: len(list(quarantines.glob("tmp_objdir-*"))) == 2)
    uploading = begin(site, large)
    objects = site.path / "repos" / f"{large}.git" / "objects"
    await eventually(
        lambda: any(one.stat().st_size for one in objects.glob("tmp_objdir-*/pack/tmp_pack_*")), timeout=30
    )
    await site.killed(with_children=with_children)
    await cut_off(building, waiting, uploading)
    assert await site.builds(large) == []
    await eventually(lambda: is_over(site, shop), timeout=60)
    (ended,) = await site.builds(shop)
    assert (ended.id, ended.sha, ended.state) == (build.id, first, "succeeded")
    await settled(site, commits)


async def test_requested_and_before_the_secret_and_before_the_job(site: Site, name: Callable[[str], str]) -> None:
    """A build whose source was not kept yet fails with a reason; from then on it goes on."""
    early, secret, job = name("early"), name("secret"), name("job")
    commits = {app: await committed(site, app) for app in (early, secret, job)}
    kinds = {secret: "/secrets", job: "/jobs"}
    site.line.catch = lambda method, path, body: (
        method == "POST" and any(path.endswith(kind) and f'"{app}"'.encode() in body for app, kind in kinds.items())
    )
    pushes = [begin(site, secret), begin(site, job)]
    await eventually(lambda: len(site.line.caught) == 2, timeout=30)

    def kill(change: Change) -> None:
        if change == (early, "requested"):
            site.builder.kill()

    site.on_change = kill
    pushes.append(begin(site, early))
    await cut_off(*pushes)
    found = await asyncio.to_thread(site.kubectl.get, "jobs,secrets", "-n", site.place.namespace)
    assert [(one["kind"], one["metadata"]["labels"]["workflow.dev/app"]) for one in found["items"]] == [("Secret", job)]
    assert not list((site.path / "storage").rglob(f"{early}/*.tar.gz"))
    await site.killed()
    await eventually(lambda: is_over(site, *commits), timeout=60)
    ends = {one.app: (one.state, one.code) for one in await site.builds(*commits)}
    assert ends == {early: ("failed", "interrupted"), secret: ("succeeded", None), job: ("succeeded", None)}
    await settled(site, commits)


async def test_with_a_pod_that_is_pending_and_a_job_that_has_just_ended(site: Site, name: Callable[[str], str]) -> None:
    pending, ended = name("pending"), name("ended")
    commits = {app: await committed(site, app) for app in (pending, ended)}
    pushes = [begin(site, ended)]
    await in_mid_output(site, ended)
    pushes.append(begin(site, pending))
    await eventually(lambda: phase(site, pending), timeout=30)
    site.builder.freeze()  # what happens from now on nobody has seen
    assert await phase(site, pending) == "Pending"
    await eventually(lambda: _is(site, ended, "Succeeded"), timeout=60)
    await site.killed()
    await cut_off(*pushes)
    await eventually(lambda: is_over(site, *commits), timeout=90)
    assert [one.state for one in await site.builds(*commits)] == ["succeeded"] * 2
    await settled(site, commits)


async def _is(site: Site, app: str, wanted: str) -> bool:
    return await phase(site, app) == wanted


async def test_right_after_the_success_is_recorded(site: Site, name: Callable[[str], str]) -> None:
    app = name("shop")
    commits = {app: await committed(site, app)}

    def kill(change: Change) -> None:
        if change == (app, "succeeded"):
            site.builder.kill()

    site.on_change = kill
    await cut_off(begin(site, app))
    assert app not in site.released
    await site.killed()
    await eventually(lambda: site.released.get(app), timeout=30)
    await settled(site, commits)
    assert len(await site.builds(app)) == 1


async def test_while_a_release_is_made_and_between_the_verdict_and_the_branch(
    site: Site, name: Callable[[str], str]
) -> None:
    slow, judged = name("slow"), name("judged")
    commits = {app: await committed(site, app) for app in (slow, judged)}
    site.silent.add(slow)
    changes: list[Change] = []

    def kill(change: Change) -> None:
        changes.append(change)
        if change == (judged, "deployed"):
            site.builder.kill()

    site.on_change = kill
    pushes = [begin(site, slow)]
    await eventually(lambda: Change(slow, "succeeded") in changes, timeout=60)
    pushes.append(begin(site, judged))
    await cut_off(*pushes)
    assert await site.branch(judged) == ""
    await site.killed()
    await site.speak()
    await settled(site, commits)
    assert {one.app: one.number for one in await site.builds(slow, judged)} == {slow: 1, judged: 1}


async def test_at_random_moments(site: Site, name: Callable[[str], str]) -> None:
    chosen = random.Random(SEED)
    states: Counter[str] = Counter()
    for number in range(0, KILLS, AT_ONCE):
        apps = [name(f"r{number + one}") for one in range(min(AT_ONCE, KILLS - number))]
        commits = {app: await committed(site, app) for app in apps}
        moment, with_children = chosen.uniform(0, PUSH_SECONDS), chosen.random() < 0.5
        log.warning("SEED=%d, kill %d: after %.2f s, with children: %s", SEED, number, moment, with_children)
        pushes = [begin(site, app) for app in apps]
        await asyncio.sleep(moment)
        before = Counter(one.state for one in await site.builds(*apps))
        await site.killed(with_children=with_children)
        await asyncio.gather(*pushes)
        states += before
        await settled(site, commits)
    log.warning("killed when builds were: %s", dict(states))

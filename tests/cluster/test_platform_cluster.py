"""The whole platform on a real cluster: what users do, seen from where users are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from support.cluster_platform import ENTRY, Platform, PlatformApp, StartPlatform, until
from support.traffic import Traffic

pytestmark = pytest.mark.timeout(300)
RATE = 100


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def platform(start_platform: StartPlatform) -> AsyncIterator[Platform]:
    """A controller with its worker, and the rights that it has in a cluster."""
    async with start_platform() as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def app(platform: Platform) -> PlatformApp:
    """An app with one web and one worker; destroyed with all others after the last test."""
    deployed = await platform.deploy(values={"GREETING": "hello"})
    await deployed.scale(worker=1)
    await deployed.runs(web=1, worker=1)
    return deployed


async def test_an_image_is_deployed_and_reached_by_its_host(app: PlatformApp) -> None:
    release, _, word = (await app.answers()).split()
    assert (release, word) == (f"v{await app.newest_version()}", "web")
    assert await app.answers("/env/GREETING") == "hello"
    assert await app.answers("/env/DRYCC_APP") == app.name
    (web,), (worker,) = await app.pods("web"), await app.pods("worker")
    assert (await app.get()).text.split()[1] == web["name"]
    assert (web["ready"], worker["ready"]) == ("1/1", "1/1")


async def test_no_request_is_dropped_while_a_config_release_rolls(app: PlatformApp) -> None:
    await app.answers()
    before = f"v{await app.newest_version()}"
    traffic = Traffic(f"http://{ENTRY}/", host=app.host, rate=RATE, limit=RATE * 60, keep_alive=True)
    sending = asyncio.create_task(traffic.run())
    await until(lambda: _seen(traffic, before))
    version = await app.set(GREETING="good day")
    await app.succeeds(version)
    await until(lambda: _seen(traffic, f"v{version}"))
    await app.runs(web=1, worker=1)  # what ran before is gone
    traffic.stop()
    outcome = await sending
    assert outcome.failures == []
    assert set(outcome.answers) == {before, f"v{version}"}
    await app.answers("/env/GREETING", text="good day")


async def test_scaling_up_and_down(app: PlatformApp) -> None:
    await app.scale(web=3, worker=2)
    pods = await app.runs(web=3, worker=2)
    names = {pod["name"] for pod in pods if pod["type"] == "web"}

    async def all_answer() -> bool:
        return {(await app.get()).text.split()[1] for _ in range(12)} == names

    await until(all_answer)
    await app.scale(web=1, worker=0)
    await app.runs(web=1)
    await app.answers()
    await app.scale(web=0)
    await app.runs()
    await app.scale(web=1)
    await app.runs(web=1)
    await app.answers()


async def test_a_release_that_crashes_is_rolled_back_and_the_old_one_answers_on(app: PlatformApp) -> None:
    await app.answers()
    good = await app.newest_version()
    traffic = Traffic(f"http://{ENTRY}/", host=app.host, rate=20, limit=20 * 120, keep_alive=True)
    sending = asyncio.create_task(traffic.run())
    version = await app.set("web", EXIT_CODE="7", EXIT_LINES="4")
    failure = await app.fails(version)
    assert (failure["code"], failure["ptype"]) == ("process-crashed", "web")
    assert "7" in failure["message"]
    assert [line for line in failure["log"] if "before the end" in line] == [
        f"line {number} before the end" for number in (1, 2, 3, 4)
    ]
    release = await app.release(version)
    assert release["failed"] is True
    pods = await app.runs(web=1, worker=1)
    assert {pod["release"] for pod in pods} == {f"v{good}"}
    traffic.stop()
    outcome = await sending
    assert outcome.failures == []
    assert set(outcome.answers) == {f"v{good}"}
    await app.succeeds(await app.set(GREETING="again"))  # made of the last good release
    await app.answers("/env/GREETING", text="again")
    assert (await app.get("/env/EXIT_CODE")).status_code == 404


async def test_one_off_with_its_exit_code_and_output(app: PlatformApp) -> None:
    script = "echo $GREETING from $DRYCC_APP; echo and this >&2; exit 3"
    done = await app.job(["sh", "-c", script])
    assert (done["state"], done["exit_code"], done["reason"]) == ("crashed", 3, "process-crashed")
    assert sorted(done["log"]) == sorted([f"hello from {app.name}", "and this"])
    good = await app.job(["true"])
    assert (good["state"], good["exit_code"], good["log"]) == ("down", 0, [])
    missing = await app.job(["no-such-program"])
    assert (missing["state"], missing["reason"]) == ("crashed", "command-not-found")


async def test_logs_and_commands_beside_an_instance(app: PlatformApp) -> None:
    (web,) = await app.pods("web")
    await app.answers("/say/something-to-remember")

    async def says_so() -> bool:
        return "something-to-remember" in await app.logs(web["name"])

    await until(says_so)
    assert await app.execute(web["name"], "sh", "-c", "echo $GREETING") == b"\x01hello\n"
    answer = await app.execute(web["name"], "sh", "-c", "exit 4")
    assert answer[:1] == b"\x03"
    assert b"exit code 4" in answer


async def test_config_changes_sent_without_waiting_all_become_releases_and_the_last_one_runs(app: PlatformApp) -> None:
    first = await app.newest_version()
    versions = [await app.set(COUNTER=str(number)) for number in range(10)]
    assert versions == list(range(first + 1, first + 11))
    await app.succeeds(versions[-1])
    pods = await app.runs(web=1, worker=1)
    assert {pod["release"] for pod in pods} == {f"v{versions[-1]}"}
    await app.answers("/env/COUNTER", text="9")


async def test_an_app_that_always_fails_delays_no_other(platform: Platform, app: PlatformApp) -> None:
    failing = await platform.create()
    await failing.set("web", EXIT_CODE="1")
    version = await failing.build()
    for number in range(3):
        await app.succeeds(await app.set(COUNTER=str(number)), seconds=20)
    failure = await failing.fails(version)
    assert (failure["code"], failure["ptype"]) == ("process-crashed", "web")


async def test_an_app_is_destroyed_to_the_last_object(platform: Platform, app: PlatformApp) -> None:
    await app.answers()
    await app.destroy()
    volumes = await platform.objects("pv", "-l", f"app={app.name}")
    assert volumes["items"] == []
    await app.answers(status=404)
    assert (await app.owner.client.get(f"/v2/apps/{app.name}/")).status_code == 404


async def _seen(traffic: Traffic, release: str) -> bool:
    return traffic.outcome.answers[release] > 0

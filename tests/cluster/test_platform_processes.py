"""What people do with what runs: one-offs, commands and logs over WebSockets, restarts, scaling; on a real cluster."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_asyncio

from client.commands import TREE
from client.model.profile import Profile, save
from client.model.session import Outcome, Session
from support.cluster_platform import ENTRY, Platform, PlatformApp, StartPlatform, until
from support.go_websocket import GoWebSocket
from support.traffic import Traffic

pytestmark = pytest.mark.timeout(240)
RUN: Final = '[ "$WHICH" = web ] && echo migrated for $WHICH; exit $MIGRATION'


@pytest_asyncio.fixture(scope="module")
async def platform(start_platform: StartPlatform) -> AsyncIterator[Platform]:
    """A controller with its worker, and the rights that it has in a cluster."""
    async with start_platform(prefix="hg") as running:
        yield running


@pytest_asyncio.fixture(scope="module")
async def app(platform: Platform) -> PlatformApp:
    """An app with a web, which all tests share."""
    made = await platform.create()
    await made.configure(
        values=[{"name": "GREETING", "value": "hello", "group": "global"}],
        termination_grace_period={"web": "4", "run": "1"},
    )
    await made.build()
    await made.succeeds()
    return made


async def the_pod(app: PlatformApp) -> str:
    """The name of its web, which is up alone."""
    (pod,) = await app.runs(web=1)
    return str(pod["name"])


async def start(app: PlatformApp, command: str | list[str], **facts: Any) -> str:
    """Start a one-off; its name."""
    return str((await app.call("POST", "jobs", expect=201, json={"command": command, **facts}))["name"])


async def ended(app: PlatformApp, name: str) -> dict[str, Any]:
    """A one-off when it has ended."""

    async def is_over() -> dict[str, Any] | None:
        job: dict[str, Any] = await app.call("GET", f"jobs/{name}")
        return job if job["state"] in ("down", "crashed") else None

    job = await until(is_over)
    assert job is not None
    return job


async def output(app: PlatformApp, name: str, **query: str) -> bytes:
    """What a one-off has said."""
    response = await app.owner.client.get(f"/v2/apps/{app.name}/jobs/{name}/log", params=query)
    assert response.status_code == 200, response.text
    return response.content


async def test_the_output_of_a_one_off_comes_while_it_runs(app: PlatformApp) -> None:
    address = app.platform.api.address
    assert address is not None
    name = await start(app, ["sh", "-c", "echo first; until [ -e /tmp/go ]; do sleep 0.1; done; echo second; exit 4"])
    url = f"{address.base_url}/v2/apps/{app.name}/jobs/{name}/log?follow=true"
    client, headers = app.platform.entry, {"Authorization": f"token {app.owner.token}"}
    got = b""
    async with client.stream("GET", url, headers=headers, timeout=60) as response:
        async for piece in response.aiter_raw():
            got += piece
            if got == b"first\n":  # it is let on only when this has come
                assert await app.execute(name, "touch", "/tmp/go") == b"\x01"
    assert got == b"first\nsecond\n"
    done = await ended(app, name)
    assert (done["state"], done["exit_code"], done["reason"]) == ("crashed", 4, "process-crashed")
    assert done["log"] == ["first", "second"]
    assert await output(app, name, offset="6") == b"second\n"


async def test_weakness_43_words_of_a_one_off_are_passed_as_they_are(app: PlatformApp) -> None:
    response = await app.owner.client.post(
        f"/v2/apps/{app.name}/run", json={"command": ["printf", "%s|", "a  b", "$GREETING", "'c\""], "expires": 2}
    )
    assert response.status_code == 204
    name = response.headers["X-Workflow-Job"]
    done = await ended(app, name)
    assert (done["state"], done["exit_code"], done["log"]) == ("down", 0, ["a  b|$GREETING|'c\"|"])

    async def is_listed() -> bool:
        return name in [pod["name"] for pod in await app.pods("run")]

    async def is_forgotten() -> bool:
        return not await is_listed()

    await until(is_forgotten)  # its time to be kept is over


async def test_weakness_23_one_offs_side_by_side_one_of_which_takes_too_long(app: PlatformApp) -> None:
    slow = ["sh", "-c", "echo begun; sleep 1000"]
    late, stopped, quick = await asyncio.gather(
        start(app, slow, timeout=4), start(app, slow), start(app, ["sh", "-c", "echo $DRYCC_APP"])
    )

    async def says(name: str) -> bool:
        return await output(app, name) == b"begun\n"

    await until(lambda: says(stopped))
    listed = {pod["name"]: pod for pod in await app.pods("run")}
    assert set(listed) >= {late, stopped, quick}
    assert (listed[stopped]["state"], listed[stopped]["ready"]) == ("up", "0/1")
    await app.call("DELETE", f"jobs/{stopped}", expect=204)
    done = {name: await ended(app, name) for name in (late, stopped, quick)}
    assert (done[quick]["state"], done[quick]["log"]) == ("down", [app.name])
    assert [(done[name]["state"], done[name]["reason"]) for name in (late, stopped)] == [
        ("crashed", "deadline-exceeded"),
        ("crashed", "stopped"),
    ]
    for name in (late, stopped):
        assert "begun" in done[name]["log"], done[name]
        assert await output(app, name) == b"begun\n"
    (told,) = (await app.call("GET", f"pods/{late}/describe/"))["results"]
    assert told["message"].startswith("deadline-exceeded")


async def test_a_command_of_the_release_phase_comes_first_and_has_the_settings_of_its_type(app: PlatformApp) -> None:
    """Weakness 15: not those of `run`."""
    run = {"command": ["sh", "-c", RUN]}
    web = {"kind": "pipeline", "ptype": "web", "env": {"WHICH": "web", "MIGRATION": "0"}, "run": run}
    facts: dict[str, Any] = {"pipeline": {"web.yaml": {**web, "deploy": {"command": ["sample"], "args": ["web"]}}}}
    await app.set("run", WHICH="run")
    good = await app.build(procfile={}, dryccfile=facts)
    await app.succeeds(good)
    (migration,) = [pod["name"] for pod in await app.pods("run") if pod["release"] == f"v{good}"]
    assert await app.logs(migration) == ["migrated for web"]
    pod = await the_pod(app)
    failure = await app.fails(await app.set("web", MIGRATION="9"))
    assert (failure["code"], failure["ptype"]) == ("release-phase-failed", "web")
    assert "exit code 9" in failure["message"]
    assert failure["log"] == ["migrated for web"]
    assert await the_pod(app) == pod  # nothing was rolled out
    assert (await app.answers()).split()[0] == f"v{good}"


async def test_a_one_off_whose_image_is_not_there_ends(platform: Platform) -> None:
    other = await platform.create()
    dryccfile = {
        "pipeline": {
            "web.yaml": {
                "kind": "pipeline",
                "ptype": "web",
                "run": {"image": f"{platform.image}-nowhere", "command": ["true"]},
                "deploy": {},
            }
        }
    }
    failure = await other.fails(await other.build(procfile={}, dryccfile=dryccfile))
    assert (failure["code"], failure["ptype"]) == ("release-phase-failed", "web")
    assert "image-not-found" in failure["message"]
    assert any("-nowhere" in line for line in failure["log"]), failure
    await other.destroy()


async def converse(socket: GoWebSocket, *frames: bytes) -> list[bytes]:
    """Send these frames and read all messages."""
    for frame in frames:
        await socket.send(frame)
    try:
        return await socket.everything()
    finally:
        await socket.close()


async def test_weakness_44_commands_beside_an_instance(app: PlatformApp) -> None:
    pod = await the_pod(app)
    path = f"pods/{pod}/exec/"
    assert await app.execute(pod, "sh", "-c", "echo $GREETING; echo and >&2") in (
        b"\x01hello\nand\n",
        b"\x01and\nhello\n",
    )
    cat = await app.dial(path)
    await cat.send_json({"command": ["cat"], "tty": False, "stdin": True})
    assert await converse(cat, b"\x00\xc3", b"\x00\xb6\n", b"\x00") in (
        [b"\x01\xc3\xb6\n"],
        [b"\x01\xc3", b"\x01\xb6\n"],
    )
    shell = await app.dial(path)
    await shell.send_json({"command": ["sh"], "tty": True, "stdin": True})
    size = b"\x04" + json.dumps({"Height": 40, "Width": 120}).encode()
    typed = b"\x00until stty size | grep '40 120'; do sleep 0.1; done; exit 6\n"
    messages = await converse(shell, size, typed)
    said = b"".join(message[1:] for message in messages[:-1])
    assert b"40 120\r\n" in said
    assert messages[-1][:1] == b"\x03"
    assert json.loads(messages[-1][1:])["message"] == "command terminated with exit code 6"
    missing = await app.execute(pod, "no-such-program")
    assert missing[:1] in (b"\x01", b"\x02", b"\x03")
    assert b"no-such-program" in missing or b"exit code 127" in missing


async def test_weakness_44_logs_of_one_and_of_all_as_they_come(app: PlatformApp) -> None:
    pod = await the_pod(app)
    whole, single = await app.dial("logs/"), await app.dial(f"pods/{pod}/logs/")
    await whole.send_json({"lines": 10, "follow": True, "timeout": 60})
    await single.send_json({"lines": 10, "follow": True})
    await app.answers("/say/something-new")

    async def comes(socket: GoWebSocket) -> bytes:
        while b"something-new" not in (message := await socket.receive() or b"something-new: the end"):
            pass
        return message

    line, piece = await comes(whole), await comes(single)
    assert piece.endswith(b"something-new\n")
    assert line.split()[0].decode() in f"web.{pod}" or pod.rpartition("-")[2] in line.decode()
    await whole.close()
    await single.close()
    assert (await app.logs(pod, lines=1)) == ["something-new"]


async def test_a_restart_of_a_container_leaves_what_it_said_before_it_fell(app: PlatformApp) -> None:
    pod = await the_pod(app)
    await app.answers("/say/last-words")
    with pytest.raises(Exception, match=r"disconnect|closed|502|Server"):
        (await app.get("/exit/3")).raise_for_status()

    async def is_back() -> dict[str, Any]:
        (listed,) = await app.runs(web=1)
        assert (listed["name"], listed["restarts"]) == (pod, 1)
        return listed

    await until(is_back)
    await app.answers()
    events = (await app.call("GET", f"events/?pod_name={pod}"))["results"]
    assert sum(event["reason"] == "Started" for event in events) >= 1
    (told,) = (await app.call("GET", f"pods/{pod}/describe/"))["results"]
    assert (told["restartCount"], told["status"], told["message"]) == (1, "Running", "")


async def test_what_is_stopped_or_restarted_is_replaced(app: PlatformApp) -> None:
    first = await the_pod(app)
    await app.answers()
    traffic = Traffic(f"http://{ENTRY}/", host=app.host, rate=20, limit=20 * 60, keep_alive=True)
    sending = asyncio.create_task(traffic.run())

    async def another_than(name: str) -> str:
        found = await the_pod(app)
        assert found != name
        return found

    await app.call("POST", "ptypes/restart/", expect=204, json={"ptypes": "web"})
    second = await until(lambda: another_than(first))
    traffic.stop()
    assert (await sending).failures == []
    response = await app.owner.client.request(
        "DELETE", f"/v2/apps/{app.name}/pods/", json={"pod_ids": f"{second},nobody"}
    )
    assert response.status_code == 200
    await until(lambda: another_than(second))
    await app.answers()


async def test_settings_of_a_rollout_arrive_in_the_deployment(app: PlatformApp) -> None:
    values = {
        "DRYCC_DEPLOY_BATCHES": "1",
        "IMAGE_PULL_POLICY": "Always",
        "KUBERNETES_DEPLOYMENTS_REVISION_HISTORY_LIMIT": "3",
    }
    await app.succeeds(await app.set(**values))
    deployment = await app.platform.objects("deployment", "-n", app.name, f"{app.name}-web")
    spec = deployment["spec"]
    assert spec["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    assert spec["revisionHistoryLimit"] == 3
    assert [one["imagePullPolicy"] for one in spec["template"]["spec"]["containers"]] == ["Always"]
    await app.call("POST", "settings/", expect=201, json={"label": {"team": "shop"}})
    assert (await app.call("GET", "settings/"))["label"] == {"team": "shop"}
    (described,) = (await app.call("GET", f"ptypes/{app.name}-web/describe/"))["results"]
    assert described["limits"] == {"cpu": "1", "memory": "96Mi"}


async def test_weakness_20_21_22_load_scales_an_app_and_a_release_leaves_its_number_alone(app: PlatformApp) -> None:
    await app.call(
        "POST", "settings/", expect=201, json={"autoscale": {"web": {"min": 1, "max": 2, "cpu_percent": 50}}}
    )
    burning = asyncio.create_task(burn(app))
    try:
        await app.runs(web=2, seconds=120)
        watched = asyncio.create_task(fewest(app))
        await app.succeeds(await app.set(GREETING="under load"))
        assert {pod["release"] for pod in await app.runs(web=2)} == {f"v{await app.newest_version()}"}
        watched.cancel()
        assert (await asyncio.gather(watched, return_exceptions=True))[0] is not None
        rows = (await app.call("GET", "ptypes/"))["results"]
        assert [row["ready"] for row in rows if row["name"] == "web"] == ["2/2"]
    finally:
        burning.cancel()
        await asyncio.gather(burning, return_exceptions=True)
    await app.call("POST", "settings/", expect=201, json={"autoscale": {"web": None}})
    await app.runs(web=1)  # the number that the app was scaled to counts again


async def burn(app: PlatformApp) -> None:
    """Keep it at work."""
    while True:
        await app.get("/burn?ms=100")


async def fewest(app: PlatformApp) -> None:
    """Fail as soon as there is only one."""
    while True:
        assert len(await app.pods("web")) >= 2
        await asyncio.sleep(0.1)


class TestClient:
    """The released client sees the same."""

    @pytest.fixture
    def ana(self, platform: Platform, app: PlatformApp, tmp_path: Path) -> Session:
        """The owner of the app at a machine with the client."""
        address = platform.api.address
        assert address is not None
        (tmp_path / ".drycc").mkdir()
        profile = Profile(
            app.owner.name, ssl_verify=True, controller=address.base_url, token=app.owner.token, response_limit=0
        )
        save(tmp_path / ".drycc" / "client.json", profile)
        return Session(TREE, tmp_path, tmp_path)

    async def test_it_shows_what_runs(self, ana: Session, app: PlatformApp) -> None:
        pod = await the_pod(app)

        async def ok(*words: str) -> Outcome:
            done = await ana.run(*words[:2], "-a", app.name, *words[2:])
            assert (done.status, done.stderr) == (0, ""), done
            return done

        rows = [line.split() for line in (await ok("ps", "list")).lines[1:]]
        version = f"v{await app.newest_version()}"
        assert [row[:6] for row in rows if row[3] == "web"] == [[pod, version, "up", "web", "1/1", "0"]]
        shown = (await ok("ps", "describe", pod)).stdout
        assert "Ready:" in shown
        assert "Scheduled" in shown
        assert "Successfully assigned" in shown
        assert any(line.split()[:1] == ["web"] and "1/1" in line for line in (await ok("pts", "list")).lines)
        described = (await ok("pts", "describe", "web")).stdout
        assert "ScalingReplicaSet" in described
        assert "listening" in (await ok("ps", "logs", pod)).stdout
        assert app.name in (await ok("ps", "exec", pod, "--", "printenv", "DRYCC_APP")).stdout

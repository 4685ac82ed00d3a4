"""The path that the platform exists for: push, release, configure, scale, look, run, roll back, destroy."""

import asyncio
import json
import time
from typing import Any

import httpx
import pytest
import websockets

from e2e.live import GOOD, Live, User, eventually


async def _log_lines(live: Live, user: User, path: str, request: dict[str, Any]) -> str:
    uri = f"ws://127.0.0.1:{live.config.http_port}{path}"
    headers = {
        "Host": live.config.url("drycc").removeprefix("http://"),
        "Authorization": user.http.headers["Authorization"],
    }
    del headers["Host"]  # set through the URI's host below
    async with websockets.connect(
        uri.replace("127.0.0.1", f"drycc.{live.config.domain}"),
        host="127.0.0.1",
        additional_headers=headers,
        proxy=None,
    ) as socket:
        await socket.send(json.dumps(request))
        return "\n".join([message if isinstance(message, str) else message.decode() async for message in socket])


@pytest.mark.timeout(300)
def test_from_push_to_destroy(live: Live, admin: User) -> None:
    app = admin.call("POST", "/v2/apps/", expect=201, json={"id": "path"})
    assert app["owner"] == "admin"
    assert app["structure"] == {}
    assert [release["version"] for release in live.releases(admin, "path")] == [1]

    # push
    repository = live.repository("path", GOOD)
    pushed = live.push(admin, repository, "path")
    assert pushed.returncode == 0, pushed.stderr
    assert "remote: " in pushed.stderr
    assert "path:v2 deployed" in pushed.stderr
    assert live.config.url("path") in pushed.stderr
    assert live.answer("path") == (200, "v2 - one")
    assert live.releases(admin, "path")[0]["state"] == "succeed"
    assert [pod["state"] for pod in live.pods(admin, "path")] == ["up"]

    # config set: v3 with a rolling restart
    admin.call(
        "POST",
        "/v2/apps/path/config/",
        expect=201,
        json={"values": [{"name": "GREETING", "value": "hello", "group": "global"}]},
    )
    eventually(lambda: live.answer("path") == (200, "v3 hello one"), "v3 to be served")
    eventually(lambda: live.releases(admin, "path")[0]["state"] == "succeed", "v3 to succeed")
    assert "GREETING" in live.releases(admin, "path")[0]["summary"]

    # scale
    admin.call("POST", "/v2/apps/path/ptypes/scale/", expect=204, json={"web": 2, "worker": 1})
    eventually(lambda: [pod["state"] for pod in live.pods(admin, "path")] == ["up", "up"], "two web processes")
    eventually(lambda: [pod["state"] for pod in live.pods(admin, "path", "worker")] == ["up"], "a worker")
    assert admin.call("GET", "/v2/apps/path/", expect=200)["structure"] == {"web": 2, "worker": 1}

    # a second push is incremental and does not lose the scale
    live.commit(repository, {"VERSION": "two"})
    pushed = live.push(admin, repository, "path")
    assert pushed.returncode == 0, pushed.stderr
    assert live.answer("path") == (200, "v4 hello two")
    assert len(live.pods(admin, "path")) == 2

    # roll back
    assert admin.call("POST", "/v2/apps/path/releases/rollback/", expect=201, json={"version": 3}) == {"version": 5}
    eventually(lambda: live.answer("path") == (200, "v5 hello one"), "v3's build to be served again")
    assert live.releases(admin, "path")[0]["summary"] == "admin rolled back to v3"

    # destroy
    admin.call("DELETE", "/v2/apps/path/", expect=204)
    assert admin.call("GET", "/v2/apps/path/", expect=404) == "No App matches the given query."
    eventually(lambda: live.answer("path")[0] == 404, "the route to be gone")
    eventually(lambda: not (live.home.repos / "path.git").exists(), "the repository to be gone")


@pytest.mark.timeout(300)
async def test_logs_and_one_off_commands(live: Live, admin: User) -> None:
    admin.call("POST", "/v2/apps/", expect=201, json={"id": "logs"})
    repository = live.repository("logs", GOOD)
    pushed = await asyncio.to_thread(live.push, admin, repository, "logs")
    assert pushed.returncode == 0, pushed.stderr
    text = await _log_lines(live, admin, "/v2/apps/logs/logs", {"lines": 100, "follow": False, "timeout": 30})
    assert "listening" in text
    pod = live.pods(admin, "logs")[0]["name"]
    text = await _log_lines(
        live,
        admin,
        f"/v2/apps/logs/pods/{pod}/logs/",
        {"lines": -1, "follow": False, "container": "", "previous": False},
    )
    assert "listening" in text

    admin.call(
        "POST", "/v2/apps/logs/run", expect=204, json={"command": "echo one-off $WORKFLOW_RELEASE", "timeout": 60}
    )

    async def seen() -> str:
        return await _log_lines(live, admin, "/v2/apps/logs/logs", {"lines": 100, "follow": False, "timeout": 30})

    deadline = time.monotonic() + 30
    while "one-off v2" not in (text := await seen()):
        assert time.monotonic() < deadline, text
        await asyncio.sleep(0.1)
    admin.call("DELETE", "/v2/apps/logs/", expect=204)


@pytest.mark.timeout(300)
async def test_no_request_is_dropped_while_the_configuration_changes(live: Live, admin: User) -> None:
    admin.call("POST", "/v2/apps/", expect=201, json={"id": "steady"})
    pushed = await asyncio.to_thread(live.push, admin, live.repository("steady", GOOD), "steady")
    assert pushed.returncode == 0, pushed.stderr
    rate, requests = 200, 1200
    headers = {"Host": live.config.url("steady").removeprefix("http://")}
    failed: list[str] = []
    seen: set[str] = set()

    async def one(client: httpx.AsyncClient) -> None:
        try:
            response = await client.get("/")
        except httpx.HTTPError as exc:
            failed.append(repr(exc))
            return
        if response.status_code != 200:
            failed.append(f"{response.status_code} {response.text}")
        seen.add(response.text.split()[0])

    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{live.config.http_port}", headers=headers, trust_env=False, timeout=20
    ) as client:
        started = time.monotonic()
        tasks = []
        for number in range(requests):
            await asyncio.sleep(max(0.0, started + number / rate - time.monotonic()))
            tasks.append(asyncio.create_task(one(client)))
            if number == rate:
                values = [{"name": "GREETING", "value": "new", "group": "global"}]
                tasks.append(
                    asyncio.create_task(
                        asyncio.to_thread(
                            admin.call, "POST", "/v2/apps/steady/config/", expect=201, json={"values": values}
                        )
                    )
                )
        await asyncio.gather(*tasks)
    assert failed == []
    assert seen == {"v2", "v3"}
    admin.call("DELETE", "/v2/apps/steady/", expect=204)

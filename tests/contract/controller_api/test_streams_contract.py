"""Logs and commands over WebSockets, as the released client speaks them, against a real server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from controller.services.processes import Processes
from shared.db import DatabaseAwayError
from support import eventually
from support.controller_api import Api, Person, running_api
from support.fixtures import MakeDatabase
from support.go_websocket import GoWebSocket, RefusedError


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def line(make_module_database: MakeDatabase) -> AsyncIterator[Api]:
    """A controller behind a real server, with an app `chat` that runs."""
    async with running_api(await make_module_database("controller"), served=True) as api:
        await api.create("chat")
        await api.build("chat")
        yield api


@pytest_asyncio.fixture(loop_scope="session")
async def ana(line: Api) -> Person:
    """The owner of `chat`."""
    return await line.person("ana")


@pytest_asyncio.fixture(loop_scope="session")
async def pod(ana: Person) -> str:
    """The name of an instance of `chat`."""
    listed = (await ana.client.get("/v2/apps/chat/pods/")).json()["results"]
    return next(str(each["name"]) for each in listed if each["state"] == "up")


async def dial(api: Api, path: str, token: str | None) -> GoWebSocket:
    """A conversation at that path below /v2/apps."""
    assert api.address is not None
    assert api.address.host is not None
    assert api.address.port is not None
    return await GoWebSocket.dial(api.address.host, api.address.port, f"/v2/apps/{path}", token=token)


async def ask(api: Api, path: str, token: str, request: Any) -> list[bytes]:
    """All messages of a conversation."""
    socket = await dial(api, path, token)
    await socket.send_json(request)
    messages = await socket.everything()
    await socket.close()
    return messages


@pytest.mark.parametrize("path", ["chat/logs", "chat/logs/", "chat/pods/nope/logs/", "chat/pods/nope/exec/"])
async def test_handshakes_that_are_refused(line: Api, path: str) -> None:
    bo = await line.person("bo")
    for token, status in ((None, 401), ("", 401), ("nope", 401), (bo.token, 404)):
        with pytest.raises(RefusedError) as refused:
            await dial(line, path, token)
        assert refused.value.status == status


async def test_a_handshake_without_a_database_is_a_503() -> None:
    nowhere = "postgresql+asyncpg://nobody@127.0.0.1:9/none"
    async with running_api(nowhere, served=True, run_worker=False) as api:
        with pytest.raises(RefusedError) as refused:
            await dial(api, "chat/logs", "drycc_pat_any")
        assert refused.value.status == 503


async def test_version_headers_at_the_handshake(line: Api, ana: Person) -> None:
    socket = await dial(line, "chat/logs", ana.token)
    assert socket.headers["drycc_api_version"] == "2.3"
    await socket.close()


async def test_app_logs_come_line_by_line(line: Api, ana: Person) -> None:
    await line.create("talks")
    for text in ("INFO one", "WARN zw\xf6lf", ""):
        line.engine.write_log("talks", text)
    messages = await ask(line, "talks/logs", ana.token, {"lines": 300, "follow": False, "timeout": 300})
    assert [message.decode() for message in messages] == ["INFO one", "WARN zw\xf6lf"]


async def test_app_logs_follow_until_the_time_is_over(line: Api, ana: Person) -> None:
    await line.create("follows")
    line.engine.write_log("follows", "first")
    socket = await dial(line, "follows/logs", ana.token)
    await socket.send_json({"lines": 300, "follow": True, "timeout": 1})
    assert await socket.receive() == b"first"
    line.engine.write_log("follows", "second")
    assert await socket.receive() == b"second"
    assert await socket.everything() == []
    assert socket.close_code == 1000
    await socket.close()


async def test_pod_logs_come_at_once(line: Api, ana: Person, pod: str) -> None:
    line.engine.write_log("chat", "one", instance=pod)
    line.engine.write_log("chat", "two", instance=pod)
    line.engine.write_log("chat", "of another", instance="other")
    request = {"lines": -1, "follow": False, "container": "", "previous": False}
    (message,) = await ask(line, f"chat/pods/{pod}/logs/", ana.token, request)
    assert message.split() == [b"one", b"two"]


async def test_pod_logs_of_nobody_end_at_once(line: Api, ana: Person) -> None:
    assert await ask(line, "chat/pods/nope/logs/", ana.token, {"lines": 3, "follow": False}) == []


async def test_pod_logs_follow(line: Api, ana: Person, pod: str) -> None:
    socket = await dial(line, f"chat/pods/{pod}/logs/", ana.token)
    await socket.send_json({"lines": 1, "follow": True})
    assert await socket.receive()
    line.engine.write_log("chat", "news", instance=pod)
    assert (await socket.receive() or b"").strip() == b"news"
    await socket.close()


@pytest.mark.parametrize("request_", [b"no json", b"[]", b'{"lines": "many"}'])
async def test_nonsense_ends_the_conversation(line: Api, ana: Person, request_: bytes) -> None:
    socket = await dial(line, "chat/logs", ana.token)
    await socket.send(request_)
    assert await socket.everything() == []
    assert socket.close_code == 1008
    await socket.close()


async def test_exec_without_stdin_is_one_message(line: Api, ana: Person, pod: str) -> None:
    request = {"tty": False, "stdin": False, "command": ["ls", "-l"]}
    assert await ask(line, f"chat/pods/{pod}/exec/", ana.token, request) == [b"\x01ls -l\n"]


async def test_exec_leaves_an_entry_without_its_arguments(line: Api, ana: Person, pod: str) -> None:
    await ask(line, f"chat/pods/{pod}/exec/", ana.token, {"command": ["psql", "--password=s3cret"]})
    await ask(line, f"chat/pods/{pod}/exec/", ana.token, {"command": ["psql --password=s3cret shop"]})
    await ask(line, f"chat/pods/{pod}/exec/", ana.token, {"command": ["PGPASSWORD=s3cret psql"]})
    await ask(line, f"chat/pods/{pod}/exec/", ana.token, {"command": [""]})
    await ask(line, "chat/pods/nope/exec/", ana.token, {"command": ["psql"]})
    query = {"action": "instance.entered", "limit": "4"}
    entries = (await ana.client.get("/v2/apps/chat/audit/", params=query)).json()["results"]
    assert {(entry["actor"], entry["target"]) for entry in entries} == {("ana", pod)}
    assert [entry["after"]["command"] for entry in entries] == ["", "***", "psql", "psql"]


async def test_what_cannot_be_noted_does_not_run(
    line: Api, ana: Person, pod: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[str] = []
    start = line.engine.exec

    async def exec_noted(app: str, instance: str, **facts: Any) -> Any:
        begun.append(instance)
        return await start(app, instance, **facts)

    async def no_connection(*_arguments: object, **_facts: object) -> None:
        raise DatabaseAwayError("no connection")

    monkeypatch.setattr(line.engine, "exec", exec_noted)
    await ask(line, f"chat/pods/{pod}/exec/", ana.token, {"command": ["ls"]})
    assert begun == [pod]
    monkeypatch.setattr(Processes, "note_exec", no_connection)
    (message,) = await ask(line, f"chat/pods/{pod}/exec/", ana.token, {"command": ["ls"]})
    assert message == b"\x02the audit trail cannot be written now, so that nothing was run; try again\n"
    assert begun == [pod]


async def test_exec_with_stdin_and_terminal(line: Api, ana: Person, pod: str) -> None:
    socket = await dial(line, f"chat/pods/{pod}/exec/", ana.token)
    await socket.send_json({"tty": True, "stdin": True, "command": ["bash"]})
    assert await socket.receive() == b"\x01bash\r\n"
    await socket.send(b"\x04" + json.dumps({"Height": 40, "Width": 120}).encode())
    await socket.send(b"\x04nonsense")
    # One character in two frames, neither of which is UTF-8: the client reads keys byte by byte.
    await socket.send(b"\x00\xc3")
    assert await socket.receive() == b"\x01\xc3"
    await socket.send(b"\x00\xb6")
    assert await socket.receive() == b"\x01\xb6"
    await socket.send(b"\x00")  # end of input
    assert await socket.everything() == []
    assert socket.close_code == 1000
    await socket.close()


async def test_exec_where_nothing_runs(line: Api, ana: Person) -> None:
    (message,) = await ask(line, "chat/pods/nope/exec/", ana.token, {"command": ["ls"]})
    assert message == b"\x02nope does not run; see `drycc ps` for what does\n"


@pytest.mark.parametrize("command", [None, [], "ls", ["ls", 5], ["a\0b"]])
async def test_exec_of_nothing(line: Api, ana: Person, pod: str, command: Any) -> None:
    socket = await dial(line, f"chat/pods/{pod}/exec/", ana.token)
    await socket.send_json({"command": command})
    assert await socket.everything() == []
    assert socket.close_code == 1008
    await socket.close()


async def test_a_client_that_leaves_ends_its_command(line: Api, ana: Person, pod: str) -> None:
    def talking() -> int:
        return sum(task.get_name().startswith("exec-") for task in asyncio.all_tasks())

    before = talking()
    socket = await dial(line, f"chat/pods/{pod}/exec/", ana.token)
    await socket.send_json({"stdin": True, "command": ["bash"]})
    assert await socket.receive()
    assert talking() == before + 2
    await socket.close()
    await eventually(lambda: talking() == before)

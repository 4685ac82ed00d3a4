"""WebSockets as the program takes them (cli.md 9)."""

from __future__ import annotations

import struct

import pytest

from client.canned import Bench
from client.model.call import Terminal

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
CONTINUATION = 0


def frame(payload: bytes, opcode: int = TEXT, *, last: bool = True) -> bytes:
    """A frame of a server."""
    length = bytes([len(payload)]) if len(payload) < 126 else b"\x7e" + struct.pack("!H", len(payload))
    return bytes([(0x80 if last else 0) | opcode]) + length + payload


async def test_logs_are_coloured_by_their_first_word(client: Bench) -> None:
    lines = (b"INFO [shop]: created\n", b"web.1 -- GET /\n", b"d\n")
    client.server.add_socket(*(frame(line) for line in lines), frame(b"\x03\xe8", CLOSE))
    done = await client.run("apps", "logs")
    assert done.status == 0
    assert done.stdout.splitlines() == [
        "\x1b[35mINFO [shop]: created\x1b[0m",
        "\x1b[32mweb.1 -- GET /\x1b[0m",  # 413 % 256 % 6 + 1
        "\x1b[39md\x1b[0m",  # 100 % 6 + 1 = 5, which stands for INFO alone
    ]


async def test_the_handshake_is_what_the_server_gets(client: Bench) -> None:
    client.server.add_socket()
    await client.run("apps", "logs")
    head = client.server.requests[0].decode()
    lines = [line for line in head.split("\r\n") if not line.startswith("Sec-WebSocket-Key: ")]
    host = client.server.url.removeprefix("http://")
    assert lines == [
        "GET /v2/apps/shop/logs HTTP/1.1",
        f"Host: {host}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Origin: {client.server.url}",
        "Sec-WebSocket-Version: 13",
        "User-Agent: Drycc Client v1.10.2",
        "Authorization: token t0ken",
        "X-Drycc-Builder-Auth: ",
        "",
        "",
    ]


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({"Connection": "keep-alive, Upgrade"}, "missing or bad upgrade"),
        ({"Upgrade": "h2c"}, "missing or bad upgrade"),
        ({"Sec-WebSocket-Accept": "x"}, "mismatch challenge/response"),
        ({"Sec-WebSocket-Extensions": "permessage-deflate"}, "unsupported extensions"),
        ({"Sec-WebSocket-Protocol": "chat"}, "bad WebSocket protocol"),
    ],
)
async def test_handshakes_that_are_refused(client: Bench, headers: dict[str, str], reason: str) -> None:
    client.server.add_socket(**{name.replace("-", "_"): value for name, value in headers.items()})
    done = await client.run("apps", "logs")
    url = client.server.url.replace("http", "ws") + "/v2/apps/shop/logs"
    assert (done.status, done.error) == (1, f"websocket.Dial {url}: {reason}")


@pytest.mark.parametrize("status", ["401 Unauthorized", "403 Forbidden", "404 Not Found", "302 Found", "200 OK"])
async def test_all_other_answers_are_a_bad_status(client: Bench, status: str) -> None:
    client.server.add({}, status=status)
    done = await client.run("ps", "logs", "p")
    assert (done.status, done.error.endswith("/v2/apps/shop/pods/p/logs/: bad status")) == (1, True)


async def test_fragments_count_as_messages(client: Bench) -> None:
    client.server.add_socket(frame(b"one ", last=False), frame(b"two", CONTINUATION))
    done = await client.run("apps", "logs")
    assert len(done.stdout.splitlines()) == 2


async def test_pings_are_no_messages_and_pongs_end_the_stream(client: Bench) -> None:
    client.server.add_socket(frame(b"x", PING), frame(b"one"), frame(b"", PONG), frame(b"two"))
    done = await client.run("apps", "logs")
    assert (done.status, "one" in done.stdout, "two" in done.stdout) == (0, True, False)
    assert done.stderr.endswith(" error: not implemented\n")


@pytest.mark.parametrize(
    ("message", "status", "stdout"),
    [
        (b"\x01all\nof it", 0, "all\nof it"),
        (b"\x02oops", 0, "oops"),
        (b"\x01", 0, ""),
        (
            b'\x03{"status":"Failure","message":"command terminated with exit code 2"}',
            0,
            "command terminated with exit code 2",
        ),
        (b"\x03{}", 0, ""),
        (b"", 2, ""),
    ],
)
async def test_exec_reads_one_message(client: Bench, message: bytes, status: int, stdout: str) -> None:
    client.server.add_socket(frame(message, BINARY), frame(b"\x01never read"))
    done = await client.run("ps", "exec", "p", "--", "ls", "-l")
    assert (done.status, done.stdout) == (status, stdout)


async def test_interactive_exec_reads_all_messages(client: Bench) -> None:
    client.server.add_socket(frame(b"\x01one "), frame(b"\x02two"), frame(b"", CLOSE))
    words = ("ps", "exec", "p", "-it", "-a", "shop", "--", "sh")
    done = await client.session.start(*words, terminal=Terminal()).task
    assert (done.status, done.stdout) == (0, "one two")


async def test_interactive_exec_needs_a_terminal(client: Bench) -> None:
    client.server.add_socket()
    assert (await client.run("ps", "exec", "p", "-i", "--", "sh")).status == 2

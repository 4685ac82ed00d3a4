"""`auth`, `tokens` and `version` against the suite (cli.md 10.1, 10.2, 10.19)."""

from __future__ import annotations

import json
import re
from pathlib import Path

from client.browsers import Person
from client.model.session import Session
from client.suite import PASSWORD, Suite
from client.world import fail, succeed

UNAUTHORIZED = "Unauthorized: Missing or Invalid Token"


async def test_login_with_a_password(suite: Suite, tmp_path: Path, ana: Session) -> None:
    session = suite.machine(tmp_path / "new")
    done = await succeed(session, "login", suite.url, "--username=ana", f"--password={PASSWORD}")
    file = session.home / ".drycc" / "client.json"
    assert done.stdout == f"Logged in as ana\nConfiguration file written to {file}\n"
    begun, started, polled = done.requests
    assert begun == "GET /v2/"
    assert started == f'POST /v2/auth/login/ {{"username":"ana","password":"{PASSWORD}"}}'
    assert re.fullmatch(r"GET /v2/auth/token/[-\w]+/\?alias=workflow-cli", polled)  # handed out at the first poll
    assert file.stat().st_mode & 0o777 == 0o600
    written = json.loads(file.read_text())
    assert len(written.pop("token")) == 128
    assert written == {"username": "ana", "ssl_verify": True, "controller": suite.url, "response_limit": 0}
    assert (await succeed(session, "whoami")).stdout == f"You are ana at {suite.url}\n"


async def test_login_at_an_address_with_a_slash_or_without_a_scheme(suite: Suite, tmp_path: Path, ana: Session) -> None:
    session = suite.machine(tmp_path / "new")
    words = ("-u", "ana", "-p", PASSWORD, "--ssl-verify=false")
    slashed = await succeed(session, "auth", "login", f"{suite.url}/", *words)
    assert slashed.requests[0] == "GET //v2/"
    assert (await succeed(session, "whoami")).stdout == f"You are ana at {suite.url}/\n"
    await succeed(session, "apps", "list")
    bare = await succeed(session, "auth", "login", suite.url.removeprefix("http://"), *words)
    assert bare.requests[0] == "GET /v2/"
    assert (await succeed(session, "whoami")).stdout == f"You are ana at {suite.url}\n"


async def test_login_with_a_wrong_password(suite: Suite, tmp_path: Path, ana: Session) -> None:
    session = suite.machine(tmp_path / "new")
    for user in ("ana", "nobody"):
        error = await fail(session, "login", suite.url, "-u", user, "-p", "wrong")
        assert error == "Unable to log in with provided credentials."
    assert not (session.home / ".drycc" / "client.json").exists()


async def test_login_in_a_browser(suite: Suite, tmp_path: Path, ana: Session) -> None:
    session = suite.machine(tmp_path / "new", browser=Person("ana"))
    done = await succeed(session, "login", suite.url)
    assert done.requests[:2] == ["GET /v2/", "POST /v2/auth/login/"]
    location = done.exchanges[1].response.headers["location"]
    assert location.startswith(f"{suite.url}/v2/login/drycc/?key=")
    assert done.stdout.startswith(f"Opening browser to {location}\nWaiting for login... Logged in as ana\n")
    await succeed(session, "apps", "list")


async def test_one_credential_alone_counts_as_a_browser_login(suite: Suite, tmp_path: Path, ana: Session) -> None:
    session = suite.machine(tmp_path / "new", browser=Person("ana"))
    done = await succeed(session, "login", suite.url, "-u", "somebody")
    assert done.requests[1] == "POST /v2/auth/login/"
    assert "Logged in as ana\n" in done.stdout


async def test_a_login_that_the_person_refuses(suite: Suite, tmp_path: Path) -> None:
    session = suite.machine(tmp_path / "new", browser=Person("ana", answer="no"))
    assert await fail(session, "login", suite.url) == "logged fail"


async def test_a_login_that_nobody_finishes(suite: Suite, tmp_path: Path) -> None:
    session = suite.machine(tmp_path / "new")
    session.pause_seconds = 0.0
    done = await session.run("login", suite.url)
    assert (done.status, done.error) == (1, "logged fail")
    assert done.stdout.endswith("Cannot open browser, please visit the website in yourself\n")
    polls = done.exchanges[2:]
    assert len(polls) == 121
    assert {poll.response.status for poll in polls} == {404}


async def test_a_server_that_is_no_controller(suite: Suite, tmp_path: Path) -> None:
    session = suite.machine(tmp_path / "new")
    passport = suite.context.settings.passport_url
    session.listener = lambda outcome: None  # passport owes the client nothing
    assert await fail(session, "login", passport) == (
        f"{passport} does not appear to be a valid Drycc controller.\n"
        "Make sure that the Controller URI is correct, the server is running and\n"
        "your drycc version is correct."
    )


async def test_login_without_the_directory(suite: Suite, tmp_path: Path, ana: Session) -> None:
    session = suite.machine(tmp_path / "new")
    (session.home / ".drycc").rmdir()
    file = session.home / ".drycc" / "client.json"
    error = await fail(session, "login", suite.url, "-u", "ana", "-p", PASSWORD)
    assert error == f"open {file}: no such file or directory"
    named = await succeed(session, "login", suite.url, "-u", "ana", "-p", PASSWORD, "-c", "work")
    assert named.lines[-1] == f"Configuration file written to {session.home}/.drycc/work.json"


async def test_whoami(suite: Suite, ana: Session) -> None:
    done = await succeed(ana, "whoami", "--all")
    shown = dict(line.split(": ", 1) for line in done.lines)
    assert int(shown.pop("ID")) > 0
    time = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
    assert re.fullmatch(time, shown.pop("Last Login"))
    assert re.fullmatch(time, shown.pop("Date Joined"))
    assert shown == {
        "Username": "ana",
        "Email": "ana@example.org",
        "First Name": "Some",
        "Last Name": "Body",
        "Is Superuser": "false",
        "Is Staff": "false",
        "Is Active": "true",
    }


async def test_logout(ana: Session) -> None:
    assert (await succeed(ana, "auth", "logout")).stdout == "Logged out\n"
    assert (await fail(ana, "auth", "whoami")).startswith("client configuration file not found at: ")
    assert (await succeed(ana, "logout")).stdout == "Logged out\n"


async def test_tokens(ana: Session) -> None:
    words = ("tokens", "add", "ci", "-u", "ana", "-p", PASSWORD)
    cancelled = await ana.run(*words, typed=["no"])
    assert (cancelled.status, cancelled.error) == (1, "cancel the creation of ana's token, aborting")
    assert cancelled.exchanges == ()
    added = await ana.run(*words, typed=["yes"])
    assert added.status == 0, added.stderr
    header, row = added.lines[-2:]
    assert header.split()[-2:] == ["USERNAME", "TOKEN"]
    user, token = row.split()
    assert (user, len(token)) == ("ana", 128)
    polled = added.exchanges[-1]
    assert polled.target.endswith("/?alias=ci")
    assert polled.headers["Authorization"].startswith("token ")
    listed = await succeed(ana, "tokens", "list", "-l", "1000")
    assert listed.lines[0].split() == ["UUID", "OWNER", "ALIAS", "KEY", "CREATE", "UPDATED"]
    uuid = next(line.split()[0] for line in listed.lines if f"{token[:14]}...{token[-14:]}" in line)
    assert (await ana.run("tokens", "remove", uuid, typed=["no"])).stdout.endswith("skip\n")
    assert (await succeed(ana, "tokens", "remove", uuid, "--confirm", "yes")).stdout == "done\n"
    again = await fail(ana, "tokens", "remove", uuid, "--confirm=yes")
    assert again == '"No Token matches the given query."'
    assert await fail(ana, "tokens", "remove", "nope", "--confirm=yes") == '""'


async def test_tokens_without_a_name(ana: Session) -> None:
    rows = (await succeed(ana, "tokens")).lines[1:]
    assert all(row.split()[1:3] == ["ana", "workflow-cli"] for row in rows if "workflow-cli" in row)
    added = await ana.run("tokens", "add", "", "-u", "ana", "-p", PASSWORD, typed=["yes"])
    assert added.status == 0
    assert " <none> " in (await succeed(ana, "tokens", "list")).stdout


async def test_tokens_add_with_a_wrong_password(ana: Session) -> None:
    done = await ana.run("tokens", "add", "ci", "-u", "ana", "-p", "wrong", typed=["yes"])
    assert (done.status, done.error) == (1, "Unable to log in with provided credentials.")


async def test_a_token_that_has_ended(suite: Suite, tmp_path: Path, ana: Session) -> None:
    session = suite.machine(tmp_path / "new")
    await succeed(session, "login", suite.url, "-u", "ana", "-p", PASSWORD)
    token = json.loads((session.home / ".drycc" / "client.json").read_text())["token"]
    rows = (await succeed(ana, "tokens", "list", "-l", "1000")).lines
    uuid = next(row.split()[0] for row in rows if f"{token[:14]}...{token[-14:]}" in row)
    await succeed(ana, "tokens", "remove", uuid, "--confirm=yes")
    for words in (("apps", "list"), ("config", "set", "A=1", "-a", "x"), ("whoami", "--all")):
        assert await fail(session, *words) == UNAUTHORIZED


async def test_bad_tokens(ana: Session) -> None:
    file = ana.home / ".drycc" / "client.json"
    known = json.loads(file.read_text())
    for token in ("nope", "a b", "", "t" * 10_000):
        file.write_text(json.dumps(known | {"token": token}))
        assert await fail(ana, "apps", "list") == UNAUTHORIZED


async def test_version(ana: Session) -> None:
    assert (await succeed(ana, "version")).stdout == "v1.10.2\n"
    done = await succeed(ana, "version", "--all")
    assert done.stdout == (
        "Workflow CLI Version:            v1.10.2\n"
        "Workflow CLI API Version:        2.3\n"
        "Workflow Controller API Version: 2.3\n"
    )
    (exchange,) = done.exchanges
    assert (exchange.line, exchange.response.status) == ("GET /healthz", 200)
    assert {"Authorization", "Content-Type"}.isdisjoint(exchange.headers)


async def test_headers_of_requests(ana: Session) -> None:
    (listed,) = (await succeed(ana, "apps", "list")).exchanges
    assert list(listed.headers) == [
        "Host",
        "User-Agent",
        "Authorization",
        "Content-Type",
        "Accept-Encoding",
        "Connection",
    ]
    assert listed.headers["Content-Type"] == "application/json"
    assert listed.headers["Connection"] == "close"

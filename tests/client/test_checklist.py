"""What a server owes the client, point by point (cli.md 13)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
import yaml

from client.commands.certs import Cert
from client.commands.resources import Resource
from client.model import websocket
from client.model.api import API_VERSION
from client.model.git import remote_url
from client.model.session import Session
from client.raw import ask, frames_of, login_of
from client.suite import PASSWORD, Suite
from client.world import App, fail
from standalone.home import DEFAULT_SSH_PORT
from support.certificates import make_pair

VERSION_HEADER = "drycc_api_version"
LISTS = (
    "/v2/apps/",
    "/v2/tokens/",
    "/v2/keys/",
    "/v2/limits/specs/",
    "/v2/limits/plans/",
    "/v2/resources/services/",
    "/v2/resources/services/postgres/plans/",
    "{app}releases/",
    "{app}pods/",
    "{app}ptypes/",
    "{app}events/",
    "{app}domains/",
    "{app}certs/",
    "{app}gateways/",
    "{app}routes/",
    "{app}volumes/",
    "{app}resources/",
    "{app}perms/",
)
OBJECTS = (
    "/v2/auth/whoami/",
    "/v2/limits/plans/std1.large.c1m1/",
    "{app}",
    "{app}build/",
    "{app}config/",
    "{app}settings/",
    "{app}releases/v1/",
    "{app}services/",
    "{app}tls/",
)


def place_of(app: App) -> str:
    """The path of an app."""
    return f"/v2/apps/{app.name}/"


@pytest.fixture
def place(app: App) -> str:
    """The path of a new app."""
    return place_of(app)


@pytest.mark.parametrize("path", ["/v2/", "//v2/"])
async def test_1_the_root_without_credentials(ana: Session, path: str) -> None:
    answer = await ask(ana, "GET", path, token=False)
    assert (answer.status, answer.headers[VERSION_HEADER]) == (401, API_VERSION)


async def test_2_the_version_on_every_success(app: App, place: str) -> None:
    session = app.owner
    await app.with_volume("data")
    upload = {
        "Content-Type": "filer/octet-stream",
        "Content-Disposition": "attachment;filename*=utf-8''f;filepath*=utf-8''",
    }
    for method, path, body, headers, status in (
        ("GET", "/healthz", b"", {}, 200),
        ("GET", place, b"", {}, 200),
        ("POST", f"{place}perms/", b'{"username":"ana","permissions":"view"}', {}, 201),
        ("DELETE", f"{place}perms/ana/", b"", {}, 204),
        ("POST", f"{place}volumes/data/client/", b"content", upload, 200),
        ("GET", f"{place}volumes/data/client/f", b"", {}, 200),
        ("DELETE", f"{place}volumes/data/client/f", b"", {}, 200),
    ):
        answer = await ask(session, method, path, body, headers=headers)
        assert (answer.status, answer.headers[VERSION_HEADER]) == (status, API_VERSION), path


@pytest.mark.parametrize("path", [*LISTS, *OBJECTS])
async def test_3_paths_with_and_without_a_slash(running: App, path: str) -> None:
    slashed = path.format(app=place_of(running))
    for each in (slashed, slashed.removesuffix("/")):
        assert (await ask(running.owner, "GET", each)).status == 200, each


async def test_3_writing_paths_with_and_without_a_slash(app: App, place: str) -> None:
    session = app.owner
    for slash in ("", "/"):
        value = json.dumps({"values": [{"name": "A", "value": f"1{slash}", "group": "global"}]}).encode()
        label = json.dumps({"label": {"a": f"1{slash}"}}).encode()
        assert (await ask(session, "POST", f"{place}config{slash}", value)).status == 201
        assert (await ask(session, "POST", f"{place}settings{slash}", label)).status == 201
        assert (await ask(session, "POST", f"{place}run{slash}", b"{}")).status == 400
        assert (await ask(session, "DELETE", f"{place}domains/x.example.org{slash}")).status == 404
        assert (await ask(session, "PATCH", f"{place}routes/main/attach{slash}", b"{}")).status in (400, 404)


@pytest.mark.parametrize("path", LISTS)
async def test_4_limits_that_mean_the_default(running: App, path: str) -> None:
    whole = json.loads((await ask(running.owner, "GET", path.format(app=place_of(running)))).body)
    assert isinstance(whole["results"], list)
    assert type(whole["count"]) is int
    for limit in (0, -1):
        answer = await ask(running.owner, "GET", f"{path.format(app=place_of(running))}?limit={limit}")
        assert answer.status == 200
        shown = json.loads(answer.body)
        assert (shown["count"], len(shown["results"])) == (whole["count"], len(whole["results"]))


async def test_5_bodies_where_others_have_none_and_none_where_others_have_one(app: App, place: str) -> None:
    session = app.owner
    for path in (f"{place}config/", f"{place}pods/", f"{place}services/", f"{place}gateways/"):
        assert (await ask(session, "DELETE", path, b'{"nothing": "to see"}')).status == 400
        assert (await ask(session, "DELETE", path)).status == 400
    assert (await ask(session, "POST", "/v2/apps/")).status == 201
    assert (await ask(session, "POST", "/v2/auth/login/", token=False)).status == 302
    assert (await ask(session, "POST", f"{place}releases/rollback/")).status == 400
    assert (await ask(session, "PATCH", "/v2/users/ana/enable/")).status == 403


async def test_6_json_within_json_and_numbers_as_texts(app: App, place: str) -> None:
    await app.ok("services", "add", "web", "80:8000")
    await app.ok("routes", "add", "main", "HTTPRoute", f"{app.name}:80,1")
    rules = [{"backendRefs": [{"kind": "Service", "name": app.name, "port": 80, "weight": 7}]}]
    for body in (json.dumps(rules), json.dumps(json.dumps(rules))):
        answer = await ask(app.owner, "PUT", f"{place}routes/main/rules/", body.encode())
        assert answer.status == 204
    assert yaml.safe_load((await app.ok("routes", "get", "main")).stdout) == rules
    for value in ("30", 31):
        body = json.dumps({"termination_grace_period": {"web": value}})
        assert (await ask(app.owner, "POST", f"{place}config/", body.encode())).status == 201
        assert (await app.ok("timeouts")).lines[1].split() == ["web", str(value)]


async def test_7_file_deletion_and_names_of_uploaded_files(app: App) -> None:
    directory = app.owner.directory / "some" / "where"
    directory.mkdir(parents=True)
    (directory / "f.txt").write_text("content")
    await app.with_volume("data")
    uploaded = await app.ok("volumes", "client", "cp", "some/where/f.txt", "vol://data/")
    assert "filename*=utf-8''some%2Fwhere%2Ff.txt;" in uploaded.exchanges[-1].headers["Content-Disposition"]
    (line,) = (await app.ok("volumes", "client", "ls", "vol://data/")).lines
    assert line.endswith("] 7 f.txt")
    removed = await app.ok("volumes", "client", "rm", "vol://data/f.txt")
    assert removed.exchanges[0].response.status == 200


def nulls(value: object, path: str = "") -> list[str]:
    """Where in a JSON value there is null."""
    if value is None:
        return [path]
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, item in items for found in nulls(item, f"{path}/{key}")]


async def test_8_no_null_where_the_client_looks_blindly(app: App, place: str) -> None:
    await app.ok("healthchecks", "set", "livenessProbe", "tcpSocket", "80", "-p", "web")
    await app.ok("healthchecks", "set", "livenessProbe", "tcpSocket", "80", "-p", "worker")
    await app.ok("healthchecks", "unset", "livenessProbe", "-p", "web")
    await app.ok("autoscale", "set", "web", "--min=1", "--max=2", "--cpu-percent=50")
    await app.ok("autoscale", "unset", "web")
    config = json.loads((await ask(app.owner, "GET", f"{place}config/")).body)
    settings = json.loads((await ask(app.owner, "GET", f"{place}settings/")).body)
    assert (nulls(config["healthcheck"]), nulls(settings["autoscale"])) == ([], [])
    assert isinstance(settings["autoscale"], dict)
    for path in ("/v2/limits/specs/?limit=1000", "/v2/limits/plans/?limit=1000"):
        answer = json.loads((await ask(app.owner, "GET", path)).body)
        for each in answer["results"]:
            gpu = (each.get("spec") or each)["features"]["gpu"]
            assert isinstance(gpu["name"], str)
            assert isinstance(gpu["memory"]["size"], str)
            assert nulls(each) == []


async def test_9_times_of_certificates_and_data_of_resources(app: App) -> None:
    pair = make_pair(f"{app.name}.example.org")
    (app.owner.directory / "cert.pem").write_text(pair.certificate)
    (app.owner.directory / "key.pem").write_text(pair.key)
    await app.ok("certs", "add", "cert", "cert.pem", "key.pem")
    shown = json.loads((await app.ok("certs", "info", "cert")).exchanges[0].response.body)
    assert {type(shown.get(name, "")) for name in ("expires", "starts")} == {str}
    assert Cert.__annotations__.keys() <= shown.keys()
    await app.ok("resources", "create", "shop-db", "postgres", "standard-10", "size=1")
    await app.ok("resources", "bind", "shop-db")
    resource = json.loads((await app.ok("resources", "describe", "shop-db")).exchanges[0].response.body)
    assert Resource.__annotations__.keys() <= resource.keys()
    assert {type(value) for value in (*resource["data"].values(), *resource["options"].values())} == {str}


async def test_10_sentences_that_the_client_knows(app: App, ana: Session, tmp_path: Path) -> None:
    key = tmp_path / "key.pub"
    key.write_text("ssh-rsa AAA\n")
    (ana.directory / "Procfile").unlink(missing_ok=True)
    (ana.directory / "bad.pem").write_text("bad")
    pair = make_pair("x.example.org")
    (ana.directory / "key.pem").write_text(pair.key)
    (ana.directory / "cert.pem").write_text(pair.certificate)
    await app.ok("domains", "add", f"{app.name}.example.org", "-p", "web")
    wrong = ("login", app.suite.url, "-u", "ana", "-p", "wrong")
    assert await fail(ana, *wrong) == "Unable to log in with provided credentials."
    assert await fail(ana, "create", "--no-remote", app.name) == "Application with this id already exists."
    assert await fail(ana, "create", "--no-remote", "") == "An id is required"
    assert await fail(ana, "keys", "add", "k", str(key)) == "a key is required"
    for words, text in (
        (("pull", ""), "The given image is invalid"),
        (("certs", "add", "c", "bad.pem", "key.pem"), "Could not load certificate"),
        (("certs", "add", "C_c", "cert.pem", "key.pem"), "name can only contain a-z (lowercase), 0-9 and hyphens"),
        (("domains", "add", "x.1", "-p", "web"), "Hostname does not look valid."),
        (
            ("domains", "add", f"{app.name}.example.org", "-p", "web"),
            "Domain is already in use by another application",
        ),
        (("releases", "rollback", "", "0"), "The given version is invalid"),
    ):
        assert await app.refused(*words) == text


@pytest_asyncio.fixture(loop_scope="session")
async def pod(running: App) -> AsyncIterator[str]:
    """The path of an instance, below the controller."""
    (name,) = await running.pods()
    for number in range(3):
        running.suite.engine.write_log(running.name, f"line {number}", instance=name)
    yield f"/v2/apps/{running.name}/pods/{name}"


async def test_11_one_frame_a_message(running: App, pod: str) -> None:
    ana, app = running.owner, f"/v2/apps/{running.name}"
    lines = await frames_of(ana, f"{app}/logs", {"lines": 300, "follow": False, "timeout": 300})
    assert lines[-3:] == [b"line 0", b"line 1", b"line 2"]
    request: dict[str, object] = {"lines": -1, "follow": False, "container": "", "previous": False}
    whole = await frames_of(ana, f"{pod}/logs/", request)
    assert [frame.rstrip(b"\n") for frame in whole] == [b"line 0\nline 1\nline 2"]
    executed = await frames_of(ana, f"{pod}/exec/", {"tty": False, "stdin": False, "command": ["ls", "-l"]})
    assert executed == [b"\x01ls -l\n"]


async def test_11_text_frames_that_are_no_text(running: App, pod: str) -> None:
    ana = running.owner
    request: dict[str, object] = {"tty": True, "stdin": True, "command": ["sh"]}
    size = b'\x04{"Height":40,"Width":120}'
    found = await frames_of(ana, f"{pod}/exec/", request, size, b"\x00\xff\xfe\xc3", b"\x00")
    assert b"".join(frame[1:] for frame in found if frame[:1] == b"\x01") == b"sh\r\n\xff\xfe\xc3"
    assert all(found)  # an empty message would be the end of the client


async def test_11_the_close_does_not_come_together_with_the_last_data(running: App, pod: str) -> None:
    login = login_of(running.owner)
    socket = await websocket.dial(login.controller, f"{pod}/exec/", login.token)
    await socket.send_json({"tty": False, "stdin": False, "command": ["ls"]})
    first = await socket.reader.read(65536)
    assert first == b"\x82\x04\x01ls\n"
    rest = await socket.reader.read(65536)
    assert rest[:1] == b"\x88"
    await socket.close()


async def test_12_a_token_once_and_at_the_first_poll(suite: Suite, ana: Session) -> None:
    credentials = json.dumps({"username": "ana", "password": PASSWORD}).encode()
    key = json.loads((await ask(ana, "POST", "/v2/auth/login/", credentials, token=False)).body)["key"]
    poll = f"/v2/auth/token/{key}/?alias=workflow-cli"
    first, second = [await ask(ana, "GET", poll, token=False) for _ in range(2)]
    assert (first.status, json.loads(first.body).keys()) == (200, {"token", "username"})
    assert second.status == 404
    pending = await ask(ana, "POST", "/v2/auth/login/", token=False)
    key = pending.headers["location"].partition("key=")[2]
    waiting = await ask(ana, "GET", f"/v2/auth/token/{key}/?alias=workflow-cli", token=False)
    assert (waiting.status, waiting.headers[VERSION_HEADER]) == (404, API_VERSION)
    unknown = await ask(ana, "GET", "/v2/auth/token/nobody-knows/?alias=workflow-cli", token=False)
    assert unknown.status == 404


async def test_13_names_with_unusual_characters(app: App, place: str) -> None:
    key = "AAAAC3NzaC1lZDI1NTE5AAAAIE1hZGUgdXAgZm9yIHRoZSBjaGVja2xpc3QgYWxvbmUh"
    name = "ana at home/1@laptop"
    body = json.dumps({"id": name, "public": f"ssh-ed25519 {key} {name}"}).encode()
    assert (await ask(app.owner, "POST", "/v2/keys/", body)).status == 201
    assert (await ask(app.owner, "DELETE", "/v2/keys/ana%20at%20home/1@laptop")).status == 204
    assert (await ask(app.owner, "GET", "/v2/limits/plans/std1.large.c1m1/")).status == 200
    domain = f"*.{app.name}.example.org"
    await app.ok("domains", "add", domain, "-p", "web")
    assert (await ask(app.owner, "DELETE", f"{place}domains/%2A{domain[1:]}")).status == 204


async def test_14_an_empty_builder_key_is_none(ana: Session) -> None:
    headers = {"X-Drycc-Builder-Auth": ""}
    assert (await ask(ana, "GET", "/v2/apps/", headers=headers)).status == 200
    for path in ("/v2/apps/", "/v2/hooks/key/SHA256:x"):
        assert (await ask(ana, "GET", path, token=False, headers=headers)).status == 401


def test_15_where_apps_are_pushed_to() -> None:
    assert DEFAULT_SSH_PORT == 2222
    for controller, url in (
        ("http://drycc.localhost:8080", "ssh://git@drycc-builder.localhost:2222/shop.git"),
        ("https://drycc.example.com/", "ssh://git@drycc-builder.example.com:2222/shop.git"),
        ("http://localhost", "ssh://git@localhost-builder:2222/shop.git"),
        ("http://127.0.0.1:8000", "ssh://git@127-builder.0.0.1:2222/shop.git"),
    ):
        assert remote_url(controller, "shop") == url

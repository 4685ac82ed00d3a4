"""The model reads answers as strictly as the program does (cli.md 4 to 8 and 14)."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from client.canned import Bench

APP = {"id": "shop", "uuid": "u", "owner": "ana", "created": "2025-02-03T04:05:06.789Z", "updated": "never"}
RELEASE: dict[str, object] = {
    "app": "shop",
    "uuid": "u",
    "state": "succeed",
    "owner": "ana",
    "build": None,
    "config": "c",
    "created": "2025-02-03T04:05:06Z",
    "updated": "2025-02-03T04:05:06Z",
    "summary": "ana created initial release",
    "exception": None,
    "version": 1,
    "conditions": [],
}
CONFIG: dict[str, Any] = {
    "app": "shop",
    "owner": "ana",
    "uuid": "u",
    "created": "2025-02-03T04:05:06Z",
    "updated": "2025-02-03T04:05:06Z",
    "values": [],
    "values_refs": {},
    "limits": {},
    "tags": {},
    "termination_grace_period": {},
    "registry": {},
    "healthcheck": {},
}
SETTINGS: dict[str, Any] = {
    "uuid": "u",
    "app": "shop",
    "owner": "ana",
    "created": "",
    "updated": "",
    "routable": None,
    "autodeploy": None,
    "autorollback": None,
    "autoscale": {},
    "label": {},
}
CERT = {
    "id": 7,
    "name": "cert",
    "common_name": "shop.example.org",
    "expires": "2026-01-01T00:00:00Z",
    "starts": "2025-01-01T00:00:00",
    "fingerprint": "37:24",
    "issuer": "/CN=x",
    "subject": "/CN=x",
    "san": ["shop.example.org"],
    "domains": [],
    "owner": "ana",
    "created": "",
    "updated": "",
}
PLAN: dict[str, Any] = {
    "id": "std1.large.c1m1",
    "spec": {"id": "std1", "cpu": {"name": "CPU"}, "features": {"gpu": {"name": "GPU", "memory": {"size": "shared"}}}},
    "cpu": 1,
    "memory": 1,
    "features": {"gpu": 1},
}


def json_bytes(value: object) -> bytes:
    """JSON as Python writes it."""
    return json.dumps(value).encode()


def paged(*items: object) -> dict[str, object]:
    """The envelope of a list."""
    return {"results": list(items), "count": len(items), "next": None, "previous": None}


async def test_tables(client: Bench) -> None:
    client.server.add(paged(APP))
    done = await client.session.run("apps", "list")
    assert done.stdout == (
        "ID      OWNER    CREATED                 UPDATED \n"
        "shop    ana      2025-02-03T04:05:06Z    never      \n"
    )  # fmt: skip


async def test_times_are_shown_in_the_zone_of_the_user(client: Bench) -> None:
    client.session.environment["TZ"] = "Asia/Shanghai"
    client.server.add(paged(APP))
    assert "2025-02-03T12:05:06+08:00" in (await client.session.run("apps", "list")).stdout


async def test_an_empty_list_and_a_wrong_count(client: Bench) -> None:
    client.server.add(paged())
    assert (await client.session.run("apps", "list")).stdout == "No apps found.\n"
    client.server.only({"results": [APP], "count": 0})
    assert (await client.session.run("apps", "list")).stdout == "No apps found.\n"


@pytest.mark.parametrize(
    "envelope",
    [{"results": None, "count": 0}, {"count": 0}, {"results": []}, {"results": [], "count": "0"}, {"results": {}}],
)
async def test_envelopes_that_panic(client: Bench, envelope: object) -> None:
    client.server.add(envelope)
    assert (await client.session.run("apps", "list")).status == 2


async def test_a_bare_array(client: Bench) -> None:
    client.server.add([])
    done = await client.session.run("apps", "list")
    text = "json: cannot unmarshal array into Go value of type map[string]interface {}"
    assert (done.status, done.error) == (1, text)


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        ({"version": "1"}, "json: cannot unmarshal string into Go struct field Release.version of type int"),
        ({"version": 1.5}, "json: cannot unmarshal number 1.5 into Go struct field Release.version of type int"),
        ({"version": True}, "json: cannot unmarshal bool into Go struct field Release.version of type int"),
        ({"version": 2**63}, f"json: cannot unmarshal number {2**63} into Go struct field Release.version of type int"),
        ({"summary": 1}, "json: cannot unmarshal number into Go struct field Release.summary of type string"),
        (
            {"conditions": {}},
            "json: cannot unmarshal object into Go struct field Release.conditions of type []api.Condition",
        ),
        (
            {"conditions": [{"ptypes": "web"}]},
            "json: cannot unmarshal string into Go struct field Condition.conditions.ptypes of type []string",
        ),
    ],
)
async def test_wrong_types(client: Bench, change: dict[str, object], shown: str) -> None:
    client.server.add(RELEASE | change)
    done = await client.run("releases", "info", "v1")
    assert (done.status, done.error) == (1, shown)


async def test_null_and_absent_and_unknown_keys(client: Bench) -> None:
    client.server.add({"VERSION": 3, "summary": None, "conditions": None, "surprise": [1]})
    done = await client.run("releases", "info", "v1")
    assert (done.status, done.lines[-2:]) == (0, ["Version:       v3", "Conditions:"])
    assert "Release.uuid" in done.absent
    assert "Release.version" not in done.absent


async def test_whole_numbers_with_a_fraction(client: Bench) -> None:
    """Elements of lists go through `interface{}`, where 3.0 is 3; objects do not."""
    release = json_bytes(RELEASE).replace(b'"version": 1', b'"version": 3.0')
    client.server.add(b'{"results":[' + release + b'],"count":1.0}')
    assert "v3" in (await client.run("releases", "list")).stdout
    client.server.only(release)
    done = await client.run("releases", "info", "3")
    assert done.error == "json: cannot unmarshal number 3.0 into Go struct field Release.version of type int"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "EOF"),
        (b"<html>", "invalid character '<' looking for beginning of value"),
        (b'{"id": ', "unexpected EOF"),
        (b"[]", "json: cannot unmarshal array into Go value of type api.Release"),
    ],
)
async def test_bodies_that_are_no_object(client: Bench, body: bytes, text: str) -> None:
    client.server.add(body)
    done = await client.run("releases", "info", "1")
    assert (done.status, done.error) == (1, text)


async def test_chunks_and_compression(client: Bench) -> None:
    packed = gzip.compress(json_bytes(paged(APP)))
    chunked = f"{len(packed):x}\r\n".encode() + packed + b"\r\n0\r\n\r\n"
    client.server.add(chunked, Transfer_Encoding="chunked", Content_Encoding="gzip")
    assert "shop" in (await client.session.run("apps", "list")).stdout


@pytest.mark.parametrize("version", ["2.3", "2.4", "2.9", "2.3.1"])
async def test_versions_that_fit(client: Bench, version: str) -> None:
    client.server.add(paged(APP), version=version)
    assert (await client.session.run("apps", "list")).stderr == ""


@pytest.mark.parametrize("version", [None, "2", "2.2", "3.0", "2.10"])
async def test_versions_that_do_not_fit(client: Bench, version: str | None) -> None:
    warning = (
        "!    WARNING: Client and server API versions do not match. Please consider upgrading.\n"
        "!    Client version: 2.3\n"
        f"!    Server version: {version or ''}\n"
    )
    client.server.add(paged(APP), version=version)
    worked = await client.session.run("apps", "list")
    assert (worked.status, worked.stderr) == (0, warning)
    assert "shop" in worked.stdout
    discarded = await client.run("labels", "list")
    assert (discarded.status, discarded.stdout, discarded.stderr) == (0, "No labels found in shop app.\n", warning)
    failed = await client.run("pts", "restart", "web")
    assert (failed.status, failed.error) == (1, "API Version Mismatch between server and drycc")


@pytest.mark.parametrize(
    "words",
    [
        "autodeploy enable",
        "autorollback disable",
        "routing enable",
        "labels set a=b",
        "labels unset a",
        "autoscale set web --min=1 --max=2 --cpu-percent=50",
        "autoscale unset web",
        "healthchecks list",
        "healthchecks set livenessProbe tcpSocket 80 -p web",
        "healthchecks unset livenessProbe -p web",
        "pts restart web",
        "pts clean web",
        "releases deploy web",
        "certs attach cert shop.example.org",
        "ps describe pod",
        "pts describe web",
        "volumes client ls vol://data/",
        "volumes client rm vol://data/f",
    ],
)
async def test_commands_that_another_version_ends(client: Bench, words: str) -> None:
    client.server.add(paged(), version="2.2")
    done = await client.run(*words.split())
    assert done.status == 1
    assert done.error.endswith("API Version Mismatch between server and drycc")
    if words.startswith("certs attach"):
        assert done.stdout.endswith("... done\n")


@pytest.mark.parametrize(
    ("words", "stdout"),
    [
        ("config info", "\n"),
        ("config pull", ""),
        ("config set A=1", "Creating config... done\n\n"),
        ("limits list", "No limits found in shop app.\n"),
        ("tags list", "No tags found in shop app.\n"),
        ("timeouts list", "Default (30 sec) or controlled by drycc controller.\n"),
        ("registry list", "No registrys found in shop app.\n"),
        ("labels list", "No labels found in shop app.\n"),
        ("autoscale list", "No autoscale rules found.\n"),
        ("autodeploy info", "Autodeploy is enabled.\n"),
        ("routing info", "Routing is enabled.\n"),
        ("routes get main", "null\n"),
        ("tls force enable", "Enabling https-only requests for shop... done\n"),
        ("volumes add data 1G", "Creating data to shop... done\n"),
        ("resources bind shop-db", "Binding resource... done\n"),
    ],
)
async def test_commands_that_discard_what_another_version_says(client: Bench, words: str, stdout: str) -> None:
    client.server.add(b"no JSON at all", version="2.2")
    done = await client.run(*words.split())
    assert (done.status, done.stdout) == (0, stdout)
    assert done.stderr.startswith("!    WARNING: ")


async def test_errors_come_before_the_version(client: Bench) -> None:
    client.server.add({"detail": "x"}, status="403 Forbidden", version=None)
    done = await client.session.run("apps", "list")
    assert done.stderr == "Error: you do not have permission to perform this action\n"


async def test_redirects_lose_the_body(client: Bench) -> None:
    client.server.add(status="301 Moved Permanently", Location="/elsewhere/")
    client.server.add({})
    done = await client.run("domains", "add", "a.example.org", "-p", "web")
    assert done.status == 0
    assert client.server.requests[1].startswith(b"GET /elsewhere/ HTTP/1.1\r\n")
    assert client.server.requests[1].endswith(b"\r\n\r\n")


async def test_logins_follow_no_redirect(client: Bench) -> None:
    for words, status in ((("-u", "ana", "-p", "secret"), 1), ((), 2)):
        client.server.only({}, status="401 Unauthorized")
        client.server.add(status="301 Moved Permanently", Location="/v2/auth/login")
        done = await client.session.run("login", client.server.url, *words)
        assert (done.status, len(done.exchanges)) == (status, 2)
        assert words == () or done.error == "EOF"


async def test_nobody_listens(client: Bench) -> None:
    file = client.session.home / ".drycc" / "client.json"
    file.write_text('{"controller":"http://127.0.0.1:9"}')
    done = await client.session.run("apps", "list")
    assert done.error == 'Get "http://127.0.0.1:9/v2/apps/?limit=0": dial tcp 127.0.0.1:9: connect: connection refused'


@pytest.mark.parametrize(
    ("words", "body", "status"),
    [
        (("healthchecks", "list"), CONFIG | {"healthcheck": {"web": None}}, 2),
        (("healthchecks", "list"), CONFIG | {"healthcheck": {"web": {"livenessProbe": None}}}, 2),
        (("autoscale", "list"), SETTINGS | {"autoscale": {"web": None}}, 2),
        (("autoscale", "list"), SETTINGS | {"autoscale": None}, 0),
        (("services", "list"), {"services": None}, 2),
        (("services", "list"), {}, 2),
        (("services", "list"), {"services": []}, 0),
        (("certs", "info", "cert"), CERT, 0),
        (("certs", "info", "cert"), CERT | {"expires": None}, 1),
        (("certs", "info", "cert"), CERT | {"expires": "tomorrow"}, 1),
        (("certs", "list"), paged(CERT | {"starts": "2025-01-01T00:00:00.5+02:00"}), 0),
        (("pts", "list"), paged({"name": "web", "up_to_date": "1"}), 1),
        (("tls", "info"), {"events": [{"name": 1}]}, 1),
        (("volumes", "info", "data"), {"size": 5}, 1),
        (("gateways", "list"), paged({"name": "gw", "listeners": [{"port": "80"}]}), 1),
        (("ps", "list"), paged({"name": "p", "release": 3}), 1),
        (("volumes", "client", "ls", "vol://data/"), paged({"name": "f", "size": 3}), 1),
        (("resources", "describe", "db"), {"status": {}}, 1),
    ],
)
async def test_answers_that_matter(client: Bench, words: tuple[str, ...], body: object, status: int) -> None:
    client.server.add(body)
    assert (await client.run(*words)).status == status


@pytest.mark.parametrize("missing", ["gpu", "name", "memory", "size"])
async def test_graphics_processors_are_taken_for_granted(client: Bench, missing: str) -> None:
    client.server.add(paged(PLAN))
    assert "GPU shared * 1" in (await client.session.run("limits", "plans")).stdout
    features = _without(PLAN["spec"]["features"], missing)
    client.server.only(paged(PLAN | {"spec": PLAN["spec"] | {"features": features}}))
    assert (await client.session.run("limits", "plans")).status == 2


def _without(value: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: _without(item, name) if isinstance(item, dict) else item for key, item in value.items() if key != name}


async def test_short_keys_panic(client: Bench) -> None:
    client.server.add(paged({"id": "k", "owner": "ana", "public": "ssh-rsa AAAA"}))
    assert (await client.session.run("keys", "list")).status == 2


async def test_a_removed_file_must_be_a_200(client: Bench) -> None:
    client.server.add(status="204 No Content")
    done = await client.run("volumes", "client", "rm", "vol://data/f.txt")
    assert (done.status, done.error) == (1, "incorrect http status code 204")
    assert client.server.requests[0].startswith(b"DELETE /v2/apps/shop/volumes/data/client/f.txt HTTP/1.1\r\n")


async def test_paths_are_encoded_and_queries_are_not(client: Bench) -> None:
    client.server.add(status="204 No Content")
    for name, path in (
        ("*.example.org", "%2A.example.org"),
        ("a b#c%d", "a%20b%23c%25d"),
        ("a@b+c,d:e/f", "a@b+c,d:e/f"),
        ("a?b c", "a?b c"),
    ):
        await client.run("domains", "remove", name)
        assert client.server.requests[-1].startswith(f"DELETE /v2/apps/shop/domains/{path} HTTP/1.1\r\n".encode())

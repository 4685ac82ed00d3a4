"""What the client does about faults of the API server and the network. A real one cannot be made to have them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from controller.engine.kubernetes import names
from controller.engine.kubernetes.client import Client
from controller.engine.kubernetes.kinds import DEPLOYMENT, GATEWAY, POD, SECRET, SERVICE
from shared.errors import InvalidInputError
from shared.kubernetes.errors import (
    ClusterBusyError,
    ClusterConflictError,
    ClusterForbiddenError,
    ClusterGoneError,
    ClusterNotFoundError,
    ClusterUnavailableError,
)
from shared.kubernetes.kinds import Manifest
from shared.kubernetes.transport import InCluster, Kubeconfig
from support.faulty_api_server import Answer, FaultyApiServer, listing, status
from support.kubelet_server import Container, KubeletServer

SERVICE_PATH = "/api/v1/namespaces/shop/services/shop"
OBJECT: Manifest = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "shop", "namespace": "shop", "resourceVersion": "1"},
}
MISSING = status(404, "not found", "NotFound")


@asynccontextmanager
async def client_of(server: FaultyApiServer, directory: Path, deadline: float = 5.0) -> AsyncIterator[Client]:
    client = Client(Kubeconfig(server.kubeconfig(directory)), deadline=deadline)
    await client.open()
    try:
        yield client
    finally:
        await client.close()


def script(*answers: Answer, path: str = SERVICE_PATH) -> FaultyApiServer:
    """Gives these answers one after the other at that path, and the last one from then on."""

    def answer(request: web.Request, count: int) -> Answer:
        return answers[min(count, len(answers) - 1)] if request.path == path else MISSING

    return FaultyApiServer(answer)


async def test_it_comes_back_after_errors_of_the_server(tmp_path: Path) -> None:
    html = Answer(502, b"<html>Bad Gateway</html>")
    server = script(status(500, "etcd"), html, status(503, "starting"), Answer(200, OBJECT))
    async with server.running(), client_of(server, tmp_path) as client:
        assert (await client.apply(OBJECT))["metadata"]["name"] == "shop"
        assert server.count("PATCH", SERVICE_PATH) == 4
        assert client.calls.writes == 4


async def test_it_gives_up_on_a_server_that_keeps_failing(tmp_path: Path) -> None:
    server = script(Answer(500, b"<html>Bad Gateway</html>"))
    async with server.running(), client_of(server, tmp_path) as client:
        with pytest.raises(ClusterUnavailableError, match="Could not read Service shop/shop: Bad Gateway"):
            await client.get(SERVICE, "shop", "shop")
        assert server.count("GET", SERVICE_PATH) == 5


async def test_it_waits_as_long_as_a_busy_server_asks_for(tmp_path: Path) -> None:
    busy = Answer(429, b"", {"Retry-After": "1"})
    server = script(busy, Answer(201, OBJECT), path="/api/v1/namespaces/shop/services")
    async with server.running(), client_of(server, tmp_path) as client:
        started = asyncio.get_running_loop().time()
        await client.create(OBJECT)
        assert asyncio.get_running_loop().time() - started >= 1


async def test_it_does_not_wait_beyond_its_deadline(tmp_path: Path) -> None:
    server = script(Answer(429, b"", {"Retry-After": "60"}))
    async with server.running(), client_of(server, tmp_path) as client:
        with pytest.raises(ClusterBusyError):
            await client.get(SERVICE, "shop", "shop")
        assert server.count("GET", SERVICE_PATH) == 1


async def test_a_creation_is_never_repeated_unless_it_was_turned_away(tmp_path: Path) -> None:
    path = "/api/v1/namespaces/shop/services"
    server = script(status(500, "who knows"), path=path)
    async with server.running(), client_of(server, tmp_path) as client:
        with pytest.raises(ClusterUnavailableError):
            await client.create(OBJECT)
        assert server.count("POST", path) == 1


@pytest.mark.parametrize("code", [400, 403, 404, 409, 410, 422])
async def test_answers_that_would_not_change_are_not_asked_for_again(tmp_path: Path, code: int) -> None:
    server = script(status(code, "no"))
    async with server.running(), client_of(server, tmp_path) as client:
        with pytest.raises(Exception, match="no"):
            await client.apply(OBJECT)
        assert server.count("PATCH", SERVICE_PATH) == 1


async def test_a_connection_that_breaks_is_opened_again(tmp_path: Path) -> None:
    server = script(Answer(lines=(b'{"kind": "Serv',)), Answer(lines=()), Answer(200, OBJECT))
    async with server.running(), client_of(server, tmp_path) as client:
        assert await client.get(SERVICE, "shop", "shop") == OBJECT
        assert server.count("GET", SERVICE_PATH) == 3


async def test_weakness_38_a_server_that_does_not_answer_costs_the_deadline_and_no_more(tmp_path: Path) -> None:
    server = script(Answer(200, OBJECT, seconds=60))
    async with server.running(), client_of(server, tmp_path, deadline=0.6) as client:
        started = asyncio.get_running_loop().time()
        with pytest.raises(ClusterUnavailableError, match="did not answer in time"):
            await client.get(SERVICE, "shop", "shop")
        assert 0.5 < asyncio.get_running_loop().time() - started < 5
        # The first connection may have been dead without saying so: there was another try.
        assert server.count("GET", SERVICE_PATH) == 2


async def test_a_server_that_is_away_for_a_moment_is_not_noticed(tmp_path: Path) -> None:
    server = script(Answer(200, OBJECT))
    async with server.running():
        pass
    client = Client(Kubeconfig(server.kubeconfig(tmp_path)), deadline=10)
    opening = asyncio.create_task(client.open())
    await asyncio.sleep(0.3)
    async with server.running():
        await opening
        assert await client.get(SERVICE, "shop", "shop") == OBJECT
        await client.close()


async def test_what_is_no_api_server_is_told(tmp_path: Path) -> None:
    page = Answer(200, b"<html>Welcome to nginx</html>")
    server = script(page)
    async with server.running(), client_of(server, tmp_path, deadline=1) as client:
        with pytest.raises(ClusterUnavailableError, match="not that of an API server"):
            await client.get(SERVICE, "shop", "shop")
    server = script(Answer(302, b"", {"Location": "https://login.example.com/"}))
    async with server.running(), client_of(server, tmp_path, deadline=1) as client:
        with pytest.raises(Exception, match="HTTP status 302"):
            await client.get(SERVICE, "shop", "shop")


async def test_weakness_48_neither_bodies_nor_tokens_are_in_errors_and_logs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    path = "/api/v1/namespaces/shop/secrets/s"
    echo = 'Secret "s" is invalid: data[a]: Invalid value: "aHVudGVyMg==": no'
    server = script(Answer(lines=()), Answer(502), status(422, echo), path=path)
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "shop"}}
    async with server.running():
        client = Client(Kubeconfig(server.kubeconfig(tmp_path, token="t0ken-value")), deadline=3)
        await client.open()
        with pytest.raises(Exception, match="is invalid") as caught:
            await client.apply({**secret, "data": {"a": "aHVudGVyMg=="}})
        await client.close()
    assert server.seen[-1].headers["Authorization"] == "Bearer t0ken-value"
    assert b"aHVudGVyMg==" in server.seen[-1].body
    told = "".join([repr(caught.value), str(caught.value.__context__), *capsys.readouterr(), caplog.text])
    assert "aHVudGVyMg==" not in told
    assert "t0ken-value" not in told


async def test_weakness_39_the_token_is_read_again_when_it_is_refused(tmp_path: Path) -> None:
    def answer(request: web.Request, count: int) -> Answer:
        if request.headers.get("Authorization") != "Bearer second":
            return status(401, "Unauthorized")
        return Answer(200, OBJECT) if request.path == SERVICE_PATH else MISSING

    server = FaultyApiServer(answer)
    token = tmp_path / "token"
    token.write_text("first\n")
    async with server.running():
        client = Client(Kubeconfig(server.kubeconfig(tmp_path, tokenFile=str(token))), deadline=3)
        with pytest.raises(ClusterForbiddenError, match="Unauthorized"):
            await client.open()
        token.write_text("second\n")
        await client.open()
        assert await client.get(SERVICE, "shop", "shop") == OBJECT
        await client.close()
    assert {one.headers["Authorization"] for one in server.seen} == {"Bearer first", "Bearer second"}


async def test_weakness_39_the_token_of_a_pod_changes_with_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    access = InCluster(token=tmp_path / "token", authority=tmp_path / "ca.crt")
    access.token.write_text("first\n")
    access.authority.write_text("a certificate")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    configuration = await access.load()
    assert (configuration.host, configuration.ssl_ca_cert) == ("https://10.96.0.1:443", str(access.authority))
    before = access.stamp()
    (tmp_path / "new").write_text("second\n")
    (tmp_path / "new").replace(access.token)
    assert access.stamp() != before
    assert (await access.load()).api_key["BearerToken"].strip() == "Bearer second"


async def test_a_changed_kubeconfig_counts_at_once(tmp_path: Path) -> None:
    server = script(Answer(200, OBJECT))
    async with server.running(), client_of(server, tmp_path) as client:
        await client.get(SERVICE, "shop", "shop")
        assert "Authorization" not in server.seen[-1].headers
        server.kubeconfig(tmp_path, token="one")
        await client.get(SERVICE, "shop", "shop")
        assert server.seen[-1].headers["Authorization"] == "Bearer one"
        (tmp_path / "kubeconfig").write_text("{half written")
        await client.get(SERVICE, "shop", "shop")
        assert server.seen[-1].headers["Authorization"] == "Bearer one"


@pytest.mark.parametrize(
    "content", [None, "", "no yaml: [", "[]", "{}", '{"current-context": "x", "contexts": [], "clusters": []}']
)
async def test_a_kubeconfig_that_cannot_be_used_is_told(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "kubeconfig"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InvalidInputError, match=str(path)):
        await Client(Kubeconfig(path)).open()


async def test_no_pod_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(InvalidInputError, match="no kubeconfig is set"):
        await Client(InCluster(token=tmp_path / "token", authority=tmp_path / "ca.crt")).open()


async def test_lists_are_read_in_pages_and_begin_again_when_forgotten(tmp_path: Path) -> None:
    def answer(request: web.Request, count: int) -> Answer:
        if request.path != "/api/v1/pods":
            return MISSING
        if request.query.get("continue") == "old":
            return status(410, "The provided continue parameter is too old", "Expired")
        if request.query.get("continue") == "next":
            return listing({"metadata": {"name": "b"}}, version="12")
        return listing({"metadata": {"name": "a"}}, version="12", more="old" if count == 0 else "next")

    server = FaultyApiServer(answer)
    async with server.running(), client_of(server, tmp_path) as client:
        with pytest.raises(ClusterGoneError):
            await client.list(POD, labels="heritage=drycc", page=1)
        found = await client.list(POD, labels="heritage=drycc", page=1)
    assert [item["metadata"]["name"] for item in found.items] == ["a", "b"]
    assert found.items[0]["kind"] == "Pod"
    assert found.resource_version == "12"
    assert {(one.query["labelSelector"], one.query["limit"]) for one in server.seen if "pods" in one.path} == {
        ("heritage=drycc", "1")
    }


async def test_kinds_that_the_cluster_lacks_are_refused_in_words_and_the_rest_works(tmp_path: Path) -> None:
    server = script(Answer(200, OBJECT))
    async with server.running(), client_of(server, tmp_path) as client:
        with pytest.raises(ClusterNotFoundError, match="This cluster has no Gateway"):
            await client.list(GATEWAY)
        assert await client.get(SERVICE, "shop", "shop") == OBJECT


async def test_an_object_is_sent_in_the_version_that_the_cluster_serves(tmp_path: Path) -> None:
    group = "gateway.networking.k8s.io"

    def answer(request: web.Request, count: int) -> Answer:
        if request.path == f"/apis/{group}/v1alpha2":
            return Answer(200, {"resources": [{"name": "tlsroutes"}, {"name": "tlsroutes/status"}]})
        return Answer(200, OBJECT) if request.path.endswith("/tlsroutes/shop") else MISSING

    server = FaultyApiServer(answer)
    route = {"apiVersion": f"{group}/v1", "kind": "TLSRoute", "metadata": {"name": "shop", "namespace": "shop"}}
    async with server.running(), client_of(server, tmp_path) as client:
        await client.apply(route)
    sent = server.seen[-1]
    assert sent.path == f"/apis/{group}/v1alpha2/namespaces/shop/tlsroutes/shop"
    assert f'"apiVersion":"{group}/v1alpha2"'.encode() in sent.body
    assert (sent.query["fieldManager"], sent.query["force"]) == (names.FIELD_MANAGER, "true")
    assert sent.headers["Content-Type"] == "application/apply-patch+yaml"


async def test_deleting_says_what_was_there(tmp_path: Path) -> None:
    path = "/apis/apps/v1/namespaces/shop/deployments/shop-web"
    answers = (Answer(200, {"kind": "Status"}), MISSING, status(409, "the UID in the precondition", "Conflict"))
    server = script(*answers, path=path)
    async with server.running(), client_of(server, tmp_path) as client:
        assert await client.delete(DEPLOYMENT, "shop-web", "shop", uid="u-1", grace_seconds=3)
        assert not await client.delete(DEPLOYMENT, "shop-web", "shop")
        with pytest.raises(ClusterConflictError):
            await client.delete(DEPLOYMENT, "shop-web", "shop", uid="u-2")
    sent = next(one for one in server.seen if one.method == "DELETE")
    assert b'"preconditions":{"uid":"u-1"}' in sent.body
    assert b'"propagationPolicy":"Background"' in sent.body
    assert b'"gracePeriodSeconds":3' in sent.body


async def test_the_output_of_a_pod_comes_as_it_is_and_says_when_it_breaks(tmp_path: Path) -> None:
    path = "/api/v1/namespaces/shop/pods/p/log"
    whole, cut = Answer(200, b"one\ntwo\n"), Answer(lines=(b"one\n",))
    server = script(whole, cut, status(400, "container is waiting to start", "BadRequest"), path=path)
    async with server.running(), client_of(server, tmp_path) as client:
        async with client.pod_logs("shop", "p", follow="true") as chunks:
            assert b"".join([chunk async for chunk in chunks]) == b"one\ntwo\n"
        async with client.pod_logs("shop", "p") as chunks:
            assert await anext(chunks) == b"one\n"
            with pytest.raises(ClusterUnavailableError):
                await anext(chunks)
        with pytest.raises(Exception, match="container is waiting to start"):
            async with client.pod_logs("shop", "p"):
                raise AssertionError("there is nothing to read")


async def test_a_stream_on_which_nothing_happens_asks_whether_anybody_is_there(tmp_path: Path) -> None:
    """Else a line that is cut without a word is noticed when nothing has been heard for long, or never."""
    server = KubeletServer()
    server.containers["p"] = Container(lines=[("2026-01-05T10:00:00.000000001Z", "first")])
    async with server.running(tmp_path) as kubeconfig:
        client = Client(Kubeconfig(kubeconfig), deadline=5.0)
        await client.open()
        async with client.pod_logs("shop", "p", follow="true") as chunks:
            await anext(chunks)
            # Timer 2 is that of keep-alives, in hundredths of a second from now (proc_pid_net(5)).
            (timer,) = [row[5] for row in tcp_rows() if row[2].endswith(f":{server.port:04X}") and row[3] == "01"]
        await client.close()
    kind, when = timer.split(":")
    assert (kind, int(when, 16) <= 1500) == ("02", True)


def tcp_rows() -> list[list[str]]:
    return [line.split() for line in Path("/proc/self/net/tcp").read_text().splitlines()[1:]]


async def test_a_websocket_that_is_refused_is_told(tmp_path: Path) -> None:
    server = script(status(403, 'User "x" cannot create resource "pods/exec"'), path="/exec")
    async with server.running(), client_of(server, tmp_path, deadline=1) as client:
        with pytest.raises(ClusterForbiddenError):
            await client.websocket(
                "start a command", "/exec", query=[("command", "a")], protocols=("v5.channel.k8s.io",)
            )


async def test_secrets_are_marked_as_such(tmp_path: Path) -> None:
    echo = 'data[a]: Invalid value: "x1": no'
    server = script(status(422, echo), path="/api/v1/namespaces/shop/secrets/s")
    async with server.running(), client_of(server, tmp_path) as client:
        with pytest.raises(Exception, match="Invalid value: …: no"):
            await client.get(SECRET, "s", "shop")

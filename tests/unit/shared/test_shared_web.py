"""Request ids, access log, health, problems, and serving on ports and unix sockets."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import APIRouter, FastAPI, HTTPException, WebSocket
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, SecretStr

from shared.errors import ConflictError
from shared.http import create_client
from shared.logging import bind_context, clear_context, configure_logging
from shared.settings import ServiceSettings, SettingsError, load_settings
from shared.web import create_service_app, serve, serving
from support import client_for, eventually


class Login(BaseModel):
    name: str
    password: SecretStr


def _app(**options: object) -> FastAPI:
    app = create_service_app(title="Test", service="test", lifespan=None, checks={}, **options)  # type: ignore[arg-type]

    @app.get("/things/{name}")
    async def thing(name: str) -> dict[str, str]:
        return {"name": name}

    @app.get("/taken")
    async def taken() -> None:
        raise ConflictError("shop is taken", field="id", headers={"Retry-After": "3"}, app="shop")

    @app.get("/broken")
    async def broken() -> None:
        raise RuntimeError("password=hunter2")

    @app.get("/teapot")
    async def teapot() -> None:
        raise HTTPException(418, "short and stout", headers={"X-Handle": "here"})

    @app.post("/login")
    async def login(_body: Login) -> None: ...

    @app.get("/half")
    async def half() -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            yield b"one"
            raise RuntimeError("lost the rest")

        return StreamingResponse(parts())

    @app.websocket("/echo")
    async def echo(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text(await socket.receive_text())
        await socket.close()

    return app


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    configure_logging(service="test", level="info", fmt="json", stream=stream)
    yield stream
    configure_logging(service="test", level="warning", fmt="json")


def _events(stream: io.StringIO, name: str) -> list[dict[str, object]]:
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    return [line for line in lines if line["event"] == name]


async def test_a_request_id_is_taken_over_or_made_and_logged(logged: io.StringIO) -> None:
    async with client_for(_app()) as client:
        given = await client.get("/things/a?token=hunter2", headers={"X-Request-ID": "abc-1"})
        made = await client.get("/things/b")
        unsound = await client.get("/things/c", headers={"X-Request-ID": "a b\t" + "x" * 100})
    assert given.headers["x-request-id"] == "abc-1"
    assert len(made.headers["x-request-id"]) == 32
    assert len(unsound.headers["x-request-id"]) == 32
    line = _events(logged, "request")[0]
    assert {key: line[key] for key in ("service", "request_id", "method", "path", "status")} == {
        "service": "test",
        "request_id": "abc-1",
        "method": "GET",
        "path": "/things/a",
        "status": 200,
    }
    assert "hunter2" not in logged.getvalue()


async def test_health_is_not_logged_but_counted(logged: io.StringIO) -> None:
    async with client_for(_app()) as client:
        answer = await client.get("/healthz")
        metrics = await client.get("/metrics")
    assert (answer.status_code, answer.text, answer.headers["content-type"]) == (200, "OK", "text/plain; charset=utf-8")
    assert 'workflow_http_requests_total{method="GET",route="/healthz",service="test",status="200"}' in metrics.text
    assert _events(logged, "request") == []


async def test_metrics_name_the_route_with_the_prefixes_of_its_routers() -> None:
    app = _app()
    router = APIRouter(prefix="/apps")

    @router.get("/{app_id}")
    async def show(app_id: str) -> str:
        return app_id

    app.include_router(router, prefix="/v2")
    async with client_for(app) as client:
        await client.get("/v2/apps/shop")
        await client.get("/things/a")
        metrics = (await client.get("/metrics")).text
    assert 'route="/v2/apps/{app_id}"' in metrics
    assert 'route="/things/{name}"' in metrics


async def test_there_are_no_documentation_pages_and_no_redirects() -> None:
    async with client_for(_app()) as client:
        for path in ("/docs", "/redoc", "/openapi.json", "/taken/"):
            assert (await client.get(path)).status_code == 404
    async with client_for(_app(openapi_url="/openapi.json")) as client:
        assert (await client.get("/openapi.json")).json()["info"]["title"] == "Test"


async def test_an_error_of_ours_becomes_a_problem() -> None:
    async with client_for(_app()) as client:
        answer = await client.get("/taken", headers={"X-Request-ID": "abc-1"})
    assert answer.status_code == 409
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["retry-after"] == "3"
    assert answer.json() == {
        "type": "urn:workflow:problem:conflict",
        "code": "conflict",
        "title": "Conflict",
        "status": 409,
        "detail": "shop is taken",
        "field": "id",
        "app": "shop",
        "instance": "abc-1",
    }


async def test_http_errors_and_unknown_paths_become_problems() -> None:
    async with client_for(_app()) as client:
        teapot, unknown, wrong = await client.get("/teapot"), await client.get("/no"), await client.put("/taken")
    assert (teapot.status_code, teapot.json()["detail"], teapot.headers["x-handle"]) == (418, "short and stout", "here")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "not-found")
    assert (wrong.status_code, wrong.json()["code"]) == (405, "method-not-allowed")


async def test_refused_input_is_not_repeated() -> None:
    async with client_for(_app()) as client:
        answer = await client.post("/login", json={"password": ["hunter2"]})
    assert answer.status_code == 422
    assert {error["field"] for error in answer.json()["errors"]} == {"body.name", "body.password"}
    assert "hunter2" not in answer.text


async def test_a_surprise_is_logged_once_and_tells_the_caller_nothing(logged: io.StringIO) -> None:
    async with client_for(_app()) as client:
        answer = await client.get("/broken", headers={"X-Request-ID": "abc-1"})
    assert (answer.status_code, answer.json()["code"], answer.json()["instance"]) == (500, "internal", "abc-1")
    assert answer.headers["x-request-id"] == "abc-1"
    [line] = _events(logged, "unhandled_error")
    assert "RuntimeError" in str(line["exception"])
    assert line["request_id"] == "abc-1"
    assert "hunter2" not in logged.getvalue() + answer.text


async def test_a_service_may_have_its_own_dialect() -> None:
    app = _app()

    @app.exception_handler(Exception)
    async def ours(_request: object, _exc: Exception) -> httpx.Response:
        from fastapi.responses import PlainTextResponse

        return PlainTextResponse("our 500", 500)  # type: ignore[return-value]

    async with client_for(app) as client:
        answer = await client.get("/broken")
    assert (answer.status_code, answer.text) == (500, "our 500")


async def test_readiness_names_what_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.web.app.CHECK_TIMEOUT_SECONDS", 0.05)

    async def fine() -> None: ...

    async def down() -> None:
        raise ConnectionError("amqp://guest:hunter2@broker refused")

    async def hangs() -> None:
        await asyncio.Event().wait()

    ready = create_service_app(title="T", service="t", lifespan=None, checks={"database": fine})
    async with client_for(ready) as client:
        assert (await client.get("/readiness")).text == "OK"
    not_ready = create_service_app(
        title="T", service="t", lifespan=None, checks={"database": fine, "bus": down, "passport": hangs}
    )
    async with client_for(not_ready) as client:
        answer = await client.get("/readiness")
    assert answer.status_code == 503
    assert answer.json()["failing"] == ["bus", "passport"]
    assert "hunter2" not in answer.text


async def test_several_servers_in_one_loop_on_sockets_and_ports(tmp_path: Path) -> None:
    async with contextlib.AsyncExitStack() as stack:
        addresses = []
        for number in range(3):
            settings = load_settings(ServiceSettings, bind_socket=tmp_path / f"{number}.sock")
            addresses.append(await stack.enter_async_context(serving(_app(), settings)))
        addresses.append(await stack.enter_async_context(serving(_app(), load_settings(ServiceSettings, bind_port=0))))
        assert (tmp_path / "0.sock").stat().st_mode & 0o777 == 0o600
        for address in addresses:
            async with create_client(base_url=address.base_url, socket=address.socket) as client:
                answer = await client.get("/things/x")
                assert answer.json() == {"name": "x"}
                assert "server" not in answer.headers
    assert os.listdir(tmp_path) == []  # noqa: PTH208


async def test_the_lifespan_surrounds_the_requests_and_its_errors_come_out(tmp_path: Path) -> None:
    seen: list[str] = []

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[dict[str, str]]:
        seen.append("up")
        yield {"hello": "state"}
        seen.append("down")

    @contextlib.asynccontextmanager
    async def fails(_app: FastAPI) -> AsyncIterator[None]:
        if settings:
            raise ConflictError("cannot start")
        yield

    settings = load_settings(ServiceSettings, bind_socket=tmp_path / "s.sock")
    async with serving(create_service_app(title="T", service="t", lifespan=lifespan, checks={}), settings):
        assert seen == ["up"]
    assert seen == ["up", "down"]
    with pytest.raises(ConflictError):
        await serve(create_service_app(title="T", service="t", lifespan=fails, checks={}), settings)
    assert os.listdir(tmp_path) == []  # noqa: PTH208


async def test_a_stale_socket_is_replaced_and_a_bad_address_is_explained(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    path.write_text("left over")
    async with serving(_app(), load_settings(ServiceSettings, bind_socket=path)) as address:
        async with create_client(base_url=address.base_url, socket=path) as client:
            assert (await client.get("/healthz")).text == "OK"
        async with serving(_app(), load_settings(ServiceSettings, bind_port=0)) as taken:
            again = load_settings(ServiceSettings, bind_port=taken.port)
            with pytest.raises(SettingsError, match="cannot listen on 127"):
                await serve(_app(), again)
    with pytest.raises(SettingsError, match="too long"):
        await serve(_app(), load_settings(ServiceSettings, bind_socket=tmp_path / ("x" * 120)))


async def test_serve_ends_when_cancelled_and_cuts_what_does_not_end(tmp_path: Path) -> None:
    app = _app()
    started = asyncio.Event()

    @app.get("/forever")
    async def forever() -> None:
        started.set()
        await asyncio.Event().wait()

    settings = load_settings(ServiceSettings, bind_socket=tmp_path / "s.sock")
    server = asyncio.create_task(serve(app, settings))
    await eventually((tmp_path / "s.sock").exists)
    async with create_client(base_url="http://localhost", socket=tmp_path / "s.sock") as client:
        request = asyncio.create_task(client.get("/forever"))
        await started.wait()
        server.cancel()
        async with asyncio.timeout(10):
            with pytest.raises(asyncio.CancelledError):
                await server
            with contextlib.suppress(httpx.HTTPError):
                await request


async def test_serve_ends_on_sigterm_when_asked_to(tmp_path: Path) -> None:
    settings = load_settings(ServiceSettings, bind_socket=tmp_path / "s.sock")
    server = asyncio.create_task(serve(_app(), settings, install_signal_handlers=True))
    await eventually((tmp_path / "s.sock").exists)
    os.kill(os.getpid(), signal.SIGTERM)
    async with asyncio.timeout(10):
        await server


async def test_websockets_carry_the_request_id(tmp_path: Path) -> None:
    from websockets.asyncio.client import unix_connect

    path = tmp_path / "s.sock"
    async with serving(_app(), load_settings(ServiceSettings, bind_socket=path)):
        headers = {"X-Request-ID": "abc-1"}
        async with unix_connect(str(path), "ws://localhost/echo", additional_headers=headers) as socket:
            await socket.send("hello")
            assert await socket.recv() == "hello"
            assert socket.response is not None
            assert socket.response.headers["x-request-id"] == "abc-1"
            assert "sec-websocket-extensions" not in socket.response.headers


async def test_an_answer_that_breaks_off_closes_the_connection(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    transport = httpx.AsyncHTTPTransport(uds=str(path))
    async with (
        serving(_app(), load_settings(ServiceSettings, bind_socket=path)),
        httpx.AsyncClient(transport=transport) as client,
    ):
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get("http://localhost/half")


async def test_the_client_passes_the_request_id_on(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    async with serving(_app(), load_settings(ServiceSettings, bind_socket=path)):
        bind_context(request_id="abc-2")
        try:
            async with create_client(base_url="http://localhost", socket=path) as client:
                assert (await client.get("/things/x")).headers["x-request-id"] == "abc-2"
        finally:
            clear_context()


async def test_the_client_waits_for_a_server_that_is_about_to_listen(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    async with create_client(base_url="http://localhost", socket=path) as client:
        request = asyncio.create_task(client.post("/login", json={}))
        await asyncio.sleep(0)
        async with serving(_app(), load_settings(ServiceSettings, bind_socket=path)):
            assert (await request).status_code == 422
        with pytest.raises(httpx.ConnectError):
            await client.get("/healthz")

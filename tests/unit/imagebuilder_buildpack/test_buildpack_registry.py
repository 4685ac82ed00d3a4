"""How phases log in at a registry: Basic, tokens, and to whom credentials are not sent."""

from __future__ import annotations

import base64
import http.server
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

LIFECYCLE = Path(__file__).parents[3] / "services/builder/imagebuilder/buildpacks/cnb/lifecycle"
BASIC = base64.b64encode(b"shop:s3cret").decode()
SCOPES = "repository:shop/shop:push repository:shop/base:pull"
# The package is installed in the image only: it is asked in a process of its own.
CHECK = """
import sys
sys.path.insert(0, sys.argv[1])
from phases.registry import Name, Registry, RegistryError
try:
    Registry.from_environment(sys.argv[3:]).check_push(Name.parse(sys.argv[2]))
except RegistryError as error:
    print(error.status, error)
else:
    print("may push")
"""


class Door(http.server.ThreadingHTTPServer):
    """A registry's way in; `asks` is `Basic` or `Bearer`, `heard` the credentials that came.

    Who asks for a token gets the statuses of `token_failures` first. With `keeps`, nobody may delete.
    """

    def __init__(self, asks: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asks = asks
        self.host = f"127.0.0.1:{self.server_port}"
        self.heard: list[tuple[str, str]] = []
        self.queries: list[str] = []
        self.token_failures: list[int] = []
        self.keeps = False


class Handler(http.server.BaseHTTPRequestHandler):
    server: Door

    def do_GET(self) -> None:
        self._hear()
        self.server.queries.append(self.path.partition("?")[2])
        if self.server.token_failures:
            return self._answer(self.server.token_failures.pop(0))
        if self.headers.get("Authorization") != f"Basic {BASIC}":
            return self._answer(401)
        return self._answer(200, body=json.dumps({"token": "t0ken"}).encode())

    def do_POST(self) -> None:
        self._hear()
        wanted = f"Basic {BASIC}" if self.server.asks == "Basic" else "Bearer t0ken"
        if self.headers.get("Authorization") != wanted:
            realm = f'Bearer realm="http://{self.server.host}/token",service="registry",scope="{SCOPES}"'
            return self._answer(401, {"WWW-Authenticate": realm if self.server.asks == "Bearer" else 'Basic realm="x"'})
        return self._answer(202, {"Location": f"http://{self.server.host}/v2/shop/shop/blobs/uploads/1"})

    def do_DELETE(self) -> None:
        self._hear()
        self._answer(401 if self.server.keeps else 204)

    def _hear(self) -> None:
        self.server.heard.append((self.path.partition("?")[0], self.headers.get("Authorization", "")))

    def _answer(self, status: int, headers: dict[str, str] | None = None, body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(params=["Basic", "Bearer"])
def door(request: pytest.FixtureRequest) -> Iterator[Door]:
    server = Door(request.param)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def check(door: Door, folder: Path, auths: dict[str, dict[str, str]]) -> str:
    (folder / "config.json").write_text(json.dumps({"auths": auths}))
    command = [sys.executable, "-c", CHECK, str(LIFECYCLE), f"{door.host}/shop/shop:1", door.host]
    environment = {"DOCKER_CONFIG": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    return done.stdout + done.stderr


@pytest.mark.parametrize("entry", [{"auth": BASIC}, {"username": "shop", "password": "s3cret"}], ids=["auth", "names"])
def test_credentials_of_the_docker_file_are_used(door: Door, tmp_path: Path, entry: dict[str, str]) -> None:
    assert check(door, tmp_path, {f"http://{door.host}/v1/": entry}) == "may push\n"


def test_without_credentials_the_registry_s_no_is_told(door: Door, tmp_path: Path) -> None:
    said = check(door, tmp_path, {})
    assert said.startswith("401 push to 127.0.0.1:")


def test_credentials_of_another_registry_are_not_sent(door: Door, tmp_path: Path) -> None:
    said = check(door, tmp_path, {"registry.example": {"auth": BASIC}})
    assert said.startswith("401 ")
    assert {credentials for _, credentials in door.heard} == {""}


def test_who_may_not_delete_may_push(door: Door, tmp_path: Path) -> None:
    door.keeps = True
    assert check(door, tmp_path, {door.host: {"auth": BASIC}}) == "may push\n"


@pytest.mark.parametrize("door", ["Bearer"], indirect=True)
def test_each_scope_is_asked_for_and_a_token_server_that_is_away_is_waited_for(door: Door, tmp_path: Path) -> None:
    door.token_failures = [503]
    assert check(door, tmp_path, {door.host: {"auth": BASIC}}) == "may push\n"
    asked = "service=registry&scope=repository%3Ashop%2Fshop%3Apush&scope=repository%3Ashop%2Fbase%3Apull"
    assert door.queries == [asked, asked]

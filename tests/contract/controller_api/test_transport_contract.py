"""What holds for every request: headers, slashes, methods, credentials, bodies."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator

import httpx
import pytest

from support.controller_api import Api, Person
from support.logs import captured_log

VERSIONS = {"DRYCC_API_VERSION": "2.3", "DRYCC_PLATFORM_VERSION": "2.3.0"}


def has_versions(response: httpx.Response) -> bool:
    """Whether the answer carries the version headers."""
    return all(response.headers.get(name) == value for name, value in VERSIONS.items())


@pytest.mark.parametrize("path", ["/healthz", "/readiness"])
async def test_health(api: Api, path: str) -> None:
    for method in ("GET", "HEAD"):
        response = await api.anonymous.request(method, path)
        assert (response.status_code, response.text) == (200, "OK" if method == "GET" else "")
        assert has_versions(response)
    refused = await api.anonymous.post(path)
    assert (refused.status_code, refused.content) == (405, b"")
    assert has_versions(refused)
    assert (await api.anonymous.get(path + "/")).status_code == 404


@pytest.mark.parametrize("path", ["/v2/", "/v2", "//v2/", "//v2//"])
async def test_connection_check(api: Api, ana: Person, path: str) -> None:
    response = await api.anonymous.get(httpx.URL("http://drycc.test").copy_with(raw_path=path.encode()))
    assert response.status_code == 401
    assert response.json() == {"detail": "Authentication credentials were not provided."}
    assert response.headers["WWW-Authenticate"] == "token"
    assert has_versions(response)
    known = await ana.client.get("/v2/")
    assert (known.status_code, known.json()) == (200, {})


@pytest.mark.parametrize(
    ("header", "scheme", "detail"),
    [
        ("token", "token", "Invalid token header. No credentials provided."),
        ("Token a b", "token", "Invalid token header. Token string should not contain spaces."),
        ("token nope", "token", "Invalid token."),
        ("token n\xf6pe", "token", "Invalid token header. Token string should not contain invalid characters."),
        ("Basic YTpi", "token", "Authentication credentials were not provided."),
        ("bearer bad", "bearer", "Verify token fail."),
        ("Bearer ", "bearer", "Invalid token header. No credentials provided."),
    ],
)
async def test_credentials(api: Api, header: str, scheme: str, detail: str) -> None:
    raw = [(b"authorization", header.encode("latin-1"))]
    response = await api.anonymous.get("/v2/apps/", headers=raw)
    assert (response.status_code, response.json()) == (401, {"detail": detail})
    assert response.headers["WWW-Authenticate"] == scheme


@pytest.mark.parametrize("path", ["/v2/nothing", "/v2/apps/UPPER/", "/v2/apps/shop/releases/1/", "/nothing"])
async def test_unknown_paths_are_pages(ana: Person, path: str) -> None:
    response = await ana.client.get(path)
    assert response.status_code == 404
    assert response.headers["content-type"].startswith("text/html")
    assert "<h1>Not Found</h1>" in response.text
    assert has_versions(response)


@pytest.fixture
def log_output() -> Iterator[io.StringIO]:
    """What is logged meanwhile."""
    with captured_log("controller") as output:
        yield output


@pytest.mark.parametrize(
    ("path", "logged", "status"),
    [
        ("auth/token/l0gin-key", "/v2/auth/token", 404),
        ("auth/token/l0gin-key/", "/v2/auth/token", 404),
        ("/auth//token//l0gin-key//", "/v2/auth/token", 404),
        ("auth/token/l0gin-key/x", "/v2/auth/token/***", 404),
        ("auth/token/x/l0gin-key/", "/v2/auth/token/***", 404),
        ("auth/token/l0gin-key%20", "/v2/auth/token/***", 404),
        ("auth/token/l0gin-key%2Fx", "/v2/auth/token/***", 404),
        ("auth/token%2Fl0gin-key%0A", "/v2/auth/token/***", 404),
        ("auth/token", "/v2/auth/token", 404),
        ("auth/tokens/a", "/v2/auth/tokens/a", 404),
    ],
)
async def test_keys_of_logins_are_in_no_log(
    api: Api, log_output: io.StringIO, path: str, logged: str, status: int
) -> None:
    url = httpx.URL("http://drycc.test").copy_with(raw_path=f"/v2/{path}".encode())
    assert (await api.anonymous.get(url)).status_code == status
    lines = [json.loads(line) for line in log_output.getvalue().splitlines()]
    assert [line["path"] for line in lines if line["event"] == "request"] == [logged]
    assert "l0gin-key" not in log_output.getvalue()


async def test_no_path_below_that_of_logins_has_a_page(api: Api) -> None:
    for method in ("GET", "POST", "DELETE"):
        response = await api.anonymous.request(method, "/v2/auth/token/l0gin-key/x")
        assert response.status_code == 404
        assert "<h1>Not Found</h1>" in response.text
        assert "l0gin-key" not in response.text


async def test_slashes_make_no_difference_and_no_redirect(api: Api, ana: Person) -> None:
    await api.create("slashes")
    for path in ("/v2/apps/slashes", "/v2/apps/slashes/", "/v2//apps/slashes/"):
        response = await ana.client.get(path)
        assert response.status_code == 200, path


async def test_head_is_get_without_body(api: Api, ana: Person) -> None:
    response = await ana.client.head("/v2/apps/")
    assert (response.status_code, response.content) == (200, b"")
    assert has_versions(response)


async def test_method_not_allowed(api: Api, ana: Person) -> None:
    await api.create("methods")
    for method, path in (
        ("PATCH", "/v2/apps/methods/"),
        ("PUT", "/v2/apps/methods/"),
        ("POST", "/v2/apps/methods/releases/"),
    ):
        response = await ana.client.request(method, path)
        assert response.status_code == 405
        assert response.json() == {"detail": f'Method "{method}" not allowed.'}


async def test_what_is_allowed_is_told_whole(api: Api, ana: Person) -> None:
    await api.create("allowed")
    for method, path, allowed in (
        ("PATCH", "/v2/apps/allowed/", "DELETE, GET, HEAD, POST"),
        ("DELETE", "/v2/apps/allowed/releases/", "GET, HEAD"),
        ("POST", "/healthz", "GET, HEAD"),
    ):
        response = await ana.client.request(method, path)
        assert (response.status_code, response.headers["allow"]) == (405, allowed)


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        (
            b"{bad",
            {
                "detail": "JSON parse error - Expecting property name enclosed in double quotes: "
                "line 1 column 2 (char 1)"
            },
        ),
        (b"[]", {"non_field_errors": ["Invalid data. Expected a dictionary, but got list."]}),
        (b'"x"', {"non_field_errors": ["Invalid data. Expected a dictionary, but got str."]}),
        (b'{"id": "a\\u0000b"}', {"detail": "JSON parse error - Null characters are not allowed."}),
        (b'{"id": NaN}', {"detail": "JSON parse error - Out of range float values are not JSON compliant: NaN"}),
    ],
)
async def test_bad_bodies(ana: Person, body: bytes, answer: object) -> None:
    response = await ana.client.post("/v2/apps/", content=body, headers={"content-type": "application/json"})
    assert (response.status_code, response.json()) == (400, answer)


@pytest.mark.parametrize("body", [b"\xff\xfe", b'{"id": "\\ud800"}', b"[" * 100_000])
async def test_bodies_that_no_column_holds(ana: Person, body: bytes) -> None:
    response = await ana.client.post("/v2/apps/", content=body, headers={"content-type": "application/json"})
    assert response.status_code == 400
    assert response.json()["detail"].startswith("JSON parse error - ")


async def test_media_types(api: Api, ana: Person) -> None:
    refused = await ana.client.post("/v2/apps/", content=b"id=x", headers={"content-type": "text/plain"})
    assert refused.status_code == 415
    assert refused.json() == {"detail": 'Unsupported media type "text/plain" in request.'}
    headers = {"content-type": "application/json; charset=utf-8"}
    assert (await ana.client.post("/v2/apps/", content=b'{"id": "media"}', headers=headers)).status_code == 201
    empty = await ana.client.post("/v2/apps/", content=b"", headers={"content-type": "text/plain"})
    assert empty.status_code == 201


async def test_too_large_a_body(api: Api, ana: Person) -> None:
    content = b'{"id": "' + b"x" * api.settings.max_body_bytes + b'"}'
    response = await ana.client.post("/v2/apps/", content=content, headers={"content-type": "application/json"})
    assert response.status_code == 413


async def test_problem_documents_on_request(ana: Person) -> None:
    response = await ana.client.get("/v2/apps/nowhere/", headers={"accept": "application/problem+json"})
    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["code"] == "not-found"
    assert response.json()["instance"] == response.headers["x-request-id"]


async def test_cross_origin_requests(api: Api, ana: Person) -> None:
    response = await ana.client.get("/v2/", headers={"origin": "http://elsewhere.test"})
    assert response.headers["access-control-allow-origin"] == "*"
    assert "DRYCC_API_VERSION" in response.headers["access-control-expose-headers"]


async def test_standard_headers(api: Api) -> None:
    headers = (await api.anonymous.get("/v2/")).headers
    assert headers["x-frame-options"] == "DENY"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"

"""The OpenAPI document: kept in the repository, published, and about every route."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from jsonschema import Draft202012Validator
from starlette.responses import Response
from starlette.routing import WebSocketRoute
from typer.testing import CliRunner
from typing_extensions import TypedDict

from controller.api.openapi import doc
from controller.api.openapi import document as openapi_of
from controller.cli import app as command
from controller.main import render_openapi
from support.controller_api import Api

KEPT = Path(__file__).parents[3] / "docs" / "openapi.json"
# Outside of the API: for machines that watch this one.
UNDOCUMENTED = {"/healthz", "/readiness", "/metrics"}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(render_openapi())
    return found


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield f"{method.upper()} {path}", operation


def resolved(document: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    """What stands at the end of a reference."""
    while "$ref" in node:
        found: Any = document
        for part in node["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        node = found
    return node


def nodes(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for item in value.values():
            yield from nodes(item)
    elif isinstance(value, list):
        for item in value:
            yield from nodes(item)


def test_the_repository_keeps_what_the_controller_publishes() -> None:
    assert KEPT.read_text() == render_openapi(), "run `make openapi` and review the difference"


def test_the_command_needs_neither_settings_nor_a_database() -> None:
    printed = CliRunner().invoke(command, ["openapi"])
    assert (printed.exit_code, printed.stdout) == (0, render_openapi())


async def test_anybody_may_read_it_and_need_not_read_it_twice(api: Api, document: dict[str, Any]) -> None:
    first = await api.anonymous.get("/v2/openapi.json")
    assert first.status_code == 200
    assert first.json() == document
    assert first.headers["content-type"] == "application/json"
    for known in (first.headers["etag"], f'"other", W/{first.headers["etag"]}', "*"):
        again = await api.anonymous.get("/v2/openapi.json/", headers={"If-None-Match": known})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])
    other = await api.anonymous.get("/v2/openapi.json", headers={"If-None-Match": '"other"'})
    assert other.content == first.content
    assert (await api.anonymous.head("/v2/openapi.json")).status_code == 200


def test_every_route_is_documented(api: Api, document: dict[str, Any]) -> None:
    described = {name for name, _ in operations(document)}
    streams = set()
    routes = set()
    for route in iter_route_contexts(api.app.routes):
        if isinstance(route.original_route, WebSocketRoute):
            streams.add(route.path_format)
        elif route.path_format not in UNDOCUMENTED:
            routes |= {f"{method} {route.path_format}" for method in route.methods or ()}
    # The key is taken out of this path before routing.
    assert {name.replace("/v2/auth/token/{key}", "/v2/auth/token") for name in described} == routes
    assert streams
    assert all(f"`{path}`" in document["info"]["description"] for path in streams)


def test_operations_say_all_that_clients_need(document: dict[str, Any]) -> None:
    tags = {tag["name"] for tag in document["tags"]}
    for name, operation in operations(document):
        assert operation["summary"], name
        assert set(operation["tags"]) <= tags, name
        assert "security" in operation, name
        assert any(status < "400" for status in operation["responses"]), name
        assert operation["security"] == [] or "403" in operation["responses"], name
        for answer in operation["responses"].values():
            assert "DRYCC_API_VERSION" in resolved(document, answer)["headers"], name
        for given in operation.get("parameters", ()):
            parameter = resolved(document, given)
            assert parameter.get("description"), f"{name}: {parameter['name']} has no description"
            assert parameter["in"] != "path" or parameter["schema"]["pattern"], name
    ids = [operation["operationId"] for _, operation in operations(document)]
    assert len(set(ids)) == len(ids)


def test_references_lead_somewhere_and_schemas_are_schemas(document: dict[str, Any]) -> None:
    used = {node["$ref"] for node in nodes(document) if "$ref" in node}
    assert all(resolved(document, {"$ref": reference}) for reference in used)
    for name, schema in document["components"]["schemas"].items():
        Draft202012Validator.check_schema(schema)
        assert f"#/components/schemas/{name}" in used, f"nothing uses {name}"


def test_the_document_holds_no_secret(api: Api) -> None:
    secrets = [api.settings.passport_client_secret, *api.settings.encryption_keys, api.settings.builder_key]
    text = render_openapi()
    assert all(secret is not None and secret.get_secret_value() not in text for secret in secrets)


def types_of_one_name() -> tuple[Any, Any]:
    class Same(TypedDict):
        value: int

    first = Same

    class Same(TypedDict):  # type: ignore[no-redef]  # as if it stood in another module
        value: str

    return first, Same


class TestNames:
    """Names that clients' code is generated from must not depend on the order of routes."""

    def test_two_endpoints_of_one_name_are_refused(self) -> None:
        app = FastAPI()

        def add(path: str) -> None:
            @app.get(path, **doc())
            async def look() -> Response:
                """Look."""
                return Response()

        add("/one")
        assert openapi_of(app)["paths"]["/one"]["get"]["operationId"] == "look"
        add("/two")
        with pytest.raises(ValueError, match=r"are both called look: give one of them an operation_id"):
            openapi_of(app)

    def test_two_types_of_one_name_are_refused(self) -> None:
        first, second = types_of_one_name()
        app = FastAPI()

        @app.get("/one", **doc(first))
        async def one() -> Response:
            """One."""
            return Response()

        @app.get("/two", **doc(second))
        async def two() -> Response:
            """Two."""
            return Response()

        with pytest.raises(ValueError, match="two types are called Same: give one of them another name"):
            openapi_of(app)

"""Who may do what, over every endpoint that there is. A route without an entry here fails the first test."""

from __future__ import annotations

import base64
import itertools
import re
from collections.abc import AsyncIterator, Iterator
from enum import StrEnum
from typing import Any, Final, TypeAlias

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI
from fastapi.routing import APIWebSocketRoute, RouteContext, iter_route_contexts

from controller.api.idempotency import IdempotentRoute
from controller.api.units import is_done_in_one_transaction
from controller.main import _add_routers
from controller.services.access import POLICY, Action, PlatformAction, Role, is_allowed
from support.controller_api import BUILDER_KEY, Api, Person, running_api
from support.fixtures import MakeDatabase
from support.go_websocket import GoWebSocket, RefusedError


class Guard(StrEnum):
    """Who an endpoint is for, where it is not a matter of an app or of the platform."""

    ANYONE = "anyone"
    PERSON = "person"
    BUILDER = "builder"
    MANAGER = "manager"


Who: TypeAlias = Action | PlatformAction | Guard
APP: Final = "/v2/apps/{app_id:app}"
VIEW, CHANGE, DELETE = Action.VIEW, Action.CHANGE, Action.DELETE
PERSON = Guard.PERSON


def _each(path: str, **methods: Who) -> dict[str, Who]:
    return {f"{method} {path}": who for method, who in methods.items()}


ENDPOINTS: Final[dict[str, Who]] = {
    **_each("/v2", GET=PERSON),
    **_each("/v2/openapi.json", GET=Guard.ANYONE),
    **_each("/v2/auth/login", POST=Guard.ANYONE),
    **_each("/v2/auth/token", GET=Guard.ANYONE),
    **_each("/v2/auth/whoami", GET=PERSON),
    **_each("/v2/login/drycc", GET=Guard.ANYONE, POST=Guard.ANYONE),
    **_each("/v2/complete/drycc", GET=Guard.ANYONE),
    **_each("/v2/tokens", GET=PERSON),
    **_each("/v2/tokens/{uuid:opaque}", DELETE=PERSON),
    **_each("/v2/keys", GET=PERSON, POST=PERSON),
    **_each("/v2/keys/{name:rest}", GET=PERSON, DELETE=PERSON),
    **_each("/v2/users", GET=PlatformAction.MANAGE_USERS),
    **_each("/v2/users/{username:username}/enable", PATCH=PlatformAction.MANAGE_USERS),
    **_each("/v2/users/{username:username}/disable", PATCH=PlatformAction.MANAGE_USERS),
    **_each("/v2/audit", GET=PlatformAction.AUDIT),
    **_each("/v2/limits/specs", GET=PERSON),
    **_each("/v2/limits/plans", GET=PERSON),
    **_each("/v2/limits/plans/{plan:plan}", GET=PERSON),
    **_each("/v2/resources/services", GET=PERSON),
    **_each("/v2/resources/services/{service:service_class}/plans", GET=PERSON),
    **_each("/v2/manager/{kind:opaque}/{id:opaque}/block", POST=Guard.MANAGER),
    **_each("/v2/manager/{kind:opaque}/{id:opaque}/unblock", DELETE=Guard.MANAGER),
    **_each("/v2/hooks/key/{fingerprint:rest}", GET=Guard.BUILDER),
    **_each("/v2/hooks/keys/{app_id:app}", GET=Guard.BUILDER),
    **_each("/v2/hooks/keys/{app_id:app}/{username:username}", GET=Guard.BUILDER),
    **_each("/v2/hooks/builds/{app_id:app}", GET=Guard.BUILDER),
    **_each("/v2/hooks/config", POST=Guard.BUILDER),
    **_each("/v2/hooks/build", POST=Guard.BUILDER),
    **_each("/v2/apps", GET=PERSON, POST=PERSON),
    **_each(APP, GET=VIEW, POST=CHANGE, DELETE=DELETE),  # a POST that names a new owner: see below
    **_each(f"{APP}/audit", GET=Action.AUDIT),
    **_each(f"{APP}/perms", GET=Action.SHARE, POST=Action.SHARE),
    **_each(f"{APP}/perms/{{username:username}}", PUT=Action.SHARE, DELETE=Action.SHARE),
    **_each(f"{APP}/build", GET=VIEW, POST=CHANGE),
    **_each(f"{APP}/config", GET=VIEW, POST=CHANGE, DELETE=DELETE),
    **_each(f"{APP}/releases", GET=VIEW),
    **_each(f"{APP}/releases/{{version:version}}", GET=VIEW),
    **_each(f"{APP}/releases/deploy", POST=CHANGE),
    **_each(f"{APP}/releases/rollback", POST=CHANGE),
    **_each(f"{APP}/settings", GET=VIEW, POST=CHANGE),
    **_each(f"{APP}/pods", GET=VIEW, DELETE=DELETE),
    **_each(f"{APP}/pods/{{name:process}}/describe", GET=VIEW),
    **_each(f"{APP}/ptypes", GET=VIEW),
    **_each(f"{APP}/ptypes/{{name:process}}/describe", GET=VIEW),
    **_each(f"{APP}/ptypes/scale", POST=CHANGE),
    **_each(f"{APP}/ptypes/restart", POST=CHANGE),
    **_each(f"{APP}/ptypes/clean", POST=CHANGE),
    **_each(f"{APP}/events", GET=VIEW),
    **_each(f"{APP}/run", POST=CHANGE),
    **_each(f"{APP}/jobs", GET=VIEW, POST=CHANGE),
    **_each(f"{APP}/jobs/{{name:process}}", GET=VIEW, DELETE=DELETE),
    **_each(f"{APP}/jobs/{{name:process}}/log", GET=VIEW),
    **_each(f"{APP}/metrics", GET=VIEW),
    **_each(f"{APP}/metrics/{{ptype:name}}/status", GET=VIEW),
    **_each(f"{APP}/domains", GET=VIEW, POST=CHANGE),
    **_each(f"{APP}/domains/{{domain:domain}}", DELETE=DELETE),
    **_each(f"{APP}/certs", GET=VIEW, POST=CHANGE),
    **_each(f"{APP}/certs/{{name:name}}", GET=VIEW, DELETE=DELETE),
    **_each(f"{APP}/certs/{{name:name}}/domain", POST=CHANGE),
    **_each(f"{APP}/certs/{{name:name}}/domain/{{domain:domain}}", DELETE=DELETE),
    **_each(f"{APP}/tls", GET=VIEW, POST=CHANGE),
    **_each(f"{APP}/services", GET=VIEW, POST=CHANGE, DELETE=DELETE),
    **_each(f"{APP}/gateways", GET=VIEW, POST=CHANGE, DELETE=DELETE),
    **_each(f"{APP}/routes", GET=VIEW, POST=CHANGE),
    **_each(f"{APP}/routes/{{name:app}}", GET=VIEW, DELETE=DELETE),
    **_each(f"{APP}/routes/{{name:app}}/attach", PATCH=CHANGE),
    **_each(f"{APP}/routes/{{name:app}}/detach", PATCH=CHANGE),
    **_each(f"{APP}/routes/{{name:app}}/rules", GET=VIEW, PUT=CHANGE),
    **_each(f"{APP}/volumes", GET=VIEW, POST=CHANGE),
    **_each(f"{APP}/volumes/{{name:name}}", GET=VIEW, PATCH=CHANGE, DELETE=DELETE),
    **_each(f"{APP}/volumes/{{name:name}}/path", PATCH=CHANGE),
    **_each(f"{APP}/volumes/{{name:name}}/client", GET=VIEW, POST=CHANGE),
    **_each(f"{APP}/volumes/{{name:name}}/client/{{path:file}}", GET=VIEW, DELETE=DELETE),
    **_each(f"{APP}/resources", GET=VIEW, POST=CHANGE),
    **_each(f"{APP}/resources/{{name:name}}", GET=VIEW, PUT=CHANGE, DELETE=DELETE),
    **_each(f"{APP}/resources/{{name:name}}/binding", PATCH=CHANGE),
}
STREAMS: Final[dict[str, Action]] = {
    "/v2/apps/{app_id:word}/logs": Action.VIEW,
    "/v2/apps/{app_id:word}/pods/{name:word}/logs": Action.VIEW,
    "/v2/apps/{app_id:word}/pods/{name:word}/exec": Action.EXEC,
}
OF_APPS: Final = {name: action for name, action in ENDPOINTS.items() if isinstance(action, Action)}
NOT_REPEATABLE: Final = {
    f"POST {APP}/volumes/{{name:name}}/client",  # a file has its new content, however often it is sent
    "POST /v2/manager/{kind:opaque}/{id:opaque}/block",
}
IN_SEVERAL: Final = {f"POST {APP}/resources"}  # waits for the broker; names keep it from happening twice
PARAMETERS: Final = {
    "name": "nothing-here",
    "ptype": "web",
    "username": "nobody",
    "version": "v1",
    "domain": "a.example.org",
    "path": "a-file",
    "uuid": "019b8f0c-3c1e-7a52-9f0b-5f3b1c7f2d11",
    "plan": "std1.large.c1m1",
    "service": "postgres",
    "fingerprint": "SHA256:nothing",
    "kind": "apps",
    "id": "nothing-here",
}
GRANTED: Final = {"viewer": "view", "changer": "change", "deleter": "delete"}
FORBIDDEN: Final = {"detail": "You do not have permission to perform this action."}
NO_APP: Final = "No App matches the given query."
MANAGER: Final[dict[str, Any]] = {"manager_access_key": "access", "manager_secret_key": "secret"}


def routes() -> Iterator[RouteContext]:
    """Every route of the application."""
    app = FastAPI(openapi_url=None)
    _add_routers(app)
    yield from iter_route_contexts(app.routes)


def test_every_route_has_an_entry_and_every_entry_a_route() -> None:
    streams, endpoints = set(), set()
    for route in routes():
        if isinstance(route.original_route, APIWebSocketRoute):
            streams.add(route.path)
        else:
            endpoints |= {f"{method} {route.path}" for method in route.methods or ()}
    assert endpoints == set(ENDPOINTS)
    assert streams == set(STREAMS)


def test_methods_need_what_the_contract_says() -> None:
    """controller-api.md 1.10: the needed grant follows the method."""
    usual = {"GET": VIEW, "POST": CHANGE, "PUT": CHANGE, "PATCH": CHANGE, "DELETE": DELETE}
    in_charge = {Action.SHARE, Action.AUDIT}
    assert all(action in in_charge or action is usual[name.partition(" ")[0]] for name, action in OF_APPS.items())


def test_every_post_of_somebody_we_know_may_be_repeated() -> None:
    for route in routes():
        name = f"POST {route.path}"
        if "POST" not in (route.methods or ()) or ENDPOINTS[name] is Guard.ANYONE or name in NOT_REPEATABLE:
            continue
        assert isinstance(route.original_route, IdempotentRoute), f"{name}: give its router route_class=IdempotentRoute"
        in_one = is_done_in_one_transaction(route.dependant)
        assert in_one or name in IN_SEVERAL, f"{name}: do all of its work in deps.Work"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def api(make_module_database: MakeDatabase) -> AsyncIterator[Api]:
    """A controller with its people."""
    async with running_api(await make_module_database("controller"), served=True, **MANAGER) as api:
        for name in ("owner", "stranger", *GRANTED):
            await api.person(name)
        await api.person("staff", is_staff=True)
        await api.person("superuser", is_superuser=True)
        yield api


_numbers = itertools.count(1)


async def new_app(api: Api) -> str:
    """An app of the owner's that the others have their grants on."""
    name = await api.create(f"guarded-{next(_numbers)}", "owner")
    for person, permission in GRANTED.items():
        await api.grant(name, person, permission, "owner")
    return name


def filled(path: str, app: str) -> str:
    """The path with something for each placeholder."""
    return re.sub(r"{(\w+)(:\w+)?}", lambda found: {**PARAMETERS, "app_id": app}[found[1]], path)


async def send(client: httpx.AsyncClient, name: str, app: str = "none") -> httpx.Response:
    """A request to that endpoint, with an empty object where it takes one."""
    method, _, path = name.partition(" ")
    return await client.request(method, filled(path, app), json=None if method == "GET" else {})


def expected(action: Action, person: str) -> int | None:
    """The status of a refusal; None for who may."""
    role = {"owner": Role.OWNER, "staff": Role.STAFF, "superuser": Role.SUPERUSER}.get(person, Role.OTHER)
    granted = GRANTED.get(person)
    if is_allowed(action, role, {granted} if granted else ()):
        return None
    return 404 if person == "stranger" else 403


def check(response: httpx.Response, status: int | None) -> None:
    """Compare an answer with the refusal that is expected, or with none."""
    if status == 403:
        assert (response.status_code, response.json()) == (403, FORBIDDEN)
    elif status == 404:
        assert (response.status_code, response.json()) == (404, NO_APP)
    else:
        assert response.status_code not in (401, 403, 500), response.text
        assert response.status_code != 404 or response.text != f'"{NO_APP}"'


@pytest.mark.parametrize("name", OF_APPS)
async def test_apps_are_for_whom_the_table_says(api: Api, name: str) -> None:
    app = await new_app(api)
    assert (await send(api.anonymous, name, app)).status_code == 401
    for person in ("stranger", *GRANTED, "staff", "owner", "superuser"):
        status = expected(OF_APPS[name], person)
        check(await send(api.people[person].client, name, app), status)
        if name == f"DELETE {APP}" and status is None:
            app = await new_app(api)  # the next one is to find one too


@pytest.mark.parametrize("person", ["anonymous", "stranger", *GRANTED, "staff", "owner", "superuser"])
async def test_only_who_is_in_charge_gives_an_app_away(api: Api, person: str) -> None:
    app = await new_app(api)
    client = api.anonymous if person == "anonymous" else api.people[person].client
    response = await client.post(f"/v2/apps/{app}/", json={"owner": "stranger"})
    if person == "anonymous":
        assert response.status_code == 401
    else:
        check(response, expected(Action.TRANSFER, person))


async def test_a_blocked_app_is_closed_to_all_but_those_who_share_it(api: Api) -> None:
    app = await new_app(api)
    credential = base64.b85encode(b"access:secret").decode()
    headers = {"Authorization": f"token {credential}"}
    assert (await api.anonymous.post(f"/v2/manager/apps/{app}/block/", headers=headers)).status_code == 201
    for name, action in OF_APPS.items():
        for person in ("owner", "superuser"):
            response = await send(api.people[person].client, name, app)
            check(response, None if POLICY[action].despite_block else 403)


@pytest.mark.parametrize("name", [name for name, who in ENDPOINTS.items() if isinstance(who, PlatformAction)])
async def test_the_platform_is_for_superusers(api: Api, name: str) -> None:
    assert (await send(api.anonymous, name)).status_code == 401
    for person in ("stranger", "owner", "staff"):
        check(await send(api.people[person].client, name), 403)
    check(await send(api.people["superuser"].client, name), None)


@pytest.mark.parametrize("name", [name for name, who in ENDPOINTS.items() if who is Guard.PERSON])
async def test_what_is_everybodys_own_is_for_people_we_know(api: Api, name: str) -> None:
    anonymous = await send(api.anonymous, name)
    assert anonymous.status_code == 401
    assert anonymous.json() == {"detail": "Authentication credentials were not provided."}
    check(await send(api.people["stranger"].client, name), None)


@pytest.mark.parametrize("name", [name for name, who in ENDPOINTS.items() if who is Guard.ANYONE])
async def test_what_is_open_is_open(api: Api, name: str) -> None:
    response = await send(api.anonymous, name)
    assert response.status_code != 401
    no_form_or_browser_of_ours = name in ("POST /v2/login/drycc", "GET /v2/complete/drycc")
    assert response.status_code != 403 or no_form_or_browser_of_ours


@pytest.mark.parametrize("name", [name for name, who in ENDPOINTS.items() if who is Guard.BUILDER])
async def test_hooks_are_for_builders(api: Api, name: str) -> None:
    assert (await send(api.anonymous, name)).status_code == 401
    check(await send(api.people["superuser"].client, name), 403)
    async with api.client(x_drycc_builder_auth=BUILDER_KEY) as builder:
        response = await send(builder, name)
        assert response.status_code not in (401, 403, 500)


@pytest.mark.parametrize("name", [name for name, who in ENDPOINTS.items() if who is Guard.MANAGER])
async def test_the_managers_requests_are_the_managers(api: Api, name: str) -> None:
    check(await send(api.anonymous, name), 403)
    check(await send(api.people["superuser"].client, name), 403)
    async with api.client(authorization=f"token {base64.b85encode(b'access:secret').decode()}") as manager:
        check(await send(manager, name), None)


@pytest.mark.parametrize("path", STREAMS)
async def test_streams_are_for_whom_the_table_says(api: Api, path: str) -> None:
    app = await new_app(api)
    url = filled(path, app)
    assert await _handshake(api, url, None) == 401
    for person in ("stranger", *GRANTED, "staff", "owner", "superuser"):
        assert await _handshake(api, url, api.people[person]) == (expected(STREAMS[path], person) or 101), person


async def _handshake(api: Api, url: str, person: Person | None) -> int:
    """The status that a client gets; 101 when it is let in."""
    assert api.address is not None
    assert api.address.host is not None
    assert api.address.port is not None
    token = None if person is None else person.token
    try:
        socket = await GoWebSocket.dial(api.address.host, api.address.port, url, token=token)
    except RefusedError as error:
        return error.status
    await socket.close()
    return 101

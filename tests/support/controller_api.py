"""A controller with its API: real tables, an engine, its worker running, and people who hold tokens."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, get_args, overload

import httpx
from cryptography.fernet import Fernet
from fastapi import FastAPI
from typing_extensions import TypeVar

from controller.context import Context
from controller.domain.accounts import Account, Profile
from controller.engine.memory import MemoryEngine
from controller.engine.port import Engine, Feature
from controller.main import create_app
from controller.services.accounts import Accounts
from controller.settings import Settings
from shared.bus import InProcessBus
from shared.clock import Clock
from shared.web import ServerAddress, serving
from support import eventually

BUILDER_KEY = "builder-key-of-the-tests"
PUBLIC_URL = "http://drycc.test"
ISSUER = "http://passport.test/oauth"
ALL_FEATURES: frozenset[Feature] = frozenset(get_args(Feature))
PROCFILE = {"web": "python web.py", "worker": "python worker.py"}
EngineT = TypeVar("EngineT", bound=Engine, default=MemoryEngine)


@dataclass
class Person:
    """Somebody with a token, and a client that sends it."""

    account: Account
    token: str = field(repr=False)
    client: httpx.AsyncClient

    @property
    def name(self) -> str:
        """The user name."""
        return self.account.username


@dataclass
class Api(Generic[EngineT]):
    """The running controller and shortcuts to what tests need first."""

    app: FastAPI
    engine: EngineT
    bus: InProcessBus
    settings: Settings
    address: ServerAddress | None = None
    people: dict[str, Person] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.anonymous = self.client()

    async def close(self) -> None:
        """Close all clients."""
        for client in (self.anonymous, *(person.client for person in self.people.values())):
            await client.aclose()

    @property
    def context(self) -> Context:
        """The singletons of the process."""
        context: Context = self.app.state.context
        return context

    def client(self, **headers: str) -> httpx.AsyncClient:
        """A client that sends these headers with every request; underscores stand for hyphens."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        transport = httpx.ASGITransport(app=self.app, client=("192.0.2.7", 4711))
        return httpx.AsyncClient(transport=transport, base_url=PUBLIC_URL, headers=given)

    async def person(self, name: str, **flags: Any) -> Person:
        """The person of that name, made at the first call."""
        if name not in self.people:
            profile = Profile(id=len(self.people) + 1, username=name, email=f"{name}@example.org", **flags)
            async with self.context.unit_of_work() as uow:
                accounts = Accounts(uow)
                account = await accounts.store(profile, signed_in=True)
                token = await accounts.issue_token(account, alias="tests", sealed_refresh_token=None)
            self.people[name] = Person(account, token, self.client(authorization=f"token {token}"))
        return self.people[name]

    async def create(self, name: str, owner: str = "ana") -> str:
        """A new app of that owner."""
        person = await self.person(owner)
        response = await person.client.post("/v2/apps/", json={"id": name})
        assert response.status_code == 201, response.text
        return name

    async def build(self, app: str, owner: str = "ana", **facts: Any) -> None:
        """A build of the app, rolled out."""
        body = {"image": f"workspace/{app}:1", "stack": "python", "sha": "0123456789abcdef", "procfile": PROCFILE}
        person = await self.person(owner)
        response = await person.client.post(f"/v2/apps/{app}/build/", json=body | facts)
        assert response.status_code == 201, response.text
        await self.settled(app, owner)

    async def settled(self, app: str, owner: str = "ana") -> dict[str, Any]:
        """The newest release, when its rollout has come to an end."""
        person = await self.person(owner)
        found: dict[str, Any] = {}

        async def is_over() -> bool:
            response = await person.client.get(f"/v2/apps/{app}/releases/?limit=1")
            found.update(response.json()["results"][0])
            return bool(found["state"] != "created")

        await eventually(is_over)
        return found

    async def grant(self, app: str, to: str, permissions: str, owner: str = "ana") -> Person:
        """Somebody who was granted these permissions."""
        collaborator, person = await self.person(to), await self.person(owner)
        body = {"username": to, "permissions": permissions}
        response = await person.client.post(f"/v2/apps/{app}/perms/", json=body)
        assert response.status_code == 201, response.text
        return collaborator


def settings_for(database_url: str, **overrides: Any) -> Settings:
    """Settings of a controller on the memory engine; passport is nowhere unless it is told."""
    facts: dict[str, Any] = {
        "database_url": database_url,
        "engine": "memory",
        "public_url": PUBLIC_URL,
        "issuer": ISSUER,
        "passport_url": "http://127.0.0.1:9",
        "passport_client_id": "controller",
        "passport_client_secret": "secret-of-the-controller",
        "encryption_keys": [Fernet.generate_key().decode()],
        "builder_key": BUILDER_KEY,
        "rate_limit": 0,  # tests ask as fast as they can
        "app_domain": "apps.test",
        "app_url_template": "http://{app}.apps.test",
    }
    return Settings(**(facts | overrides))


@overload
def running_api(
    database_url: str,
    *,
    served: bool = ...,
    clock: Clock | None = ...,
    bus: InProcessBus | None = ...,
    features: frozenset[Feature] = ...,
    **overrides: Any,
) -> AbstractAsyncContextManager[Api]: ...
@overload
def running_api(
    database_url: str,
    *,
    engine: EngineT,
    served: bool = ...,
    clock: Clock | None = ...,
    bus: InProcessBus | None = ...,
    **overrides: Any,
) -> AbstractAsyncContextManager[Api[EngineT]]: ...
@asynccontextmanager
async def running_api(
    database_url: str,
    *,
    engine: Engine | None = None,
    served: bool = False,
    clock: Clock | None = None,
    bus: InProcessBus | None = None,
    features: frozenset[Feature] = ALL_FEATURES,
    **overrides: Any,
) -> AsyncIterator[Api[Any]]:
    """A controller in this process, with its lifespan; `served` on a port of this machine as well.

    It runs the memory engine with these `features`, unless it is given an `engine`, which the caller starts and closes.
    """
    settings = settings_for(database_url, bind_port=0, **overrides)
    async with AsyncExitStack() as stack:
        bus = bus or InProcessBus()
        stack.push_async_callback(bus.close)
        if engine is None:
            engine = MemoryEngine(features=features)
            stack.push_async_callback(engine.close)
        app = create_app(settings, bus=bus, engine=engine, clock=clock)
        address = None
        if served:
            address = await stack.enter_async_context(serving(app, settings))
        else:
            await stack.enter_async_context(app.router.lifespan_context(app))
        api = Api(app, engine, bus, settings, address)
        stack.push_async_callback(api.close)
        yield api

"""What the client talks to: the real passport and the real controller on ports of this machine."""

from __future__ import annotations

import asyncio
import itertools
import shutil
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, get_args

from cryptography.fernet import Fernet
from fastapi import FastAPI

from client.commands import TREE
from client.model.session import Browser, Outcome, Session
from controller.context import Context
from controller.engine.memory import MemoryEngine
from controller.engine.port import Feature
from controller.main import create_app as create_controller
from passport.domain.accounts import NewAccount
from passport.main import create_app as create_passport
from passport.settings import Settings as PassportSettings
from shared.bus import InProcessBus
from shared.events import Envelope
from shared.events.releases import ReleaseDeployed, ReleaseFailed
from shared.settings import load_settings
from shared.web import serving
from support.controller_api import settings_for
from support.tools import free_port

PASSWORD: Final = "correct horse battery staple"
ADMIN: Final = "admin"
PAUSE_SECONDS: Final = 0.01
MACHINES: Final = ({"disk": "ssd", "example.org/rack": "1"}, {"disk": "hdd"})
"""The labels of the machines that apps can run on."""
_ROLLOUT_SECONDS: Final = 30.0
_SECRET: Final = "a secret of the controller that is long enough"


@dataclass
class Suite:
    """The running services. `seen` is told how each command of each session ended."""

    url: str
    engine: MemoryEngine
    controller: FastAPI
    passport: FastAPI
    profiles: Path
    seen: Callable[[Outcome], None]
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    _logins: dict[str, asyncio.Lock] = field(default_factory=dict)
    _rollouts: dict[tuple[str, int], asyncio.Event] = field(default_factory=dict)

    @property
    def context(self) -> Context:
        """The controller's own parts, for what no client can do."""
        context: Context = self.controller.state.context
        return context

    async def note(self, envelope: Envelope) -> None:
        """A rollout has ended."""
        event = envelope.unwrap()
        assert isinstance(event, ReleaseDeployed | ReleaseFailed)
        self._rollout(event.app, event.version).set()

    async def rollout_ends(self, app: str, version: int) -> None:
        """Wait until the rollout of a release has ended, well or not."""
        async with asyncio.timeout(_ROLLOUT_SECONDS):
            await self._rollout(app, version).wait()

    def _rollout(self, app: str, version: int) -> asyncio.Event:
        return self._rollouts.setdefault((app, version), asyncio.Event())

    def new_name(self, prefix: str = "app") -> str:
        """A name that no test has used."""
        return f"{prefix}-{next(self._numbers)}"

    async def session(
        self, user: str, base: Path, *, browser: Browser | None = None, environment: Mapping[str, str] | None = None
    ) -> Session:
        """A machine of its own at which `user` is logged in; accounts are made at the first use of their name."""
        session = self.machine(base / f"home-{user}", browser=browser, environment=environment)
        profile = await self._profile_of(user)
        shutil.copy(profile, session.home / ".drycc" / "client.json")
        return session

    def machine(
        self, home: Path, *, browser: Browser | None = None, environment: Mapping[str, str] | None = None
    ) -> Session:
        """A machine at which nobody is logged in, with the directory that the client needs."""
        (home / ".drycc").mkdir(parents=True)
        directory = home / "work"
        directory.mkdir()
        return Session(
            TREE,
            home,
            directory,
            environment=dict(environment or {}),
            pause_seconds=PAUSE_SECONDS,
            browser=browser,
            listener=self.seen,
        )

    async def create_account(self, name: str) -> None:
        """An account at passport, without rights of its own."""
        accounts = self.passport.state.context.accounts
        await accounts.create(NewAccount(name, f"{name}@example.org", "Some", "Body"), password=PASSWORD)

    async def _profile_of(self, user: str) -> Path:
        profile = self.profiles / user / ".drycc" / "client.json"
        async with self._logins.setdefault(user, asyncio.Lock()):
            if not profile.exists():
                if user != ADMIN:
                    await self.create_account(user)
                session = self.machine(self.profiles / user)
                done = await session.run("login", self.url, "-u", user, "-p", PASSWORD)
                assert done.status == 0, done.stderr
        return profile


@asynccontextmanager
async def running_suite(
    controller_database: str, passport_database: str, *, profiles: Path, seen: Callable[[Outcome], None]
) -> AsyncIterator[Suite]:
    """Both services with their background work, on real ports."""
    controller_port, passport_port = free_port(), free_port()
    url, origin = f"http://127.0.0.1:{controller_port}", f"http://127.0.0.1:{passport_port}"
    bus, engine = InProcessBus(), MemoryEngine(features=frozenset(get_args(Feature)))
    engine.label_machines(*MACHINES)
    passport_settings = _passport_settings(passport_database, bind_port=passport_port, origin=origin, controller=url)
    passport = create_passport(passport_settings, bus=bus)
    controller_settings = settings_for(
        controller_database,
        bind_port=controller_port,
        public_url=url,
        issuer=f"{origin}/oauth",
        passport_url=origin,
        passport_client_secret=_SECRET,
        broker="memory",
        rate_limit=0,
    )
    controller = create_controller(controller_settings, bus=bus, engine=engine)
    async with serving(passport, passport_settings), serving(controller, controller_settings):
        suite = Suite(url, engine, controller, passport, profiles, seen)
        await bus.subscribe(consumer="tests", patterns=["release.deployed", "release.failed"], handler=suite.note)
        yield suite
    await engine.close()
    await bus.close()


def _passport_settings(database_url: str, *, bind_port: int, origin: str, controller: str) -> PassportSettings:
    client: dict[str, Any] = {
        "client_id": "controller",
        "client_secret": _SECRET,
        "name": "Workflow",
        "redirect_uris": [f"{controller}/v2/complete/drycc/"],
        "grants": ["authorization_code", "password", "refresh_token"],
        "scopes": ["openid", "profile", "email"],
        "audiences": ["controller"],
        "skip_consent": True,
    }
    return load_settings(
        PassportSettings,
        database_url=database_url,
        bind_port=bind_port,
        issuer=f"{origin}/oauth",
        encryption_keys=[Fernet.generate_key().decode()],
        admin_username=ADMIN,
        admin_password=PASSWORD,
        clients=[client],
    )

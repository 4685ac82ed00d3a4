"""What one run of a command works with: its arguments and flags, the login, the app, the API, the console."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from client.model import profile
from client.model.api import USER_AGENT, Api, Warnings
from client.model.cobra import Parsed
from client.model.console import Console
from client.model.git import Git
from client.model.go_json import Reader
from client.model.http import Transport
from client.model.profile import Profile

if TYPE_CHECKING:
    from client.model.session import Session


@dataclass
class Terminal:
    """Keyboard and size of a terminal; what a command prints on it is in its console."""

    rows: int = 24
    columns: int = 80
    keys: asyncio.Queue[bytes] = field(default_factory=asyncio.Queue)

    def type(self, data: bytes) -> None:
        """Press keys."""
        self.keys.put_nowait(data)


@dataclass
class Call:
    """One run. `at_terminal`: stdout is a terminal; `piped`: what comes through a pipe on stdin."""

    session: Session
    console: Console
    parsed: Parsed = field(default_factory=Parsed)
    terminal: Terminal | None = None
    at_terminal: bool = False
    piped: str | None = None
    transport: Transport = field(default_factory=lambda: Transport(USER_AGENT))
    reader: Reader = field(default_factory=Reader)
    warnings: Warnings = field(default_factory=Warnings)

    @property
    def arguments(self) -> list[str]:
        """The arguments."""
        return self.parsed.arguments

    def text(self, flag: str) -> str:
        """The value of a flag that is a text."""
        value = self.parsed.values[flag]
        assert isinstance(value, str)
        return value

    def number(self, flag: str) -> int:
        """The value of a flag that is a number."""
        value = self.parsed.values[flag]
        assert isinstance(value, int)
        return value

    def is_set(self, flag: str) -> bool:
        """Whether a switch is on."""
        return self.parsed.values[flag] is True

    def many(self, flag: str) -> list[str]:
        """The values of a flag that takes several."""
        value = self.parsed.values[flag]
        assert isinstance(value, list)
        return value

    @cached_property
    def profile_path(self) -> Path:
        """The configuration file."""
        return profile.locate(self.text("config"), self.session.environment)

    @cached_property
    def profile(self) -> Profile:
        """The login; raises ClientError when there is none."""
        return profile.load(self.profile_path)

    @cached_property
    def api(self) -> Api:
        """The controller that the user is logged in at."""
        return self.api_at(self.profile.controller, token=self.profile.token)

    def api_at(self, controller: str, *, token: str = "") -> Api:
        """Any controller; without a token nobody is logged in there."""
        return Api(controller, token, self.transport, self.reader, self.warnings)

    @property
    def git(self) -> Git:
        """Git in the user's directory."""
        return Git(self.session.directory, self.session.environment)

    @property
    def limit(self) -> int:
        """How many elements of a list are wanted."""
        limit = self.number("limit")
        return limit if limit > 0 else self.profile.limit

    async def app(self) -> str:
        """The app that is meant: by `-a`, a git remote, DRYCC_APP or the directory's name (cli.md 3)."""
        named = self.text("app") if "app" in self.parsed.values else ""
        if named:
            return named
        found = await self.git.app(self.profile.controller)
        return found or self.session.environment.get("DRYCC_APP") or self.session.directory.name.lower()

    async def path(self, rest: str = "") -> str:
        """The path of something of the app."""
        return f"/v2/apps/{await self.app()}/{rest}"

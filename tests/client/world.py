"""Apps that tests work on, made and watched through the client."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from client.model.session import Outcome, Session
from client.suite import Suite

_FIRST_PAUSE_SECONDS: Final = 0.02
_LAST_PAUSE_SECONDS: Final = 0.5
_MOST_SECONDS: Final = 30.0
PROCFILE = "web: python web.py\nworker: python worker.py\n"


@dataclass
class App:
    """An app and the session of its owner. `drycc` runs a command for the app."""

    suite: Suite
    owner: Session
    name: str

    @classmethod
    async def create(cls, suite: Suite, owner: Session) -> App:
        """A new app, and a directory of its name in which the owner is."""
        app = cls.at(suite, owner, suite.new_name())
        await succeed(owner, "create", app.name, "--no-remote")
        return app

    @classmethod
    def at(cls, suite: Suite, owner: Session, name: str) -> App:
        """The app of that name, and an empty directory of its name in which the owner is."""
        owner.directory = owner.directory.with_name(name)
        owner.directory.mkdir()
        return cls(suite, owner, name)

    async def drycc(self, *words: str, typed: tuple[str, ...] = ()) -> Outcome:
        """Run a command as the owner, for this app."""
        return await self.owner.run(*self._named(words), typed=typed)

    async def ok(self, *words: str) -> Outcome:
        """The same; it must succeed."""
        return await succeed(self.owner, *self._named(words))

    async def refused(self, *words: str) -> str:
        """The same; it must fail. What the client says."""
        return await fail(self.owner, *self._named(words))

    def _named(self, words: tuple[str, ...]) -> tuple[str, ...]:
        end = words.index("--") if "--" in words else len(words)
        return (*words[:end], "-a", self.name, *words[end:])

    async def deploy(self, image: str = "registry.example.org/shop:1") -> None:
        """Release an image and wait until it runs."""
        (self.owner.directory / "Procfile").write_text(PROCFILE)
        await self.ok("pull", image)
        await self.settled()

    async def settled(self) -> None:
        """Wait until the newest release has been rolled out or has failed."""
        _, state, version, *_ = (await self.ok("releases", "list", "-l", "1")).lines[1].split()
        if state == "created":
            await self.suite.rollout_ends(self.name, int(version.removeprefix("v")))

    async def with_volume(self, name: str) -> None:
        """A volume whose files can be reached; the app needs no build for that."""
        await self.ok("volumes", "add", name, "1G")

        async def is_there() -> bool:
            return (await self.drycc("volumes", "client", "ls", f"vol://{name}/")).status == 0

        await until(is_there)

    async def pods(self, ptype: str = "web") -> list[str]:
        """The names of the instances of one process type that are up."""
        rows = [line.split() for line in (await self.ok("ps", "list")).lines[1:]]
        return [row[0] for row in rows if (row[2], row[3]) == ("up", ptype)]


async def until(predicate: Callable[[], Awaitable[bool] | bool]) -> None:
    """Wait until something is true. Asks ever less often: each question of a client is work for the suite."""
    pause = _FIRST_PAUSE_SECONDS
    async with asyncio.timeout(_MOST_SECONDS):
        while True:
            answer = predicate()
            if await answer if isinstance(answer, Awaitable) else answer:
                return
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LAST_PAUSE_SECONDS)


async def succeed(session: Session, *words: str) -> Outcome:
    """Run a command that must succeed."""
    outcome = await session.run(*words)
    assert outcome.status == 0, (words, outcome.stderr)
    return outcome


async def fail(session: Session, *words: str) -> str:
    """Run a command that must fail with a message; the message."""
    outcome = await session.run(*words)
    assert outcome.status == 1, (words, outcome.stdout, outcome.stderr)
    return outcome.error

"""A user at a machine with the client installed: runs commands, keeps what they printed and how they ended."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from client.model.call import Call, Terminal
from client.model.cobra import parse
from client.model.console import Console
from client.model.failures import ClientError, ClientPanic
from client.model.http import Exchange
from client.model.tree import Tree

SUCCESS, FAILURE, PANIC = 0, 1, 2
Browser = Callable[[str], Awaitable[None]]
_INHERITED: Final = ("PATH", "LANG")


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    command: str
    status: int
    stdout: str
    stderr: str
    exchanges: Sequence[Exchange] = ()
    absent: Sequence[str] = ()

    @property
    def lines(self) -> list[str]:
        """Lines of stdout without the blanks at their ends."""
        return [line.rstrip() for line in self.stdout.splitlines()]

    @property
    def error(self) -> str:
        """The text after `Error: `."""
        return self.stderr.removeprefix("Error: ").removesuffix("\n")

    @property
    def requests(self) -> list[str]:
        """Method, path and body of each request, in order."""
        return [exchange.line for exchange in self.exchanges]


@dataclass
class Running:
    """A command that was started and may still run."""

    console: Console
    terminal: Terminal
    task: asyncio.Task[Outcome]

    async def kill(self) -> None:
        """End it as Ctrl-C does."""
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


@dataclass
class Session:
    """One user. `pause_seconds` stands between two polls of a login: 5 in the program.

    `browser` is what `xdg-open` starts; without one it fails.
    """

    tree: Tree
    home: Path
    directory: Path
    environment: dict[str, str] = field(default_factory=dict)
    pause_seconds: float = 5.0
    browser: Browser | None = None
    listener: Callable[[Outcome], None] = lambda outcome: None

    def __post_init__(self) -> None:
        inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        own = {"HOME": str(self.home), "TZ": "UTC", "GIT_CONFIG_NOSYSTEM": "1"}
        self.environment = {**inherited, **own, **self.environment}

    async def run(
        self, *words: str, typed: Sequence[str] = (), at_terminal: bool = False, piped: str | None = None
    ) -> Outcome:
        """Run `drycc <words>` to its end.

        `typed` answers prompts; with `at_terminal` stdout is one; `piped` is what comes through a pipe on stdin.
        """
        running = self.start(*words, typed=typed, at_terminal=at_terminal, piped=piped)
        return await running.task

    def start(
        self,
        *words: str,
        typed: Sequence[str] = (),
        at_terminal: bool = False,
        piped: str | None = None,
        terminal: Terminal | None = None,
    ) -> Running:
        """Start `drycc <words>`; `terminal` is what an interactive command is joined to."""
        console = Console(zone=self.environment["TZ"], typed=list(typed))
        call = Call(self, console, terminal=terminal, at_terminal=at_terminal, piped=piped)
        task = asyncio.create_task(self._run(call, list(words)), name=f"drycc {' '.join(words[:2])}")
        return Running(console, terminal or Terminal(), task)

    async def _run(self, call: Call, words: list[str]) -> Outcome:
        status, command, problem = SUCCESS, None, ""
        try:
            command, rest = self.tree.find(words)
            parsed = parse(command.path, command.rules, rest)
            call.parsed = parsed
            if not parsed.values["help"]:
                await command.action(call)
        except ClientError as error:
            status, problem = FAILURE, f"Error: {error}"
        except ClientPanic as panic:
            status, problem = PANIC, f"panic: {panic}"
        for line in (*call.warnings.lines, *([problem] if problem else [])):
            call.console.complain(line)
        outcome = Outcome(
            command.path if command else "",
            status,
            call.console.stdout,
            call.console.stderr,
            tuple(call.transport.exchanges),
            tuple(call.reader.absent),
        )
        self.listener(outcome)
        return outcome

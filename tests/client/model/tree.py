"""The commands by name, with their groups and shortcuts (cli.md 1.2 and 1.3)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

from client.model.call import Call
from client.model.cobra import APP, CONFIG, Arity, Flag, Rules, anything
from client.model.failures import ClientError

Action = Callable[[Call], Awaitable[None]]


@dataclass(frozen=True)
class Command:
    """One command."""

    path: str
    rules: Rules
    action: Action


async def _help(call: Call) -> None:
    """The texts of help are not modelled."""


def _helper(path: str) -> Command:
    return Command(path, Rules(anything), _help)


@dataclass
class Tree:
    """All commands. `groups` has what a group does when no subcommand is named."""

    commands: dict[str, Command] = field(default_factory=dict)
    groups: dict[str, str] = field(default_factory=dict)
    shortcuts: dict[str, str] = field(default_factory=dict)

    def command(
        self,
        path: str,
        arity: Arity,
        *flags: Flag,
        for_app: bool = True,
        required: tuple[str, ...] = (),
        exclusive: tuple[tuple[str, ...], ...] = (),
        together: tuple[tuple[str, ...], ...] = (),
    ) -> Callable[[Action], Action]:
        """Register the function below as the command of that path; commands for an app have the flag `-a`."""
        all_flags = (*flags, APP) if for_app else flags

        def register(action: Action) -> Action:
            rules = Rules(arity, all_flags, required, exclusive, together)
            self.commands[path] = Command(path, rules, action)
            return action

        return register

    def shortcut(self, name: str, path: str, *, for_app: bool = True) -> None:
        """Have `name` do what `path` does; `for_app` false takes the flag `-a` away."""
        rules = self.commands[path].rules
        flags = rules.flags if for_app else tuple(flag for flag in rules.flags if flag is not APP)
        self.commands[name] = replace(self.commands[path], path=name, rules=replace(rules, flags=flags))
        self.shortcuts[name] = path

    def find(self, words: list[str]) -> tuple[Command, list[str]]:
        """The command that a command line names, and the words after its name.

        Raises:
            ClientError: there is no such command.
        """
        before = _leading(words)
        words = words[len(before) :]
        for length in (3, 2, 1):
            path = " ".join(words[:length])
            if len(words) >= length and path in self.commands:
                return self.commands[path], before + words[length:]
            if len(words) >= length and path in self.groups:
                return self.commands.get(self.groups[path]) or _helper(path), before + words[length:]
        if not words or words[0].startswith("-"):
            return _helper(""), before + words
        raise ClientError(f'unknown command "{words[0]}" for "drycc"\nRun \'drycc --help\' for usage.')


def _leading(words: list[str]) -> list[str]:
    """The global flag `-c` where it stands before the command."""
    if words[:1] in ([f"-{CONFIG.short}"], [f"--{CONFIG.name}"]):
        return words[:2]
    return words[:1] if words and words[0].startswith(f"--{CONFIG.name}=") else []

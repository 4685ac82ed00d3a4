"""Command lines as the client's flag library reads them (cli.md 1.1 to 1.4)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from client.model.failures import ClientError

Value = str | int | bool | list[str]
Arity = Callable[[str, int, str], str]
"""Path of the command, number of arguments and the first of them -> what is wrong with them, or nothing."""


@dataclass(frozen=True)
class Flag:
    """One flag; the type of its default is its type, except that `unsigned` numbers cannot be negative."""

    name: str
    short: str = ""
    default: Value = ""
    unsigned: bool = False

    @property
    def shown(self) -> str:
        """As error texts name it."""
        return f"-{self.short}, --{self.name}" if self.short else f"--{self.name}"


APP: Final = Flag("app", "a")
LIMIT: Final = Flag("limit", "l", 0)
CONFIRM: Final = Flag("confirm")
CONFIG: Final = Flag("config", "c", "~/.drycc/client.json")
HELP: Final = Flag("help", "h", False)


@dataclass(frozen=True)
class Rules:
    """What a command demands of its command line."""

    arity: Arity
    flags: tuple[Flag, ...] = ()
    required: tuple[str, ...] = ()
    exclusive: tuple[tuple[str, ...], ...] = ()
    together: tuple[tuple[str, ...], ...] = ()


@dataclass
class Parsed:
    """A command line that was understood."""

    arguments: list[str] = field(default_factory=list)
    values: dict[str, Value] = field(default_factory=dict)
    given: set[str] = field(default_factory=set)


def anything(path: str, number: int, first: str) -> str:
    """Arguments are ignored."""
    return ""


def nothing(path: str, number: int, first: str) -> str:
    """There must be none."""
    return f'unknown command "{first}" for "drycc {path}"' if number else ""


def exactly(wanted: int) -> Arity:
    """So many, no fewer and no more."""
    return lambda path, number, first: "" if number == wanted else f"accepts {wanted} arg(s), received {number}"


def at_least(wanted: int) -> Arity:
    """So many or more."""
    return lambda path, number, first: (
        "" if number >= wanted else f"requires at least {wanted} arg(s), only received {number}"
    )


def at_most(wanted: int) -> Arity:
    """So many or fewer."""
    return lambda path, number, first: "" if number <= wanted else f"accepts at most {wanted} arg(s), received {number}"


def parse(path: str, rules: Rules, words: Sequence[str]) -> Parsed:
    """Read what follows the name of a command.

    Raises:
        ClientError: in the order of section 1.4: flags, number of arguments, required flags, groups of flags.
    """
    parsed = _read(rules, list(words))
    if parsed.values["help"]:
        return parsed
    arguments = parsed.arguments
    if problem := rules.arity(path, len(arguments), arguments[0] if arguments else ""):
        raise ClientError(problem)
    _check_flags(rules, parsed)
    return parsed


def _read(rules: Rules, words: list[str]) -> Parsed:
    flags = (*rules.flags, CONFIG, HELP)
    by_name, by_short = {flag.name: flag for flag in flags}, {flag.short: flag for flag in flags if flag.short}
    parsed = Parsed(values={flag.name: flag.default for flag in flags})
    while words:
        word = words.pop(0)
        if word == "--":
            parsed.arguments += words
            break
        if word.startswith("--"):
            name, mark, value = word[2:].partition("=")
            if name not in by_name:
                raise ClientError(f"unknown flag: --{name}")
            _take(parsed, by_name[name], value if mark else None, words, f"--{name}")
        elif word.startswith("-") and len(word) > 1:
            _read_short(parsed, by_short, word[1:], words)
        else:
            parsed.arguments.append(word)
    return parsed


def _read_short(parsed: Parsed, by_short: dict[str, Flag], letters: str, words: list[str]) -> None:
    whole = letters
    while letters:
        letter, letters = letters[0], letters[1:]
        flag = by_short.get(letter)
        if flag is None:
            raise ClientError(f"unknown shorthand flag: '{letter}' in -{whole}")
        if isinstance(flag.default, bool) and not letters.startswith("="):
            _take(parsed, flag, "true", words, "")
            continue
        value = letters.removeprefix("=") if letters else None
        _take(parsed, flag, value, words, f"'{letter}' in -{whole}")
        return


def _take(parsed: Parsed, flag: Flag, value: str | None, words: list[str], shown: str) -> None:
    if value is None and isinstance(flag.default, bool):
        value = "true"
    if value is None:
        if not words:
            raise ClientError(f"flag needs an argument: {shown}")
        value = words.pop(0)
    taken = _convert(flag, value)
    before = parsed.values[flag.name]
    if isinstance(taken, list) and isinstance(before, list) and flag.name in parsed.given:
        taken = before + taken
    parsed.values[flag.name] = taken
    parsed.given.add(flag.name)


def _convert(flag: Flag, value: str) -> Value:
    if isinstance(flag.default, list):
        return value.split(",") if value else []
    if isinstance(flag.default, bool):
        return value == "true"
    if not isinstance(flag.default, int):
        return value
    try:
        number = int(value, 0)
    except ValueError:
        number = None
    if number is None or (flag.unsigned and number < 0):
        function = "ParseUint" if flag.unsigned else "ParseInt"
        raise ClientError(
            f'invalid argument "{value}" for "{flag.shown}" flag: strconv.{function}: parsing "{value}": invalid syntax'
        )
    return number


def _check_flags(rules: Rules, parsed: Parsed) -> None:
    missing = [f'"{name}"' for name in rules.required if name not in parsed.given]
    if missing:
        raise ClientError(f"required flag(s) {', '.join(missing)} not set")
    for group in rules.exclusive:
        both = sorted(parsed.given.intersection(group))
        if len(both) > 1:
            raise ClientError(
                f"if any flags in the group [{' '.join(group)}] are set none of the others can be; "
                f"[{' '.join(both)}] were all set"
            )
    for group in rules.together:
        absent = sorted(set(group) - parsed.given)
        if absent and len(absent) < len(group):
            raise ClientError(
                f"if any flags in the group [{' '.join(group)}] are set they must all be set; "
                f"missing [{' '.join(absent)}]"
            )

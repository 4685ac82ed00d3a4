"""The client's configuration file (cli.md 2)."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from client.model.failures import ClientError
from client.model.go_json import MayLack, Reader, encode, parse

DEFAULT_LIMIT: Final = 100


@dataclass(frozen=True)
class Profile:
    """A login: who, where, with which token."""

    username: MayLack[str]
    ssl_verify: MayLack[bool]
    controller: MayLack[str]
    token: MayLack[str]
    response_limit: MayLack[int]

    @property
    def limit(self) -> int:
        """Elements that a list asks for unless told otherwise."""
        return self.response_limit if self.response_limit > 0 else DEFAULT_LIMIT


def locate(value: str, environment: Mapping[str, str]) -> Path:
    """The file that the value of `-c` means; makes `~/.drycc` when the value is the name of a profile."""
    home = environment["HOME"]
    value = value or environment.get("DRYCC_PROFILE", "")
    expanded = re.sub(
        r"\$(?:\{(\w+)\}|(\w+))", lambda found: environment.get(found.group(1) or found.group(2), ""), value
    )
    if expanded.startswith("~"):
        expanded = home + expanded[1:]
    cleaned = os.path.normpath(expanded)
    if "/" in cleaned and cleaned.endswith(".json"):
        return Path(cleaned)
    directory = Path(home, ".drycc")
    directory.mkdir(mode=0o700, exist_ok=True)
    return directory / f"{cleaned}.json"


def load(path: Path) -> Profile:
    """The profile in that file.

    Raises:
        ClientError: there is none, or it is not JSON of the right types.
    """
    if not path.exists():
        raise ClientError(
            f"client configuration file not found at: {path}\n"
            "Are you logged in? Use 'drycc login' or 'drycc register' to get started"
        )
    return Reader().read(parse(path.read_bytes()), Profile)


def save(path: Path, profile: Profile) -> None:
    """Write the file, for its owner only.

    Raises:
        ClientError: its directory is missing.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    except FileNotFoundError:
        raise ClientError(f"open {path}: no such file or directory") from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(encode(vars(profile)))


def as_url(controller: str) -> str:
    """The controller as it was named at login, with a scheme."""
    return controller if "://" in controller else f"http://{controller}"

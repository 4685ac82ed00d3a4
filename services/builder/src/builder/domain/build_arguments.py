"""The file `.build-arg`: what an app gives its builds, as ARGs of Dockerfiles or variables of buildpacks."""

from __future__ import annotations

import re
import shlex
from typing import ClassVar, Final

from shared.errors import InvalidInputError

FILE: Final = ".build-arg"
_MOST_BYTES: Final = 64 * 1024
_WORD: Final = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)=(?P<value>.*)", re.DOTALL)


class BuildArgumentsError(InvalidInputError):
    """`.build-arg` cannot be read; the detail says where. What stands there is not repeated."""

    code: ClassVar[str] = "build-failed"
    title: ClassVar[str] = "The build arguments are not valid"


def parse_build_arguments(content: bytes | None) -> dict[str, str]:
    """Words `NAME=VALUE`, quoted as in a shell where they hold blanks; later ones win (builder.md 13.2 (7)).

    A line of which not every word has that form is one `NAME=VALUE` to its end, as in the files of `pack --env-file`.

    Raises:
        BuildArgumentsError: no regular file of at most 64 KiB, or a line that is neither.
    """
    if content is None or len(content) > _MOST_BYTES:
        raise BuildArgumentsError(f"{FILE} is not a regular file of at most {_MOST_BYTES // 1024} KiB")
    found: dict[str, str] = {}
    for number, raw in enumerate(content.decode(errors="replace").removeprefix("\ufeff").splitlines(), start=1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        words = [_WORD.fullmatch(word) for word in _words(line)]
        if not words or None in words:
            words = [_WORD.fullmatch(line)]
        for word in words:
            if word is None or "\0" in line:
                raise BuildArgumentsError(f"{FILE} line {number}: write NAME=value, or NAME='some value'")
            found[word["name"]] = word["value"]
    return found


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError:  # a quote that is not closed: the line is one value
        return []

"""Files between phases. Code of buildpacks writes where phases with credentials read: no link is followed there."""

from __future__ import annotations

import json
import os
import stat
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_MOST = 4 * 1024 * 1024


def read_bytes(path: Path) -> bytes | None:
    """Content of a regular file; None when there is none (a link, a pipe or a huge file is none)."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        facts = os.fstat(descriptor)
        return file.read() if stat.S_ISREG(facts.st_mode) and facts.st_size <= _MOST else None


def read_toml(path: Path) -> dict[str, Any]:
    """A table; empty when there is no such file.

    Raises:
        ValueError: not TOML.
    """
    content = read_bytes(path)
    if content is None:
        return {}
    try:
        return tomllib.loads(content.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path.name} is not valid TOML") from error


def is_folder(path: Path) -> bool:
    """Whether it is a directory itself, not a link to one."""
    return path.is_dir() and not path.is_symlink()


def toml(table: Mapping[str, Any]) -> str:
    """TOML of strings, numbers, truth values, tables, and lists of tables or strings."""
    return "\n".join(_lines(table, ())) + "\n"


def _lines(table: Mapping[str, Any], path: tuple[str, ...]) -> list[str]:
    plain = {key: value for key, value in table.items() if not _is_nested(value)}
    lines = [f"{_text(key)} = {_inline(value)}" for key, value in plain.items()]
    for key, value in table.items():
        name = ".".join(_text(part) for part in (*path, key))
        if isinstance(value, Mapping):
            lines += ["", f"[{name}]", *_lines(value, (*path, key))]
        elif _is_nested(value):
            for item in value:
                lines += ["", f"[[{name}]]", *_lines(item, (*path, key))]
    return lines


def _is_nested(value: object) -> bool:
    return isinstance(value, Mapping) or (isinstance(value, list) and bool(value) and isinstance(value[0], Mapping))


def _inline(value: object) -> str:
    if isinstance(value, list):
        return f"[{', '.join(_inline(item) for item in value)}]"
    return _text(value) if isinstance(value, str) else json.dumps(value)


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")

"""Where a page may send the browser next: to paths of ours and nowhere else."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

NEXT_MAX: Final = 8192


def safe_next(target: str | None, *, default: str = "/") -> str:
    """`target` when it is a path of this host, else `default`.

    Browsers read a backslash as a slash and drop control characters, so that `/\\host` and `/<tab>/host` leave the host
    like `//host` does.
    """
    if not target or len(target) > NEXT_MAX or not target.startswith("/") or target.startswith("//"):
        return default
    if "\\" in target or any(ord(char) <= 32 or ord(char) >= 127 for char in target):
        return default
    try:
        parts = urlsplit(target)
    except ValueError:
        return default
    return default if parts.scheme or parts.netloc else target

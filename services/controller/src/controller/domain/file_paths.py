"""Paths of files in a volume as clients write them. Whatever they write, it stays inside the volume."""

from __future__ import annotations

from typing import Final

from shared.errors import InvalidInputError

MOST_BYTES: Final = 4096
MOST_BYTES_OF_A_NAME: Final = 255


def clean_path(text: str) -> str:
    """The path from the root of the volume, without slashes at its ends; the root itself is the empty path.

    Slashes in front mean the root of the volume: clients send `/` and `/dir` as well as `dir`.

    Raises:
        InvalidInputError: it leads out of the volume, or no file system has such names.
    """
    if "\0" in text:
        raise InvalidInputError("a path cannot hold null characters")
    names = [name for name in text.split("/") if name not in ("", ".")]
    if ".." in names:
        raise InvalidInputError("a path cannot lead upwards: write it without ..")
    if any(len(_encoded(name)) > MOST_BYTES_OF_A_NAME for name in names):
        raise InvalidInputError(f"a name in a path cannot have more than {MOST_BYTES_OF_A_NAME} bytes")
    path = "/".join(names)
    if len(_encoded(path)) > MOST_BYTES:
        raise InvalidInputError(f"a path cannot have more than {MOST_BYTES} bytes")
    return path


def base_name(text: str) -> str:
    """The last name of a local path of a client's machine, whichever way its slashes lean; empty when there is none."""
    name = text.replace("\\", "/").rpartition("/")[2]
    return "" if name in (".", "..") else name


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise InvalidInputError("a path must be UTF-8") from None

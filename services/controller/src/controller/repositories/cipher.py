"""Encryption at rest of what is secret: config values, credentials, private keys. The one place that holds the keys."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from shared.errors import UnavailableError
from shared.logging import get_logger

LOOK_AGAIN_SECONDS: Final = 1.0
"""A key ring in a file takes effect at most this long after the file was replaced."""

_Mark = tuple[int, int, int]
log = get_logger(__name__)


class UnreadableSecretError(UnavailableError):
    """A stored secret was encrypted with a key that is not in the key ring any more."""

    code = "unreadable-secret"
    title = "A stored secret cannot be decrypted"


class Cipher:
    """A key ring: the first key encrypts, all of them decrypt, so that keys can be rotated.

    With a `file` the ring is what stands there: it is looked at once a second while it is in use, and at once when
    something does not open. A file that cannot be used changes nothing.
    """

    def __init__(
        self, keys: Sequence[str], *, file: Path | None = None, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._file = file
        self._monotonic = monotonic
        self._mark: _Mark | None = None
        self._looked_at = monotonic()
        self._use(keys)
        self._look()

    def seal(self, value: object) -> str:
        """The JSON value as ciphertext."""
        if self._file is not None and self._monotonic() - self._looked_at >= LOOK_AGAIN_SECONDS:
            self._look()
        return self._ring.encrypt(json.dumps(value, separators=(",", ":")).encode()).decode()

    def open(self, sealed: str) -> object:
        """The value that `seal` was given.

        Raises:
            UnreadableSecretError: no key of the ring fits.
        """
        return json.loads(self._opened(sealed))

    def renew(self, sealed: str) -> str | None:
        """The same secret under the first key; None when it is already.

        Raises:
            UnreadableSecretError: no key of the ring fits.
        """
        self._opened(sealed)
        try:
            self._first.decrypt(sealed)
        except InvalidToken:
            return self._ring.rotate(sealed).decode()
        return None

    def _opened(self, sealed: str) -> bytes:
        try:
            return self._ring.decrypt(sealed)
        except InvalidToken as error:
            if self._look():
                return self._opened(sealed)
            raise UnreadableSecretError(
                "a stored secret does not open with the encryption keys: put the former key back into the list"
            ) from error

    def _use(self, keys: Sequence[str]) -> None:
        if not keys:
            raise ValueError("at least one encryption key is needed; make one with Fernet.generate_key()")
        fernets = [Fernet(key) for key in keys]
        self._first, self._ring = fernets[0], MultiFernet(fernets)

    def _look(self) -> bool:
        """Read the file again if it is not the one that was read last; whether the ring has changed."""
        self._looked_at = self._monotonic()
        if self._file is None:
            return False
        try:
            # Read right here and not in a thread: a few hundred bytes of a local file, and only after a rotation.
            mark = _mark_of(self._file)
            if mark == self._mark:
                return False
            self._mark = mark
            self._use(read_key_ring(self._file))
        except (OSError, ValueError) as error:
            log.warning("key_ring_not_read", reason=str(error))
            return False
        return True


def read_key_ring(file: Path) -> list[str]:
    """The keys in a file, a JSON list.

    Raises:
        OSError: it cannot be read. ValueError: it holds anything but Fernet keys, which the text does not repeat.
    """
    problem = f"{file} must hold a JSON list of Fernet keys, at least one"
    try:
        keys = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        raise ValueError(problem) from None
    if not isinstance(keys, list) or not keys or not all(map(_is_key, keys)):
        raise ValueError(problem)
    return keys


def _is_key(key: object) -> bool:
    if not isinstance(key, str):
        return False
    try:
        Fernet(key)
    except ValueError:
        return False
    return True


def _mark_of(file: Path) -> _Mark:
    found = file.stat()  # of what a link leads to: mounted secrets are replaced by moving a link
    return found.st_mtime_ns, found.st_ino, found.st_size

"""Argon2id, in threads of its own: hashing takes tens of milliseconds that the event loop must not spend."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from passport.domain.secrets import new_secret

# OWASP Password Storage Cheat Sheet: 19 MiB, two passes, one lane.
_MEMORY_KIB: Final = 19 * 1024
_PASSES: Final = 2
_THREADS: Final = 2


@dataclass(frozen=True)
class Verdict:
    """Whether a password is right; `is_outdated`: its hash should be made anew with today's parameters."""

    is_right: bool
    is_outdated: bool = False


class Passwords:
    """Hashes and checks passwords. At most two at a time, which bounds the memory that logins can take."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher(time_cost=_PASSES, memory_cost=_MEMORY_KIB, parallelism=1)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="argon2")
        self._nobody: str | None = None

    async def hash(self, password: str) -> str:
        """The hash to store, with its parameters and salt."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._hasher.hash, password)

    async def check(self, password_hash: str | None, password: str) -> Verdict:
        """Compare; without a hash the answer is no, after as much work as otherwise: time tells nothing."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._check, password_hash, password)

    def close(self) -> None:
        """End the threads; a hash in the works is finished first."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _check(self, password_hash: str | None, password: str) -> Verdict:
        expected = password_hash or self._hash_of_nobody()
        try:
            self._hasher.verify(expected, password)
        except (VerificationError, InvalidHashError):
            return Verdict(is_right=False)
        return Verdict(password_hash is not None, self._hasher.check_needs_rehash(expected))

    def _hash_of_nobody(self) -> str:
        if self._nobody is None:
            self._nobody = self._hasher.hash(new_secret())
        return self._nobody

"""How much of the builder one address, one key or one app may use at the same time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from builder.domain.errors import TooManyCommandsError
from builder.settings import Settings


@dataclass(frozen=True)
class Caller:
    """Who runs a command, with which key (`SHA256:...`), from where (see `ssh.limits.group_of`)."""

    username: str
    fingerprint: str
    address: str


class Tally:
    """Counts what is open for each key, at most `limit`; 0 is no limit. Remembers nothing of what has been closed."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._open: Counter[str] = Counter()

    def enter(self, key: str) -> bool:
        """Count one in; False when there are too many, and nothing is counted then."""
        if self.limit and self._open[key] >= self.limit:
            return False
        self._open[key] += 1
        return True

    def leave(self, key: str) -> None:
        """One that was counted in is gone."""
        self._open[key] -= 1
        if self._open[key] <= 0:
            del self._open[key]

    def total(self) -> int:
        return self._open.total()


class CommandLimits:
    """Git commands that run, or wait for their turn, at the same time."""

    def __init__(self, *, per_address: int = 0, per_key: int = 0, per_app: int = 0) -> None:
        self._addresses, self._keys, self._apps = Tally(per_address), Tally(per_key), Tally(per_app)

    @classmethod
    def of(cls, settings: Settings) -> CommandLimits:
        return cls(
            per_address=settings.ssh_max_commands_per_address,
            per_key=settings.ssh_max_commands_per_key,
            per_app=settings.ssh_max_commands_per_app,
        )

    @contextmanager
    def hold(self, caller: Caller) -> Iterator[None]:
        """Count a command of this caller for the block.

        Raises:
            TooManyCommandsError: the address or the key has as many as it may.
        """
        with (
            _counted(self._addresses, caller.address, "from your address"),
            _counted(self._keys, caller.fingerprint, "with your key"),
        ):
            yield

    @contextmanager
    def hold_app(self, app: str) -> Iterator[None]:
        """Count a command on this app for the block; only for those who may use the app.

        Raises:
            TooManyCommandsError: the app has as many as it may.
        """
        with _counted(self._apps, app, f"on {app}"):
            yield


@contextmanager
def _counted(tally: Tally, key: str, whose: str) -> Iterator[None]:
    if not tally.enter(key):
        raise TooManyCommandsError(whose, tally.limit)
    try:
        yield
    finally:
        tally.leave(key)

"""Deploys of one app happen one after another, in the order in which they were pushed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from builder.domain.errors import BuildEndedError, PushCancelledError
from builder.services.runs import BuildRun
from builder.tasks import OneShots
from shared.clock import Clock

RESTARTING = "the builder is being restarted: push again in a moment"


@dataclass(eq=False)
class Turn:
    """A place in the row of one app. `since` is when it came to the front, and until then when it came at all; `run` is
    set once something is built."""

    app: str
    username: str
    since: datetime
    run: BuildRun | None = None
    cancel_reason: str | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def begin(self, run: BuildRun) -> None:
        """This is what it builds."""
        self.run = run
        if self.cancel_reason is not None:
            run.cancel(self.cancel_reason)

    def cancel(self, reason: str) -> bool:
        """End what is done in this turn; False when it is too late, as its release is under way."""
        if self.run is not None:
            try:
                self.run.cancel(reason)
            except BuildEndedError:
                return False
        self.cancel_reason = self.cancel_reason or reason
        self.changed.set()
        return True

    def expect_wanted(self) -> None:
        """Raises PushCancelledError when somebody has ended this turn."""
        if self.cancel_reason is not None:
            raise PushCancelledError(self.cancel_reason)


class Turns:
    """A turn is kept until git and the build have ended, whether or not the client still listens.

    In memory: one builder process owns all repositories of a volume, its pushes end with it, and builds that do not
    are given their turn again by the next one.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._rows: dict[str, list[Turn]] = {}
        self._tasks = OneShots()
        self._is_closing = False

    async def close(self) -> None:
        """Send those away who still wait."""
        self._is_closing = True
        for turn in (turn for row in self._rows.values() for turn in row):
            turn.changed.set()
        await self._tasks.close()

    def keep(self, run: BuildRun) -> None:
        """A build that an earlier process has begun has its turn until it has ended."""
        turn = self.enter(run.spec.app, run.spec.actor)
        turn.begin(run)
        self._tasks.spawn(self._leave_after(turn, run), name=f"turn-{run.spec.build_id}")

    def enter(self, app: str, username: str) -> Turn:
        """Line up; `leave` must follow."""
        turn = Turn(app, username, self._clock.now())
        self._rows.setdefault(app, []).append(turn)
        return turn

    def leave(self, turn: Turn) -> None:
        """The turn is over, or is not waited for any more. Again is no error."""
        row = self._rows.get(turn.app, [])
        if turn not in row:
            return
        was_present = row[0] is turn
        row.remove(turn)
        if not row:
            del self._rows[turn.app]
        elif was_present and row[0].run is None:
            row[0].since = self._clock.now()
        for waiting in row:
            waiting.changed.set()

    def ahead(self, turn: Turn) -> Sequence[Turn]:
        """Those whose turn comes before it, the present one first."""
        row = self._rows[turn.app]
        return row[: row.index(turn)]

    def present(self, app: str) -> Turn | None:
        """Whose turn it is."""
        return next(iter(self._rows.get(app, ())), None)

    def waiting(self, app: str) -> int:
        """How many wait for their turn."""
        return max(0, len(self._rows.get(app, ())) - 1)

    async def reach(self, turn: Turn, *, tell: Callable[[Sequence[Turn]], Awaitable[None]] | None = None) -> None:
        """Wait until it is its turn; `tell` is called with those ahead, again when another one is at the front.

        Raises:
            PushCancelledError: somebody has ended it meanwhile, or the builder is being stopped.
        """
        told: Turn | None = None
        while True:
            turn.expect_wanted()
            turn.changed.clear()
            ahead = self.ahead(turn)
            if not ahead:
                return
            if self._is_closing:
                raise PushCancelledError(RESTARTING)
            if tell is not None and ahead[0] is not told:
                await tell(ahead)
            told = ahead[0]
            await turn.changed.wait()

    async def _leave_after(self, turn: Turn, run: BuildRun) -> None:
        await run.done.wait()
        self.leave(turn)

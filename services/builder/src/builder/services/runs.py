"""One build while it runs: what others may see of it and do to it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from builder.domain.builds import BuildState
from builder.domain.errors import BuildEndedError
from builder.runner.port import BuildResult, BuildSpec, Plan, Tree
from builder.services.logs import BuildLog


@dataclass
class BuildRun:
    """`done` is set when nothing more will happen; `status` is then the push's exit status. Without a `tree` an earlier
    process has begun it. Once `has_begun` the runner has it, and does not wait for its turn to build any more."""

    spec: BuildSpec
    plan: Plan
    tree: Tree | None
    log: BuildLog
    status: int = 1
    done: asyncio.Event = field(default_factory=asyncio.Event)
    cancel_reason: str | None = None
    work: asyncio.Task[BuildResult] | None = None
    has_begun: bool = False
    is_built: bool = False

    def cancel(self, reason: str) -> None:
        """Stop the build; `reason` names who did it and why.

        Raises:
            BuildEndedError: it has ended already; its release, if there is one, goes on.
        """
        if self.is_built or self.done.is_set():
            raise BuildEndedError(self.spec.build_id, BuildState.SUCCEEDED if self.is_built else "ended")
        self.cancel_reason = self.cancel_reason or reason
        if self.work is not None:
            self.work.cancel()

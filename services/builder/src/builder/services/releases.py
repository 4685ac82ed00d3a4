"""How a succeeded build becomes a release: by events, or by a call to controllers that know none (builder.md 8)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from builder.domain.builds import Build
from builder.runner.port import BuildResult, BuildSpec
from builder.services.runs import BuildRun

Outcome = Callable[[], Awaitable[bool]]
"""Awaited once the build has succeeded: has the release made, writes to the build's log what becomes of it, and is True
when it was deployed, or shall not be."""


class Releases(Protocol):
    """Has releases made of builds."""

    def request(self, spec: BuildSpec, result: BuildResult) -> Mapping[str, Any] | None:
        """What is to be stored together with the success of a build, so that its release is made whatever becomes of
        this process; None where the event of the success does that."""

    def expect(self, run: BuildRun) -> AbstractContextManager[Outcome]:
        """Listen for news of a build's release, from before it can have any."""

    async def unreleased(self) -> Sequence[Build]:
        """Builds that succeeded in an earlier process and whose release is still to be made or explained, oldest
        first."""

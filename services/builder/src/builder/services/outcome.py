"""The last words of a push: progress of the release and what became of it, written to the build's log."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import partial

from builder.domain.builds import Build
from builder.domain.text import failure, indented, progress, refusal
from builder.runner.output import plain
from builder.runner.port import BuildResult, BuildSpec
from builder.services.records import LOG_LINES, BuildRecords
from builder.services.releases import Outcome
from builder.services.runs import BuildRun
from builder.services.verdicts import ReleaseNews, Verdicts
from shared.events import ReleaseCreated, ReleaseDeployed, ReleaseFailed, ReleaseProgress, ReleaseRejected


class ReleasesByEvents:
    """Releases that the controller makes by itself when it hears `build.succeeded`, and tells of by `release.*`."""

    def __init__(self, verdicts: Verdicts, records: BuildRecords, *, idle_timeout: timedelta) -> None:
        self._verdicts = verdicts
        self._records = records
        self._idle_timeout = idle_timeout

    def request(self, spec: BuildSpec, result: BuildResult) -> None:
        """See `Releases`: the event, stored with the build's success, is the request."""
        del spec, result

    @contextmanager
    def expect(self, run: BuildRun) -> Iterator[Outcome]:
        """See `Releases`."""
        with self._verdicts.expect(run.spec.build_id) as news:
            yield partial(tell_outcome, run, news, idle_timeout=self._idle_timeout)

    async def unreleased(self) -> Sequence[Build]:
        """See `Releases`: those of which something may still be heard. Their app has its turn until then."""
        return await self._records.unjudged(self._idle_timeout)


async def tell_outcome(run: BuildRun, news: asyncio.Queue[ReleaseNews], *, idle_timeout: timedelta) -> bool:
    """Write what happens to the release; True when it was deployed, or shall not be.

    Gives up when nothing was heard for `idle_timeout`: a long release phase that reports progress may go on.
    """
    version: int | None = None
    while True:
        try:
            async with asyncio.timeout(idle_timeout.total_seconds()):
                item = await news.get()
        except TimeoutError:
            run.log.conclude(_silence(run, version, idle_timeout))
            return False
        if isinstance(item, ReleaseCreated):
            version = version or item.version
            if not item.deploys:
                run.log.conclude(_waiting(item))
                return True
        verdict = _tell(run, item, version)
        if verdict is not None:
            return verdict


def _tell(run: BuildRun, item: ReleaseNews, version: int | None) -> bool | None:
    """Write one piece of news; True or False when it was the last one.

    A later release of the same build (a config change meanwhile) may be deployed in place of ours; it cannot fail for
    it.
    """
    match item:
        case ReleaseProgress() if version in (None, item.version):
            run.log.conclude(progress(item.message))
        case ReleaseDeployed():
            run.log.conclude(progress(f"Done, {item.app}:v{item.version} deployed to Workflow"))
            run.log.conclude(indented([item.url]) if item.url else "")
            return True
        case ReleaseFailed() if version in (None, item.version):
            run.log.conclude(_failed(item))
            return False
        case ReleaseRejected():
            run.log.conclude(failure("No release was made", code=item.code, message=item.message, hint=item.hint))
            return False
    return None


def _waiting(item: ReleaseCreated) -> str:
    made = progress(f"{item.app}:v{item.version} is made and waits: automatic deployment is off")
    return made + indented([f"Deploy it with `drycc releases deploy -a {item.app}`."])


def _failed(item: ReleaseFailed) -> str:
    what = f"Release v{item.version} failed" + (f", process type {item.ptype}" if item.ptype else "")
    # The app's own words, which may hold what moves cursors (builder.md 18.22).
    last = [plain(line) for line in item.log[-LOG_LINES:]]
    text = failure(what, code=item.code, message=item.message, log=last, hint=item.hint)
    return text + (refusal(f"{item.app} runs v{item.rolled_back_to} again.") if item.rolled_back_to else "")


def _silence(run: BuildRun, version: int | None, idle_timeout: timedelta) -> str:
    app = run.spec.app
    minutes = idle_timeout.total_seconds() / 60
    if version is None:
        message = f"the build is complete, but nothing was heard of a release for {minutes:g} min"
        hint = f"It may still come: see `drycc releases list -a {app}` before you push again."
    else:
        message = f"nothing was heard of release v{version} for {minutes:g} min"
        hint = f"It may still succeed: see `drycc releases info v{version} -a {app}` and `drycc ps list -a {app}`."
    return failure("No verdict", code="no-verdict", message=message, hint=hint)

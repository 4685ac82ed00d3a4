"""The builder of `make bench-push`: the whole service in a process of its own, told what to do by lines on its input.

Started with a file of settings. Its runner ends at once and every build is released at once, so that what is measured
is the push. Commands: `watch` starts to measure how late the event loop is, `lateness` tells it and stops; answers are
lines of JSON. The first line has the SSH port. An end of the input ends the process.
"""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from builder.main import create_app
from builder.settings import Settings
from integration.builder_ssh.far_side import ScriptedRunner
from shared.bus import InProcessBus
from shared.db import migrate
from shared.events import BuildSucceeded, Envelope, ReleaseCreated, ReleaseDeployed
from shared.process import run
from shared.settings import load_settings
from shared.web.server import serving

_TICK_SECONDS = 0.005


async def _main(settings: Settings) -> None:
    assert settings.database_url is not None
    await migrate(settings.database_url, "builder")
    bus = InProcessBus()

    async def release(envelope: Envelope) -> None:
        build = envelope.unwrap()
        if isinstance(build, BuildSucceeded):
            facts: dict[str, Any] = {"app": build.app, "version": 2, "build_id": build.build_id}
            facts |= {"sha": build.sha, "actor": build.actor, "summary": ""}
            for event in (ReleaseCreated(**facts), ReleaseDeployed(**facts, url="")):
                await bus.publish(Envelope.wrap(event, source="/services/controller"))

    await bus.subscribe(consumer="bench.builds", patterns=["build.*"], handler=release)
    app = create_app(settings, bus=bus, runner=ScriptedRunner(settings.run_dir))
    async with serving(app, settings):
        _say({"port": app.state.context.ssh.port})
        await _obey()


async def _obey() -> None:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    late: list[float] = []
    watching: asyncio.Task[None] | None = None
    while command := (await reader.readline()).strip():
        if watching is not None:
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching
            watching = None
        if command == b"watch":
            late.clear()
            watching = asyncio.create_task(_watch(late))
        elif command == b"lateness":
            _say({"seconds": late})


async def _watch(late: list[float]) -> None:
    """Collect by how many seconds a wait of the event loop took too long."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + _TICK_SECONDS
        await asyncio.sleep(_TICK_SECONDS)
        late.append(loop.time() - due)


def _say(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    run(_main(load_settings(Settings, **json.loads(Path(sys.argv[1]).read_text()))))

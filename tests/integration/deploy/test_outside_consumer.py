"""The consumer that docs/events.md prints, run as it stands there, against a real broker."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path

from shared.bus import connect_bus
from shared.events import AppCreated, Envelope, ReleaseDeployed
from support import eventually

DOCUMENT = Path(__file__).parents[3] / "docs/events.md"


def _program() -> str:
    (program,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    return str(program)


async def test_the_printed_consumer_gets_the_events_that_it_bound(rabbitmq_url: str, tmp_path: Path) -> None:
    script, output = tmp_path / "consumer.py", tmp_path / "output"
    script.write_text(_program())
    bus = connect_bus(rabbitmq_url)
    await bus.ping()  # makes the exchange
    with output.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(script), stdout=file, stderr=file, env=os.environ | {"AMQP_URL": rabbitmq_url}
        )
    try:
        deployed = ReleaseDeployed(app="shop", version=12, sha="35b3726", actor="mina", summary="mina deployed 35b3726")

        async def printed() -> bool:
            # Nothing tells from outside when the queue is bound; the second of two events may be the first one seen.
            await bus.publish(Envelope.wrap(AppCreated(app="shop", owner="mina"), source="/services/controller"))
            await bus.publish(Envelope.wrap(deployed, source="/services/controller"))
            assert process.returncode is None, output.read_text()
            return bool(output.read_text())

        await eventually(printed, timeout=30)
    finally:
        process.kill()
        await process.wait()
        await bus.close()
    lines = output.read_text().splitlines()
    assert all(
        line.startswith("workflow.release.deployed.v1 apps/shop {'app': 'shop', 'version': 12,") for line in lines
    )

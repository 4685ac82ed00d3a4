"""A certificate authority for tests that speaks ACME: pebble, on the loopback, with what it needs to find hosts."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from support.certificates import MadePair, make_pair, trusting
from support.cluster_platform import until
from support.tools import free_port, require_root, require_tool

_HOSTS: Final = Path("/etc/hosts")
_STOP_SECONDS: Final = 10.0


@dataclass(frozen=True)
class Acme:
    """A running server: its `directory`, and the certificate by which it is trusted."""

    directory: str
    authority: str
    management: str

    async def root(self) -> str:
        """The root of the certificates that it issues, PEM."""
        async with _client(self.authority) as client:
            answer = await client.get(f"{self.management}/roots/0")
            answer.raise_for_status()
            return answer.text


@asynccontextmanager
async def running_pebble(directory: Path) -> AsyncIterator[Acme]:
    """A server that looks for challenges at port 80 of the host in question; ended with the block."""
    program, pair = require_tool("pebble"), make_pair("localhost")
    ports = free_port(), free_port()
    config = _write_config(directory, pair, *ports)
    environment = {"PATH": os.environ["PATH"], "PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0"}
    with (directory / "pebble.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            program, "-config", config, stdout=log, stderr=asyncio.subprocess.STDOUT, env=environment
        )
    acme = Acme(f"https://localhost:{ports[0]}/dir", pair.certificate, f"https://localhost:{ports[1]}")
    try:
        async with _client(acme.authority) as client:

            async def is_up() -> bool:
                return (await client.get(acme.directory)).is_success

            await until(is_up, seconds=30)
        yield acme
    finally:
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), _STOP_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()


@contextmanager
def known_hosts(*names: str, address: str) -> Iterator[None]:
    """This machine knows the names during the block, as what looks for challenges asks it: /etc/hosts has them.

    Only for clusters whose cert-manager runs on this machine.
    """
    require_root()
    lines = [f"{address} {name} # of a test\n" for name in names]
    _change_hosts(add=lines)
    try:
        yield
    finally:
        _change_hosts(remove=lines)


def _change_hosts(*, add: list[str] | None = None, remove: list[str] | None = None) -> None:
    """In place, as the file may be a mount of its own; others may do the same at this moment."""
    with _HOSTS.open("r+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        kept = [line for line in file if line not in (remove or ())]
        if kept and not kept[-1].endswith("\n"):
            kept[-1] += "\n"
        file.seek(0)
        file.writelines([*kept, *(add or ())])
        file.truncate()


def _write_config(directory: Path, pair: MadePair, port: int, management_port: int) -> Path:
    (directory / "pebble.crt").write_text(pair.certificate)
    (directory / "pebble.key").write_text(pair.key)
    facts = {
        "listenAddress": f"127.0.0.1:{port}",
        "managementListenAddress": f"127.0.0.1:{management_port}",
        "certificate": str(directory / "pebble.crt"),
        "privateKey": str(directory / "pebble.key"),
        "httpPort": 80,
        "tlsPort": 443,
        "ocspResponderURL": "",
        "externalAccountBindingRequired": False,
        "retryAfter": {"authz": 1, "order": 1},
        "keyAlgorithm": "ecdsa",
        "profiles": {"default": {"description": "for a day", "validityPeriod": 86400}},
    }
    path = directory / "pebble.json"
    path.write_text(json.dumps({"pebble": facts}))
    return path


def _client(authority: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(verify=trusting(authority), timeout=10, trust_env=False)

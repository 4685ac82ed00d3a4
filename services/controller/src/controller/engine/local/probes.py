"""Is an instance ready, is it alive: TCP, HTTP and command probes against one process of this machine."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import httpx

from controller.domain.spec import Probe, ProcessSpec
from shared.http import tls_context

_HOSTS = ("127.0.0.1", "::1")
_FIRST_POLL, _LAST_POLL, _GROWTH = 0.01, 0.25, 1.3


@dataclass(frozen=True)
class Verdict:
    """The outcome of one probe. `reason` is for people; `status` is an HTTP answer's, if there was one."""

    passed: bool
    reason: str = ""
    status: int | None = None


@dataclass(frozen=True)
class Target:
    """What a probe is aimed at: the port told in $PORT, and a way to run a command beside the instance."""

    port: int
    told_port: int | None
    run: Callable[[Sequence[str], float], Awaitable[int]] = field(repr=False)
    only_port: bool = False
    """The instance serves on $PORT alone, so that a port configured for another platform means $PORT too."""

    def port_of(self, probe: Probe) -> int:
        """The local port that a probe's port stands for."""
        if probe.port is None or self.only_port or probe.port == self.told_port:
            return self.port
        return probe.port


def readiness_of(spec: ProcessSpec) -> Probe | None:
    """The probe that decides about readiness; None means: alive for a moment is enough."""
    if spec.readiness is not None:
        return spec.readiness
    return Probe("tcp") if spec.must_listen else None


async def check(probe: Probe, target: Target) -> Verdict:
    """Ask once, within the probe's own timeout."""
    seconds = max(probe.timeout.total_seconds(), 0.1)
    try:
        async with asyncio.timeout(seconds):
            if probe.kind == "http":
                return await _http(probe, target.port_of(probe), seconds)
            if probe.kind == "tcp":
                return await _tcp(target.port_of(probe))
            return await _command(probe, target, seconds)
    except TimeoutError:
        return Verdict(False, f"no answer in {seconds:g} s")


async def until_passed(probe: Probe, target: Target, *, seen: Callable[[Verdict], None]) -> None:
    """Ask until it passes. Every verdict goes to `seen`; the caller sets the deadline.

    A port that nobody listens on costs next to nothing to try, so it is tried often; a server that answers is asked
    at the probe's own period.
    """
    await asyncio.sleep(probe.initial_delay.total_seconds())
    pause = _FIRST_POLL
    while True:
        verdict = await check(probe, target)
        seen(verdict)
        if verdict.passed:
            return
        answered = probe.kind == "exec" or verdict.status is not None
        await asyncio.sleep(max(probe.period.total_seconds(), 0.1) if answered else pause)
        pause = min(pause * _GROWTH, _LAST_POLL)


async def until_dead(probe: Probe, target: Target) -> Verdict:
    """Ask at the probe's period until it has failed as often in a row as it may; gives the last verdict."""
    await asyncio.sleep(probe.initial_delay.total_seconds())
    failures = 0
    while True:
        verdict = await check(probe, target)
        failures = 0 if verdict.passed else failures + 1
        if failures >= max(probe.failure_threshold, 1):
            return verdict
        await asyncio.sleep(max(probe.period.total_seconds(), 0.1))


async def serving_host(port: int) -> str | None:
    """The loopback address on which somebody takes connections; servers bind to one family or to both."""
    for host in _HOSTS:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection(host, port)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            return host
    return None


async def _tcp(port: int) -> Verdict:
    if await serving_host(port) is None:
        return Verdict(False, f"nothing listens on port {port}")
    return Verdict(True)


async def _http(probe: Probe, port: int, seconds: float) -> Verdict:
    host = await serving_host(port)
    if host is None:
        return Verdict(False, f"nothing listens on port {port}")
    place = f"[{host}]" if ":" in host else host
    path = probe.path if probe.path.startswith("/") else f"/{probe.path}"
    headers = {"User-Agent": "workflow-probe", **dict(probe.headers)}
    try:
        async with (
            httpx.AsyncClient(trust_env=False, timeout=seconds, verify=tls_context()) as client,
            client.stream("GET", f"http://{place}:{port}{path}", headers=headers) as answer,
        ):
            status = answer.status_code
    except httpx.HTTPError as exc:
        return Verdict(False, f"GET {path} failed: {exc or type(exc).__name__}")
    if status < 400:
        return Verdict(True, status=status)
    return Verdict(False, f"GET {path} answered {status}", status=status)


async def _command(probe: Probe, target: Target, seconds: float) -> Verdict:
    status = await target.run(probe.command, seconds)
    if status == 0:
        return Verdict(True)
    return Verdict(False, f"the command `{' '.join(probe.command)}` ended with {status}")

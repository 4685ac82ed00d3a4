"""`healthchecks` (cli.md 10.13)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from client.commands.config import Config, read_config
from client.commands.registry import TREE
from client.model.api import OnMismatch
from client.model.call import Call
from client.model.cobra import Flag, anything, at_least
from client.model.failures import ClientError, ClientPanic

KINDS: Final = ("startupProbe", "livenessProbe", "readinessProbe")
_PTYPE, _VERSION = Flag("ptype", "p"), Flag("version", "v", 0)


@TREE.command("healthchecks list", anything, _PTYPE, _VERSION)
async def list_checks(call: Call) -> None:
    """The probes by process type."""
    _print(call, await read_config(call, mismatch=OnMismatch.FAIL), call.text("ptype"))


def _print(call: Call, config: Config, only: str) -> None:
    lines = _lines(config, only)
    if not lines:
        call.console.print("No health checks configured.")
        return
    when = call.console.time
    call.console.facts(
        [
            ("App:", config.app),
            ("UUID:", config.uuid),
            ("Owner:", config.owner),
            ("Created:", when(config.created)),
            ("Updated:", when(config.updated)),
            ("Healthchecks:",),
        ]
    )
    for line in lines:
        call.console.print(line)


def _lines(config: Config, only: str) -> list[str]:
    lines = []
    for ptype, probes in sorted(config.healthcheck.items()):
        if probes is None:
            raise ClientPanic("invalid memory address or nil pointer dereference")
        for kind, probe in sorted(probes.items()):
            if probe is None:
                raise ClientPanic("invalid memory address or nil pointer dereference")
            if only in ("", ptype):
                lines.append(f"{kind} {ptype} {probe.described}")
    return lines


@TREE.command(
    "healthchecks set",
    at_least(2),
    _PTYPE,
    Flag("path", default="/"),
    Flag("headers", default=[]),
    Flag("initial-delay-timeout", default=50),
    Flag("timeout-seconds", default=50),
    Flag("period-seconds", default=10),
    Flag("success-threshold", default=1),
    Flag("failure-threshold", default=3),
)
async def set_check(call: Call) -> None:
    """Probe a process type."""
    kind, action, *words = call.arguments
    probe: dict[str, object] = {
        "initialDelaySeconds": call.number("initial-delay-timeout"),
        "timeoutSeconds": call.number("timeout-seconds"),
        "periodSeconds": call.number("period-seconds"),
        "successThreshold": call.number("success-threshold"),
        "failureThreshold": call.number("failure-threshold"),
        **_action(call, action, words),
    }
    await _change(call, f"Applying {kind} healthcheck", {kind: probe})


def _action(call: Call, action: str, words: list[str]) -> Mapping[str, object]:
    if action == "exec":
        return {"exec": {"command": words}}
    if action not in ("httpGet", "tcpSocket"):
        raise ClientError(f'invalid probe type {action}, Must be one of: "httpGet", "exec", "tcpSocket"')
    if not words:
        raise ClientPanic("index out of range [0] with length 0")
    if not re.fullmatch(r"[+-]?\d+", words[0]):
        raise ClientError(f'could not parse port: strconv.Atoi: parsing "{words[0]}": invalid syntax')
    port = int(words[0])
    if action == "tcpSocket":
        return {"tcpSocket": {"port": port}}
    headers = [_header(text) for text in call.many("headers")]
    return {"httpGet": {"path": call.text("path"), "port": port, **({"httpHeaders": headers} if headers else {})}}


def _header(text: str) -> Mapping[str, str]:
    name, separator, value = text.partition(":")
    if not separator:
        raise ClientError(f"could not parse headers: could not find separator in header ({text})")
    return {"name": name, "value": value}


@TREE.command("healthchecks unset", at_least(1), _PTYPE)
async def unset_checks(call: Call) -> None:
    """Probe a process type no more."""
    for kind in call.arguments:
        if kind not in KINDS:
            raise ClientError(f"probe type {kind} is invalid. Must be one of [{' '.join(KINDS)}]")
    await _change(call, "Removing healthchecks", dict.fromkeys(sorted(call.arguments)))


async def _change(call: Call, saying: str, probes: Mapping[str, object]) -> None:
    path, ptype = await call.path("config/"), call.text("ptype")
    call.console.print(f"{saying}... ", end="")
    await call.api.read("POST", path, Config, {"healthcheck": {ptype: probes}}, mismatch=OnMismatch.FAIL)
    call.console.print("done\n")
    _print(call, await read_config(call, mismatch=OnMismatch.FAIL), ptype)

"""`ps`: instances, which the API calls pods (cli.md 10.9)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from client.commands import streams
from client.commands.registry import TREE
from client.model.api import OnMismatch
from client.model.call import Call
from client.model.cobra import Flag, at_least, exactly, nothing
from client.model.console import Row, or_none, shown, wrapped

MOST: Final = 1000


@dataclass(frozen=True)
class Pod:
    """An instance."""

    name: str
    release: str
    state: str
    type: str
    ready: str
    restarts: int
    started: str


@dataclass(frozen=True)
class PodContainer:
    """What an instance consists of."""

    container: str
    image: str
    command: list[str]
    args: list[str]
    state: dict[str, dict[str, object]]
    lastState: dict[str, dict[str, object]]  # noqa: N815  the key of the JSON
    ready: bool
    restartCount: int  # noqa: N815
    status: str
    reason: str
    message: str


@dataclass(frozen=True)
class Event:
    """Something that happened."""

    reason: str
    message: str
    created: str


@TREE.command("ps list", nothing)
async def list_pods(call: Call) -> None:
    """The app's instances."""
    page = await call.api.list(await call.path("pods/"), Pod, MOST)
    if not page.items:
        call.console.print(f"No processes found in {await call.app()} app.")
        return
    rows = [
        (
            pod.name,
            pod.release,
            pod.state,
            pod.type,
            pod.ready,
            str(pod.restarts),
            call.console.time(pod.started),
        )
        for pod in sorted(page.items, key=lambda pod: (pod.type, pod.name))
    ]
    call.console.table(("NAME", "RELEASE", "STATE", "PTYPE", "READY", "RESTARTS", "STARTED"), rows)


@TREE.command(
    "ps logs",
    exactly(1),
    Flag("lines", "l", 300),
    Flag("follow", "f", False),
    Flag("container"),
    Flag("previous", "p", False),
)
async def logs(call: Call) -> None:
    """What one instance says."""
    request = {
        "lines": max(call.number("lines"), -1),
        "follow": call.is_set("follow"),
        "container": call.text("container"),
        "previous": call.is_set("previous"),
    }
    await streams.print_logs(call, await call.path(f"pods/{call.arguments[0]}/logs/"), request)


@TREE.command("ps exec", at_least(2), Flag("stdin", "i", False), Flag("tty", "t", False))
async def execute(call: Call) -> None:
    """Run a command in an instance."""
    path = await call.path(f"pods/{call.arguments[0]}/exec/")
    await streams.execute(call, path, tty=call.is_set("tty"), stdin=call.is_set("stdin"))


@TREE.command("ps describe", exactly(1))
async def describe(call: Call) -> None:
    """One instance in detail."""
    path, (pod,) = await call.path(), call.arguments
    containers = await call.api.list(f"{path}pods/{pod}/describe/", PodContainer, MOST)
    rows: list[Row] = []
    for number, container in enumerate(containers.items):
        rows += [("",)] if number else []
        rows += _container_rows(call, container)
    call.console.facts(rows)
    await print_events(call, f"{path}events/?pod_name={pod}")


def _container_rows(call: Call, container: PodContainer) -> list[Row]:
    told = (("Status:", container.status), ("Reason:", container.reason), ("Message:", wrapped(container.message)))
    return [
        ("Container:", container.container),
        ("Image:", container.image),
        ("Command:", " ".join(container.command)),
        ("Args:", " ".join(container.args)),
        *(pair for pair in told if pair[1]),
        *_state_rows(call, "State:", container.state),
        *_state_rows(call, "Last State:", container.lastState),
        ("Ready:", shown(container.ready)),
        ("Restart Count:", str(container.restartCount)),
    ]


def _state_rows(call: Call, label: str, state: Mapping[str, Mapping[str, object]]) -> list[Row]:
    rows: list[Row] = []
    for kind, facts in sorted(state.items()):
        rows.append((label, kind))
        for name, value in sorted(facts.items()):
            is_time = name in ("startedAt", "finishedAt")
            rows.append(("", f"{name}:", call.console.time(or_none(str(value or ""))) if is_time else shown(value)))
    return rows or [(label, "")]


async def print_events(call: Call, path: str) -> None:
    """What happened to an instance or a process type, if anything."""
    events = (await call.api.list(path, Event, MOST, mismatch=OnMismatch.FAIL)).items
    if not events:
        return
    call.console.print("Events:")
    rows = [(event.reason, event.message, call.console.time(event.created)) for event in events]
    call.console.table(("REASON", "MESSAGE", "CREATED"), rows)


@TREE.command("ps delete", at_least(1))
async def delete(call: Call) -> None:
    """End instances; others take their places."""
    path, pods = await call.path("pods/"), ",".join(call.arguments)
    call.console.print(f"Deleting {pods} from {await call.app()}... ", end="")
    await call.api.do("DELETE", path, {"pod_ids": pods})
    call.console.print("done")

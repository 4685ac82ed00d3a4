"""What the engine is told and what it answers: plain values, made from rows by `domain.render`.

Nothing here knows an adapter; the operations on these values stand in `controller.engine.port`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Final, Literal

from controller.domain.spec_network import NetworkSpec
from controller.domain.spec_storage import Mount, VolumeSpec

ProbeKind = Literal["http", "tcp", "exec"]
InstancePhase = Literal[
    "initializing", "creating", "starting", "up", "terminating", "down", "destroyed", "crashed", "error"
]
JobPhase = Literal["starting", "up", "down", "crashed"]

DEFAULT_JOB_TTL = timedelta(hours=2)
"""How long a finished one-off is kept when nobody says otherwise (the cap of the reference, 7200 s)."""


@dataclass(frozen=True)
class Probe:
    """One check of an instance. `port` None means: the port that the instance was told in $PORT."""

    kind: ProbeKind
    port: int | None = None
    path: str = "/"
    headers: tuple[tuple[str, str], ...] = ()
    command: tuple[str, ...] = ()
    initial_delay: timedelta = timedelta(0)
    period: timedelta = timedelta(seconds=10)
    timeout: timedelta = timedelta(seconds=1)
    failure_threshold: int = 3

    @property
    def budget(self) -> timedelta:
        """The longest time in which an instance may still pass this probe for the first time."""
        return self.initial_delay + (self.period + self.timeout) * self.failure_threshold


_OF_NO_EFFECT = ("replicas", "start_deadline")
"""Fields of a ProcessSpec that a running instance is indifferent to."""


@dataclass(frozen=True)
class ProcessSpec:
    """What one process type of an app should run.

    `shell` is a Procfile line; `command` and `args` are empty then. `release` is the version that this type should
    run, which may be older than the app's newest. `port` is the wanted $PORT; an engine may choose another.
    `start_deadline` is how long a new instance may take to become ready; None leaves it to the engine. `tags` are
    labels that a machine must have to run it. `post_start` and `pre_stop` are lifecycle handlers, `registry` is the
    credentials for its image, and `plan` the id of its limit plan. `healthcheck` is the probes as they were configured,
    in the words of Kubernetes; `readiness` and `liveness` say the same for engines without a startup probe.
    """

    ptype: str
    replicas: int
    release: int
    image: str
    stack: str
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    shell: str | None = None
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    port: int | None = None
    readiness: Probe | None = None
    liveness: Probe | None = None
    memory_bytes: int | None = None
    grace_period: timedelta = timedelta(seconds=30)
    must_listen: bool = False
    restart_token: str = ""
    start_deadline: timedelta | None = None
    plan: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    mounts: tuple[Mount, ...] = ()
    post_start: Mapping[str, object] | None = None
    pre_stop: Mapping[str, object] | None = None
    registry: Mapping[str, str] | None = field(default=None, repr=False)
    healthcheck: Mapping[str, object] = field(default_factory=dict, repr=False)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of everything that needs new instances when it changes."""
        facts = {f.name: _plain(getattr(self, f.name)) for f in fields(self) if f.name not in _OF_NO_EFFECT}
        text = json.dumps(facts, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:32]


@dataclass(frozen=True)
class RouteSpec:
    """Requests for `host` go to the ready instances of `ptype`."""

    host: str
    ptype: str


@dataclass(frozen=True)
class Autoscale:
    """The engine keeps the instances of a process type between `least` and `most` so that they use `cpu_percent`."""

    ptype: str
    least: int
    most: int
    cpu_percent: int


@dataclass(frozen=True)
class AppSpec:
    """Everything that an app should be; what is not in it should not be there.

    `routes` is what an edge needs that goes by host names alone; `network` is the same and more, as the user shaped it.
    `quota` is the spec of a ResourceQuota for all that the app may use, None without one.
    """

    app: str
    processes: tuple[ProcessSpec, ...] = ()
    routes: tuple[RouteSpec, ...] = ()
    network: NetworkSpec = field(default_factory=NetworkSpec)
    volumes: tuple[VolumeSpec, ...] = ()
    autoscale: tuple[Autoscale, ...] = ()
    quota: Mapping[str, object] | None = None

    def process(self, ptype: str) -> ProcessSpec | None:
        """The process type of that name, if the app should have it."""
        return next((process for process in self.processes if process.ptype == ptype), None)


@dataclass(frozen=True)
class JobSpec:
    """A one-off: `process` runs once (its `replicas` means nothing) and is killed after `timeout`.

    `ttl` is how long the finished job stays visible.
    """

    app: str
    name: str
    process: ProcessSpec
    timeout: timedelta
    ttl: timedelta = DEFAULT_JOB_TTL


LAST_LINES: Final = 20
"""How many lines of output a failure shows."""


@dataclass(frozen=True)
class Failure:
    """Why something does not run, in words for the person who deployed it. `log` holds the last lines."""

    code: str
    ptype: str
    message: str
    log: tuple[str, ...] = ()
    hint: str = ""

    def as_json(self) -> dict[str, object]:
        """The form in which it is stored and shown."""
        facts = {"code": self.code, "ptype": self.ptype, "message": self.message}
        return {**facts, "log": list(self.log), "hint": self.hint}


@dataclass(frozen=True)
class InstanceState:
    """One running (or lately ended) instance. `started_at` is UTC; one-offs have ptype `run` and ready False. `message`
    is why it is not up, in the engine's words; empty when it is, or when nothing can be told."""

    name: str
    ptype: str
    release: int
    state: InstancePhase
    started_at: datetime | None
    ready: bool
    restarts: int
    exit_code: int | None
    fingerprint: str
    message: str = ""


@dataclass(frozen=True)
class EngineEvent:
    """Something that happened to an instance or a process type, in the engine's words. `at` is UTC; of what happened
    again and again, it is the last time."""

    reason: str
    message: str
    at: datetime


@dataclass(frozen=True)
class PtypeState:
    """How far a process type is.

    `fingerprint` is that of the spec which the engine works towards now; `updated` counts instances of it, `ready`
    counts ready instances of any. `settled`: exactly the wanted instances are there and ready, none of another spec.
    `failure` is about the current fingerprint and stays until another spec comes or it succeeds after all.
    """

    ptype: str
    fingerprint: str
    ready: int
    updated: int
    desired: int
    settled: bool
    failure: Failure | None = None


@dataclass(frozen=True)
class AppObservation:
    """What the engine sees of one app at one moment; empty for an app that it does not know."""

    app: str
    ptypes: tuple[PtypeState, ...] = ()
    instances: tuple[InstanceState, ...] = ()

    def ptype(self, name: str) -> PtypeState | None:
        """The state of that process type, if the engine has it."""
        return next((state for state in self.ptypes if state.ptype == name), None)


@dataclass(frozen=True)
class JobState:
    """Where a one-off stands. `down` ended with 0, `crashed` otherwise; `reason` is a failure code then
    (`process-crashed`, `deadline-exceeded`, `command-not-found`, `stopped`, ...). `log` holds the last lines.
    Times are UTC."""

    name: str
    state: JobPhase
    exit_code: int | None = None
    reason: str | None = None
    log: tuple[str, ...] = ()
    started_at: datetime | None = None
    ended_at: datetime | None = None

    @property
    def finished(self) -> bool:
        """It has ended, well or not."""
        return self.state in ("down", "crashed")


def _plain(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value

"""What runs, as JSON: instances (pods), process types, events. Released clients count on each of these types."""

from __future__ import annotations

from typing import Annotated, NotRequired, TypeAlias

from pydantic import Field
from typing_extensions import TypedDict

from controller.api.documents import Timestamp
from controller.api.documents_releases import ExecAction, HttpHeader, Ptype

ReleaseName = Annotated[str, Field(pattern="^v[0-9]+$")]
Ready = Annotated[str, Field(pattern="^[0-9]+/[0-9]+$", examples=["1/1"])]


class PodDocument(TypedDict):
    """An instance."""

    name: str
    state: str
    release: ReleaseName
    type: str
    started: Timestamp
    ready: Ready
    restarts: int


class Running(TypedDict):
    """Since when it runs."""

    startedAt: Timestamp | None


class Terminated(TypedDict):
    """How it ended."""

    exitCode: int
    startedAt: Timestamp | None


class Waiting(TypedDict):
    """What it waits for."""

    reason: str


class ContainerState(TypedDict):
    """One of the three, or none of them."""

    running: NotRequired[Running]
    terminated: NotRequired[Terminated]
    waiting: NotRequired[Waiting]


class PodContainerDocument(TypedDict):
    """An instance in detail."""

    container: str
    image: str
    command: list[str]
    args: list[str]
    state: ContainerState
    lastState: ContainerState
    ready: bool
    restartCount: int
    status: str
    reason: str
    message: str


class PodsRequest(TypedDict):
    """Names of instances with commas between them."""

    pod_ids: str


class PtypeDocument(TypedDict):
    """A deployed process type; `garbage` when the newest release does not have it."""

    name: str
    release: ReleaseName
    ready: Ready
    garbage: bool
    up_to_date: int
    available_replicas: int
    started: Timestamp


class VolumeMount(TypedDict):
    """Where a volume is in the instances."""

    name: str
    mountPath: str


class ProbePort(TypedDict):
    """The port that a probe connects to; without one the port that the process was told to listen on."""

    port: NotRequired[int]


class ProbeRequest(ProbePort):
    """A probe by HTTP."""

    path: str
    httpHeaders: NotRequired[list[HttpHeader]]


class ProbeDocument(TypedDict, total=False):
    """A probe, empty where there is none. Times are whole seconds."""

    exec: ExecAction
    httpGet: ProbeRequest
    tcpSocket: ProbePort
    initialDelaySeconds: int
    timeoutSeconds: int
    periodSeconds: int
    successThreshold: int
    failureThreshold: int


class PtypeContainerDocument(TypedDict):
    """A process type in detail."""

    container: str
    image: str
    command: list[str]
    args: list[str]
    startup_probe: ProbeDocument
    liveness_probe: ProbeDocument
    readiness_probe: ProbeDocument
    limits: dict[str, str]
    volume_mounts: list[VolumeMount]
    node_selector: dict[str, str]


class PtypesRequest(TypedDict):
    """Process types with commas between them; none means all."""

    ptypes: NotRequired[str | None]


class CleanRequest(TypedDict):
    """Process types with commas between them."""

    ptypes: str


Counts: TypeAlias = dict[Ptype, Annotated[int, Field(ge=0)]]
"""Process type -> how many instances there should be."""


class EventDocument(TypedDict):
    """Something that happened."""

    reason: str
    message: str
    created: Timestamp

"""The JSON of one-off commands and of metrics."""

from __future__ import annotations

from typing import Literal

from typing_extensions import TypedDict

from controller.api.documents import Created, Timestamp


class JobRequest(TypedDict, total=False):
    """A one-off: `command` is a line, or a list of arguments that are passed as they are. `timeout` is how many seconds
    it may run, `expires` how many it is kept after its end; `volumes` maps names of volumes to mount paths."""

    command: str | list[str]
    ptype: str | None
    timeout: int | None
    expires: int | None
    volumes: dict[str, str] | None


class JobDocument(Created):
    """A one-off. `command` holds one line for a shell when `shell` is true, else the arguments. `timeout` is in
    seconds, `log` has the last lines of output, `hint` what to do about how it ended. It is forgotten at `expires`."""

    name: str
    app: str
    owner: str
    ptype: str
    release: str
    command: list[str]
    shell: bool
    volumes: dict[str, str]
    timeout: int
    state: Literal["starting", "up", "down", "crashed"]
    exit_code: int | None
    reason: str | None
    log: list[str]
    hint: str
    started: Timestamp | None
    finished: Timestamp | None
    expires: Timestamp | None


Samples = dict[str, list[tuple[int, str]]]
"""Pod to samples: unix seconds and the value as text."""


class NetworkUsage(TypedDict):
    """Bytes a second."""

    receive: Samples
    transmit: Samples


class Usage(TypedDict):
    """`cpus` in cores, `memory` in bytes."""

    cpus: Samples
    memory: Samples
    networks: NetworkUsage


class PtypeUsage(TypedDict):
    """What the instances of a process type used."""

    id: str
    ptype: str
    usage: Usage

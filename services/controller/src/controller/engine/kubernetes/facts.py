"""What objects of the API server say, read with nothing taken for granted: any part of a status may be missing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from controller.engine.kubernetes import names
from shared.kubernetes.kinds import Manifest

Part = Mapping[str, Any]
"""A part of an object."""

_NANOSECONDS: Final = re.compile(r"[0-9a-f]{16}")
_NEVER: Final = datetime(1970, 1, 2, tzinfo=UTC)
"""The kubelet says 1970 for a container that never started."""


@dataclass(frozen=True)
class Seen:
    """All that the cluster has of one app, as the API server gives it. `heard_since`: the cluster was away before that;
    None: it was not."""

    deployments: Sequence[Manifest] = ()
    replica_sets: Sequence[Manifest] = ()
    pods: Sequence[Manifest] = ()
    jobs: Sequence[Manifest] = ()
    events: Sequence[Manifest] = ()
    heard_since: datetime | None = field(default=None, kw_only=True)


@dataclass(frozen=True)
class Happening:
    """An event: how often it happened, and when last. `first` is when its first one was noted, in nanoseconds; 0 when
    that is not known."""

    reason: str
    note: str
    count: int
    last: datetime
    first: int = 0

    @property
    def order(self) -> tuple[datetime, int]:
        """Sorts happenings by time: many are told to the second only, others to the microsecond."""
        return self.last.replace(microsecond=0), self.first


class Events:
    """Events by what they are about."""

    def __init__(self, events: Iterable[Manifest]) -> None:
        self._of: dict[tuple[str, str], list[Manifest]] = {}
        for event in events:
            about = event.get("regarding") or {}
            self._of.setdefault((str(about.get("kind")), str(about.get("name"))), []).append(event)

    def of(self, kind: str, name: str, *reasons: str, uid: str = "", container: str = "") -> list[Happening]:
        """Those of an object with one of these reasons, the oldest first. With a `uid`, those of an earlier object of
        the same name are left out, with a `container` those of the pod's other containers."""
        found = []
        for event in self._of.get((kind, name), ()):
            about = event["regarding"]
            place = about.get("fieldPath") or ""
            if (
                event.get("reason") in reasons
                and not (uid and about.get("uid") and about["uid"] != uid)
                and not (container and place and f"{{{container}}}" not in place)
            ):
                found.append(_happening(event))
        return sorted(found, key=lambda happening: happening.order)

    def about(self, kind: str, name: str, *, uid: str = "") -> list[Happening]:
        """All of an object, the oldest first; those of an earlier one of the same name are left out with a `uid`."""
        known = self._of.get((kind, name), ())
        found = [event for event in known if not uid or event["regarding"].get("uid") in (uid, None)]
        return sorted(map(_happening, found), key=lambda happening: happening.order)

    def of_pod(self, pod: Manifest, *reasons: str, container: str = "") -> list[Happening]:
        """Those of a pod."""
        return self.of("Pod", name_of(pod), *reasons, uid=uid_of(pod), container=container)


@dataclass(frozen=True)
class Container:
    """What the kubelet says of a container; the parts are empty where they do not apply. `last` is how it ended before
    it was started again."""

    name: str
    is_init: bool
    ready: bool
    restarts: int
    waiting: Part = field(default_factory=dict)
    running: Part | None = None
    terminated: Part = field(default_factory=dict)
    last: Part = field(default_factory=dict)

    @property
    def ended(self) -> Part:
        """How it ended the last time; empty when it never has."""
        return self.terminated or self.last

    @property
    def ends(self) -> int:
        """How often it has ended."""
        return self.restarts + (1 if self.terminated or (self.waiting and self.last) else 0)


def containers_of(pod: Manifest) -> list[Container]:
    """The containers whose status is known, in the order of their start; pods that were evicted may have none."""
    status = pod.get("status") or {}
    first = [_container(one, is_init=True) for one in status.get("initContainerStatuses") or ()]
    return first + [_container(one, is_init=False) for one in status.get("containerStatuses") or ()]


def own_container(pod: Manifest) -> Container | None:
    """The container with the app's process; others may have been injected."""
    own = [container for container in containers_of(pod) if not container.is_init]
    wanted = names.deployment(label(pod, names.APP), label(pod, names.TYPE))
    return next((container for container in own if container.name == wanted), own[0] if own else None)


def condition(thing: Manifest, kind: str) -> Part:
    """The condition of that type; empty when there is none."""
    conditions = (thing.get("status") or {}).get("conditions") or ()
    return next((one for one in conditions if one.get("type") == kind), {})


def holds(thing: Manifest, kind: str) -> bool:
    """The condition of that type is true."""
    return condition(thing, kind).get("status") == "True"


def moment(text: object) -> datetime | None:
    """A point in time as the API server writes it; None for none."""
    if not isinstance(text, str):
        return None
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        return None
    read = read if read.tzinfo else read.replace(tzinfo=UTC)
    return read if read > _NEVER else None


def name_of(thing: Manifest) -> str:
    """Its name."""
    return str((thing.get("metadata") or {}).get("name", ""))


def uid_of(thing: Manifest) -> str:
    """Its uid; empty when it is not known."""
    return str((thing.get("metadata") or {}).get("uid") or "")


def label(thing: Manifest, key: str) -> str:
    """A label; empty when it has none of that name."""
    return str(((thing.get("metadata") or {}).get("labels") or {}).get(key) or "")


def note(thing: Manifest, key: str) -> str:
    """An annotation; empty when it has none of that name."""
    return str(((thing.get("metadata") or {}).get("annotations") or {}).get(key) or "")


def created_at(thing: Manifest) -> datetime:
    """When it was made."""
    return moment((thing.get("metadata") or {}).get("creationTimestamp")) or _NEVER


def is_going(thing: Manifest) -> bool:
    """It is being deleted."""
    return bool((thing.get("metadata") or {}).get("deletionTimestamp"))


def owner_of(thing: Manifest) -> tuple[str, str]:
    """Kind and name of what controls it; both empty for nothing."""
    owners = (thing.get("metadata") or {}).get("ownerReferences") or ()
    owner: Part = next((one for one in owners if one.get("controller")), {})
    return str(owner.get("kind", "")), str(owner.get("name", ""))


def count(part: Part, key: str) -> int:
    """A number that the API server leaves out when it is 0."""
    value = part.get(key)
    return value if isinstance(value, int) else 0


def _container(status: Part, *, is_init: bool) -> Container:
    state = status.get("state") or {}
    return Container(
        name=str(status.get("name", "")),
        is_init=is_init,
        ready=status.get("ready") is True,
        restarts=count(status, "restartCount"),
        waiting=state.get("waiting") or {},
        running=state.get("running"),
        terminated=state.get("terminated") or {},
        last=(status.get("lastState") or {}).get("terminated") or {},
    )


def _happening(event: Manifest) -> Happening:
    series = event.get("series") or {}
    times = (
        series.get("lastObservedTime"),
        event.get("deprecatedLastTimestamp"),
        event.get("eventTime"),
        (event.get("metadata") or {}).get("creationTimestamp"),
    )
    return Happening(
        reason=str(event.get("reason", "")),
        note=str(event.get("note") or ""),
        count=max(count(series, "count"), count(event, "deprecatedCount"), 1),
        last=next((read for read in map(moment, times) if read), _NEVER),
        first=_first(name_of(event)),
    )


def _first(name: str) -> int:
    """The name of an event tells when the first one was, as client-go makes it: `<object>.<nanoseconds in hex>`."""
    suffix = name.rpartition(".")[2]
    return int(suffix, 16) if _NANOSECONDS.fullmatch(suffix) else 0

"""What apps use, as the billing manager is told (controller-api.md 4.27 and 4.30): facts, when they are due, retries.

`name` is what has a price, `kwargs` tell which object it is about, `unit` says what `usage` counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from ipaddress import ip_address
from typing import Any, Final, TypedDict
from uuid import UUID

from controller.domain.metrics import Traffic
from controller.domain.pauses import doubled
from controller.domain.spec_network import Address

DAILY_AT: Final = timedelta(hours=1)
LONGEST_WINDOW: Final = timedelta(days=1)
_DAY: Final = timedelta(days=1)
_HOUR: Final = timedelta(hours=1)
_FIRST_PAUSE: Final = timedelta(seconds=1)
_LONGEST_PAUSE: Final = timedelta(minutes=5)
_FIRST_REFUSED_PAUSE: Final = timedelta(hours=1)
_LONGEST_REFUSED_PAUSE: Final = timedelta(days=1)


class Fact(TypedDict):
    """Something that an app uses; with a `timestamp` (unix seconds) it is the record that the manager gets."""

    app_id: str
    owner: int
    name: str
    type: str
    unit: str
    usage: int
    kwargs: dict[str, Any]


@dataclass(frozen=True)
class Metered:
    """An app whose usage is to be told, and the number of the user who owns it."""

    uuid: UUID
    name: str
    owner: int


@dataclass(frozen=True)
class Changed:
    """An app to look at: `mark` differs whenever what it uses may have, `known` was found when it was last looked at.
    `is_daily`: all is to be told, and not only what is new."""

    app: Metered
    mark: str
    known: Sequence[Fact]
    is_daily: bool

    def news(self, facts: Iterable[Fact]) -> list[Fact]:
        """What of `facts` the manager is to be told."""
        return [fact for fact in facts if self.is_daily or fact not in self.known]


@dataclass(frozen=True)
class Pending:
    """A record that the manager has not taken yet. `attempts` counts the times that it refused this very one."""

    uuid: UUID
    record: Mapping[str, Any]
    attempts: int


class Verdict(Enum):
    """What the manager makes of records: it took them, it says that something is wrong with them, or it does not work
    (or does not know us), which is no reason to doubt the records."""

    TAKEN = "taken"
    REFUSED = "refused"
    AWAY = "away"


def limits_fact(app: Metered, *, ptype: str, plan: str, replicas: int) -> Fact:
    """How many instances of which size a process type has."""
    return _fact(app, "limits", plan, replicas, "replicas", ptype=ptype)


def volume_fact(app: Metered, *, volume: str, kind: str, size_bytes: int) -> Fact:
    """How large a volume is; 0 where the server behind it decides."""
    return _fact(app, "volume", kind, size_bytes, "bytes", name=volume)


def resource_fact(app: Metered, *, resource: str, plan: str) -> Fact:
    """That an app has a resource of a plan (`<class>:<plan>`)."""
    return _fact(app, "resource", plan, 1, "instances", name=resource)


def traffic_fact(app: Metered, traffic: Traffic, *, since: datetime, until: datetime) -> Fact:
    """What a pod received or sent in that time; the record itself is made a little later."""
    window = {"since": int(since.timestamp()), "until": int(until.timestamp())}
    return _fact(app, "network", traffic.direction, traffic.count, "bytes", pod=traffic.pod, **window)


def load_balancer_facts(app: Metered, addresses: Mapping[str, Iterable[Address]]) -> list[Fact]:
    """The addresses of gateways, named `internet:4`, `intranet:6` and so on. Host names are none: nobody knows what is
    behind them."""
    return [
        _fact(app, "loadbalancer", kind, 1, "addresses", gateway=gateway, address=address.value)
        for gateway, own in sorted(addresses.items())
        for address in own
        if (kind := _kind(address.value)) is not None
    ]


def day_of(now: datetime) -> datetime:
    """The last 01:00 UTC, when everything is told anew."""
    return _floor(now - DAILY_AT, _DAY) + DAILY_AT


def hour_of(now: datetime) -> datetime:
    """The last full hour."""
    return _floor(now, _HOUR)


def pause_after_failure(failures: int) -> timedelta:
    """The longest pause after so many posts in a row (1 or more) that brought nothing: 1 s, doubled up to 5 minutes."""
    return doubled(_FIRST_PAUSE, failures, _LONGEST_PAUSE)


def pause_after_refusal(attempts: int) -> timedelta:
    """When a record that was refused by itself so many times (1 or more) is tried again: 1 h, doubled up to a day."""
    return doubled(_FIRST_REFUSED_PAUSE, attempts, _LONGEST_REFUSED_PAUSE)


def _fact(app: Metered, kind: str, name: str, usage: int, unit: str, /, **kwargs: Any) -> Fact:
    return Fact(app_id=app.name, owner=app.owner, name=name, type=kind, unit=unit, usage=usage, kwargs=kwargs)


def _kind(address: str) -> str | None:
    try:
        ip = ip_address(address)
    except ValueError:
        return None
    return f"{'internet' if ip.is_global else 'intranet'}:{ip.version}"


def _floor(moment: datetime, step: timedelta) -> datetime:
    return moment - timedelta(seconds=moment.timestamp() % step.total_seconds())

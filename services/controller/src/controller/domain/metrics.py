"""Metrics of apps: what may be asked for, and the queries that answer it (controller-api.md 3.25 and 4.26)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Final, Literal

from controller.domain.errors import NON_FIELD, InvalidFieldsError

EARLIEST: Final = 946656000
LATEST: Final = 4102416000
INTERVAL: Final = re.compile(r"[1-9][0-9]*[smhdwy]")

_EVERY: Final = re.compile(r"[1-9][0-9]*m")
_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,15}")
_NAME: Final = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_DAY: Final = 24 * 3600
_MOST_WINDOWS: Final = 100
_SELF_OF: Final = "__name__"

Direction = Literal["rx", "tx"]
_DIRECTIONS: Final[Mapping[Direction, str]] = {"rx": "receive", "tx": "transmit"}

MetricsConfig = Mapping[str, tuple[str, ...]]
"""The metrics that apps may see: name to the labels that are shown."""


class InvalidMetricsQueryError(InvalidFieldsError):
    """The query of a metrics request is wrong: the same map of fields, but 422."""

    code: ClassVar[str] = "invalid-metrics-query"
    status: ClassVar[int] = 422
    title: ClassVar[str] = "The query is wrong"


class MetricsConfigError(ValueError):
    """The file of the metrics that apps may see cannot be used."""


@dataclass(frozen=True)
class UsageQuery:
    """A stretch of time: `start` and `stop` in unix seconds, a sample each `step` seconds, each over `every`."""

    start: int
    stop: int
    step: int
    every: str


@dataclass(frozen=True)
class Sample:
    """One value of one series, as the store shows it."""

    labels: Mapping[str, str]
    value: str


@dataclass(frozen=True)
class Usage:
    """What instances used: instance to (unix seconds, value as text)."""

    cpus: Mapping[str, list[tuple[int, str]]] = field(default_factory=dict)
    memory: Mapping[str, list[tuple[int, str]]] = field(default_factory=dict)
    receive: Mapping[str, list[tuple[int, str]]] = field(default_factory=dict)
    transmit: Mapping[str, list[tuple[int, str]]] = field(default_factory=dict)


@dataclass(frozen=True)
class Traffic:
    """The bytes that a pod received (`rx`) or sent (`tx`)."""

    app: str
    pod: str
    direction: Direction
    count: int


def check_usage_query(parameters: Mapping[str, str], *, now: int) -> UsageQuery:
    """The stretch of time in the query of a request (`start`, `stop`, `step`, `every`).

    Raises:
        InvalidMetricsQueryError: what is wrong, by field; limits of several fields together under `non_field_errors`.
    """
    errors: dict[str, list[str]] = {}
    numbers = {}
    for name, default, least, most in (
        ("start", now - 3600, EARLIEST, now),
        ("stop", now, EARLIEST, LATEST),
        ("step", 14, 1, 30),
    ):
        number, problem = _number(parameters.get(name), default, least, most)
        numbers[name] = number
        if problem is not None:
            errors[name] = [problem]
    if errors:
        raise InvalidMetricsQueryError(errors)
    query = UsageQuery(**numbers, every=parameters.get("every", "5m"))
    if (problem := _problem(query)) is not None:
        raise InvalidMetricsQueryError({NON_FIELD: [problem]})
    return query


def parse_metrics_config(text: str) -> dict[str, tuple[str, ...]]:
    """The metrics file: JSON, metric to list of labels.

    Raises:
        MetricsConfigError: it is none; the text says what is wrong in one line.
    """
    try:
        raw = json.loads(text)
    except ValueError as error:
        raise MetricsConfigError(f"it is no JSON: {error}") from None
    if not isinstance(raw, dict):
        raise MetricsConfigError("it must be an object: name of a metric to list of labels")
    for name, labels in raw.items():
        if not _NAME.fullmatch(name):
            raise MetricsConfigError(f"{name!r} is not the name of a metric")
        if not isinstance(labels, list) or not all(isinstance(each, str) and _LABEL.fullmatch(each) for each in labels):
            raise MetricsConfigError(f"the labels of {name} must be a list of label names")
    return {name: tuple(labels) for name, labels in raw.items()}


def last_samples_query(config: MetricsConfig, app: str, *, interval: str) -> str:
    """PromQL: the last sample of every configured metric of the app."""
    names = "|".join(config)
    return f'last_over_time({{__name__=~"{names}",namespace="{app}"}}[{interval}])'


def usage_queries(app: str, ptype: str, *, every: str) -> dict[str, str]:
    """PromQL by field of `Usage`: per pod, averaged over `every`."""
    pods = f'pod=~"^{app}-{ptype}-.*$",namespace="{app}"'
    # The sum of a pod is a series of its own, without a container: with it everything would count twice.
    own = f'{pods},container!=""'
    return {
        "cpus": f"sum by (pod) (rate(container_cpu_usage_seconds_total{{{own}}}[{every}]))",
        "memory": f"sum by (pod) (avg_over_time(container_memory_working_set_bytes{{{own}}}[{every}]))",
        "receive": f"sum by (pod) (rate(container_network_receive_bytes_total{{{pods}}}[{every}]))",
        "transmit": f"sum by (pod) (rate(container_network_transmit_bytes_total{{{pods}}}[{every}]))",
    }


def traffic_queries(apps: Iterable[str], *, seconds: int) -> dict[Direction, str]:
    """PromQL by direction: the bytes of each pod of these apps in the last so many seconds."""
    pods = f'namespace=~"{"|".join(apps)}"'
    return {
        direction: f"sum by (namespace,pod) (increase(container_network_{name}_bytes_total{{{pods}}}[{seconds}s]))"
        for direction, name in _DIRECTIONS.items()
    }


def exposition(samples: Iterable[Sample], config: MetricsConfig) -> str:
    """The samples as text, one a line, with the labels that are configured for each metric."""
    lines = []
    for sample in samples:
        name = sample.labels.get(_SELF_OF, "")
        if name not in config:
            continue
        labels = ",".join(
            f'{label}="{_escaped(sample.labels[label])}"' for label in config[name] if label in sample.labels
        )
        lines.append(f"{name}{{{labels}}} {sample.value}\n")
    return "".join(sorted(lines))


def _number(text: str | None, default: int, least: int, most: int) -> tuple[int, str | None]:
    if text is None:
        return default, None
    if not (text.isascii() and _NUMBER.fullmatch(text)):
        return default, "A valid integer is required."
    number = int(text)
    if number < least:
        return default, f"Ensure this value is greater than or equal to {least}."
    if number > most:
        return default, f"Ensure this value is less than or equal to {most}."
    return number, None


def _problem(query: UsageQuery) -> str | None:
    if not (query.every.isascii() and _EVERY.fullmatch(query.every)) or len(query.every) > 8:
        return "The format of every is:^[1-9][0-9]*m$"
    stretch = query.stop - query.start
    if not 0 <= stretch <= _DAY:
        return "The start and stop intervals must be within 24 hour."
    if stretch / (int(query.every[:-1]) * 60) > _MOST_WINDOWS:
        return "The amount of data requested is too large."
    return None


def _escaped(value: str) -> str:
    """A label value of the text format: backslash, line feed and quote are escaped."""
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')

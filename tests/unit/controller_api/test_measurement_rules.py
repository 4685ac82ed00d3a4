"""Rules of usage records: when they are due, what they are called, how long a failure waits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from controller.domain.measurements import (
    Changed,
    Metered,
    day_of,
    hour_of,
    limits_fact,
    load_balancer_facts,
    pause_after_failure,
    pause_after_refusal,
    volume_fact,
)
from controller.domain.metrics import traffic_queries
from controller.domain.spec_network import Address
from controller.domain.volumes import size_bytes

APP = Metered(uuid4(), "shop", 7)


def utc(text: str) -> datetime:
    """That moment."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("now", "day", "hour"),
    [
        ("2026-01-05T10:30:01", "2026-01-05T01:00", "2026-01-05T10:00"),
        ("2026-01-05T01:00", "2026-01-05T01:00", "2026-01-05T01:00"),
        ("2026-01-05T00:59:59.999999", "2026-01-04T01:00", "2026-01-05T00:00"),
        ("2026-03-01T00:00", "2026-02-28T01:00", "2026-03-01T00:00"),
    ],
)
def test_days_begin_at_one_and_hours_are_full(now: str, day: str, hour: str) -> None:
    assert (day_of(utc(now)), hour_of(utc(now))) == (utc(day), utc(hour))


def test_only_what_is_new_is_told_but_all_once_a_day() -> None:
    known = limits_fact(APP, ptype="web", plan="small", replicas=1)
    more = limits_fact(APP, ptype="web", plan="small", replicas=2)
    other = volume_fact(APP, volume="data", kind="nfs", size_bytes=size_bytes("0G"))
    assert Changed(APP, "", [known], is_daily=False).news([known, other]) == [other]
    assert Changed(APP, "", [known], is_daily=False).news([more]) == [more]
    assert Changed(APP, "", [known], is_daily=True).news([known, other]) == [known, other]


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("8.8.8.8", "internet:4"),
        ("2001:4860:4860::8888", "internet:6"),
        ("10.1.2.3", "intranet:4"),
        ("127.0.0.1", "intranet:4"),
        ("100.64.0.1", "intranet:4"),
        ("fd00::1", "intranet:6"),
    ],
)
def test_load_balancers_are_named_by_reach_and_version(address: str, name: str) -> None:
    (fact,) = load_balancer_facts(APP, {"edge": [Address("IPAddress", address)]})
    assert (fact["name"], fact["usage"], fact["unit"]) == (name, 1, "addresses")


@pytest.mark.parametrize("address", [Address("Hostname", "lb.example.org"), Address("IPAddress", "not an address")])
def test_what_is_no_address_is_left_out(address: Address) -> None:
    assert load_balancer_facts(APP, {"edge": [address]}) == []


def test_pauses_grow_to_a_bound() -> None:
    assert [pause_after_failure(n).total_seconds() for n in (1, 2, 3, 9, 10, 10**9)] == [1, 2, 4, 256, 300, 300]
    hours = [pause_after_refusal(n) / timedelta(hours=1) for n in (1, 2, 3, 5, 6, 10**9)]
    assert hours == [1, 2, 4, 16, 24, 24]


def test_traffic_is_asked_for_several_apps_at_once() -> None:
    assert traffic_queries(["shop", "blog"], seconds=7200) == {
        direction: f'sum by (namespace,pod) (increase({metric}{{namespace=~"shop|blog"}}[7200s]))'
        for direction, metric in (
            ("rx", "container_network_receive_bytes_total"),
            ("tx", "container_network_transmit_bytes_total"),
        )
    }

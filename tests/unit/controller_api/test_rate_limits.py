"""How many requests a key may make, and how much memory that takes."""

from __future__ import annotations

import pytest

from controller.api.ratelimit import Buckets, TooManyRequestsError


class Watch:
    """A clock of seconds that stands still until it is moved."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def test_a_burst_then_the_rate() -> None:
    watch = Watch()
    buckets = Buckets(rate=2.0, burst=3, monotonic=watch)
    assert [buckets.take(b"ana") for _ in range(4)] == [0, 0, 0, 0.5]
    watch.seconds += 0.25
    assert buckets.take(b"ana") == pytest.approx(0.25)
    watch.seconds += 0.25
    assert [buckets.take(b"ana"), buckets.take(b"ana")] == [0, 0.5]
    watch.seconds += 3600
    assert [buckets.take(b"ana") for _ in range(4)] == [0, 0, 0, 0.5]


def test_keys_do_not_share() -> None:
    buckets = Buckets(rate=1.0, burst=1, monotonic=Watch())
    assert [buckets.take(key) for key in (b"ana", b"bo", b"ana")] == [0, 0, 1]


def test_memory_is_bounded_and_the_busy_stay_known() -> None:
    buckets = Buckets(rate=1.0, burst=1, most_keys=10, monotonic=Watch())
    buckets.take(b"busy")
    for number in range(1000):
        buckets.take(f"{number}".encode())
        assert buckets.take(b"busy") == 1
    assert len(buckets) == 10


def test_the_pause_is_told_in_whole_seconds() -> None:
    error = TooManyRequestsError(0.01)
    assert (error.status, error.headers) == (429, {"Retry-After": "1"})
    assert TooManyRequestsError(1.2).detail == "too many requests; try again in 2 s"

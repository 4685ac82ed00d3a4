"""The rule of rolling replacement, by example and by simulation."""

from __future__ import annotations

import random
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from controller.engine.local.rollout import AT_ONCE, SURGE, next_step


@dataclass(eq=False)
class Fake:
    fingerprint: str
    is_ready: bool


def fleet(text: str) -> list[Fake]:
    """`o`/`n`: old or new, not ready; `O`/`N`: ready."""
    return [Fake(letter.lower(), letter.isupper()) for letter in text]


def step(text: str, wanted: int) -> tuple[int, str]:
    found = next_step(fleet(text), fingerprint="n", wanted=wanted)
    letters = "".join(item.fingerprint.upper() if item.is_ready else item.fingerprint for item in found.retire)
    return found.start, letters


def test_nothing_there_starts_all_at_once() -> None:
    assert step("", 3) == (3, "")


def test_a_hundred_are_not_started_at_once() -> None:
    assert step("", 100) == (AT_ONCE, "")
    assert step("n" * AT_ONCE, 100) == (0, "")
    assert step("n" * (AT_ONCE - 1) + "N", 100) == (1, "")


def test_one_new_instance_at_a_time_beside_old_ones() -> None:
    assert step("OOO", 3) == (1, "")
    assert step("OOOn", 3) == (0, "")
    assert step("OOON", 3) == (1, "O")
    assert step("ONNn", 3) == (0, "")
    assert step("ONNN", 3) == (0, "O")


def test_old_instances_that_do_not_serve_go_at_once() -> None:
    assert step("o", 1) == (1, "o")
    assert step("oO", 2) == (1, "o")


def test_fewer_are_wanted() -> None:
    assert step("NNN", 1) == (0, "NN")
    assert step("NnN", 2) == (0, "n")
    assert step("NN", 0) == (0, "NN")
    assert step("OO", 0) == (0, "OO")


def test_surplus_is_taken_from_the_youngest() -> None:
    oldest, middle, youngest = fleet("NNN")
    found = next_step([oldest, middle, youngest], fingerprint="n", wanted=2)
    assert found.retire == (youngest,)


@given(old=st.text("oO", max_size=6), new=st.text("nN", max_size=6), wanted=st.integers(0, 6))
def test_a_step_never_costs_service(old: str, new: str, wanted: int) -> None:
    replicas = fleet(old + new)
    found = next_step(replicas, fingerprint="n", wanted=wanted)
    left = [replica for replica in replicas if replica not in found.retire]
    before = sum(replica.is_ready for replica in replicas)
    assert sum(replica.is_ready for replica in left) >= min(before, wanted)
    assert len([r for r in left if r.fingerprint == "n"]) + found.start <= max(wanted, 0)


@given(seed=st.integers(0, 10_000), count=st.integers(0, 5), wanted=st.integers(0, 5))
def test_it_always_comes_to_an_end(seed: int, count: int, wanted: int) -> None:
    chance = random.Random(seed)
    replicas = fleet("O" * count)
    for _ in range(100):
        found = next_step(replicas, fingerprint="n", wanted=wanted)
        replicas = [replica for replica in replicas if replica not in found.retire]
        replicas += [Fake("n", False) for _ in range(found.start)]
        starting = [replica for replica in replicas if not replica.is_ready]
        if any(replica.fingerprint == "o" for replica in replicas):
            assert len(starting) <= SURGE
        if starting:
            chance.choice(starting).is_ready = True
        if [(r.fingerprint, r.is_ready) for r in replicas] == [("n", True)] * wanted:
            return
    raise AssertionError("did not settle")

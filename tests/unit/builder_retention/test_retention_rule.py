"""What must stay stays, whatever the rest looks like."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from builder.domain.builds import BuildState
from builder.domain.retention import Product, Wanted, images_to_remove, kept

START = datetime(2026, 1, 1, tzinfo=UTC)
IMAGES = [f"registry/shop/shop@sha256:{number:064x}" for number in range(6)]


@st.composite
def products(draw: st.DrawFn) -> list[Product]:
    """Builds of one app; those that have ended have succeeded, as others leave nothing."""
    made = []
    for number in range(draw(st.integers(0, 12))):
        is_over = draw(st.booleans())
        is_released = is_over and draw(st.booleans())
        ran = is_released and draw(st.booleans())
        made.append(
            Product(
                UUID(int=number),
                START + timedelta(minutes=number),
                BuildState.SUCCEEDED if is_over else draw(st.sampled_from([BuildState.REQUESTED, BuildState.RUNNING])),
                is_released,
                is_over and draw(st.booleans()),
                START + timedelta(minutes=draw(st.integers(0, 99))) if ran else None,
                tuple(draw(st.lists(st.sampled_from(IMAGES), max_size=3))) if is_over else (),
            )
        )
    return draw(st.permutations(made))


ANSWERS = st.none() | st.builds(
    Wanted,
    builds=st.frozensets(st.integers(0, 14).map(lambda number: UUID(int=number)), max_size=5),
    images=st.frozensets(st.sampled_from(IMAGES), max_size=2),
)


@given(products(), ANSWERS, st.integers(1, 4), st.integers(-1, 12))
def test_nothing_goes_that_anybody_may_need(
    builds: list[Product], wanted: Wanted | None, newest: int, since: int
) -> None:
    keep = kept(builds, wanted, newest=newest, silent_since=START + timedelta(minutes=since))
    made = sorted((one for one in builds if one.state.is_final), key=lambda one: one.build_id)
    young = [one for one in made if one.requested_at > START + timedelta(minutes=since)]
    assert {one.build_id for one in made[-newest:]} <= keep
    assert {one.build_id for one in builds if not one.state.is_final} <= keep
    assert {one.build_id for one in young if not one.is_released and not one.is_judged} <= keep
    if wanted is None:
        ran = [one for one in made if one.deployed_at is not None]
        older = [one for one in ran if one.build_id not in keep]
        assert all(
            sum(other.deployed_at >= one.deployed_at for other in ran if other is not one) >= newest  # type: ignore[operator]
            for one in older
        )
    else:
        assert wanted.builds <= keep
        assert all(one.build_id in keep for one in made if wanted.images & set(one.images))


@given(products(), ANSWERS, st.integers(1, 4), st.integers(-1, 12))
def test_no_image_goes_that_a_kept_build_has(
    builds: list[Product], wanted: Wanted | None, newest: int, since: int
) -> None:
    keep = kept(builds, wanted, newest=newest, silent_since=START + timedelta(minutes=since))
    stay = [one for one in builds if one.build_id in keep and one.state.is_final]
    for one in builds:
        if one.build_id in keep:
            continue
        gone = images_to_remove(one, builds, keep)
        if any(not other.images for other in stay):
            assert gone is None
        else:
            assert gone is not None
            assert not set(gone) & {image for other in stay for image in other.images}
            assert wanted is None or not set(gone) & wanted.images


@given(products(), ANSWERS)
def test_what_stays_is_bounded(builds: list[Product], wanted: Wanted | None) -> None:
    """Of builds whose release is known and judged, only the newest and the wanted ones stay."""
    keep = kept(builds, wanted, newest=2, silent_since=START)
    known = [one for one in builds if one.state.is_final and one.is_judged and one.build_id in keep]
    named = set() if wanted is None else {one.build_id for one in known if wanted.images & set(one.images)}
    assert len({one.build_id for one in known} - named - (wanted.builds if wanted else set())) <= 4

"""Which builds must stay, and what of the others may go. Ids of builds are ordered by time."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from builder.domain.builds import BuildState


@dataclass(frozen=True)
class Product:
    """A build that is under way, or what one has made: `images` are references, none where they are not known.

    `is_released`: the controller has told of a release of it; `is_judged`: and what became of that.
    """

    build_id: UUID
    requested_at: datetime
    state: BuildState
    is_released: bool
    is_judged: bool
    deployed_at: datetime | None
    images: tuple[str, ...]


@dataclass(frozen=True)
class Wanted:
    """What the controller says is to be kept: builds by their ids, and by images where it gave them ids of its own."""

    builds: frozenset[UUID]
    images: frozenset[str]


def kept(products: Sequence[Product], wanted: Wanted | None, *, newest: int, silent_since: datetime) -> set[UUID]:
    """The builds of an app that must stay. `products` were read before `wanted` was asked for.

    Always the `newest` ones, those under way, and those requested after `silent_since` of whose release nothing was
    heard yet: it may be on its way. Besides, what is `wanted`; a controller that cannot tell (None) may roll back to
    the builds that ran last.
    """
    made = sorted((one for one in products if one.state is BuildState.SUCCEEDED), key=_id, reverse=True)
    keep = {one.build_id for one in made[:newest]} | {
        one.build_id for one in products if _may_come(one, wanted, silent_since)
    }
    if wanted is not None:
        return keep | wanted.builds | {one.build_id for one in made if not wanted.images.isdisjoint(one.images)}
    ran = [(one.deployed_at, one.build_id) for one in made if one.deployed_at is not None]
    return keep | {build_id for _, build_id in sorted(ran, reverse=True)[:newest]}


def images_to_remove(product: Product, products: Sequence[Product], keep: Collection[UUID]) -> tuple[str, ...] | None:
    """The images of a build that nothing which stays has too: the same source gives the same image.

    None while something stays whose images nobody knows: then nothing is to be removed.
    """
    stay = [one for one in products if one.build_id in keep and one.state is BuildState.SUCCEEDED]
    if not all(one.images for one in stay):
        return None
    used = {image for one in stay for image in one.images}
    return tuple(image for image in product.images if image not in used)


def _may_come(product: Product, wanted: Wanted | None, silent_since: datetime) -> bool:
    if not product.state.is_final:
        return True
    is_silent = not product.is_judged and (wanted is None or not product.is_released)
    return is_silent and product.requested_at > silent_since


def _id(product: Product) -> UUID:
    return product.build_id

"""Looking at the catalogue of limit plans. It comes from a file (`domain.plans_file`), not from the database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from controller.domain.page import Page
from controller.domain.plans import Catalog, LimitPlan, LimitSpec

Item = TypeVar("Item")


class Limits:
    """What processes can be given."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def specs(self, *, keywords: str = "", limit: int = 100, offset: int = 0) -> Page[LimitSpec]:
        """The enabled specs that have all `keywords` (words with anything between them), highest priority first."""
        return _page(self._catalog.specs(keywords=keywords), limit, offset)

    def plans(
        self, *, spec: str = "", cpu: str = "", memory: str = "", limit: int = 100, offset: int = 0
    ) -> Page[LimitPlan]:
        """The enabled plans of a spec and a size, lowest priority first.

        Raises:
            InvalidInputError: a size that does not begin with a number.
        """
        return _page(self._catalog.plans(spec=spec, cpu=cpu, memory=memory), limit, offset)

    def get(self, plan: str) -> LimitPlan:
        """One plan, enabled or not.

        Raises:
            ObjectNotFoundError: there is none of that id.
        """
        return self._catalog.get(plan)


def _page(items: Sequence[Item], limit: int, offset: int) -> Page[Item]:
    return Page(tuple(items[offset : offset + limit]), len(items))

"""Who may do what in the registry, repository by repository (distribution's token authentication, builder.md 21.9)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from builder.domain.images import cache_repository, image_repository

PULL: Final = "pull"
PUSH: Final = "push"
DELETE: Final = "delete"
_NOTHING: Final[frozenset[str]] = frozenset()
# Names as the registry takes them; whatever else is asked for is no repository of ours.
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_SCOPE: Final = re.compile(rf"repository:(?P<name>{_COMPONENT}(?:/{_COMPONENT})*):(?P<actions>[a-z*]*(?:,[a-z*]*)*)")
_LONGEST_NAME: Final = 255

Rights = Callable[[str], frozenset[str]]
"""What may be done with the repository of that name."""


@dataclass(frozen=True)
class Access:
    """Some actions on one repository."""

    repository: str
    actions: frozenset[str]


def wanted(scopes: Iterable[str]) -> list[Access]:
    """What clients ask for, `repository:shop/shop:pull,push`, one by one or with blanks between; each repository once.

    What is not of that form, or no repository, is nothing that anybody gets.
    """
    found: dict[str, frozenset[str]] = {}
    for scope in (word for text in scopes for word in text.split(" ")):
        match = _SCOPE.fullmatch(scope)
        if match is not None and len(match["name"]) <= _LONGEST_NAME:
            found[match["name"]] = found.get(match["name"], _NOTHING) | set(match["actions"].split(","))
    return [Access(name, actions) for name, actions in found.items()]


def granted(asked: Iterable[Access], rights: Rights) -> list[Access]:
    """Of what is asked for, that which those rights allow."""
    allowed = (Access(one.repository, one.actions & rights(one.repository)) for one in asked)
    return [one for one in allowed if one.actions]


def rights_of_operator(_repository: str) -> frozenset[str]:
    """Everything, everywhere."""
    return frozenset({PULL, PUSH, DELETE})


def rights_of_machine(_repository: str) -> frozenset[str]:
    """A machine that runs apps pulls all of them."""
    return frozenset({PULL})


def rights_of_build(app: str, shared: Sequence[str], organization: str = "") -> Rights:
    """A build pulls and pushes its own app's image and cache, and pulls what begins with one of `shared`.

    What all builds may pull, none may push: an app of the name of a shared prefix would put its images before others.
    """
    own = frozenset({image_repository(app, organization), cache_repository(app, organization)})

    def rights(repository: str) -> frozenset[str]:
        if repository.startswith(tuple(shared)):
            return frozenset({PULL})
        return frozenset({PULL, PUSH}) if repository in own else _NOTHING

    return rights

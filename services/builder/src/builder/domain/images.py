"""What the images of a build are called, and how its pipelines name them."""

from __future__ import annotations

import re
from collections.abc import Mapping

from builder.domain.commands import APP_ID

WEB = "web"
# No app's name has a dot, so that no app's images are where another one's layers are.
_CACHE = ".cache"
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_ORGANIZATION = re.compile(rf"(?=.{{1,128}}\Z){_COMPONENT}(?:/{_COMPONENT})*")
# Those of other process types than web have that at the end.
_TAG = re.compile(r"git-[0-9a-f]{12}-(?P<number>[0-9]{1,18})(?:-[a-z0-9-]+)?")


def tag_of(sha: str, number: int) -> str:
    """The tag of a build's image: no other build of the app has it, also not one of the same commit."""
    return f"git-{sha[:12]}-{number}"


def number_of(tag: str) -> int | None:
    """The number of the build that gave this tag; None where none of ours did."""
    found = _TAG.fullmatch(tag)
    return int(found["number"]) if found else None


def is_organization(text: str) -> bool:
    """Whether names of repositories may begin with that, as distribution's grammar has them."""
    return _ORGANIZATION.fullmatch(text) is not None


def image_repository(app: str, organization: str = "") -> str:
    """The repository of an app's images, those of all process types; below an organization, if there is one
    (builder.md 7)."""
    return f"{organization}/{app}" if organization else f"{app}/{app}"


def cache_repository(app: str, organization: str = "") -> str:
    """The repository in which builds of an app keep layers for the next one; never that of anybody's images."""
    if organization:
        return f"{organization}/{app}{_CACHE}"
    return f"{app}/cache" if app != "cache" else f"{app}/layers"


def is_of_app(repository: str, organization: str = "") -> bool:
    """Whether that is a repository to which builds of some app push, or did before there was an organization."""
    first, _, _ = repository.partition("/")
    return repository in (image_repository(first), cache_repository(first)) or is_below(organization, repository)


def is_below(organization: str, repository: str) -> bool:
    """Whether builds of some app push to that repository where there is such an organization."""
    place, _, last = repository.rpartition("/")
    return bool(organization) and place == organization and APP_ID.fullmatch(last.removesuffix(_CACHE)) is not None


def is_of_builds(tag: str, organization: str = "") -> bool:
    """Whether a tag in a repository of an app's images is of a build.

    Below an organization people may have repositories of their own, called like an app; without one nobody has.
    """
    return not organization or number_of(tag) is not None


def pinned(dryccfile: Mapping[str, object], images: Mapping[str, str]) -> dict[str, object]:
    """The checked `.drycc` with what was built in the place of names: nothing that is pushed later changes it.

    A section names an image by the process type that it is built for; one that names none runs that of its own type,
    if that has one (builder.md 14). `images` are references with digests, by process type.
    """
    pipelines = dryccfile.get("pipeline")
    if not isinstance(pipelines, Mapping):
        return dict(dryccfile)
    return {**dryccfile, "pipeline": {name: _pinned(document, images) for name, document in pipelines.items()}}


def _pinned(document: Mapping[str, object], images: Mapping[str, str]) -> dict[str, object]:
    resolved = dict(document)
    for step in ("run", "deploy"):
        section = document.get(step)
        if isinstance(section, Mapping):
            own = document.get("ptype") if "build" in document else None
            image = images.get(str(section.get("image") or own or ""))
            resolved[step] = {**section, "image": image} if image else dict(section)
    return resolved

"""What the images of a build are called, and how its pipelines name them."""

from __future__ import annotations

import re
from collections.abc import Mapping

WEB = "web"
# Those of other process types than web have that at the end.
_TAG = re.compile(r"git-[0-9a-f]{12}-(?P<number>[0-9]{1,18})(?:-[a-z0-9-]+)?")


def tag_of(sha: str, number: int) -> str:
    """The tag of a build's image: no other build of the app has it, also not one of the same commit."""
    return f"git-{sha[:12]}-{number}"


def number_of(tag: str) -> int | None:
    """The number of the build that gave this tag; None where none of ours did."""
    found = _TAG.fullmatch(tag)
    return int(found["number"]) if found else None


def image_repository(app: str) -> str:
    """The repository of an app's images, those of all process types."""
    return f"{app}/{app}"


def cache_repository(app: str) -> str:
    """The repository in which builds of an app keep layers for the next one; never that of its images."""
    return f"{app}/cache" if app != "cache" else f"{app}/layers"


def is_of_app(repository: str) -> bool:
    """Whether that is a repository to which builds of some app push."""
    app = repository.partition("/")[0]
    return repository in (image_repository(app), cache_repository(app))


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

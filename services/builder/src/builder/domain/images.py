"""What the images of a build are called, and how its pipelines name them."""

from __future__ import annotations

from collections.abc import Mapping

WEB = "web"


def tag_of(sha: str, number: int) -> str:
    """The tag of a build's image: no other build of the app has it, also not one of the same commit."""
    return f"git-{sha[:12]}-{number}"


def image_repository(app: str) -> str:
    """The repository of an app's images, those of all process types."""
    return f"{app}/{app}"


def cache_repository(app: str) -> str:
    """The repository in which builds of an app keep layers for the next one."""
    return f"{app}/cache"


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

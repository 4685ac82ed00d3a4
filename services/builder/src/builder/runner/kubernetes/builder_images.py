"""Builder images that apps choose: what must be known of one before a build can be made of it.

Its code is somebody else's: it runs `detect` and `build`, and never where credentials are (builder.md 13.7).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from builder.domain.builders import BuilderImageError, Reference, Wish, check_allowed, matching
from builder.domain.images import is_of_app
from builder.runner.kubernetes.config import KubernetesRunnerConfig
from builder.runner.kubernetes.image_facts import ImageFacts, ImageReader, ImageUnknownError, RegistryAwayError
from builder.runner.port import ChosenBuilder

PLATFORM_API: Final = "0.12"
"""The platform interface that the phases of a build speak."""
METADATA: Final = "io.buildpacks.builder.metadata"
"""The label with which a builder image describes itself, among others by its run image."""
_ID: Final = re.compile(r"[1-9][0-9]{0,8}")


class BuilderImages:
    """Turns wishes into builder images with all that their builds need."""

    def __init__(self, config: KubernetesRunnerConfig, reader: ImageReader | None = None) -> None:
        self._config = config
        self._reader = reader or ImageReader(config)

    async def choose(self, wish: Wish) -> ChosenBuilder | None:
        """The builder image that is asked for; None for the platform's own.

        Raises:
            BuilderImageError: it is not allowed, not there, or not one that can be used, with what to do.
        """
        if str(wish.image) == str(Reference.parse(self._config.builder_image)):
            return None
        check_allowed(wish, self._config.builder_images)
        facts = await self._read(wish, wish.image, f"the builder image {wish.image}")
        metadata = _metadata(wish, facts)
        _check_interface(wish, metadata)
        named = matching(wish.image, self._config.builder_run_images) or _run_image_of(metadata)
        try:
            run_image = Reference.parse(named)
        except ValueError as exc:
            raise _unusable(wish, "its label does not name a run image") from exc
        run = await self._read(wish, run_image, f"the run image {run_image} of the builder image {wish.image}")
        user, group = (_id(wish, facts.env, name) for name in ("CNB_USER_ID", "CNB_GROUP_ID"))
        return ChosenBuilder(str(wish.image), facts.name, run.name, user, group)

    async def _read(self, wish: Wish, image: Reference, what: str) -> ImageFacts:
        if image.host == self._config.registry and is_of_app(image.path, self._config.organization):
            raise BuilderImageError(f"{wish.file}: {what} belongs to an app; name another builder image")
        try:
            return await self._reader.read(image)
        except ImageUnknownError as exc:
            raise BuilderImageError(f"{wish.file}: {what} cannot be pulled: {exc}; correct the name") from exc
        except RegistryAwayError as exc:
            raise BuilderImageError(f"{wish.file}: {what} cannot be looked at: {exc}; push again later") from exc


def _metadata(wish: Wish, facts: ImageFacts) -> Mapping[str, Any]:
    try:
        metadata = json.loads(facts.labels.get(METADATA, ""))
    except ValueError:
        metadata = None
    if not isinstance(metadata, dict):
        raise _unusable(wish, f"it has no label {METADATA}")
    return metadata


def _check_interface(wish: Wish, metadata: Mapping[str, Any]) -> None:
    """An image that does not say what it speaks may speak it."""
    spoken = _at(metadata, "lifecycle", "apis", "platform", "supported")
    deprecated = _at(metadata, "lifecycle", "apis", "platform", "deprecated")
    known = [str(one) for part in (spoken, deprecated) if isinstance(part, list) for one in part]
    if known and PLATFORM_API not in known:
        raise _unusable(wish, f"its lifecycle does not speak platform API {PLATFORM_API}")


def _run_image_of(metadata: Mapping[str, Any]) -> str:
    """What the label names: in `images` since stacks have gone, before in `stack`."""
    images = metadata.get("images")
    first = images[0] if isinstance(images, list) and images else None
    for name in (_at(first, "image"), _at(metadata, "stack", "runImage", "image")):
        if isinstance(name, str) and name:
            return name
    return ""


def _at(value: object, *keys: str) -> object:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _id(wish: Wish, env: Mapping[str, str], name: str) -> int:
    text = env.get(name, "")
    if _ID.fullmatch(text) is None:
        raise _unusable(wish, f"its variable {name} is no number above 0")
    return int(text)


def _unusable(wish: Wish, why: str) -> BuilderImageError:
    return BuilderImageError(f"{wish.file}: {wish.image} cannot build apps here: {why}; name another builder image")

"""The images and caches of apps in the registry that builds push to, as they are removed."""

from __future__ import annotations

import random
import re
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Final

from builder.domain.errors import RegistryRefusesDeletesError
from builder.domain.images import cache_repository, image_repository, is_of_builds, number_of
from builder.registry.client import RegistryClient
from shared.logging import get_logger

log = get_logger(__name__)

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_CACHED_LAYER = re.compile(r"[0-9a-f]{64}")
MOST_AT_ONCE: Final = 500
"""Tags that one call looks at; the next one looks at others."""


class RegistryImages:
    """Removes what nobody needs. A registry's disk becomes free only when it collects its garbage.

    Repositories of apps are those of today's `organization`. A registry that deletes nothing is said once, and then
    left alone. Every method raises RegistryUnavailableError when something may not have been removed.
    """

    def __init__(self, client: RegistryClient, *, host: str, organization: str = "") -> None:
        self._client = client
        self._host = host
        self._organization = organization
        self._is_refused = False

    async def remove(self, app: str, references: Iterable[str]) -> bool:
        """Remove images of an app, `<registry>/<repository>@sha256:...`; False where the registry deletes nothing.

        What is no image of that app in this registry is left alone, and told: it is a build that says what its images
        are called, or the registry or the organization was another one then.
        """
        repository = self._images(app)
        digests = []
        for reference in references:
            name, _, digest = reference.partition("@")
            if name == f"{self._host}/{repository}" and _DIGEST.fullmatch(digest):
                digests.append(digest)
            else:
                log.info("image_left", app=app, image=reference)
        return await self._delete(repository, digests)

    async def tags(self, app: str) -> dict[str, int]:
        """Some of the tags of images that builds of the app have pushed, with the numbers of the builds."""
        tags = await self._client.tags(self._images(app))
        return {tag: number for tag in _some(tags) if (number := number_of(tag)) is not None}

    async def remove_tagged(self, app: str, tag: str, *, used: Collection[str]) -> None:
        """Remove the image that has this tag, unless it is `used`, which are references."""
        repository = self._images(app)
        found = await self._digests(repository, [tag])
        await self._delete(repository, [one for one in found if f"{self._host}/{repository}@{one}" not in used])

    async def remove_app(self, app: str) -> None:
        """Remove all images and caches of an app."""
        images, cache = self._images(app), self._cache(app)
        tags = [tag for tag in await self._client.tags(images) if is_of_builds(tag, self._organization)]
        await self._delete(images, await self._digests(images, tags))
        await self._delete(cache, await self._digests(cache, await self._client.tags(cache)))

    async def remove_cache(self, app: str) -> None:
        """Remove all that builds of an app have kept for later ones."""
        repository = self._cache(app)
        tags = await self._client.tags(repository)
        await self._delete(repository, await self._digests(repository, _some(tags)))

    async def trim_cache(self, app: str, *, before: datetime) -> None:
        """Remove the layers that Dockerfiles of an app kept before that moment."""
        repository = self._cache(app)
        layers = [tag for tag in await self._client.tags(repository) if _CACHED_LAYER.fullmatch(tag)]
        old = []
        for tag in _some(layers):
            made = await self._client.made_at(repository, tag)
            if made is not None and made < before:
                old.append(tag)
        await self._delete(repository, await self._digests(repository, old))

    def _images(self, app: str) -> str:
        return image_repository(app, self._organization)

    def _cache(self, app: str) -> str:
        return cache_repository(app, self._organization)

    async def _digests(self, repository: str, tags: Iterable[str]) -> list[str]:
        found = [await self._client.digest(repository, tag) for tag in tags]
        return list(dict.fromkeys(digest for digest in found if digest is not None))

    async def _delete(self, repository: str, digests: Iterable[str]) -> bool:
        for digest in digests:
            try:
                await self._client.delete(repository, digest)
            except RegistryRefusesDeletesError as exc:
                if not self._is_refused:
                    log.warning("registry_deletes_nothing", registry=self._host, error=exc.detail)
                self._is_refused = True
                return False
            log.info("image_removed", repository=repository, digest=digest)
        return True


def _some(tags: Sequence[str]) -> Sequence[str]:
    """As many as one call looks at. Not the first ones: they may be those that stay, and what is after them, too."""
    return random.sample(tags, min(len(tags), MOST_AT_ONCE))

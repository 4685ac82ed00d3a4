"""Removes what no release can be rolled back to any more: workspaces, images, logs, source, old caches."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from builder.domain.retention import Product, Wanted, images_to_remove, kept
from builder.registry.images import RegistryImages
from builder.repositories.products import ProductRepository
from builder.runner.port import Runner
from builder.services.logs import BuildLogs
from shared.clock import Clock
from shared.db import Database, is_database_away
from shared.errors import SuiteError
from shared.logging import get_logger

if TYPE_CHECKING:
    from builder.runner.kubernetes.sources import Sources

log = get_logger(__name__)

MOST_AT_ONCE: Final = 50
"""Builds whose images one call removes; the next one goes on."""
RELEASE_MAY_COME: Final = timedelta(days=7)
"""A build of whose release nothing was heard stays so long, as it may be on its way."""
SOURCE_KEPT: Final = timedelta(days=1)
REGISTRY_EVERY: Final = timedelta(days=1)

WantedOf = Callable[[str], Awaitable[Wanted | None]]
"""What the controller says is to be kept of an app; None when it cannot be asked that. It raises AppGoneError."""


class Retention:
    """One app at a time. What cannot be reached is left as it is, for the next call.

    `kept` is how many of an app's newest builds stay whatever the controller says, and `logs_kept` how many logs;
    layers of Dockerfiles are cached for `cache_kept`.
    """

    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        runner: Runner,
        logs: BuildLogs,
        wanted_of: WantedOf,
        images: RegistryImages | None,
        sources: Sources | None,
        kept: int,
        logs_kept: int,
        cache_kept: timedelta,
    ) -> None:
        self._database = database
        self._clock = clock
        self._runner = runner
        self._logs = logs
        self._wanted_of = wanted_of
        self._images = images
        self._sources = sources
        self._kept = kept
        self._logs_kept = logs_kept
        self._cache_kept = cache_kept
        self._looked_at: dict[str, datetime] = {}

    async def after_build(self, app: str, number: int) -> None:
        """The app has one build more, that of this number: clean up, unless all stay, or something is away. The next
        sweep tries again."""
        if number <= self._kept:
            return
        try:
            await self.clean(app)
        except Exception as exc:
            if not is_expected(exc):
                raise
            log.warning("app_not_cleaned", app=app, error=f"{type(exc).__name__}: {exc}")

    async def clean(self, app: str) -> bool:
        """Remove what builds of the app have left and nobody can need; False while something is built, as that may make
        an image that an old build made, too, or use a layer of it: its end is the next occasion.

        Raises:
            AppGoneError: the controller knows no such app.
            SuiteError, OSError: something is away; nothing was removed for lack of knowledge.
        """
        # In this order: what is released after the records are read is not missed in the controller's answer.
        products = await self._products(app)
        wanted = await self._wanted_of(app)
        keep = kept(products, wanted, newest=self._kept, silent_since=self._clock.now() - RELEASE_MAY_COME)
        under_way = {one.build_id for one in products if not one.state.is_final}
        await self._logs.retain(app, keep, newest=self._logs_kept, under_way=under_way)
        if under_way:
            return False
        await self._runner.discard(app, keep)
        await self._remove_images(app, products, [one for one in products if one.build_id not in keep])
        return True

    async def sweep(self, app: str, *, last_build: datetime | None) -> None:
        """The same, and what interrupted builds and old caches have left."""
        is_idle = await self.clean(app)
        await self._remove_sources(app)
        if is_idle:
            await self._tidy_registry(app, last_build)

    async def _products(self, app: str) -> list[Product]:
        async with self._database.session() as session:
            return await ProductRepository(session).of_app(app)

    async def _remove_images(self, app: str, products: Sequence[Product], unused: Sequence[Product]) -> None:
        keep = {one.build_id for one in products} - {one.build_id for one in unused}
        for product in unused[:MOST_AT_ONCE]:
            if any(not one.state.is_final for one in await self._products(app)):
                return
            if self._images is not None:
                references = images_to_remove(product, products, keep)
                if references is None or not await self._images.remove(app, references):
                    return
            async with self._database.transaction() as session:
                await ProductRepository(session).removed(product.build_id)

    async def _remove_sources(self, app: str) -> None:
        """Of builds that have ended, or that nobody knows: an upload may come before its record."""
        if self._sources is None:
            return
        before = self._clock.now() - SOURCE_KEPT
        old = [archive for archive in await self._sources.list(app) if archive.modified < before]
        if old:
            async with self._database.session() as session:
                needed = await ProductRepository(session).unfinished([archive.build_id for archive in old])
            for archive in old:
                if archive.build_id not in needed:
                    await self._sources.remove_key(archive.key)

    async def _tidy_registry(self, app: str, last_build: datetime | None) -> None:
        """Once a day, because it asks the registry of every tag and layer."""
        now = self._clock.now()
        looked_at = self._looked_at.get(app)
        if self._images is None or (looked_at is not None and now - looked_at < REGISTRY_EVERY):
            return
        before = now - self._cache_kept
        if last_build is None or last_build < before:
            await self._images.remove_cache(app)
        else:
            await self._images.trim_cache(app, before=before)
        await self._remove_unfinished(self._images, app)
        self._looked_at[app] = now

    async def _remove_unfinished(self, images: RegistryImages, app: str) -> None:
        """What builds have pushed that failed, or were cancelled, before all their images were made."""
        tags = await images.tags(app)
        async with self._database.session() as session:
            useless = await ProductRepository(session).without_result(app, set(tags.values()))
        for tag, number in tags.items():
            if number not in useless:
                continue
            products = await self._products(app)  # each time: what is built now may come to the same image
            if any(not one.state.is_final for one in products):
                return
            await images.remove_tagged(app, tag, used={image for one in products for image in one.images})


def is_expected(error: Exception) -> bool:
    """Whether it is something that is away or full, and not a mistake of ours."""
    return isinstance(error, SuiteError | OSError) or is_database_away(error)

"""Releases: looking at them, making them, deploying one, going back to one."""

from __future__ import annotations

from collections.abc import Sequence

from controller.domain.apps import Actor, App, AppSettings
from controller.domain.builds import ptypes_of
from controller.domain.page import Page
from controller.domain.releases import Build, Config, Release, ReleaseBundle
from controller.domain.render import render_process
from controller.domain.shown import brief, shown
from controller.domain.summaries import rollback_summary
from controller.services.base import AppService
from controller.services.rollouts import Rollouts
from shared.errors import InvalidInputError
from shared.events import ReleaseCreated
from shared.logging import get_logger

NO_BUILD = "there are no builds available for deploy"

log = get_logger(__name__)


class Releases(AppService):
    """The releases of apps."""

    async def list(self, app: str, *, ptypes: Sequence[str] = (), limit: int = 100, offset: int = 0) -> Page[Release]:
        """Releases, newest first; with `ptypes` only those that were deployed to all of these."""
        found = await self._apps.get(app)
        return await self._releases.list(found, ptypes=ptypes, limit=limit, offset=offset)

    async def get(self, app: str, version: int) -> Release:
        """One release.

        Raises:
            AppNotFoundError, ReleaseNotFoundError: there is no such app or release.
        """
        return (await self._releases.get(await self._apps.get(app), version)).release

    async def deploy(self, app: str, *, ptypes: Sequence[str] = (), force: bool = False, actor: Actor) -> None:
        """Roll the newest release out (again), to all of its process types or to some.

        `force` replaces instances even where nothing has changed; so does deploying a release that has failed.

        Raises:
            InvalidInputError: it has no build, or not these process types.
        """
        locked = await self._apps.lock(app)
        bundle = await self._releases.newest(locked)
        if bundle.build is None:
            raise InvalidInputError(NO_BUILD)
        known = ptypes_of(bundle.build)
        unknown = [ptype for ptype in ptypes if ptype not in known and ptype not in locked.structure]
        if unknown:
            raise InvalidInputError(f"process type {brief(','.join(unknown))} is not exists")
        wanted = [ptype for ptype in known if not ptypes or ptype in ptypes]
        if not wanted:
            raise InvalidInputError(f"skip deploy, ptypes are not within the optional range: [{', '.join(known)}]")
        settings = await self._settings.get(locked)
        again = force or bundle.release.failed
        everything = again or not settings.autodeploy
        await Rollouts(self._uow).begin(locked, bundle, ptypes=wanted, everything=everything, replace=again)
        await self._changed(locked)
        wish = {"ptypes": list(wanted), "force": force}
        target = f"v{bundle.release.version}"
        await self._record(locked, "release.deploy_requested", actor=actor, target=target, after=wish)
        log.info("deploy_requested", app=app, version=bundle.release.version, actor=actor.username)

    async def roll_back(
        self, app: str, *, version: object | None = None, ptypes: Sequence[str] = (), actor: Actor
    ) -> Release:
        """A new release with the build and config of an older one (by default the one before the current one),
        rolled out to the process types of that release, or to some of them.

        Raises:
            InvalidInputError: there is nothing to go back to under that number, or no such process type.
        """
        locked = await self._apps.lock(app)
        unknown = [ptype for ptype in ptypes if ptype not in locked.structure]
        if unknown:
            raise InvalidInputError(f"process type {brief(','.join(unknown))} is not included in procfile")
        settings = await self._settings.get(locked)
        current = await self._usable(locked, settings)
        number = current.release.version - 1 if version is None else _number(version)
        target = await self._target(locked, number)
        if current.build is not None and target.build is None:
            raise InvalidInputError(NO_BUILD)
        await self._must_be_kept(locked, number, current)
        summary = rollback_summary(actor.username, number)
        known = ptypes_of(target.build)
        wanted = [ptype for ptype in known if not ptypes or ptype in ptypes]
        if known and not wanted:
            raise InvalidInputError(f"skip deploy, ptypes are not within the optional range: [{', '.join(known)}]")
        bundle = await self.publish(
            locked,
            settings,
            config=target.config,
            build=target.build,
            summary=summary,
            actor=actor,
            wanted=wanted,
            forced=True,
        )
        await self._record(
            locked,
            "release.rolled_back",
            actor=actor,
            target=f"v{bundle.release.version}",
            before={"release": f"v{current.release.version}"},
            after={"release": f"v{number}", "ptypes": list(wanted)},
        )
        return bundle.release

    async def publish(
        self,
        app: App,
        settings: AppSettings,
        *,
        config: Config,
        build: Build | None,
        summary: str,
        actor: Actor,
        wanted: Sequence[str] | None = None,
        forced: bool = False,
        base: ReleaseBundle | None = None,
    ) -> ReleaseBundle:
        """Make the next release of a locked app and, with autodeploy or when `forced`, roll it out.

        `wanted` are the process types to deploy, all of the build's by default. `base` is the release that this one
        was made from, if the caller has it at hand.

        Raises:
            NotSupportedError: the engine cannot run it.
        """
        deploys = build is not None and (forced or settings.autodeploy)
        ptypes = (ptypes_of(build) if wanted is None else wanted) if deploys else ()
        bundle = await self._releases.add(
            app, config=config, build=build, owner=actor, summary=summary, now=self._uow.now(), ptypes=ptypes
        )
        self._check(app, bundle)
        await self._uow.outbox.add(
            ReleaseCreated(
                app=app.name,
                version=bundle.release.version,
                build_id=bundle.release.build,
                sha=build.sha if build else "",
                actor=actor.username,
                summary=summary,
                deploys=deploys,
            )
        )
        if deploys:
            await Rollouts(self._uow).begin(app, bundle, ptypes=ptypes, everything=forced, base=base)
            await self._changed(app)
        log.info("release_created", app=app.name, version=bundle.release.version, actor=actor.username)
        return bundle

    def _check(self, app: App, bundle: ReleaseBundle) -> None:
        """Have the engine refuse now what it could never run."""
        if bundle.build is None:
            return
        for ptype in ptypes_of(bundle.build):
            self._uow.engine.check(render_process(app.name, bundle, bundle.build, ptype, self._uow.policy))

    async def _target(self, app: App, version: int) -> ReleaseBundle:
        if version < 1:
            raise InvalidInputError("version cannot be below 0")
        if version == 1:
            raise InvalidInputError("Cannot roll back to initial release.")
        target = await self._releases.find(app, version)
        if target is None:
            raise InvalidInputError("Release matching query does not exist.")
        if target.release.failed:
            raise InvalidInputError("Cannot roll back to failed release.")
        return target

    async def _must_be_kept(self, app: App, version: int, current: ReleaseBundle) -> None:
        """What the release was built from may be gone, unless it is one of the newest or runs.

        Raises:
            InvalidInputError: names the oldest release that will do.
        """
        newest = self._uow.policy.releases_kept
        if newest is None or version > current.release.version - newest:
            return
        is_kept, oldest = await self._kept.has(app, version, newest=newest, with_build=current.build is not None)
        if not is_kept:
            what = "there is none that still can be" if oldest is None else f"the oldest that still can be is v{oldest}"
            raise InvalidInputError(f"Cannot roll back to v{version}, which is too old: {what}.")


def _number(version: object) -> int:
    """The version as a number; texts of digits count.

    Raises:
        InvalidInputError: it is none that a release can have.
    """
    text = str(version).strip()
    try:
        number = int(text)
    except ValueError:
        raise InvalidInputError(f"invalid literal for int() with base 10: {shown(version)}") from None
    if number > 2**31 - 1:
        raise InvalidInputError("Release matching query does not exist.")
    return number

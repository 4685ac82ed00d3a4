"""Configuration: every change of it becomes a release."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from controller.domain.apps import Actor, App, AppSettings
from controller.domain.audit import config_facts
from controller.domain.config_fields import no_machine_message
from controller.domain.config_values import detach_refs
from controller.domain.configs import ConfigPatch, apply_patch, parse_detach, parse_patch, with_default_limits
from controller.domain.errors import NothingChangedError
from controller.domain.preconditions import ANY_VERSION, IfMatch
from controller.domain.releases import Config, ConfigData, ReleaseBundle
from controller.domain.summaries import config_summary
from controller.engine.port import NotSupportedError
from controller.services.base import AppService
from controller.services.releases import Releases


class Configs(AppService):
    """The configuration of apps, as it takes effect: every process type in use shows a limit plan."""

    async def get(self, app: str, *, version: int | None = None) -> Config:
        """The config of that release, or of the latest usable one.

        Raises:
            AppNotFoundError, ReleaseNotFoundError: there is no such app or release.
        """
        found = await self._apps.get(app)
        bundle = await (self._usable(found) if version is None else self._releases.get(found, version))
        return self._effective(found, bundle.config)

    async def change(
        self, app: str, patch: Mapping[str, object], *, actor: Actor, only_if: IfMatch = ANY_VERSION
    ) -> Config:
        """Merge a request into the current config and make a release of it.

        Raises:
            PreconditionFailedError: the current config is not one of `only_if`.
            InvalidFieldsError: the request is malformed.
            MissingKeyError: it unsets what is not set.
            NothingChangedError: it changes nothing.
            NotSupportedError: the engine cannot do what it asks for.
        """
        parsed = parse_patch(patch, self._uow.policy.catalog)
        self._refuse_unsupported(parsed)
        locked = await self._apps.lock(app)
        settings = await self._settings.get(locked)
        base = await self._usable(locked, settings)
        only_if.check(base.config.uuid)
        data = apply_patch(base.config.data, parsed)
        self._refuse_homeless(base.config.data, data, parsed)
        return await self._publish(locked, settings, base, data, actor)

    async def detach_groups(
        self, app: str, body: Mapping[str, object], *, actor: Actor, only_if: IfMatch = ANY_VERSION
    ) -> Config:
        """Detach groups of variables from process types (`{"values_refs": {"web": ["group"]}}`).

        Raises:
            InvalidInputError: nothing is named; InvalidFieldsError: it is malformed.
            PreconditionFailedError: the current config is not one of `only_if`.
            NothingChangedError: none of them was attached.
        """
        groups = parse_detach(body)
        locked = await self._apps.lock(app)
        settings = await self._settings.get(locked)
        base = await self._usable(locked, settings)
        only_if.check(base.config.uuid)
        refs = detach_refs(base.config.data.values_refs, groups)
        return await self._publish(locked, settings, base, replace(base.config.data, values_refs=refs), actor)

    async def _publish(
        self, app: App, settings: AppSettings, base: ReleaseBundle, data: ConfigData, actor: Actor
    ) -> Config:
        summary = config_summary(actor.username, base.config.data, data)
        if summary is None:
            raise NothingChangedError(f"{actor.username} changed nothing - release stopped")
        config = await self._releases.add_config(app, data, owner=actor, now=self._uow.now())
        made = await Releases(self._uow).publish(
            app, settings, config=config, build=base.build, summary=summary, actor=actor, base=base
        )
        before, after = config_facts(base.config.data, data)
        target = f"v{made.release.version}"
        await self._record(app, "config.changed", actor=actor, target=target, before=before, after=after)
        return self._effective(app, config)

    def _effective(self, app: App, config: Config) -> Config:
        data = with_default_limits(config.data, tuple(app.structure), self._uow.policy.catalog)
        return replace(config, data=data)

    def _refuse_homeless(self, before: ConfigData, after: ConfigData, patch: ConfigPatch) -> None:
        """Some machine must have all tags of a process type (4.8)."""
        for ptype in patch.fields.get("tags", {}):
            tags, old = after.tags.get(ptype, {}), before.tags.get(ptype, {})
            # Taking one away can only help, whatever has become of the machines since.
            if tags.items() - old.items() and not self._uow.engine.has_machine(tags):
                raise NotSupportedError(no_machine_message(tags, old))

    def _refuse_unsupported(self, patch: ConfigPatch) -> None:
        features = self._uow.engine.features
        tags = [tags for tags in patch.fields.get("tags", {}).values() if tags and any(tags.values())]
        if tags and "tags" not in features:
            labels = ", ".join(f"{key}={value}" for entry in tags for key, value in entry.items() if value)
            reason = "this engine runs on one machine, which has no labels"
            raise NotSupportedError(f"No nodes matched the provided labels: {labels} ({reason})")
        handlers = [patch.fields.get(name, {}) for name in ("lifecycle_post_start", "lifecycle_pre_stop")]
        if "lifecycle" not in features and any(entry for field in handlers for entry in field.values()):
            raise NotSupportedError(
                "this engine has no lifecycle handlers: let the process do it when it starts or gets SIGTERM"
            )

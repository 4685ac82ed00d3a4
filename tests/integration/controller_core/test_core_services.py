"""Use cases on real tables: apps, configs, builds, releases, processes, settings, one-offs, grants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from controller.domain.errors import (
    AppNotFoundError,
    InvalidFieldsError,
    MissingKeyError,
    NothingChangedError,
    ReleaseNotFoundError,
)
from controller.domain.releases import Config
from controller.engine.memory import MemoryEngine
from controller.engine.port import NotSupportedError
from controller.repositories.cipher import Cipher, UnreadableSecretError
from controller.services.app_settings import AppSettingsService
from controller.services.apps import Apps
from controller.services.builds import Builds
from controller.services.configs import Configs
from controller.services.grants import Grants
from controller.services.processes import Processes
from controller.services.releases import Releases
from shared.errors import InvalidInputError, SuiteError
from support.controller_core import ANA, BO, Core


@pytest.fixture
async def shop(core: Core) -> Core:
    """The app shop with v2 running: one web, no worker."""
    await core.app()
    await core.build()
    await core.reconcile()
    return core


async def change(core: Core, **patch: Any) -> Config:
    async with core.work() as uow:
        return await Configs(uow).change("shop", patch, actor=ANA)


async def get_config(core: Core, version: int | None = None) -> Config:
    async with core.work() as uow:
        return await Configs(uow).get("shop", version=version)


async def refused(error: type[SuiteError], core: Core, **patch: Any) -> str:
    with pytest.raises(error) as caught:
        await change(core, **patch)
    return caught.value.detail


class TestApps:
    async def test_a_new_app_has_release_1_and_the_default_config(self, core: Core) -> None:
        app = await core.app()
        assert (app.owner.username, app.structure) == ("ana", {})
        release = await core.release(1)
        assert (release.summary, release.build, release.state) == ("ana created initial release", None, "created")
        config = await get_config(core)
        assert config.data.limits == {"web": "std1.large.c1m1", "run": "std1.large.c1m1"}
        async with core.work() as uow:
            settings = await AppSettingsService(uow).get("shop")
        assert (settings.routable, settings.autodeploy, settings.autorollback) == (True, True, True)
        assert [event.type for event in await core.events()] == ["app.created", "release.created", "audit.recorded"]

    async def test_a_name_is_made_up_when_none_is_given(self, core: Core) -> None:
        async with core.work() as uow:
            app = await Apps(uow).create(owner=ANA, name=None)
        assert len(app.name) == 15

    async def test_a_taken_name_is_refused(self, core: Core) -> None:
        await core.app()
        with pytest.raises(InvalidFieldsError) as caught:
            await core.app()
        assert caught.value.errors == {"id": ["Application with this id already exists."]}

    async def test_lists_show_what_one_may_see(self, core: Core) -> None:
        for name in ("alpha", "beta", "gamma"):
            await core.app(name)
        async with core.work() as uow:
            await Grants(uow).grant("beta", BO, ["view"], actor=ANA)
            await Grants(uow).grant("gamma", BO, ["change"], actor=ANA)
            mine = await Apps(uow).list_visible(viewer=BO, everything=False)
            every = await Apps(uow).list_visible(viewer=BO, everything=True, limit=1, offset=1)
            found = await Apps(uow).list_visible(viewer=ANA, everything=False, search="GA")
            beyond = await Apps(uow).list_visible(viewer=ANA, everything=False, offset=9)
            odd = await Apps(uow).list_visible(viewer=ANA, everything=False, search="a%")
        assert ([app.name for app in mine.items], mine.total) == (["beta"], 1)
        assert ([app.name for app in every.items], every.total) == (["beta"], 3)
        assert [app.name for app in found.items] == ["gamma"]
        assert (beyond.items, beyond.total) == ((), 3)
        assert odd.total == 0

    async def test_a_transfer_is_true_at_once_and_takes_the_owners_work_along(self, shop: Core) -> None:
        async with shop.work() as uow:
            await Apps(uow).transfer("shop", to=BO, actor=ANA)
        async with shop.work() as uow:
            assert (await Apps(uow).get("shop")).owner == BO
            assert (await Releases(uow).get("shop", 2)).owner == "bo"
            assert (await Configs(uow).get("shop")).owner == "bo"

    async def test_an_unknown_app_is_not_found_anywhere(self, core: Core) -> None:
        async with core.work() as uow:
            with pytest.raises(AppNotFoundError, match="No App matches the given query"):
                await Configs(uow).change("nope", {"values": []}, actor=ANA)
            with pytest.raises(AppNotFoundError):
                await Processes(uow).scale("nope", {}, actor=ANA)


class TestConfigs:
    async def test_a_change_makes_a_release_with_a_summary_against_its_base(self, shop: Core) -> None:
        await shop.set(B="1", A="1")
        await shop.set(A="2", C="3")
        summaries = [(await shop.release(version)).summary for version in (3, 4)]
        assert summaries == ["ana added values A, B", "ana added values C, changed values A"]

    async def test_the_first_change_after_a_build_is_told_as_what_it_is(self, core: Core) -> None:
        await core.app()
        await core.build()
        await core.set(A="1")
        assert (await core.release(3)).summary == "ana added values A"

    async def test_what_changes_nothing_makes_no_release(self, shop: Core) -> None:
        await shop.set(A="1")
        for patch in ({}, {"values": [{"name": "A", "value": "1", "group": "global"}]}, {"routable": True}):
            detail = await refused(NothingChangedError, shop, **patch)
            assert detail == "ana changed nothing - release stopped"
        unset = [{"name": "NOPE", "value": None, "group": "global"}]
        await refused(NothingChangedError, shop, values=unset)
        with pytest.raises(ReleaseNotFoundError):
            await shop.release(4)

    async def test_several_fields_are_told_in_order(self, shop: Core) -> None:
        await change(
            shop,
            limits={"web": "std1.large.c1m2", "worker": "std1.large.c1m1"},
            termination_grace_period={"web": 45},
            values=[{"name": "X", "value": "1", "ptype": "web"}, {"name": "Y", "value": "1", "group": "global"}],
        )
        assert (await shop.release(3)).summary == (
            "ana added limits worker, changed limits web, ana added termination_grace_period web, ana added values X, Y"
        )

    async def test_a_limit_in_use_can_be_unset_and_is_the_default_then(self, shop: Core) -> None:
        await change(shop, limits={"web": "std1.large.c2m4"}, termination_grace_period={"web": "60"})
        await change(shop, limits={"web": None}, termination_grace_period={"web": None})
        config = await get_config(shop)
        assert config.data.limits["web"] == "std1.large.c1m1"
        assert config.data.termination_grace_period == {}
        assert await refused(MissingKeyError, shop, limits={"nope": None}) == "nope does not exist under limits"

    async def test_secrets_are_ciphertext_in_the_table(self, shop: Core) -> None:
        await change(
            shop,
            values=[{"name": "KEY", "value": "hunter2", "group": "global"}],
            registry={"web": {"username": "bot", "password": "hunter3"}},
        )
        async with shop.database.session() as session:
            stored = str((await session.execute(text("SELECT configs::text FROM configs"))).all())
            outbox = str((await session.execute(text("SELECT envelope::text FROM outbox"))).all())
        assert "hunter" not in stored + outbox
        assert (await get_config(shop)).data.registry == {"web": {"username": "bot", "password": "hunter3"}}
        other = Cipher(["MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="])
        with pytest.raises(UnreadableSecretError):
            await get_config(replace(shop, cipher=other))

    async def test_groups_are_attached_in_order_and_detached(self, shop: Core) -> None:
        await change(shop, values_refs={"web": ["beta", "alpha"], "worker": ["jobs"]})
        await change(shop, values_refs={"web": ["alpha", "gamma"]})
        assert (await get_config(shop)).data.values_refs == {"web": ("beta", "alpha", "gamma"), "worker": ("jobs",)}
        async with shop.work() as uow:
            config = await Configs(uow).detach_groups("shop", {"values_refs": {"web": ["alpha"]}}, actor=ANA)
        assert config.data.values_refs == {"web": ("beta", "gamma"), "worker": ("jobs",)}
        async with shop.work() as uow:
            with pytest.raises(NothingChangedError):
                await Configs(uow).detach_groups("shop", {"values_refs": {"web": ["alpha"]}}, actor=ANA)
            bodies: tuple[dict[str, Any], ...] = ({}, {"values_refs": {}})
            for body in bodies:
                with pytest.raises(InvalidInputError, match="ptype or groups is required"):
                    await Configs(uow).detach_groups("shop", body, actor=ANA)

    async def test_configs_of_older_releases_stay(self, shop: Core) -> None:
        await shop.set(A="1")
        await shop.set(A="2")
        assert [value.value for value in (await get_config(shop, 3)).data.values] == ["1"]

    async def test_what_the_engine_lacks_is_refused(self, shop: Core) -> None:
        detail = await refused(NotSupportedError, shop, tags={"web": {"disk": "ssd"}})
        assert detail.startswith("No nodes matched the provided labels: disk=ssd")
        await refused(NotSupportedError, shop, lifecycle_pre_stop={"web": {"exec": {"command": ["true"]}}})
        able = replace(shop, engine=MemoryEngine(features=frozenset(("tags",))))
        await able.config(tags={"web": {"disk": "ssd"}})


class TestBuilds:
    async def test_a_build_id_becomes_one_release_only(self, core: Core) -> None:
        await core.app()
        build_id = uuid4()
        first = await core.build(build_id=build_id)
        assert (await core.build(build_id=build_id)).uuid == first.uuid
        async with core.work() as uow:
            build = await Builds(uow).find("shop")
        assert build is not None
        assert build.uuid == build_id

    async def test_an_app_without_a_build_has_none(self, core: Core) -> None:
        await core.app()
        async with core.work() as uow:
            assert await Builds(uow).find("shop") is None
            with pytest.raises(ReleaseNotFoundError):
                await Builds(uow).find("shop", version=99)

    async def test_the_order_of_process_types_survives(self, core: Core) -> None:
        await core.app()
        await core.build(procfile={"zebra": "z", "web": "w", "alpha": "a"})
        async with core.work() as uow:
            build = await Builds(uow).find("shop", version=2)
        assert build is not None
        assert list(build.procfile) == ["zebra", "web", "alpha"]

    async def test_a_dryccfile_configures(self, shop: Core) -> None:
        await change(shop, values=[{"name": "OLD", "value": "1", "ptype": "web"}])
        dryccfile = {
            "config": {"jobs": {"QUEUE": "low"}},
            "pipeline": {
                "web.yaml": {
                    "kind": "pipeline",
                    "ptype": "web",
                    "env": {"A": "1"},
                    "config": ["jobs"],
                    "deploy": {},
                }
            },
        }
        await shop.build(dryccfile=dryccfile)
        data = (await get_config(shop, 4)).data
        assert [value.as_json() for value in data.values] == [
            {"name": "QUEUE", "group": "jobs", "value": "low"},
            {"name": "A", "ptype": "web", "value": "1"},
        ]
        assert data.values_refs == {"web": ("jobs",)}

    async def test_what_the_engine_cannot_run_leaves_nothing_behind(self, shop: Core) -> None:
        class Picky(MemoryEngine):
            def check(self, process: Any) -> None:
                raise NotSupportedError("not here")

        picky = replace(shop, engine=Picky())
        with pytest.raises(NotSupportedError):
            await picky.build(sha="abc1234")
        with pytest.raises(ReleaseNotFoundError):
            await shop.release(3)


class TestReleases:
    @pytest.mark.parametrize(
        ("version", "detail"),
        [
            (0, "version cannot be below 0"),
            (-3, "version cannot be below 0"),
            (1, "Cannot roll back to initial release."),
            ("999", "Release matching query does not exist."),
            (10**12, "Release matching query does not exist."),
            ("abc", "invalid literal for int() with base 10: 'abc'"),
        ],
    )
    async def test_rollbacks_that_go_nowhere(self, shop: Core, version: object, detail: str) -> None:
        async with shop.work() as uow:
            with pytest.raises(InvalidInputError) as caught:
                await Releases(uow).roll_back("shop", version=version, actor=ANA)
        assert caught.value.detail == detail

    async def test_a_failed_release_is_no_goal(self, shop: Core) -> None:
        shop.engine.fail("shop", "web")
        await shop.build(sha="bad0000")
        await shop.reconcile()
        async with shop.work() as uow:
            with pytest.raises(InvalidInputError, match="Cannot roll back to failed release"):
                await Releases(uow).roll_back("shop", version=3, actor=ANA)
            with pytest.raises(InvalidInputError, match="process type nope is not included in procfile"):
                await Releases(uow).roll_back("shop", ptypes=["nope"], actor=ANA)

    async def test_the_default_goal_is_the_release_before(self, shop: Core) -> None:
        await shop.set(A="1")
        async with shop.work() as uow:
            release = await Releases(uow).roll_back("shop", actor=ANA)
        assert (release.version, release.summary) == (4, "ana rolled back to v2")
        assert (await get_config(shop)).data.values == ()

    async def test_only_v1_cannot_be_rolled_back(self, core: Core) -> None:
        await core.app()
        async with core.work() as uow:
            with pytest.raises(InvalidInputError, match="version cannot be below 0"):
                await Releases(uow).roll_back("shop", actor=ANA)
            with pytest.raises(InvalidInputError, match="there are no builds available for deploy"):
                await Releases(uow).deploy("shop", actor=ANA)

    async def test_deploys_name_known_types(self, shop: Core) -> None:
        async with shop.work() as uow:
            with pytest.raises(InvalidInputError, match="process type nope,zip is not exists"):
                await Releases(uow).deploy("shop", ptypes=["nope", "web", "zip"], actor=ANA)

    async def test_lists_are_newest_first_and_filtered(self, shop: Core) -> None:
        await shop.set(A="1")
        async with shop.work() as uow:
            page = await Releases(uow).list("shop", limit=2)
            some = await Releases(uow).list("shop", ptypes=["web", "worker"])
            none = await Releases(uow).list("shop", ptypes=["web", "no-such"])
        assert ([release.version for release in page.items], page.total) == ([3, 2], 3)
        assert some.total == 2
        assert none.total == 0


class TestProcesses:
    @pytest.mark.parametrize(
        ("counts", "detail"),
        [
            ({"run": 1}, "Cannot set scale for reserved types, procfile type is: run"),
            ({"web": -1}, "Invalid scaling format: web=-1 is not a number of processes"),
            ({"web": "two"}, "Invalid scaling format: web='two' is not a number of processes"),
            ({"web": True}, "Invalid scaling format: web=True is not a number of processes"),
            ({"web": 101}, "web=101 is more than the 100 processes that a type may have here"),
            ({"nope": 1}, "process type nope is not included in procfile, which has: web, worker"),
        ],
    )
    async def test_counts_that_make_no_sense(self, shop: Core, counts: Mapping[str, Any], detail: str) -> None:
        with pytest.raises(InvalidInputError) as caught:
            await shop.scale(**counts)
        assert caught.value.detail == detail

    async def test_scaling_needs_a_build(self, core: Core) -> None:
        await core.app()
        with pytest.raises(InvalidInputError, match="No build associated with this release"):
            await core.scale(web=1)

    async def test_the_same_count_changes_nothing(self, shop: Core) -> None:
        before = await shop.app("other")
        async with shop.work() as uow:
            generation = (await Apps(uow).get("shop")).generation
        await shop.scale(web=1)
        async with shop.work() as uow:
            assert (await Apps(uow).get("shop")).generation == generation
        assert before.name == "other"

    async def test_a_type_may_be_scaled_before_it_is_deployed(self, core: Core) -> None:
        await core.app()
        async with core.work() as uow:
            await AppSettingsService(uow).change("shop", {"autodeploy": False}, actor=ANA)
        await core.build()
        await core.scale(worker=2)
        await core.reconcile()
        assert await core.running() == {}
        async with core.work() as uow:
            await Releases(uow).deploy("shop", actor=ANA)
        await core.reconcile()
        assert await core.running() == {"web": [2], "worker": [2, 2]}

    async def test_lists_join_what_is_wanted_and_what_is_there(self, shop: Core) -> None:
        shop.engine.hold("shop", "web")
        await shop.scale(web=3)
        await shop.reconcile()
        async with shop.work() as uow:
            views = await Processes(uow).list_ptypes("shop", await shop.engine.observe("shop"))
            spec = await Processes(uow).spec("shop", "web")
        web = next(view for view in views if view.name == "web")
        assert (web.release, web.desired, web.ready, web.garbage) == (2, 3, 1, False)
        applied = shop.engine.spec("shop")
        assert applied is not None
        assert spec == applied.process("web")

    async def test_unknown_types_cannot_be_restarted_and_clean_names_some(self, shop: Core) -> None:
        async with shop.work() as uow:
            with pytest.raises(InvalidInputError, match="process type nope is not included in procfile"):
                await Processes(uow).restart("shop", ["nope"], actor=ANA)
            with pytest.raises(InvalidInputError, match="ptypes is a required field"):
                await Processes(uow).clean("shop", [], actor=ANA)
            with pytest.raises(InvalidInputError, match=r"ptype web should not garbage\."):
                await Processes(uow).clean("shop", ["web"], actor=ANA)


class TestSettings:
    async def test_merge_and_nothing_changed(self, shop: Core) -> None:
        async with shop.work() as uow:
            service = AppSettingsService(uow)
            changed = await service.change("shop", {"routable": False, "label": {"team": "x", "n": 3}}, actor=ANA)
            assert (changed.routable, changed.label) == (False, {"team": "x", "n": 3})
            changed = await service.change("shop", {"label": {"n": None}}, actor=ANA)
            assert changed.label == {"team": "x"}
            same: tuple[dict[str, Any], ...] = ({}, {"routable": "false"}, {"allowlist": []}, {"label": {"team": "x"}})
            for patch in same:
                with pytest.raises(NothingChangedError, match="ana changed nothing"):
                    await service.change("shop", patch, actor=ANA)
            with pytest.raises(MissingKeyError, match="nope does not exist under label"):
                await service.change("shop", {"label": {"nope": None}}, actor=ANA)
        await shop.reconcile()
        spec = shop.engine.spec("shop")
        assert spec is not None
        assert spec.routes == ()

    async def test_autoscale_is_checked_and_refused_where_it_cannot_be(self, shop: Core) -> None:
        entry = {"min": 1, "max": 3, "cpu_percent": 150}
        async with shop.work() as uow:
            with pytest.raises(NotSupportedError):
                await AppSettingsService(uow).change("shop", {"autoscale": {"web": entry}}, actor=ANA)
            with pytest.raises(InvalidInputError, match="Cannot set autoscale for reserved types"):
                await AppSettingsService(uow).change("shop", {"autoscale": {"run": entry}}, actor=ANA)
        able = replace(shop, engine=MemoryEngine(features=frozenset(("autoscale",))))
        async with able.work() as uow:
            changed = await AppSettingsService(uow).change("shop", {"autoscale": {"web": entry}}, actor=ANA)
        assert changed.autoscale == {"web": entry}


class TestGrants:
    async def test_grants_add_replace_and_go(self, core: Core) -> None:
        await core.app()
        async with core.work() as uow:
            grants = Grants(uow)
            await grants.grant("shop", BO, ["view"], actor=ANA)
            await grants.grant("shop", BO, ["view", "change"], actor=ANA)
            assert [(grant.username, grant.permissions) for grant in await grants.list("shop")] == [
                ("bo", ("change", "view"))
            ]
            await grants.replace("shop", BO, ["delete"], actor=ANA)
            assert [grant.permissions for grant in await grants.list("shop")] == [("delete",)]
            await grants.revoke("shop", BO, actor=ANA)
            await grants.revoke("shop", BO, actor=ANA)
            assert await grants.list("shop") == ()
            with pytest.raises(InvalidInputError, match="The permissions field is required"):
                await grants.grant("shop", BO, ["fly"], actor=ANA)

"""What operators choose for all apps: builds without a Procfile, tags, a quota."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import pytest

from controller.domain.releases import BuildRequest
from controller.services.builds import Builds
from controller.services.releases import Releases
from shared.db import Database
from shared.errors import ConflictError
from shared.testing.clock import FakeClock
from support.controller_api import running_api
from support.controller_core import Core, make_core
from support.fixtures import MakeDatabase
from support.logs import captured_log

PROCFILE = {"web": "python web.py", "worker": "python worker.py"}
MISSING = (
    "Last deployment had a Procfile but is missing in this deploy. For a successful deployment provide a Procfile."
)
PIPELINE = {"pipeline": {"jobs.yaml": {"kind": "pipeline", "ptype": "jobs", "deploy": {}}}}


async def shop(database: Database, core: Core, clock: FakeClock, **policy: Any) -> Core:
    """The app shop with v2 running (web and worker), under these rules. `core` has emptied the tables."""
    made = make_core(database, clock, **policy)
    await made.app()
    await made.build(procfile=PROCFILE)
    await made.reconcile()
    return made


async def procfile_of_newest(core: Core) -> dict[str, str]:
    async with core.work() as uow:
        build = await Builds(uow).find("shop")
    assert build is not None
    return dict(build.procfile)


class TestMissingProcfile:
    async def test_its_process_types_go(self, core_database: Database, core: Core, clock: FakeClock) -> None:
        made = await shop(core_database, core, clock)
        await made.scale(worker=2)
        await made.build(procfile={}, sha="bbb")
        await made.reconcile()
        assert await procfile_of_newest(made) == {}
        assert set(await made.structure()) == {"web"}

    async def test_it_stays_where_the_operator_wants_it(
        self, core_database: Database, core: Core, clock: FakeClock
    ) -> None:
        made = await shop(core_database, core, clock, remove_missing_procfile=False)
        await made.scale(worker=1)
        await made.build(procfile={}, sha="bbb", image="workspace/shop:bbb")
        await made.reconcile()
        assert await procfile_of_newest(made) == PROCFILE
        assert await made.running() == {"web": [3], "worker": [3]}

    async def test_one_that_is_there_counts(self, core_database: Database, core: Core, clock: FakeClock) -> None:
        made = await shop(core_database, core, clock, remove_missing_procfile=False, reject_missing_procfile=True)
        await made.scale(worker=1)
        await made.build(procfile={"web": "python web.py"}, sha="bbb")
        await made.reconcile()
        assert set(await made.structure()) == {"web"}
        await made.build(procfile={}, dryccfile=PIPELINE, sha="ccc")

    async def test_it_is_refused_and_nothing_is_left(
        self, core_database: Database, core: Core, clock: FakeClock
    ) -> None:
        made = await shop(core_database, core, clock, reject_missing_procfile=True, remove_missing_procfile=False)
        with pytest.raises(ConflictError) as caught:
            await made.build(procfile={}, sha="bbb")
        assert (caught.value.status, caught.value.detail) == (409, MISSING)
        async with made.work() as uow:
            assert (await Releases(uow).list("shop")).total == 2

    async def test_the_first_one_need_not_have_one(self, core_database: Database, core: Core, clock: FakeClock) -> None:
        made = make_core(core_database, clock, reject_missing_procfile=True)
        await made.app()
        for sha in ("aaa", "bbb"):
            await made.build(procfile={}, sha=sha)

    async def test_the_last_good_one_counts(self, core_database: Database, core: Core, clock: FakeClock) -> None:
        made = await shop(core_database, core, clock, remove_missing_procfile=False)
        made.engine.fail("shop", "web")
        await made.build(procfile={"web": "python other.py"}, sha="bbb")
        await made.reconcile()
        made.engine.heal("shop", "web")
        await made.build(procfile={}, sha="ccc")
        assert await procfile_of_newest(made) == PROCFILE


async def test_the_api_answers_409(make_database: MakeDatabase) -> None:
    url = await make_database("controller")
    async with running_api(url, deploy_reject_if_procfile_missing=True) as api:
        await api.create("shop")
        await api.build("shop")
        ana = await api.person("ana")
        body = BuildRequest(image="workspace/shop:2", stack="python", sha="b")
        sent = {"image": body.image, "stack": body.stack, "sha": body.sha}
        response = await ana.client.post("/v2/apps/shop/build/", json=sent)
        assert (response.status_code, response.json()) == (409, {"detail": MISSING})
        assert (await ana.client.get("/v2/apps/shop/releases/")).json()["count"] == 2


async def test_tags_and_quota_reach_the_engine(core_database: Database, core: Core, clock: FakeClock) -> None:
    quota = {"hard": {"pods": "10"}}
    made = await shop(core_database, core, clock, default_tags={"role": "worker", "disk": "ssd"}, quota=quota)
    spec = made.engine.spec("shop")
    assert spec is not None
    assert spec.quota == quota
    assert {process.ptype: process.tags for process in spec.processes} == {
        "web": {"role": "worker", "disk": "ssd"},
        "worker": {"role": "worker", "disk": "ssd"},
    }


@pytest.fixture
def log_output() -> Iterator[io.StringIO]:
    """What is logged meanwhile."""
    with captured_log("controller") as output:
        yield output


async def test_what_the_engine_cannot_do_is_told_at_start(make_database: MakeDatabase, log_output: io.StringIO) -> None:
    url = await make_database("controller")
    facts: dict[str, Any] = {
        "default_config_tags": {"role": "x"},
        "namespace_default_quota_spec": {"hard": {"pods": 1}},
    }
    async with running_api(url, features=frozenset(), **facts):
        pass
    lines = [json.loads(line) for line in log_output.getvalue().splitlines()]
    told = {line.get("setting") for line in lines if line["event"] == "setting_has_no_effect"}
    assert told == {"CONTROLLER_DEFAULT_CONFIG_TAGS", "CONTROLLER_NAMESPACE_DEFAULT_QUOTA_SPEC"}

"""What people write into builds and configs is stored as ciphertext, and what older versions stored in clear counts."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.fernet import Fernet
from sqlalchemy import text

from controller.domain.releases import ReleaseBundle
from controller.engine.memory import MemoryEngine
from controller.repositories.cipher import Cipher
from controller.repositories.releases import ReleaseRepository
from controller.services.apps import Apps
from support.controller_api import ALL_FEATURES
from support.controller_core import Core

PIPELINE: dict[str, Any] = {
    "config": {"jobs": {"TOKEN": "s3cret-of-a-group"}},
    "pipeline": {
        "web.yaml": {"kind": "pipeline", "ptype": "web", "deploy": {"command": ["web"]}},
        "cron.yaml": {
            "kind": "pipeline",
            "ptype": "cron",
            "env": {"PASSWORD": "s3cret-of-a-pipeline"},
            "deploy": {"command": ["cron"]},
        },
    },
}
PROBE: dict[str, Any] = {
    "httpGet": {"path": "/", "port": 5000, "httpHeaders": [{"name": "Authorization", "value": "s3cret-header"}]}
}
HANDLERS: dict[str, Any] = {
    "healthcheck": {"web": {"livenessProbe": PROBE}},
    "lifecycle_post_start": {"web": {"exec": {"command": ["sh", "-c", "curl -H s3cret-post"]}}},
    "lifecycle_pre_stop": {"worker": {"exec": {"command": ["sh", "-c", "curl -H s3cret-pre"]}}},
}


class CountingCipher(Cipher):
    """A key ring that knows how often it was used."""

    def __init__(self) -> None:
        super().__init__([Fernet.generate_key().decode()])
        self.sealed = 0

    def seal(self, value: object) -> str:
        """As ever, and counted."""
        self.sealed += 1
        return super().seal(value)


async def newest(core: Core, app: str = "shop") -> ReleaseBundle:
    """The newest release with all that it is made of."""
    async with core.work() as uow:
        return await ReleaseRepository(uow.session, uow.cipher).newest(await Apps(uow).get(app))


async def stored(core: Core, table: str) -> list[dict[str, Any]]:
    """The rows of a table as they are, oldest first."""
    async with core.database.session() as session:
        found = await session.execute(text(f"SELECT row_to_json(t) FROM {table} t ORDER BY t.created, t.uuid"))
        return list(found.scalars())


async def write(core: Core, statement: str, **facts: object) -> None:
    """A statement of an older version."""
    async with core.database.transaction() as session:
        await session.execute(text(statement), {name: json.dumps(value) for name, value in facts.items()})


async def test_a_dryccfile_is_stored_as_ciphertext(core: Core) -> None:
    await core.app()
    await core.build(dryccfile=PIPELINE, procfile={})
    (row,) = await stored(core, "builds")
    assert row["dryccfile"] == {}
    assert "s3cret" not in json.dumps([*await stored(core, "builds"), *await stored(core, "configs")])
    build = (await newest(core)).build
    assert build is not None
    assert json.dumps(build.dryccfile) == json.dumps(PIPELINE)  # in the order in which it was written


async def test_a_build_without_one_costs_no_sealing(core: Core) -> None:
    core.cipher = counting = CountingCipher()
    await core.app()
    before = counting.sealed
    await core.build()
    assert counting.sealed == before
    (row,) = await stored(core, "builds")
    assert (row["dryccfile"], row["sealed_dryccfile"]) == ({}, None)
    build = (await newest(core)).build
    assert build is not None
    assert build.dryccfile == {}


async def test_a_dryccfile_of_an_older_version_counts(core: Core) -> None:
    await core.app()
    await core.build()
    await write(core, "UPDATE builds SET dryccfile = :old, sealed_dryccfile = NULL", old=PIPELINE)
    build = (await newest(core)).build
    assert build is not None
    assert build.dryccfile == PIPELINE


async def test_probes_and_handlers_are_stored_as_ciphertext(core: Core) -> None:
    core.engine = MemoryEngine(clock=core.clock, features=ALL_FEATURES)
    await core.app()
    await core.config(**HANDLERS)
    assert "s3cret" not in json.dumps(await stored(core, "configs"))
    row = (await stored(core, "configs"))[-1]
    assert [row[name] for name in HANDLERS] == [{}, {}, {}]
    data = (await newest(core)).config.data
    assert {name: getattr(data, name) for name in HANDLERS} == HANDLERS


async def test_they_are_one_ciphertext_or_none(core: Core) -> None:
    core.engine = MemoryEngine(clock=core.clock, features=ALL_FEATURES)
    core.cipher = counting = CountingCipher()
    await core.app()
    before = counting.sealed
    await core.set(A="1")
    without = counting.sealed - before
    assert (await stored(core, "configs"))[-1]["sealed_handlers"] is None
    await core.config(**HANDLERS)
    assert counting.sealed - before == 2 * without + 1


@pytest.mark.parametrize("name", HANDLERS)
async def test_those_of_an_older_version_count_and_can_be_changed(core: Core, name: str) -> None:
    await core.app()
    await write(core, f"UPDATE configs SET {name} = :old, sealed_handlers = NULL", old=HANDLERS[name])
    assert getattr((await newest(core)).config.data, name) == HANDLERS[name]
    await core.set(A="1")
    assert getattr((await newest(core)).config.data, name) == HANDLERS[name]
    assert (await stored(core, "configs"))[-1][name] == {}

"""Rotation of the keys that secrets are encrypted with: complete, online, repeatable, and it loses nothing."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from sqlalchemy import JSON, BigInteger, Boolean, Column, Integer, LargeBinary, Table, Uuid, insert, select, text

from controller import schema
from controller.domain.idempotency import Answer, Claim, KeyReusedError, digest_of
from controller.repositories.cipher import Cipher, UnreadableSecretError
from controller.repositories.sealed import DECLARING, SealedTable, sealed_tables
from controller.schema.apps import BuildRow, ConfigRow
from controller.schema.audit import AuditRow, IdempotencyRow
from controller.schema.base import Base, table_of
from controller.services import rotation as rotation_module
from controller.services.idempotency import Answers
from controller.services.rotation import Rotation, RotationReport, RotationRunningError
from shared.clock import SystemClock
from shared.db import Database, UtcDateTime, uuid7
from shared.testing.clock import FakeClock
from support.controller_core import ANA, Core, make_core
from support.fixtures import MakeDatabase

OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()
ROWS = 3
FITTING: Mapping[str, Mapping[str, object]] = {
    "login_attempts": {"mode": "browser", "status": "pending", "user_id": ANA.id},
    "jobs": {"state": "down"},
}


class Hurried(SystemClock):
    """Nobody else has a key ring, so that nothing has to be waited for."""

    async def sleep(self, delay: timedelta) -> None:
        await asyncio.sleep(0)


def value_for(column: Column[Any], number: int, app: object, cipher: Cipher) -> object:
    """Something that fits a column."""
    if column.name.startswith("sealed_"):
        return cipher.seal({"secret": f"{column.name} {number}"})
    if column.name in ("app_uuid", "owner_id", "user_id"):
        return app if column.name == "app_uuid" else ANA.id
    simple: tuple[tuple[type[Any], object], ...] = (
        (JSON, []),
        (Boolean, False),
        (Uuid, uuid7()),
        (UtcDateTime, datetime.now(UTC)),
        (LargeBinary, f"{number}".encode()),
        (Integer, number),
        (BigInteger, number),
    )
    return next((value for kind, value in simple if isinstance(column.type, kind)), f"{column.name}-{number}")


async def fill(core: Core, cipher: Cipher) -> None:
    """Rows with secrets in every table that can hold some."""
    apps = [await core.app(f"app-{number}") for number in range(ROWS)]
    async with core.database.transaction() as session:
        await session.execute(text("DELETE FROM releases"))
        await session.execute(text("DELETE FROM configs"))
        for found in sealed_tables():
            table: Table = Base.metadata.tables[found.name]
            for number, app in enumerate(apps):
                row = {
                    column.name: value_for(column, number, app.uuid, cipher)
                    for column in table.columns
                    if column.identity is None
                }
                await session.execute(insert(table).values(row | dict(FITTING.get(found.name, {}))))


async def opened(database: Database, cipher: Cipher) -> list[object]:
    """Every secret that is stored."""
    values = []
    async with database.session() as session:
        for found in sealed_tables():
            table = Base.metadata.tables[found.name]
            for row in await session.execute(select(*(table.c[name] for name in found.columns))):
                values += [cipher.open(each) for each in row if each is not None]
    return values


async def rotate(core: Core, *keys: str) -> RotationReport:
    """A rotation to the first of the keys."""
    return await Rotation(core.database, Cipher(keys), clock=Hurried()).run(actor="operator")


async def test_no_column_with_ciphertext_is_forgotten(core: Core) -> None:
    query = "SELECT table_name, column_name FROM information_schema.columns WHERE column_name LIKE 'sealed%'"
    async with core.database.session() as session:
        stored = {tuple(row) for row in await session.execute(text(query))}
    known = {(table.name, column) for table in sealed_tables() for column in table.columns}
    assert known == stored
    assert {table for table, _ in known} >= {"configs", "tokens", "certificates", "tls", "volumes", "idempotency_keys"}


async def test_afterwards_the_old_key_is_needed_for_nothing(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rotation_module, "BATCH", 2)
    await fill(core, Cipher([OLD]))
    before = await opened(core.database, Cipher([OLD]))
    report = await rotate(core, NEW, OLD)
    assert sorted(map(str, await opened(core.database, Cipher([NEW])))) == sorted(map(str, before))
    assert (report.renewed, report.unreadable, report.passes) == (len(before), 0, 2)
    assert {name: table.rows for name, table in report.tables.items()} == {t.name: ROWS for t in sealed_tables()}
    again = await rotate(core, NEW, OLD)
    assert (again.renewed, again.passes) == (0, 1)


async def test_it_is_noted_who_did_it(core: Core) -> None:
    await rotate(core, NEW)
    async with core.database.session() as session:
        query = select(AuditRow).where(AuditRow.action == "encryption.rotated")
        row = (await session.scalars(query)).one()
    assert (row.actor, row.app, row.source, row.after) == ("operator", None, "command", {"renewed": 0, "unreadable": 0})


async def test_what_opens_with_no_key_is_told_and_left_alone(core: Core) -> None:
    await fill(core, Cipher([OLD]))
    lost = Cipher([Fernet.generate_key().decode()]).seal("lost")
    async with core.database.transaction() as session:
        await session.execute(text("UPDATE configs SET sealed_registry = :lost"), {"lost": lost})
    report = await rotate(core, NEW, OLD)
    configs = report.tables["configs"]
    assert (report.unreadable, configs.unreadable, configs.renewed) == (ROWS, ROWS, 2 * ROWS)
    async with core.database.session() as session:
        assert set(await session.scalars(select(ConfigRow.sealed_registry))) == {lost}
        assert [Cipher([NEW]).open(each) for each in await session.scalars(select(ConfigRow.sealed_values))]


async def test_a_row_that_was_changed_meanwhile_is_not_overwritten(core: Core) -> None:
    await fill(core, Cipher([OLD]))
    table = SealedTable(table_of(IdempotencyRow))
    async with core.database.transaction() as session:
        (first, *_) = await table.read(session, after=None, most=1)
        await session.execute(text("UPDATE idempotency_keys SET sealed_answer = 'changed'"))
        assert not await table.replace(session, first, {"sealed_answer": "of what was read"})
        assert set(await session.scalars(select(IdempotencyRow.sealed_answer))) == {"changed"}
        await session.execute(text("DELETE FROM idempotency_keys"))


async def test_stopped_in_the_middle_it_is_begun_again(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rotation_module, "BATCH", 1)
    await fill(core, Cipher([OLD]))
    seen: list[str] = []
    stop = asyncio.Event()

    def progress(name: str, _table: object) -> None:
        seen.append(name)
        if len(seen) == 3:
            stop.set()

    work = Rotation(core.database, Cipher([NEW, OLD]), clock=Hurried(), progress=progress)
    running = asyncio.create_task(work.run(actor="operator"))
    await stop.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    with pytest.raises(UnreadableSecretError):
        await opened(core.database, Cipher([NEW]))
    assert len(await opened(core.database, Cipher([NEW, OLD]))) > ROWS
    await rotate(core, NEW, OLD)
    await opened(core.database, Cipher([NEW]))


DRYCCFILE = {"config": {"jobs": {"TOKEN": "s3cret"}}, "pipeline": {}}
HANDLER_COLUMNS = ("healthcheck", "lifecycle_post_start", "lifecycle_pre_stop")
HANDLERS = {"healthcheck": {"web": {"livenessProbe": {"exec": {"command": ["s3cret"]}}}}}


async def add_old_rows(core: Core) -> None:
    """Builds and configs as versions before 0005 stored them: in clear."""
    facts = {"dryccfile": json.dumps(DRYCCFILE), "healthcheck": json.dumps(HANDLERS["healthcheck"])}
    async with core.database.transaction() as session:
        await session.execute(text("UPDATE builds SET dryccfile = :dryccfile, sealed_dryccfile = NULL"), facts)
        statement = "UPDATE configs SET healthcheck = :healthcheck, lifecycle_post_start = '{}', "
        statement += "lifecycle_pre_stop = '{}', sealed_handlers = NULL"
        await session.execute(text(statement), facts)


async def test_what_older_versions_stored_in_clear_is_sealed(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rotation_module, "BATCH", 2)
    await fill(core, Cipher([OLD]))
    await add_old_rows(core)
    report = await rotate(core, OLD)
    assert {name: table.renewed for name, table in report.tables.items() if table.renewed} == {
        "builds": ROWS,
        "configs": ROWS,
    }
    async with core.database.session() as session:
        for table, columns in (("builds", ("dryccfile",)), ("configs", HANDLER_COLUMNS)):
            clear = f"SELECT {', '.join(columns)} FROM {table}"
            assert set(map(str, await session.execute(text(clear)))) == {str(({},) * len(columns))}
        sealed = [*await session.scalars(text("SELECT sealed_dryccfile FROM builds"))]
        assert [Cipher([OLD]).open(each) for each in sealed] == [{"dryccfile": DRYCCFILE}] * ROWS
        sealed = [*await session.scalars(text("SELECT sealed_handlers FROM configs"))]
        assert [Cipher([OLD]).open(each) for each in sealed] == [HANDLERS] * ROWS
    again = await rotate(core, OLD)
    assert (again.renewed, again.passes) == (0, 1)


async def test_what_is_empty_stays_unsealed(core: Core) -> None:
    core.cipher = Cipher([OLD])
    await core.app()
    await core.build()
    await rotate(core, NEW, OLD)
    async with core.database.session() as session:
        assert set(await session.scalars(text("SELECT sealed_dryccfile FROM builds"))) == {None}
        assert set(await session.scalars(text("SELECT sealed_handlers FROM configs"))) == {None}


async def test_a_clear_row_that_was_sealed_meanwhile_is_left_alone(core: Core) -> None:
    await fill(core, Cipher([OLD]))
    await add_old_rows(core)
    table = SealedTable(table_of(BuildRow))
    async with core.database.transaction() as session:
        (first, *_) = await table.read(session, after=None, most=1)
        await session.execute(text("UPDATE builds SET sealed_dryccfile = 'sealed', dryccfile = '{}'"))
        assert not await table.replace(session, first, {"sealed_dryccfile": "of what was read"})
        assert set(await session.scalars(select(BuildRow.sealed_dryccfile))) == {"sealed"}
        await session.execute(text("DELETE FROM builds"))


async def test_requests_that_come_again_are_known_after_it(core: Core) -> None:
    claim = Claim("user:7", "pay", digest_of(method="POST", target="/v2/apps/?", body=b"{}"))
    answer = Answer(201, (("content-type", "application/json"),), b"{}")
    core.cipher = Cipher([OLD])
    async with core.work() as uow:
        await Answers(uow, retention=timedelta(hours=1)).keep(claim, answer)
    await rotate(core, NEW, OLD)
    core.cipher = Cipher([NEW])
    async with core.work() as uow:
        answers = Answers(uow, retention=timedelta(hours=1))
        assert await answers.begin(claim) == answer
        other = digest_of(method="POST", target="/v2/apps/?", body=b"{ }")
        with pytest.raises(KeyReusedError):
            await answers.find(Claim(claim.caller, claim.key, other))


async def test_only_one_rotates_at_a_time(core: Core) -> None:
    async with core.database.try_lock("rotate-keys"):
        with pytest.raises(RotationRunningError, match="wait until that has ended"):
            await rotate(core, NEW)


async def test_while_it_works_the_platform_goes_on(core: Core, tmp_path: Path) -> None:
    ring = tmp_path / "ring"
    ring.write_text(json.dumps([OLD]))
    core.cipher = Cipher([OLD], file=ring)
    await core.app()
    done = asyncio.Event()

    async def write() -> int:
        number = 0
        while not done.is_set():
            number += 1
            await core.set(SECRET=f"s3cret-{number}")
        return number

    writer = asyncio.create_task(write())
    ring.with_suffix(".new").write_text(json.dumps([NEW, OLD]))
    ring.with_suffix(".new").replace(ring)
    try:
        report = await Rotation(core.database, Cipher([NEW, OLD])).run(actor="operator")
    finally:
        done.set()
        number = await writer
    assert report.renewed > 0
    ring.with_suffix(".new").write_text(json.dumps([NEW]))
    ring.with_suffix(".new").replace(ring)
    await core.set(SECRET="s3cret-after")
    values = [str(value) for value in await opened(core.database, Cipher([NEW]))]
    for each in ("s3cret-1'", f"s3cret-{number}'", "s3cret-after"):
        assert any(each in value for value in values), each


@pytest.fixture
async def place(make_database: MakeDatabase, clock: FakeClock) -> AsyncIterator[tuple[Core, str]]:
    """A core whose database others reach too, and its URL."""
    url = await make_database("controller")
    database = Database(url)
    core = make_core(database, clock)
    await core.add_users()
    await fill(core, Cipher([OLD]))
    yield core, url
    await database.close()


async def command(url: str, *keys: str, options: Sequence[str] = ()) -> tuple[int, str, str]:
    """Exit status, standard output and standard error of `workflow-controller rotate-keys`."""
    environment = {
        "CONTROLLER_DATABASE_URL": url,
        "CONTROLLER_ENGINE": "memory",
        "CONTROLLER_PUBLIC_URL": "http://drycc.test",
        "CONTROLLER_ISSUER": "http://passport.test/oauth",
        "CONTROLLER_PASSPORT_URL": "http://passport.test",
        "CONTROLLER_PASSPORT_CLIENT_ID": "controller",
        "CONTROLLER_PASSPORT_CLIENT_SECRET": "secret",
        "CONTROLLER_ENCRYPTION_KEYS": json.dumps(keys),
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "controller.cli", "rotate-keys", *options),
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


async def test_the_command_tells_what_it_did(place: tuple[Core, str]) -> None:
    core, url = place
    status, out, err = await command(url, NEW, OLD, options=["--json"])
    assert (status, err) == (0, "")
    told = json.loads(out)
    assert told["tables"]["configs"] == {"rows": ROWS, "renewed": 3 * ROWS, "unreadable": 0}
    assert (told["unreadable"], told["renewed"]) == (0, len(await opened(core.database, Cipher([NEW]))))


async def test_the_command_says_what_to_do_when_a_key_is_missing(place: tuple[Core, str]) -> None:
    core, url = place
    status, out, err = await command(url, NEW)
    assert status == 1
    assert "configs: 3 rows, 0 secrets renewed" in out
    (line,) = err.strip().splitlines()
    assert line.endswith("put the former key back into the list and run this again")
    assert NEW not in out + err
    await opened(core.database, Cipher([OLD]))


def test_every_schema_module_is_loaded_for_it() -> None:
    modules = {path.stem for path in Path(schema.__file__ or "").parent.glob("*.py")}
    assert modules - {"__init__", "base"} == {module.__name__.rpartition(".")[2] for module in DECLARING}

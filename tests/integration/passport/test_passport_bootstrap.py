"""The first account where no administrator is configured: it takes the bootstrap code, and one person gets it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import text
from structlog.testing import capture_logs

from integration.passport.test_passport_registration import EVE, PAGE
from integration.passport.test_passport_setup import COMMAND, environment, run_command
from integration.passport.world import ADMIN, ORIGIN, Passport, hidden_fields, make_settings, running
from passport.domain.accounts import NewAccount
from passport.domain.errors import BootstrapOverError, NoBootstrapCodeError, WrongBootstrapCodeError
from passport.settings import Settings
from shared.bus import InProcessBus
from shared.events.base import Envelope
from shared.testing.wait import eventually
from support.fixtures import MakeDatabase

MAL = {"username": "mal", "email": "mal@example.com"}


def without_administrator(database_url: str, **overrides: object) -> Settings:
    return make_settings(database_url, admin_username=None, admin_password=None, admin_email="", **overrides)


@pytest_asyncio.fixture(loop_scope="session")
async def settings(make_database: MakeDatabase) -> Settings:
    return without_administrator(await make_database("passport"))


@pytest_asyncio.fixture(loop_scope="session")
async def empty(settings: Settings) -> AsyncIterator[Passport]:
    """A service in which nobody has an account."""
    async with running(settings) as service:
        yield service


async def send(browser: httpx.AsyncClient, **changes: str) -> httpx.Response:
    page = await browser.get(PAGE)
    assert page.status_code == 200
    return await browser.post(PAGE, data=hidden_fields(page.text) | EVE | changes)


async def rows(passport: Passport, statement: str) -> list[Any]:
    async with passport.context.database.session() as session:
        return list((await session.execute(text(statement))).all())


def told(logs: list[Any]) -> list[str]:
    """The codes in the log."""
    return [entry["bootstrap_code"] for entry in logs if entry["event"] == "bootstrap_code_made"]


@pytest.mark.parametrize("mode", ["enabled", "admin_only", "disabled"])
async def test_the_first_account_is_the_administrator(make_database: MakeDatabase, mode: str) -> None:
    with capture_logs() as logs:
        async with running(without_administrator(await make_database("passport"), registration_mode=mode)) as passport:
            (code,) = told(logs)
            browser = passport.browser
            assert (await browser.get("/settings")).json()["registration_enabled"] is True
            assert PAGE in (await browser.get("/user/login/")).text
            page = (await browser.get(PAGE)).text
            assert 'name="bootstrap_code"' in page
            assert "workflow-passport bootstrap-code" in page
            made = await send(browser, bootstrap_code=f" {code}\n")
            assert (made.status_code, made.headers["location"]) == (303, "/")
            info = (await browser.get("/user/info")).json()
            assert (info["username"], info["is_staff"], info["is_superuser"]) == ("eve", True, True)
            # From now on the mode alone decides, and the code is worth nothing.
            is_open = mode == "enabled"
            page = (await browser.get(PAGE)).text
            assert ("<form" in page, "bootstrap" in page) == (is_open, False)
            assert (await browser.get("/settings")).json()["registration_enabled"] is is_open
            again = await send(browser, **MAL, bootstrap_code=code)
            assert again.status_code == (BootstrapOverError.status if is_open else 403)
            ordinary = await send(browser, **MAL)
            assert ordinary.status_code == (303 if is_open else 403)
            flags = await rows(passport, "SELECT username, is_superuser, is_staff FROM accounts ORDER BY id")
            assert flags == [("eve", True, True)] + [("mal", False, False)] * is_open
            assert await rows(passport, "SELECT * FROM bootstrap_code") == []


@pytest.mark.parametrize("mode", ["enabled", "admin_only", "disabled"])
async def test_without_the_code_nobody_gets_an_account(make_database: MakeDatabase, mode: str) -> None:
    async with running(without_administrator(await make_database("passport"), registration_mode=mode)) as passport:
        for changes in ({}, {"bootstrap_code": ""}, {"bootstrap_code": "x" * 43}):
            response = await send(passport.browser, **changes)
            assert response.status_code == 200
            assert "That is not the bootstrap code." in response.text
            assert "x" * 43 not in response.text
        # Not in the address either: only the field counts.
        code = await passport.context.bootstrap.renew()
        page = await passport.browser.get(PAGE, params={"bootstrap_code": code})
        fields = hidden_fields(page.text) | EVE
        response = await passport.browser.post(PAGE, params={"bootstrap_code": code}, data=fields)
        assert "That is not the bootstrap code." in response.text
        assert await rows(passport, "SELECT * FROM accounts") == []


async def test_slips_leave_the_code_valid(empty: Passport) -> None:
    code = await empty.context.bootstrap.renew()
    for changes in ({"email": "eve"}, {"password2": "different"}, {"username": "e v e"}):
        assert (await send(empty.browser, **changes, bootstrap_code=code)).status_code == 200
    assert (await send(empty.browser, bootstrap_code=code)).status_code == 303


async def test_guesses_are_counted(empty: Passport) -> None:
    code = await empty.context.bootstrap.renew()
    for number in range(10):
        assert (await send(empty.browser, bootstrap_code=f"guess {number}")).status_code == 200
    response = await send(empty.browser, bootstrap_code=code)
    assert response.status_code == 429
    assert int(response.headers["retry-after"]) >= 1
    # Who is elsewhere is not held up by that.
    async with empty.program() as other:
        assert (await send(other, bootstrap_code=code)).status_code == 303


@pytest.mark.parametrize("mode", ["enabled", "admin_only"])
async def test_of_several_with_the_code_one_is_made(make_database: MakeDatabase, mode: str) -> None:
    settings = without_administrator(await make_database("passport"), registration_mode=mode)
    async with running(settings) as one, running(settings) as two:
        code = await one.context.bootstrap.renew()
        forms = [(p, hidden_fields((await p.browser.get(PAGE)).text)) for p in (one, two, one, two)]
        people = [EVE | {"username": f"p{n}", "email": f"p{n}@example.com"} for n in range(len(forms))]
        # The third does not even have the code.
        codes = [code, code, "", code]
        answers = await asyncio.gather(
            *(
                passport.browser.post(PAGE, data=form | person | {"bootstrap_code": given})
                for (passport, form), person, given in zip(forms, people, codes, strict=True)
            )
        )
        made = [answer for answer in answers if answer.status_code == 303]
        assert len(made) == 1
        assert await rows(one, "SELECT is_superuser FROM accounts") == [(True,)]


async def test_one_who_is_quicker_is_noticed_at_every_point(empty: Passport) -> None:
    bootstrap, accounts = empty.context.bootstrap, empty.context.accounts
    code = await bootstrap.renew()
    page = await empty.browser.get(PAGE)
    facts = {"email": "a@example.com", "password": "a fine password"}
    results = await asyncio.gather(
        bootstrap.register("a", code=code, **facts),
        accounts.create(NewAccount("b"), password="a fine password"),
        return_exceptions=True,
    )
    over = isinstance(results[0], BootstrapOverError)
    expected = [("b", False)] if over else [("a", True), ("b", False)]
    assert await rows(empty, "SELECT username, is_superuser FROM accounts ORDER BY username") == expected
    assert await rows(empty, "SELECT * FROM bootstrap_code") == []
    late = await empty.browser.post(PAGE, data=hidden_fields(page.text) | EVE | {"bootstrap_code": code})
    assert late.status_code == 403
    with pytest.raises(BootstrapOverError):
        await bootstrap.register("c", code=code, **facts)


async def test_a_code_renewed_while_it_is_used_is_void(empty: Passport) -> None:
    bootstrap, old = empty.context.bootstrap, await empty.context.bootstrap.renew()
    new = await bootstrap.renew()
    assert new != old
    assert len(new) >= 43  # 256 bits in base64
    with pytest.raises(WrongBootstrapCodeError):
        await bootstrap.register("a", email="a@example.com", password="a fine password", code=old)
    await bootstrap.register("a", email="a@example.com", password="a fine password", code=new)


async def test_replicas_and_restarts_share_one_code(settings: Settings) -> None:
    with capture_logs() as logs:
        async with running(settings), running(settings):
            pass
    (code,) = told(logs)
    (entry,) = (entry for entry in logs if entry["event"] == "bootstrap_code_made")
    assert entry["registration_url"] == f"{ORIGIN}{PAGE}"
    with capture_logs() as logs:
        async with running(settings) as passport:
            (stored,) = await rows(passport, "SELECT digest FROM bootstrap_code")
            assert code.encode() not in stored[0]
            assert (await send(passport.browser, bootstrap_code=code)).status_code == 303
        async with running(settings):
            pass
    assert told(logs) == []
    assert code not in str(logs)


async def test_replicas_that_start_together_make_one_code(settings: Settings) -> None:
    async with running(settings) as one, running(settings) as two:
        async with one.context.database.transaction() as session:
            await session.execute(text("DELETE FROM bootstrap_code"))
        with capture_logs() as logs:
            await asyncio.gather(*(passport.context.bootstrap.prepare() for passport in (one, two) * 4))
        (code,) = told(logs)
        assert (await send(two.browser, bootstrap_code=code)).status_code == 303


async def test_events_hold_no_code(settings: Settings) -> None:
    bus = InProcessBus()
    received: list[Envelope] = []

    async def remember(envelope: Envelope) -> None:
        received.append(envelope)

    await bus.subscribe(consumer="test", patterns=["#"], handler=remember)
    async with running(settings, bus=bus) as passport:
        code = await passport.context.bootstrap.renew()
        assert (await send(passport.browser, bootstrap_code=code)).status_code == 303
        await eventually(lambda: len(received) == 1)
    assert received[0].data["is_superuser"] is True
    assert code not in str(received)
    await bus.close()


async def test_an_administrator_of_the_settings_needs_no_code(passport: Passport, settings: Settings) -> None:
    assert await rows(passport, "SELECT * FROM bootstrap_code") == []
    with pytest.raises(NoBootstrapCodeError):
        await passport.context.bootstrap.renew()
    with pytest.raises(BootstrapOverError):
        await passport.context.bootstrap.register("a", email="", password="a fine password", code="")
    # One that is configured later takes the place of the code.
    async with running(settings) as before:
        assert len(await rows(before, "SELECT * FROM bootstrap_code")) == 1
    configured = make_settings(settings.database_url or "", encryption_keys=settings.encryption_keys)
    async with running(configured) as after:
        assert await rows(after, "SELECT * FROM bootstrap_code") == []
        assert (await after.log_in()).status_code == 303


async def test_command(empty: Passport) -> None:
    first = await run_command(empty.settings, "bootstrap-code")
    second = await run_command(empty.settings, "bootstrap-code")
    assert (first.returncode, second.returncode) == (0, 0)
    assert second.stderr == f"register with it on {ORIGIN}{PAGE}\n"
    old, new = first.stdout.removesuffix("\n"), second.stdout.removesuffix("\n")
    assert re.fullmatch(r"[\w-]{43}", new)
    assert "That is not the bootstrap code." in (await send(empty.browser, bootstrap_code=old)).text
    assert (await send(empty.browser, bootstrap_code=new)).status_code == 303
    third = await run_command(empty.settings, "bootstrap-code")
    assert (third.returncode, third.stdout) == (1, "")
    assert third.stderr.startswith("There are accounts already: ")
    assert third.stderr.count("\n") == 1


async def test_command_where_an_administrator_is_configured(
    passport: Passport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PASSPORT_ADMIN_USERNAME", ADMIN[0])
    monkeypatch.setenv("PASSPORT_ADMIN_PASSWORD", ADMIN[1])
    refused = await run_command(passport.settings, "bootstrap-code")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == "PASSPORT_ADMIN_USERNAME is set: the service makes that administrator at start.\n"


async def test_the_code_is_readable_in_the_log_of_the_process(settings: Settings) -> None:
    env = environment(settings) | {"PASSPORT_BIND_PORT": "0", "PASSPORT_LOG_LEVEL": "warning"}
    process = await asyncio.create_subprocess_exec(*COMMAND, "serve", env=env, stderr=asyncio.subprocess.PIPE)
    assert process.stderr is not None
    try:
        line = (await asyncio.wait_for(process.stderr.readuntil(b"\n"), 30)).decode()
        assert re.search(r'"bootstrap_code": "[\w-]{43}"', line)
        assert f"{ORIGIN}{PAGE}" in line
    finally:
        process.terminate()
        await asyncio.wait_for(process.communicate(), 30)

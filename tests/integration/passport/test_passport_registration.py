"""Accounts that people make for themselves, where the operator lets them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from integration.passport.world import ADMIN, Passport, hidden_fields, make_settings, running
from passport.domain.errors import RegistrationClosedError
from passport.settings import Settings
from support.fixtures import MakeDatabase

PAGE = "/user/registration/"
EVE = {"username": "eve", "email": "eve@example.com", "password1": "correct horse", "password2": "correct horse"}


@pytest_asyncio.fixture(loop_scope="session")
async def open_passport(make_database: MakeDatabase) -> AsyncIterator[Passport]:
    async with running(make_settings(await make_database("passport"), registration_mode="enabled")) as service:
        yield service


async def send(passport: Passport, **changes: str) -> httpx.Response:
    page = await passport.browser.get(PAGE)
    assert page.status_code == 200
    return await passport.browser.post(PAGE, data=hidden_fields(page.text) | EVE | changes)


async def test_somebody_makes_an_account_and_is_signed_in(open_passport: Passport) -> None:
    assert (await open_passport.browser.get("/settings")).json() == {"legal": False, "registration_enabled": True}
    login = await open_passport.browser.get("/user/login/?next=/user/info")
    assert 'href="/user/registration/?next=%2Fuser%2Finfo"' in login.text
    page = await open_passport.browser.get(f"{PAGE}?next=/user/info")
    assert "form-action 'self';" in page.headers["content-security-policy"]
    response = await open_passport.browser.post(PAGE, data=hidden_fields(page.text) | EVE)
    assert (response.status_code, response.headers["location"]) == (303, "/user/info")
    info = (await open_passport.browser.get("/user/info")).json()
    assert (info["username"], info["email"]) == ("eve", "eve@example.com")
    assert (info["is_active"], info["is_staff"], info["is_superuser"]) == (True, False, False)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"username": "e v e"}, "A username has 1 to 150 letters, digits"),
        ({"email": "eve"}, "Give an e-mail address like name@example.com."),
        ({"email": ""}, "Give an e-mail address like name@example.com."),
        ({"password1": "short", "password2": "short"}, "A password has at least 12 characters."),
        ({"password2": "correct house"}, "The two passwords differ."),
        ({"username": ADMIN[0]}, "taken"),
    ],
)
async def test_what_no_account_can_be_like(open_passport: Passport, changes: dict[str, str], message: str) -> None:
    response = await send(open_passport, **changes)
    assert response.status_code == 200
    assert message in response.text
    assert 'role="alert"' in response.text
    assert "correct" not in response.text
    assert (await open_passport.browser.get("/user/info")).status_code == 403


async def test_a_form_from_elsewhere_is_refused(open_passport: Passport) -> None:
    response = await open_passport.browser.post(PAGE, data=EVE)
    assert response.status_code == 403


async def test_accounts_from_one_address_are_counted(open_passport: Passport) -> None:
    open_passport.clock.stop()
    for number in range(10):
        made = await send(open_passport, username=f"eve{number}", email=f"eve{number}@example.com")
        assert made.status_code == 303
    response = await send(open_passport, username="eve10", email="eve10@example.com")
    assert response.status_code == 429
    assert int(response.headers["retry-after"]) >= 1
    # Slips do not count, and who has an account still logs in.
    assert (await send(open_passport, email="")).status_code == 200
    assert (await open_passport.log_in()).status_code == 303


@pytest.mark.parametrize(
    ("mode", "sentence"),
    [("admin_only", "Administrators make the accounts: ask one of them."), ("disabled", "It is switched off.")],
)
async def test_where_it_is_closed(make_database: MakeDatabase, mode: str, sentence: str) -> None:
    async with running(make_settings(await make_database("passport"), registration_mode=mode)) as passport:
        page = await passport.browser.get(PAGE)
        assert page.status_code == 200
        assert sentence in page.text
        assert "<form" not in page.text
        login = await passport.browser.get("/user/login/")
        assert "registration" not in login.text
        refused = await passport.browser.post(PAGE, data=hidden_fields(login.text) | EVE)
        assert refused.status_code == RegistrationClosedError.status == 403
        assert sentence in refused.text
        assert (await passport.browser.get("/settings")).json()["registration_enabled"] is False
        assert (await passport.log_in("eve", EVE["password1"])).status_code == 200


@pytest.mark.parametrize(
    ("environment", "mode"),
    [
        ({}, "admin_only"),
        ({"REGISTRATION_MODE": "enabled"}, "enabled"),
        ({"REGISTRATION_ENABLED": "true"}, "enabled"),
        ({"PASSPORT_REGISTRATION_ENABLED": "true"}, "enabled"),
        ({"REGISTRATION_ENABLED": "false"}, "admin_only"),
        ({"REGISTRATION_ENABLED": "true", "REGISTRATION_MODE": "disabled"}, "disabled"),
        ({"REGISTRATION_MODE": "enabled", "PASSPORT_REGISTRATION_MODE": "disabled"}, "disabled"),
    ],
)
def test_the_mode_and_its_alias(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], mode: str) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    facts: dict[str, Any] = make_settings("postgresql+asyncpg://user@/name").model_dump(exclude_unset=True)
    assert Settings(**facts).registration == mode

"""Logging in with a password and in the browser, and everything that must not work."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from sqlalchemy import text

from support import FakeClock
from support.controller_api import Api
from support.stand_in_passport import StandInPassport

PASSWORD = {"username": "ana", "password": "correct horse"}


async def start_in_browser(api: Api) -> str:
    """The key of a new browser login."""
    headers = {"content-type": "application/json", "user-agent": "Drycc Client v1.10.2"}
    response = await api.anonymous.post("/v2/auth/login/", headers=headers)
    assert (response.status_code, response.content) == (302, b"")
    location = urlsplit(response.headers["location"])
    assert f"{location.scheme}://{location.netloc}{location.path}" == "http://drycc.test/v2/login/drycc/"
    return parse_qs(location.query)["key"][0]


async def open_page(browser: httpx.AsyncClient, key: str) -> dict[str, str]:
    """The fields of the form on the question's page."""
    page = await browser.get(f"/v2/login/drycc/?key={key}")
    assert page.status_code == 200
    assert key[-6:] in page.text
    assert "192.0.2.7" in page.text
    assert "Drycc Client v1.10.2" in page.text
    return {name: unescape(value) for name, value in re.findall(r'name="(\w+)" value="([^"]*)"', page.text)}


async def say_yes(browser: httpx.AsyncClient, key: str) -> str:
    """Where a yes leads to."""
    form = await open_page(browser, key)
    answered = await browser.post(
        "/v2/login/drycc/", data=form | {"answer": "yes"}, headers={"origin": "http://drycc.test"}
    )
    assert answered.status_code == 303
    return str(answered.headers["location"])


async def poll(api: Api, key: str, alias: str = "workflow-cli") -> httpx.Response:
    """What the client does every five seconds."""
    return await api.anonymous.get(f"/v2/auth/token/{key}/?alias={alias}")


async def test_password_login(api: Api, passport: StandInPassport) -> None:
    started = await api.anonymous.post("/v2/auth/login/", json=PASSWORD)
    assert started.status_code == 200
    key = started.json()["key"]
    got = await poll(api, key)
    assert (got.status_code, got.json()["username"]) == (200, "ana")
    token = got.json()["token"]
    assert len(token) == 128
    async with api.client(authorization=f"token {token}") as client:
        me = (await client.get("/v2/auth/whoami/")).json()
        assert (me["username"], me["id"]) == ("ana", 1000)
        listed = (await client.get("/v2/tokens/")).json()["results"]
        assert [each["alias"] for each in listed] == ["workflow-cli"]
    again = await poll(api, key)
    assert (again.status_code, again.content) == (404, b"")


async def test_wrong_password(api: Api) -> None:
    response = await api.anonymous.post("/v2/auth/login/", json=PASSWORD | {"password": "wrong"})
    assert response.status_code == 400
    assert response.json() == {"non_field_errors": ["Unable to log in with provided credentials."]}


async def test_too_many_wrong_passwords(api: Api, passport: StandInPassport) -> None:
    passport.throttled = True
    response = await api.anonymous.post("/v2/auth/login/", json=PASSWORD)
    assert (response.status_code, response.headers["retry-after"]) == (429, "17")


async def test_passport_away(api: Api, passport: StandInPassport) -> None:
    passport.is_away = True
    response = await api.anonymous.post("/v2/auth/login/", json=PASSWORD)
    assert response.status_code == 503
    assert "correct horse" not in response.text


async def test_browser_login(api: Api, passport: StandInPassport) -> None:
    key = await start_in_browser(api)
    assert (await poll(api, key)).status_code == 404
    async with api.client() as browser:
        location = await say_yes(browser, key)
        assert location.startswith("http://passport.test/oauth/authorize/?")
        assert (await poll(api, key)).status_code == 404
        back = await browser.get("/v2/complete/drycc/", params=passport.allow(location, "ana"))
        assert back.status_code == 302
        assert back.headers["location"] == "http://passport.test/user/login/done/"
    got = await poll(api, key, alias="x" * 40)
    assert got.json()["username"] == "ana"
    assert (await poll(api, key)).status_code == 404


async def test_keys_and_codes_stay_out_of_the_database(api: Api, passport: StandInPassport) -> None:
    key = await start_in_browser(api)
    async with api.client() as browser:
        location = await say_yes(browser, key)
    state = parse_qs(urlsplit(location).query)["state"][0]
    async with api.context.database.session() as session:
        stored = str((await session.execute(text("SELECT login_attempts::text FROM login_attempts"))).all())
    assert stored
    assert key not in stored
    assert state not in stored


async def test_a_no_is_told_to_the_client(api: Api) -> None:
    key = await start_in_browser(api)
    async with api.client() as browser:
        form = await open_page(browser, key)
        assert (await browser.post("/v2/login/drycc/", data=form | {"answer": "no"})).status_code == 200
        assert (await browser.get(f"/v2/login/drycc/?key={key}")).status_code == 404
    for _ in range(2):
        assert (await poll(api, key)).json() == {"token": "fail", "username": "-"}


async def test_a_no_at_passport_is_told_to_the_client(api: Api) -> None:
    key = await start_in_browser(api)
    async with api.client() as browser:
        location = await say_yes(browser, key)
        state = parse_qs(urlsplit(location).query)["state"][0]
        back = await browser.get("/v2/complete/drycc/", params={"error": "access_denied", "state": state})
        assert back.status_code == 403
    assert (await poll(api, key)).json()["token"] == "fail"


async def test_an_expired_login(api: Api, clock: FakeClock) -> None:
    key = await start_in_browser(api)
    clock.advance(timedelta(minutes=10, seconds=1))
    assert (await api.anonymous.get(f"/v2/login/drycc/?key={key}")).status_code == 404
    assert (await poll(api, key)).json()["token"] == "fail"


async def test_an_expired_password_login(api: Api, clock: FakeClock) -> None:
    key = (await api.anonymous.post("/v2/auth/login/", json=PASSWORD)).json()["key"]
    clock.advance(timedelta(minutes=10, seconds=1))
    assert (await poll(api, key)).status_code == 404


@pytest.mark.parametrize("key", ["nope", "0" * 64, "a" * 5000])
async def test_unknown_keys(api: Api, key: str) -> None:
    assert (await poll(api, key)).status_code == 404
    assert (await api.anonymous.get(f"/v2/login/drycc/?key={key}")).status_code == 404


async def test_the_code_of_another_browser(api: Api, passport: StandInPassport) -> None:
    key = await start_in_browser(api)
    async with api.client() as browser, api.client() as other:
        location = await say_yes(browser, key)
        parameters = passport.allow(location, "ana")
        refused = await other.get("/v2/complete/drycc/", params=parameters)
        assert refused.status_code == 403
        assert (await poll(api, key)).status_code == 404
        assert (await browser.get("/v2/complete/drycc/", params=parameters)).status_code == 302
        replayed = await browser.get("/v2/complete/drycc/", params=parameters)
        assert replayed.status_code == 403


async def test_an_answer_that_belongs_to_another_login(api: Api, passport: StandInPassport) -> None:
    key = await start_in_browser(api)
    async with api.client() as browser:
        location = await say_yes(browser, key)
        passport.wrong_nonce = True
        refused = await browser.get("/v2/complete/drycc/", params=passport.allow(location, "ana"))
        assert refused.status_code == 403
    assert (await poll(api, key)).status_code == 404


@pytest.mark.parametrize("fault", ["no cookie", "foreign origin", "foreign form"])
async def test_pages_of_others_cannot_say_yes(api: Api, fault: str) -> None:
    key = await start_in_browser(api)
    async with api.client() as browser:
        form = await open_page(browser, key)
        headers = {"origin": "http://evil.test" if fault == "foreign origin" else "http://drycc.test"}
        if fault == "no cookie":
            browser.cookies.clear()
        if fault == "foreign form":
            form["form_token"] = "guessed"
        answered = await browser.post("/v2/login/drycc/", data=form | {"answer": "yes"}, headers=headers)
    assert answered.status_code == 403


async def test_pages_are_locked_down(api: Api) -> None:
    key = await start_in_browser(api)
    page = await api.anonymous.get(f"/v2/login/drycc/?key={key}")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "form-action 'self' http://passport.test" in policy
    assert page.headers["cache-control"] == "no-store"
    cookie = page.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    evil = await api.anonymous.post("/v2/auth/login/", headers={"user-agent": "<script>alert(1)</script>"})
    page = await api.anonymous.get(evil.headers["location"])
    assert "<script" not in page.text


async def test_one_of_two_credentials_means_the_browser(api: Api) -> None:
    for body in ({"username": "ana"}, {"password": "x"}, {"username": "", "password": ""}, {"username": None}):
        response = await api.anonymous.post("/v2/auth/login/", json=body)
        assert response.status_code == 302
    odd = await api.anonymous.post("/v2/auth/login/", json={"username": "ana", "password": 5})
    assert (odd.status_code, odd.json()) == (400, {"password": ["Not a valid string."]})

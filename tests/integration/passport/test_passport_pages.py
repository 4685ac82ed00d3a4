"""Pages and the JSON API of whoever is signed in."""

from __future__ import annotations

from datetime import timedelta

import httpx
import pytest

from integration.passport.world import ADMIN, ORIGIN, Passport, hidden_fields, make_settings, running
from support.fixtures import MakeDatabase


async def test_login_page(passport: Passport) -> None:
    page = await passport.browser.get("/user/login")
    assert page.status_code == 200
    assert page.headers["cache-control"] == "no-store"
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script" not in policy
    assert "form-action 'self';" in policy
    assert page.headers["x-frame-options"] == "DENY"
    assert "<script" not in page.text
    assert 'autocomplete="current-password"' in page.text


async def test_session_cookie_and_info(passport: Passport) -> None:
    assert (await passport.browser.get("/user/info")).status_code == 403
    response = await passport.log_in()
    assert (response.status_code, response.headers["location"]) == (303, "/")
    cookie = response.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Max-Age=1209600" in cookie
    assert "Secure" not in cookie  # the issuer is http on localhost
    info = await passport.browser.get("/user/info/")
    assert info.json() == {
        "id": 1, "username": "admin", "email": "admin@example.com", "first_name": "", "last_name": "",
        "is_staff": True, "is_active": True, "is_superuser": True,
    }  # fmt: skip
    assert "admin" in (await passport.browser.get("/")).text
    passport.clock.ahead = timedelta(days=15)
    assert (await passport.browser.get("/user/info/")).status_code == 403


async def test_unauthenticated_sentence(passport: Passport) -> None:
    response = await passport.browser.get("/user/info", headers={"Authorization": "Bearer rubbish"})
    assert response.status_code == 403
    assert response.json() == {"detail": "Authentication credentials were not provided."}


async def test_https_cookies_are_bound_to_the_host(make_database: MakeDatabase) -> None:
    settings = make_settings(await make_database("passport"), issuer="https://passport.example.com/oauth")
    async with running(settings) as passport:
        page = await passport.browser.get("https://passport.example.com/user/login/")
        assert page.headers["set-cookie"].startswith("__Host-passport_form=")
        assert "Secure" in page.headers["set-cookie"]
        assert page.headers["strict-transport-security"]
        fields = hidden_fields(page.text) | {"username": ADMIN[0], "password": ADMIN[1]}
        response = await passport.browser.post("https://passport.example.com/user/login/", data=fields)
        assert response.headers["set-cookie"].startswith("__Host-passport_session=")
        assert "Secure" in response.headers["set-cookie"]


async def test_wrong_password_shows_the_form_again(passport: Passport) -> None:
    response = await passport.log_in('"><script>', "wrong")
    assert response.status_code == 200
    assert "The username or the password is wrong." in response.text
    assert "<script>" not in response.text
    assert "passport_session" not in passport.browser.cookies


async def test_login_is_throttled(passport: Passport) -> None:
    passport.clock.stop()
    for _ in range(10):
        assert (await passport.log_in(password="wrong")).status_code == 200
    response = await passport.log_in()
    assert response.status_code == 429
    assert int(response.headers["retry-after"]) >= 1
    assert "Too many failed attempts" in response.text


async def test_login_is_throttled_by_address(passport: Passport) -> None:
    passport.clock.stop()
    statuses = [(await passport.log_in(f"user{number}", "wrong")).status_code for number in range(51)]
    assert statuses == [200] * 50 + [429]


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example.com/",
        "//evil.example.com/",
        "/\\evil.example.com",
        "/\t/evil.example.com",
        "javascript:alert(1)",
        "evil",
        "/x\r\nSet-Cookie: a=b",
        "",
    ],
)
async def test_next_stays_here(passport: Passport, target: str) -> None:
    response = await passport.log_in(next_=target)
    assert (response.status_code, response.headers["location"]) == (303, "/")
    form = await passport.browser.get("/user/login/")
    fields = hidden_fields(form.text) | {"username": ADMIN[0], "password": ADMIN[1], "next": target}
    assert (await passport.browser.post("/user/login/", data=fields)).headers["location"] == "/"


async def test_login_form_is_protected(passport: Passport) -> None:
    form = await passport.browser.get("/user/login/")
    fields = hidden_fields(form.text) | {"username": ADMIN[0], "password": ADMIN[1]}

    async def post(data: dict[str, str], headers: dict[str, str]) -> int:
        return (await passport.browser.post("/user/login/", data=data, headers=headers)).status_code

    assert await post(fields | {"form_token": ""}, {}) == 403
    assert await post(fields | {"form_token": "é"}, {}) == 403
    assert await post(fields, {"Origin": "https://evil.example.com"}) == 403
    assert await post(fields, {"Origin": "http://[bad"}) == 403
    assert await post(fields, {"Sec-Fetch-Site": "cross-site"}) == 403
    async with passport.program() as other_browser:
        assert (await other_browser.post("/user/login/", data=fields)).status_code == 403
    assert (await passport.browser.post("/user/login/", json=fields)).status_code == 400
    assert await post(fields, {"Origin": ORIGIN, "Sec-Fetch-Site": "same-origin"}) == 303


async def test_login_makes_a_new_session_each_time(passport: Passport) -> None:
    await passport.log_in()
    first = passport.browser.cookies["passport_session"]
    await passport.log_in()
    assert passport.browser.cookies["passport_session"] != first
    async with passport.program() as thief:
        response = await thief.get("/user/info", headers={"Cookie": f"passport_session={first}"})
    assert response.status_code == 403


async def test_logout_asks_first(passport: Passport) -> None:
    assert (await passport.browser.get("/user/logout/")).headers["location"] == "/user/login/"
    await passport.log_in()
    page = await passport.browser.get("/user/logout", params={"next": "//evil.example.com"})
    assert page.status_code == 200
    assert (await passport.browser.get("/user/info")).status_code == 200
    refused = await passport.browser.post("/user/logout/", data={"form_token": "0"})
    assert refused.status_code == 403
    cookies = httpx.Cookies(passport.browser.cookies)
    response = await passport.browser.post("/user/logout/", data=hidden_fields(page.text))
    assert (response.status_code, response.headers["location"]) == (303, "/user/login/")
    passport.browser.cookies = cookies
    assert (await passport.browser.get("/user/info")).status_code == 403


async def test_login_for_a_client_may_lead_to_it(passport: Passport) -> None:
    target = "/oauth/authorize/?response_type=code&client_id=partner"
    policy = (await passport.browser.get("/user/login/", params={"next": target})).headers["content-security-policy"]
    assert "form-action 'self' https://partner.example.com;" in policy
    target = "/oauth/authorize/?client_id=%00"
    policy = (await passport.browser.get("/user/login/", params={"next": target})).headers["content-security-policy"]
    assert "form-action 'self';" in policy


async def test_other_pages(passport: Passport) -> None:
    done = await passport.browser.get("/user/login/done")
    assert "go back to your terminal" in done.text
    assert (await passport.browser.get("/settings/")).json() == {"legal": False, "registration_enabled": False}
    style = await passport.browser.get("/passport.css")
    assert style.headers["content-type"].startswith("text/css")
    assert (await passport.browser.get("/")).headers["location"] == "/user/login/"
    missing = await passport.browser.get("/admin/")
    assert missing.status_code == 404
    assert missing.headers["DRYCC_API_VERSION"] == "1.1"
    assert (await passport.browser.get("/healthz")).text == "OK"
    assert (await passport.browser.get("/readiness")).text == "OK"


async def test_no_foreign_origin_is_let_in(passport: Passport) -> None:
    await passport.log_in()
    response = await passport.browser.get("/user/info", headers={"Origin": "https://app.example.com"})
    assert not [name for name in response.headers if name.startswith("access-control")]

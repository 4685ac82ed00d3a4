"""Password, refresh and client credentials grants; revocation, introspection, userinfo."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import KeySet
from pydantic import SecretStr
from sqlalchemy import text

from integration.passport.world import ADMIN, ISSUER, SECRETS, Passport
from shared.auth import ServiceTokens, TokenVerifier

ALL_CLAIMS = {
    "sub": "1",
    "id": 1,
    "name": "admin",
    "username": "admin",
    "preferred_username": "admin",
    "email": "admin@example.com",
    "first_name": "",
    "last_name": "",
    "is_staff": True,
    "is_active": True,
    "is_superuser": True,
}


async def deactivate(passport: Passport) -> None:
    async with passport.context.database.transaction() as session:
        await session.execute(text("UPDATE accounts SET is_active = false"))


async def refresh(passport: Passport, token: str, **more: str) -> httpx.Response:
    return await passport.token("controller", grant_type="refresh_token", refresh_token=token, **more)


async def post(passport: Passport, path: str, client_id: str, **form: str) -> httpx.Response:
    async with passport.program() as program:
        return await program.post(path, data=form, auth=(client_id, SECRETS[client_id]))


# ---- password


async def test_password_grant(passport: Passport) -> None:
    response = await passport.token("controller", grant_type="password", username="ADMIN", password=ADMIN[1])
    body = response.json()
    assert response.status_code == 200
    assert body["scope"] == "openid"
    assert body["refresh_token"].startswith("wfr_")
    assert response.headers["DRYCC_API_VERSION"] == "1.1"
    assert response.headers["DRYCC_PLATFORM_VERSION"] == "1.1.0"
    claims = await passport.get("/oauth/userinfo/", body["access_token"])
    assert claims.json() == ALL_CLAIMS


@pytest.mark.parametrize(
    ("username", "password"),
    [("admin", "wrong"), ("nobody", ADMIN[1]), ("a" * 151, "x"), ("admin", "x" * 1025), ("ünïcode", "pässword")],
)
async def test_wrong_password_is_invalid_grant(passport: Passport, username: str, password: str) -> None:
    response = await passport.token("controller", grant_type="password", username=username, password=password)
    assert response.status_code == 400
    assert response.json() == {"error": "invalid_grant", "error_description": "Invalid credentials given."}


async def test_inactive_account(passport: Passport) -> None:
    tokens = await passport.password_tokens()
    await passport.log_in()
    await deactivate(passport)
    response = await passport.token("controller", grant_type="password", username=ADMIN[0], password=ADMIN[1])
    assert response.json()["error"] == "invalid_grant"
    assert (await refresh(passport, tokens["refresh_token"])).json()["error"] == "invalid_grant"
    assert (await passport.get("/oauth/userinfo/", tokens["access_token"])).status_code == 401
    assert (await passport.browser.get("/user/info")).status_code == 403


async def test_password_grant_is_for_registered_clients(passport: Passport) -> None:
    form = {"grant_type": "password", "username": ADMIN[0], "password": ADMIN[1]}
    partner = await passport.token("partner", **form)
    assert (partner.status_code, partner.json()["error"]) == (400, "unauthorized_client")
    public = await passport.ask("native", form, public=True)
    assert (public.status_code, public.json()["error"]) == (401, "invalid_client")


async def test_account_is_throttled(passport: Passport) -> None:
    passport.clock.stop()
    form = {"grant_type": "password", "username": ADMIN[0]}
    wrong = [await passport.token("controller", **form, password="wrong") for _ in range(10)]
    assert {response.status_code for response in wrong} == {400}
    right = await passport.token("controller", **form, password=ADMIN[1])
    assert right.status_code == 429
    assert right.json()["error"] == "temporarily_unavailable"
    assert 1 <= int(right.headers["retry-after"]) <= 30
    passport.clock.ahead = timedelta(seconds=31)
    assert (await passport.token("controller", **form, password=ADMIN[1])).status_code == 200


async def test_parallel_guesses_count(passport: Passport) -> None:
    passport.clock.stop()
    form = {"grant_type": "password", "username": ADMIN[0], "password": "wrong"}
    responses = await asyncio.gather(*(passport.token("controller", **form) for _ in range(30)))
    statuses = sorted(response.status_code for response in responses)
    assert statuses == [400] * 10 + [429] * 20


async def test_address_is_throttled_where_it_is_known(passport: Passport) -> None:
    async def attempt(number: int, address: str | None) -> int:
        headers = {"X-Forwarded-For": address} if address else {}
        form = {"grant_type": "password", "username": f"guess{number}", "password": "wrong"}
        return (await passport.ask("controller", form, headers=headers)).status_code

    passport.clock.stop()
    # The peer of these requests is one and the same; without the header nothing is known of the person.
    assert {await attempt(number, None) for number in range(52)} == {400}
    known = [await attempt(number, "192.0.2.1") for number in range(100, 152)]
    assert known == [400] * 50 + [429] * 2


async def test_right_passwords_are_not_counted(passport: Passport) -> None:
    for _ in range(12):
        await passport.password_tokens()


# ---- client authentication and malformed requests


@pytest.mark.parametrize(
    "authorization",
    [
        httpx.BasicAuth("controller", "wrong"),
        httpx.BasicAuth("nobody", "s" * 40),
        httpx.BasicAuth("contr\x00ller", "s" * 40),
        httpx.Auth(),
    ],
)
async def test_client_authentication(passport: Passport, authorization: httpx.Auth) -> None:
    form = {"grant_type": "password", "username": ADMIN[0], "password": ADMIN[1]}
    async with passport.program() as program:
        response = await program.post("/oauth/token", data=form, auth=authorization)
    assert response.status_code == 401
    assert response.json()["error"] == "invalid_client"
    assert response.headers["www-authenticate"].startswith("Basic ")


async def test_client_secret_in_the_body(passport: Passport) -> None:
    form = {"grant_type": "password", "username": ADMIN[0], "password": ADMIN[1], "client_id": "controller"}
    async with passport.program() as program:
        right = await program.post("/oauth/token/", data=form | {"client_secret": SECRETS["controller"]})
        wrong = await program.post("/oauth/token/", data=form | {"client_secret": "wrong"})
        broken = await program.post("/oauth/token/", data=form, headers={"Authorization": "Basic /////w=="})
    assert right.status_code == 200
    assert (wrong.status_code, wrong.json()["error"]) == (401, "invalid_client")
    assert (broken.status_code, broken.json()["error"]) == (401, "invalid_client")


@pytest.mark.parametrize(
    ("body", "content_type", "error"),
    [
        (b"grant_type=magic", "application/x-www-form-urlencoded", "unsupported_grant_type"),
        (b"", "application/x-www-form-urlencoded", "unsupported_grant_type"),
        (b"grant_type=password&grant_type=password", "application/x-www-form-urlencoded", "invalid_request"),
        (b'{"grant_type": "password"}', "application/json", "invalid_request"),
        (b"grant_type=password&username=%00", "application/x-www-form-urlencoded", "invalid_request"),
        (b"grant_type=password&username=%ff", "application/x-www-form-urlencoded", "invalid_request"),
        (b"grant_type=" + b"x" * 70_000, "application/x-www-form-urlencoded", "invalid_request"),
        (b"&".join(b"a%d=1" % number for number in range(100)), "application/x-www-form-urlencoded", "invalid_request"),
    ],
)
async def test_malformed_token_requests(passport: Passport, body: bytes, content_type: str, error: str) -> None:
    auth = ("controller", SECRETS["controller"])
    async with passport.program() as program:
        response = await program.post("/oauth/token/", content=body, headers={"Content-Type": content_type}, auth=auth)
    assert (response.status_code, response.json()["error"]) == (400, error)


async def test_token_endpoint_is_post_only_and_ignores_the_query(passport: Passport) -> None:
    async with passport.program() as program:
        assert (await program.get("/oauth/token/")).status_code == 405
        query = {"grant_type": "password", "username": ADMIN[0], "password": ADMIN[1]}
        auth = ("controller", SECRETS["controller"])
        response = await program.post("/oauth/token/", params=query, data={"x": "y"}, auth=auth)
    assert response.json()["error"] == "unsupported_grant_type"


# ---- refresh


async def test_refresh_rotates(passport: Passport) -> None:
    first = await passport.password_tokens(scope="openid profile")
    second = (await refresh(passport, first["refresh_token"])).json()
    assert second["refresh_token"] != first["refresh_token"]
    assert second["scope"] == "openid profile"
    assert jwt.decode(second["id_token"], await keys(passport), algorithms=["ES256"]).claims["sub"] == "1"
    narrower = (await refresh(passport, second["refresh_token"], scope="openid")).json()
    assert narrower["scope"] == "openid"
    wider = (await refresh(passport, narrower["refresh_token"])).json()
    assert wider["scope"] == "openid profile"
    refused = await refresh(passport, wider["refresh_token"], scope="openid email")
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_scope")


async def test_reuse_kills_the_family(passport: Passport) -> None:
    first = await passport.password_tokens()
    other = await passport.password_tokens()
    second = (await refresh(passport, first["refresh_token"])).json()
    assert (await refresh(passport, first["refresh_token"])).json()["error"] == "invalid_grant"
    assert (await refresh(passport, second["refresh_token"])).json()["error"] == "invalid_grant"
    assert (await passport.get("/oauth/userinfo/", second["access_token"])).status_code == 401
    assert (await refresh(passport, other["refresh_token"])).status_code == 200


async def test_one_of_parallel_refreshes_wins(passport: Passport) -> None:
    tokens = await passport.password_tokens()
    responses = await asyncio.gather(*(refresh(passport, tokens["refresh_token"]) for _ in range(5)))
    assert sorted(response.status_code for response in responses) == [200, 400, 400, 400, 400]


async def test_refresh_token_of_another_client(passport: Passport) -> None:
    tokens = await passport.password_tokens()
    form = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    response = await passport.ask("native", form, public=True)
    assert (response.status_code, response.json()["error"]) == (400, "invalid_grant")
    assert (await refresh(passport, tokens["refresh_token"])).status_code == 200


async def test_refresh_tokens_expire_and_so_does_the_family(passport: Passport) -> None:
    idle = await passport.password_tokens()
    used = await passport.password_tokens()
    for days in (25, 50, 75):
        passport.clock.ahead = timedelta(days=days)
        used = (await refresh(passport, used["refresh_token"])).json()
    assert (await refresh(passport, idle["refresh_token"])).json()["error"] == "invalid_grant"
    passport.clock.ahead = timedelta(days=91)
    assert (await refresh(passport, used["refresh_token"])).json()["error"] == "invalid_grant"


# ---- client credentials


async def keys(passport: Passport) -> KeySet:
    async with passport.program() as program:
        return KeySet.import_key_set((await program.get("/oauth/.well-known/jwks.json")).json())


async def test_client_credentials(passport: Passport) -> None:
    response = await passport.token("builder", grant_type="client_credentials")
    body = response.json()
    assert (response.status_code, body["scope"]) == (200, "controller:hook")
    assert "refresh_token" not in body
    assert "id_token" not in body
    claims = jwt.decode(body["access_token"], await keys(passport), algorithms=["ES256"]).claims
    assert (claims["sub"], claims["aud"]) == ("builder", ["controller", "logs"])
    assert "username" not in claims
    assert (await passport.get("/oauth/userinfo/", body["access_token"])).status_code == 403
    assert (await passport.get("/user/info", body["access_token"])).status_code == 403


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({"scope": "controller:logs"}, "invalid_scope"),
        ({"scope": "openid"}, "invalid_scope"),
        ({"audience": "billing"}, "invalid_target"),
        ({"resource": "billing"}, "invalid_target"),
    ],
)
async def test_services_get_what_they_are_registered_for(passport: Passport, form: dict[str, str], error: str) -> None:
    response = await passport.token("builder", grant_type="client_credentials", **form)
    assert (response.status_code, response.json()["error"]) == (400, error)


async def test_client_credentials_are_for_registered_clients(passport: Passport) -> None:
    response = await passport.token("controller", grant_type="client_credentials")
    assert (response.status_code, response.json()["error"]) == (400, "unauthorized_client")


async def test_services_talk_with_shared_auth(passport: Passport) -> None:
    async with passport.program() as program:
        tokens = ServiceTokens(
            client=program,
            client_id="builder",
            client_secret=SecretStr(SECRETS["builder"]),
            audience="controller",
            scopes=["controller:hook"],
        )
        token = await tokens.token()
        claims = await TokenVerifier(issuer=ISSUER, audience="controller", client=program).verify(token)
    assert (claims.client_id, claims.username) == ("builder", None)
    assert claims.scopes == {"controller:hook"}


# ---- introspection, revocation, userinfo


async def introspect(passport: Passport, client_id: str, token: str) -> dict[str, Any]:
    response = await post(passport, "/oauth/introspect/", client_id, token=token)
    assert response.status_code == 200
    body: dict[str, Any] = response.json()
    return body


async def test_introspection(passport: Passport) -> None:
    own = await passport.password_tokens()
    found = await introspect(passport, "controller", own["access_token"])
    assert found["active"] is True
    assert (found["sub"], found["username"], found["client_id"], found["iss"]) == ("1", "admin", "controller", ISSUER)
    assert (found["aud"], found["token_type"], found["scope"]) == (["controller"], "Bearer", "openid")
    # The audience may ask, others may not; and it is for access tokens.
    service = (await passport.token("builder", grant_type="client_credentials")).json()["access_token"]
    assert (await introspect(passport, "controller", service))["client_id"] == "builder"
    assert await introspect(passport, "builder", own["access_token"]) == {"active": False}
    assert await introspect(passport, "controller", own["refresh_token"]) == {"active": False}
    assert await introspect(passport, "controller", "rubbish") == {"active": False}
    passport.clock.ahead = timedelta(minutes=16)
    assert await introspect(passport, "controller", own["access_token"]) == {"active": False}


async def test_introspection_needs_a_client(passport: Passport) -> None:
    token = (await passport.password_tokens())["access_token"]
    async with passport.program() as program:
        anonymous = await program.post("/oauth/introspect/", data={"token": token})
        public = await program.post("/oauth/introspect/", data={"token": token, "client_id": "native"})
        query = await program.get("/oauth/introspect/", params={"token": token})
    assert (anonymous.status_code, public.status_code, query.status_code) == (401, 401, 405)
    assert (await post(passport, "/oauth/introspect/", "controller")).json()["error"] == "invalid_request"


@pytest.mark.parametrize("which", ["access_token", "refresh_token"])
async def test_revocation_takes_the_family(passport: Passport, which: str) -> None:
    tokens = await passport.password_tokens()
    response = await post(
        passport, "/oauth/revoke_token/", "controller", token=tokens[which], token_type_hint="strange"
    )
    assert response.status_code == 200
    assert (await refresh(passport, tokens["refresh_token"])).json()["error"] == "invalid_grant"
    assert (await passport.get("/oauth/userinfo/", tokens["access_token"])).status_code == 401
    assert await introspect(passport, "controller", tokens["access_token"]) == {"active": False}


async def test_revocation_of_what_is_not_ones_own(passport: Passport) -> None:
    tokens = await passport.password_tokens()
    for token in (tokens["access_token"], tokens["refresh_token"], "unknown"):
        assert (await post(passport, "/oauth/revoke_token/", "partner", token=token)).status_code == 200
    assert (await passport.get("/oauth/userinfo/", tokens["access_token"])).status_code == 200
    async with passport.program() as program:
        anonymous = await program.post("/oauth/revoke_token/", data={"token": tokens["access_token"]})
    assert anonymous.status_code == 401


async def test_userinfo_takes_tokens_in_the_header_only(passport: Passport) -> None:
    token = (await passport.password_tokens())["access_token"]
    async with passport.program() as program:
        query = await program.get("/oauth/userinfo/", params={"access_token": token})
        posted = await program.post("/oauth/userinfo", headers={"Authorization": f"bearer {token}"})
        broken = await program.get("/oauth/userinfo/", headers={"Authorization": "Bearer x.y.z"})
    assert (query.status_code, query.headers["www-authenticate"]) == (401, "Bearer")
    assert posted.json() == ALL_CLAIMS
    assert broken.status_code == 401
    assert 'error="invalid_token"' in broken.headers["www-authenticate"]


async def test_userinfo_needs_openid(passport: Passport) -> None:
    token = (await passport.password_tokens(scope="profile"))["access_token"]
    response = await passport.get("/oauth/userinfo/", token)
    assert (response.status_code, response.json()["error"]) == (403, "insufficient_scope")
    assert (await passport.get("/user/info/", token)).json()["username"] == "admin"


async def test_nothing_secret_is_stored_in_clear(passport: Passport) -> None:
    tokens = await passport.password_tokens()
    await passport.log_in()
    cookie = passport.browser.cookies["passport_session"]
    needles = [ADMIN[1], cookie, tokens["access_token"], tokens["refresh_token"], *SECRETS.values()]
    async with passport.context.database.session() as session:
        tables = (await session.execute(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"))).scalars()
        for table in list(tables):
            dump = str((await session.execute(text(f"SELECT CAST(t.* AS text) FROM {table} t"))).scalars().all())
            assert not [needle for needle in needles if needle in dump or needle.encode().hex() in dump], table


async def test_passwords_are_checked_without_holding_connections(passport: Passport) -> None:
    # Many more requests than connections: each needs one again after the hash was computed.
    form = {"grant_type": "password", "password": "wrong"}
    attempts = (passport.token("controller", **form, username=f"user{number}") for number in range(40))
    assert {response.status_code for response in await asyncio.gather(*attempts)} == {400}

"""The authorization code grant with PKCE, from the browser to the tokens."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from integration.passport.world import CALLBACK, ISSUER, Passport, answer, code_request, hidden_fields, pkce
from shared.auth import TokenVerifier


async def test_login_code_and_tokens(passport: Passport) -> None:
    verifier, challenge = pkce()
    request = code_request(challenge)

    anonymous = await passport.authorize(**request)
    assert anonymous.status_code == 302
    login_url = anonymous.headers["location"]
    assert login_url.startswith("/user/login/?next=%2Foauth%2Fauthorize%2F%3F")
    target = parse_qs(urlsplit(login_url).query)["next"][0]

    logged_in = await passport.log_in(next_=target)
    assert (logged_in.status_code, logged_in.headers["location"]) == (303, target)

    back = await passport.browser.get(target)
    assert back.status_code == 302
    assert back.headers["location"].startswith(f"{CALLBACK}?")
    parameters = answer(back)
    assert parameters["state"] == "st ate&1"
    assert parameters["iss"] == ISSUER

    response = await passport.exchange(parameters["code"], verifier)
    assert response.status_code == 200
    assert response.headers["cache-control"] == "no-store"
    body = response.json()
    assert body["token_type"] == "Bearer"
    assert body["expires_in"] == 900
    assert body["scope"] == "openid"
    assert body["refresh_token"]
    assert body["id_token"]


async def test_access_token_is_accepted_by_others(passport: Passport) -> None:
    tokens = await passport.password_tokens()
    async with passport.program() as program:
        verifier = TokenVerifier(issuer=ISSUER, audience="controller", client=program)
        claims = await verifier.verify(tokens["access_token"])
        keys = KeySet.import_key_set((await program.get("/oauth/.well-known/jwks.json")).json())
    assert (claims.subject, claims.username, claims.client_id) == ("1", "admin", "controller")
    assert claims.scopes == {"openid"}
    decoded = jwt.decode(tokens["access_token"], keys, algorithms=["ES256"])
    assert decoded.header["typ"] == "at+jwt"
    assert decoded.claims["aud"] == ["controller"]
    assert decoded.claims["exp"] - decoded.claims["iat"] == 900


async def test_id_token(passport: Passport) -> None:
    await passport.log_in()
    verifier, challenge = pkce()
    body = (await passport.exchange(await passport.code(challenge), verifier)).json()
    async with passport.program() as program:
        keys = KeySet.import_key_set((await program.get("/oauth/.well-known/jwks.json/")).json())
    token = jwt.decode(body["id_token"], keys, algorithms=["ES256"])
    claims = token.claims
    assert token.header["kid"] == keys.keys[0].kid
    assert (claims["iss"], claims["aud"], claims["sub"], claims["nonce"]) == (ISSUER, "controller", "1", "n-1")
    assert (claims["id"], claims["username"], claims["name"], claims["is_superuser"]) == (1, "admin", "admin", True)
    assert claims["at_hash"]
    assert claims["auth_time"] <= claims["iat"]
    assert claims["exp"] - claims["iat"] == 300
    # An ID token is no access token.
    assert (await passport.get("/oauth/userinfo/", body["id_token"])).status_code == 401


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"code_challenge": ""}, "invalid_request"),
        ({"code_challenge_method": ""}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"scope": "openid admin"}, "invalid_scope"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": 'to"ken é'}, "unsupported_response_type"),
        ({"response_type": ""}, "invalid_request"),
        ({"prompt": "none login"}, "invalid_request"),
    ],
)
async def test_unsound_request_is_sent_back(passport: Passport, change: dict[str, str], error: str) -> None:
    await passport.log_in()
    response = await passport.authorize(**(code_request(pkce()[1]) | change))
    assert response.status_code == 302
    assert response.headers["location"].startswith(f"{CALLBACK}?")
    parameters = answer(response)
    assert (parameters["error"], parameters["state"], parameters["iss"]) == (error, "st ate&1", ISSUER)
    assert "code" not in parameters


@pytest.mark.parametrize(
    "change",
    [
        {"client_id": "nobody"},
        {"client_id": ""},
        {"client_id": "con\x00troller"},
        {"redirect_uri": "https://evil.example.com/callback"},
        {"redirect_uri": f"{CALLBACK}?extra=1"},
        {"redirect_uri": f"{CALLBACK}/"},
        {"redirect_uri": 'https://app.example.com/"é'},
        {"redirect_uri": "http://[::1"},
        {"prompt": "none", "redirect_uri": "https://evil.example.com/"},
        {"response_type": "token", "redirect_uri": "https://evil.example.com/"},
    ],
)
async def test_no_redirect_to_where_nobody_is_registered(passport: Passport, change: dict[str, str]) -> None:
    for _ in ("anonymous", "logged in"):
        response = await passport.authorize(**(code_request(pkce()[1]) | change))
        assert response.status_code == 400
        assert response.headers["content-type"].startswith("text/html")
        assert "location" not in response.headers
        await passport.log_in()


async def test_repeated_parameter(passport: Passport) -> None:
    query = httpx.QueryParams(code_request(pkce()[1])).add("state", "another")
    response = await passport.browser.get("/oauth/authorize/", params=query)
    assert response.status_code == 400


async def test_one_redirect_uri_need_not_be_named(passport: Passport) -> None:
    await passport.log_in()
    verifier, challenge = pkce()
    response = await passport.authorize(**code_request(challenge, redirect_uri=""))
    assert response.headers["location"].startswith(CALLBACK)
    exchanged = await passport.exchange(answer(response)["code"], verifier, redirect_uri="")
    assert exchanged.status_code == 200


async def test_wrong_verifier_redirect_and_client(passport: Passport) -> None:
    await passport.log_in()
    verifier, challenge = pkce()
    code = await passport.code(challenge)
    missing = await passport.exchange(code, "")
    assert (missing.status_code, missing.json()["error"]) == (400, "invalid_request")
    wrong = await passport.exchange(code, pkce()[0])
    assert (wrong.status_code, wrong.json()["error"]) == (400, "invalid_grant")
    elsewhere = await passport.exchange(code, verifier, redirect_uri="https://evil.example.com/")
    assert (elsewhere.status_code, elsewhere.json()["error"]) == (400, "invalid_grant")
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK, "code_verifier": verifier}
    other = await passport.token("partner", **form)
    assert (other.status_code, other.json()["error"]) == (400, "invalid_grant")
    # None of this used the code up.
    assert (await passport.exchange(code, verifier)).status_code == 200


async def test_code_works_once_and_a_replay_revokes(passport: Passport) -> None:
    await passport.log_in()
    verifier, challenge = pkce()
    code = await passport.code(challenge)
    body = (await passport.exchange(code, verifier)).json()
    assert (await passport.get("/oauth/userinfo/", body["access_token"])).status_code == 200
    replayed = await passport.exchange(code, verifier)
    assert (replayed.status_code, replayed.json()["error"]) == (400, "invalid_grant")
    assert (await passport.get("/oauth/userinfo/", body["access_token"])).status_code == 401
    refreshed = await passport.token("controller", grant_type="refresh_token", refresh_token=body["refresh_token"])
    assert refreshed.json()["error"] == "invalid_grant"


async def test_code_exchanged_twice_at_once(passport: Passport) -> None:
    await passport.log_in()
    verifier, challenge = pkce()
    code = await passport.code(challenge)
    responses = await asyncio.gather(*(passport.exchange(code, verifier) for _ in range(4)))
    assert sorted(response.status_code for response in responses) == [200, 400, 400, 400]


async def test_code_expires(passport: Passport) -> None:
    await passport.log_in()
    verifier, challenge = pkce()
    code = await passport.code(challenge)
    passport.clock.ahead = timedelta(seconds=61)
    assert (await passport.exchange(code, verifier)).json()["error"] == "invalid_grant"


async def test_public_client_on_any_loopback_port(passport: Passport) -> None:
    await passport.log_in()
    verifier, challenge = pkce()
    redirect_uri = "http://127.0.0.1:53211/cb"
    request = code_request(challenge, client_id="native", redirect_uri=redirect_uri)
    code = answer(await passport.authorize(**request))["code"]
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri, "code_verifier": verifier}
    response = await passport.ask("native", form, public=True)
    assert response.status_code == 200
    assert response.json()["refresh_token"]


async def test_a_client_with_a_secret_must_use_it(passport: Passport) -> None:
    await passport.log_in()
    verifier, challenge = pkce()
    code = await passport.code(challenge)
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK, "code_verifier": verifier}
    response = await passport.ask("controller", form, public=True)
    assert (response.status_code, response.json()["error"]) == (401, "invalid_client")


async def test_prompt_none_and_login(passport: Passport) -> None:
    request = code_request(pkce()[1])
    assert answer(await passport.authorize(**request, prompt="none"))["error"] == "login_required"
    await passport.log_in()
    assert "code" in answer(await passport.authorize(**request, prompt="none"))
    again = await passport.authorize(**request, prompt="login")
    assert again.headers["location"].startswith("/user/login/")
    assert "prompt" not in again.headers["location"]


async def test_max_age_asks_for_the_password_again(passport: Passport) -> None:
    await passport.log_in()
    passport.clock.ahead = timedelta(seconds=100)
    request = code_request(pkce()[1], max_age="60")
    again = await passport.authorize(**request)
    assert again.headers["location"].startswith("/user/login/")
    assert answer(await passport.authorize(**request, prompt="none"))["error"] == "login_required"
    target = parse_qs(urlsplit(again.headers["location"]).query)["next"][0]
    await passport.log_in(next_=target)
    assert "code" in answer(await passport.browser.get(target))


async def test_consent_is_asked_and_may_be_denied(passport: Passport) -> None:
    await passport.log_in()
    _, challenge = pkce()
    request = code_request(challenge, client_id="partner", redirect_uri="https://partner.example.com/cb")
    assert answer(await passport.authorize(**request, prompt="none"))["error"] == "consent_required"

    page = await passport.authorize(**request, allow="yes", form_token="x")
    assert page.status_code == 200
    assert "Partner &lt;b&gt;App&lt;/b&gt;" in page.text
    assert "form-action 'self' https://partner.example.com;" in page.headers["content-security-policy"]
    fields = hidden_fields(page.text)

    denied = await passport.browser.post("/oauth/authorize/", data=fields | {"deny": "yes"})
    assert denied.status_code == 303
    assert (answer(denied)["error"], answer(denied)["state"]) == ("access_denied", "st ate&1")
    assert answer(denied)["iss"] == ISSUER
    both = await passport.browser.post("/oauth/authorize/", data=fields | {"allow": "yes", "deny": "yes"})
    assert answer(both)["error"] == "access_denied"
    allowed = await passport.browser.post("/oauth/authorize/", data=fields | {"allow": "yes"})
    assert (allowed.status_code, answer(allowed)["iss"]) == (303, ISSUER)
    assert answer(allowed)["code"]


async def test_consent_form_is_protected(passport: Passport) -> None:
    await passport.log_in()
    request = code_request(pkce()[1], client_id="partner", redirect_uri="https://partner.example.com/cb")
    fields = hidden_fields((await passport.authorize(**request)).text) | {"allow": "yes"}
    for change, headers in (
        ({"form_token": "0" * 64}, {}),
        ({}, {"Origin": "http://app.passport.localhost"}),
        ({}, {"Sec-Fetch-Site": "same-site"}),
        ({}, {"Origin": "null"}),
    ):
        response = await passport.browser.post("/oauth/authorize/", data=fields | change, headers=headers)
        assert response.status_code == 403
    evil = fields | {"redirect_uri": "https://evil.example.com/"}
    response = await passport.browser.post("/oauth/authorize/", data=evil, headers={"Origin": ISSUER[:-6]})
    assert response.status_code == 400


async def test_claims_are_filtered_for_clients_without_legacy_claims(passport: Passport) -> None:
    await passport.log_in()
    verifier, challenge = pkce()
    redirect_uri = "https://partner.example.com/cb"
    request = code_request(challenge, client_id="partner", redirect_uri=redirect_uri, scope="openid email")
    fields = hidden_fields((await passport.authorize(**request)).text)
    allowed = await passport.browser.post("/oauth/authorize/", data=fields | {"allow": "yes"})
    form = {"grant_type": "authorization_code", "redirect_uri": redirect_uri, "code_verifier": verifier}
    body = (await passport.token("partner", code=answer(allowed)["code"], **form)).json()
    assert "refresh_token" not in body
    claims = (await passport.get("/oauth/userinfo", body["access_token"])).json()
    assert claims == {"sub": "1", "email": "admin@example.com"}

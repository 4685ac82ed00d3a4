"""Tokens and their standing at passport, access tokens, and news about people."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
import pytest_asyncio
from cryptography.fernet import Fernet
from sqlalchemy import update

from controller.repositories.accounts import SignedIn, TokenRepository
from controller.repositories.cipher import Cipher
from controller.schema.accounts import TokenRow
from controller.services.accounts import digest
from shared.bus import InProcessBus
from shared.events import Envelope, UserChanged
from support import FakeClock
from support.controller_api import Api, running_api
from support.fixtures import MakeDatabase
from support.stand_in_passport import StandInPassport

MINUTE = timedelta(seconds=61)


async def log_in(api: Api, username: str = "ana") -> httpx.AsyncClient:
    """A client with a token that a login stands behind."""
    body = {"username": username, "password": "correct horse"}
    key = (await api.anonymous.post("/v2/auth/login/", json=body)).json()["key"]
    token = (await api.anonymous.get(f"/v2/auth/token/{key}/")).json()["token"]
    return api.client(authorization=f"token {token}")


@pytest_asyncio.fixture(loop_scope="session")
async def client(api: Api) -> AsyncIterator[httpx.AsyncClient]:
    """ana's."""
    async with await log_in(api) as client:
        yield client


async def standing(client: httpx.AsyncClient) -> tuple[int, Any]:
    """What the connection check answers."""
    response = await client.get("/v2/")
    return response.status_code, response.json()


async def test_passport_is_asked_once_a_minute(
    api: Api, passport: StandInPassport, client: httpx.AsyncClient, clock: FakeClock
) -> None:
    passport.asked.clear()
    for _ in range(3):
        assert await standing(client) == (200, {})
    assert not passport.asked
    clock.advance(MINUTE)
    answers = await asyncio.gather(*(standing(client) for _ in range(10)))
    assert answers == [(200, {})] * 10
    assert passport.asked == {"refresh_token": 1, "userinfo": 1}
    clock.advance(MINUTE)
    assert await standing(client) == (200, {})
    assert passport.asked == {"refresh_token": 1, "userinfo": 2}


async def test_refresh_tokens_rotate(
    api: Api, passport: StandInPassport, client: httpx.AsyncClient, clock: FakeClock
) -> None:
    for _ in range(3):
        passport.expire_access_tokens()
        clock.advance(MINUTE)
        assert await standing(client) == (200, {})


async def test_a_closed_account_is_out_within_a_minute(
    api: Api, passport: StandInPassport, client: httpx.AsyncClient, clock: FakeClock
) -> None:
    passport.people["ana"]["is_active"] = False
    clock.advance(MINUTE)
    assert await standing(client) == (401, {"detail": "User inactive or deleted."})
    assert await standing(client) == (401, {"detail": "User inactive or deleted."})
    passport.people["ana"]["is_active"] = True
    clock.advance(MINUTE)
    assert await standing(client) == (200, {})


async def test_new_rights_arrive(
    api: Api, passport: StandInPassport, client: httpx.AsyncClient, clock: FakeClock
) -> None:
    passport.people["ana"]["is_superuser"] = True
    clock.advance(MINUTE)
    assert (await client.get("/v2/auth/whoami/")).json()["is_superuser"] is True


async def test_an_ended_login_ends_its_token_only(
    api: Api, passport: StandInPassport, client: httpx.AsyncClient, clock: FakeClock
) -> None:
    passport.end_logins()
    async with await log_in(api) as other:
        clock.advance(MINUTE)
        ended, alive = await asyncio.gather(standing(client), standing(other))
        assert ended == (401, {"detail": "Invalid token."})
        assert alive == (200, {})
        assert (await other.get("/v2/tokens/")).json()["count"] == 1
    assert await standing(client) == (401, {"detail": "Invalid token."})
    root = await api.person("root", is_superuser=True)
    trail = (await root.client.get("/v2/audit/?action=token.ended")).json()["results"]
    assert [entry["actor"] for entry in trail] == ["ana"]


async def test_without_passport_for_ten_minutes(
    api: Api, passport: StandInPassport, client: httpx.AsyncClient, clock: FakeClock
) -> None:
    passport.is_away = True
    clock.advance(MINUTE)
    passport.asked.clear()
    for _ in range(3):
        assert await standing(client) == (200, {})
    assert sum(passport.asked.values()) == 1
    clock.advance(timedelta(minutes=9))
    status, body = await standing(client)
    assert status == 503
    assert "passport" in body["detail"]
    passport.is_away = False
    clock.advance(timedelta(seconds=6))
    assert await standing(client) == (200, {})


async def test_a_deleted_token_ends_its_login(api: Api, passport: StandInPassport, client: httpx.AsyncClient) -> None:
    uuid = (await client.get("/v2/tokens/")).json()["results"][0]["uuid"]
    assert (await client.delete(f"/v2/tokens/{uuid}/")).status_code == 204
    assert passport.asked["revoke"] == 1
    assert await standing(client) == (401, {"detail": "Invalid token."})


async def test_a_token_is_deleted_without_passport_too(
    api: Api, passport: StandInPassport, client: httpx.AsyncClient
) -> None:
    uuid = (await client.get("/v2/tokens/")).json()["results"][0]["uuid"]
    passport.is_away = True
    assert (await client.delete(f"/v2/tokens/{uuid}/")).status_code == 204
    assert await standing(client) == (401, {"detail": "Invalid token."})


async def test_a_token_is_deleted_when_its_key_at_rest_is_lost_too(api: Api, client: httpx.AsyncClient) -> None:
    other = Cipher([Fernet.generate_key().decode()])
    async with api.context.database.transaction() as session:
        await session.execute(update(TokenRow).values(sealed_refresh_token=other.seal("of a former key")))
    uuid = (await client.get("/v2/tokens/")).json()["results"][0]["uuid"]
    assert (await client.delete(f"/v2/tokens/{uuid}/")).status_code == 204
    assert await standing(client) == (401, {"detail": "Invalid token."})


async def test_a_token_that_is_deleted_while_it_is_looked_up_is_not_remembered(
    api: Api, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    uuid = (await client.get("/v2/tokens/")).json()["results"][0]["uuid"]
    authenticator = api.context.authenticator
    authenticator.forget_token(digest(client.headers["authorization"].split()[1]))
    find = TokenRepository.find
    found, go_on = asyncio.Event(), asyncio.Event()

    async def find_slowly(self: TokenRepository, digest: bytes, *, now: datetime) -> SignedIn | None:
        signed_in = await find(self, digest, now=now)
        if not found.is_set():
            found.set()
            await go_on.wait()
        return signed_in

    async with await log_in(api) as other:
        await other.get("/v2/")  # from now on it is known without a look
        monkeypatch.setattr(TokenRepository, "find", find_slowly)
        asking = asyncio.create_task(standing(client))
        await found.wait()
        assert (await other.delete(f"/v2/tokens/{uuid}/")).status_code == 204
        go_on.set()
        await asking
    assert await standing(client) == (401, {"detail": "Invalid token."})


async def bearer(api: Api, token: str, path: str = "/v2/auth/whoami/") -> httpx.Response:
    """An answer to an access token of passport."""
    async with api.client(authorization=f"Bearer {token}") as client:
        return await client.get(path)


async def test_access_tokens_of_people(api: Api, passport: StandInPassport, client: httpx.AsyncClient) -> None:
    response = await bearer(api, passport.access_token(sub="1000", username="ana"))
    assert (response.status_code, response.json()["username"]) == (200, "ana")


@pytest.mark.parametrize(
    "claims",
    [{"aud": ["builder"]}, {"iss": "http://evil.test/oauth"}, {"exp": 1}, {"sub": "not-a-number"}],
)
async def test_access_tokens_that_are_not_for_us(
    api: Api, passport: StandInPassport, client: httpx.AsyncClient, claims: dict[str, Any]
) -> None:
    response = await bearer(api, passport.access_token(**{"sub": "1000", "username": "ana"} | claims))
    assert (response.status_code, response.json()) == (401, {"detail": "Verify token fail."})
    assert response.headers["www-authenticate"] == "bearer"


async def test_access_tokens_of_services(api: Api, passport: StandInPassport) -> None:
    hook = passport.access_token(sub="builder", client_id="builder", scope="controller:hook other")
    unknown = await bearer(api, hook, "/v2/hooks/key/SHA256:nope")
    assert (unknown.status_code, unknown.json()) == (404, "No Key matches the given query.")
    assert (await bearer(api, hook, "/v2/apps/")).status_code == 403
    weak = passport.access_token(sub="builder", client_id="builder", scope="other")
    assert (await bearer(api, weak, "/v2/hooks/key/SHA256:nope")).status_code == 403
    person = passport.access_token(sub="1000", username="ana", scope="controller:hook")
    assert (await bearer(api, person, "/v2/hooks/key/SHA256:nope")).status_code in (401, 403)


def changed(number: int, username: str, **flags: Any) -> UserChanged:
    """News about a person."""
    rights = {"is_active": True, "is_staff": False, "is_superuser": False}
    return UserChanged(user_id=number, username=username, email=f"{username}@example.org", **(rights | flags))


@pytest_asyncio.fixture(loop_scope="session")
async def worked(make_database: MakeDatabase, passport: StandInPassport) -> AsyncIterator[Api]:
    """A controller with its worker and the real time."""
    async with running_api(await make_database("controller"), passport_url=passport.url) as api:
        yield api


async def publish(bus: InProcessBus, event: UserChanged, *, age: timedelta = timedelta()) -> Envelope:
    """Publish it, as if it were that old."""
    envelope = Envelope.wrap(event, source="/services/passport")
    envelope = envelope.model_copy(update={"time": envelope.time - age})
    await bus.publish(envelope)
    return envelope


async def test_news_take_effect_at_once(worked: Api) -> None:
    async with await log_in(worked) as client:
        assert await standing(client) == (200, {})
        envelope = await publish(worked.bus, changed(1000, "ana", is_active=False))
        assert await standing(client) == (401, {"detail": "User inactive or deleted."})
        await publish(worked.bus, changed(1000, "ana"))
        await worked.bus.publish(envelope)  # a second delivery changes nothing
        assert await standing(client) == (200, {})
        await publish(worked.bus, changed(1000, "ana", is_active=False), age=timedelta(minutes=5))  # late
        assert await standing(client) == (200, {})


async def test_names_that_change_hands(worked: Api) -> None:
    await publish(worked.bus, changed(501, "first"))
    await publish(worked.bus, changed(502, "first"))
    await publish(worked.bus, changed(501, "second"))
    zoe = await worked.person("zoe")
    await worked.create("names", "zoe")
    for username in ("first", "second"):
        body = {"username": username, "permissions": "view"}
        assert (await zoe.client.post("/v2/apps/names/perms/", json=body)).status_code == 201

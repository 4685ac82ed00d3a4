"""Access tokens against a server that publishes keys and gives tokens, over real HTTP on a unix socket."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI, Form, Request
from fastapi.responses import JSONResponse
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, OKPKey
from pydantic import SecretStr

from shared.auth import InvalidTokenError, ServiceTokens, TokenVerifier
from shared.errors import UnavailableError
from shared.http import create_client
from shared.settings import ServiceSettings, load_settings
from shared.web import create_service_app, serving

ISSUER = "http://drycc-passport.localhost:8080/oauth"
AUDIENCE = "controller"


class Issuer:
    """Keys, and a count of who asked for what."""

    def __init__(self) -> None:
        self.keys: list[Any] = [ECKey.generate_key("P-256", {"kid": "k1"})]
        self.key_requests = 0
        self.token_requests: list[tuple[str, Mapping[str, str]]] = []
        self.is_down = False
        self.lifetime = 900

    def sign(self, *, key: Any = None, typ: str = "at+jwt", alg: str = "ES256", **changes: Any) -> str:
        key = key or self.keys[0]
        claims = {
            "iss": ISSUER,
            "aud": [AUDIENCE],
            "sub": "7",
            "client_id": "web",
            "username": "mina",
            "scope": "openid apps",
            "exp": int(time.time()) + 60,
            "iat": int(time.time()),
            "jti": "j1",
        } | changes
        claims = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode({"alg": alg, "typ": typ, "kid": key.kid}, claims, key, algorithms=[alg])

    def app(self) -> FastAPI:
        app = create_service_app(title="Issuer", service="issuer", lifespan=None, checks={})

        @app.get("/oauth/.well-known/jwks.json")
        async def jwks() -> JSONResponse:
            self.key_requests += 1
            if self.is_down:
                return JSONResponse({}, 503)
            return JSONResponse(KeySet(self.keys).as_dict(private=False))

        @app.post("/oauth/token/")
        async def token(
            request: Request, scope: Annotated[str, Form()], audience: Annotated[str, Form()]
        ) -> JSONResponse:
            self.token_requests.append((request.headers["authorization"], {"scope": scope, "audience": audience}))
            if self.is_down:
                return JSONResponse({"error": "invalid_client"}, 401)
            return JSONResponse({"access_token": f"t{len(self.token_requests)}", "expires_in": self.lifetime})

        @app.get("/guarded")
        async def guarded(request: Request) -> JSONResponse:
            given = request.headers["authorization"]
            return JSONResponse({"given": given}, 401 if given == "Bearer t1" else 200)

        return app


@pytest.fixture
def issuer() -> Issuer:
    return Issuer()


@pytest_asyncio.fixture
async def client(issuer: Issuer, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    settings = load_settings(ServiceSettings, bind_socket=tmp_path / "issuer.sock")
    async with (
        serving(issuer.app(), settings) as address,
        create_client(base_url=address.base_url, socket=address.socket) as made,
    ):
        yield made


@pytest.fixture
def verifier(client: httpx.AsyncClient) -> TokenVerifier:
    return TokenVerifier(issuer=ISSUER, audience=AUDIENCE, client=client)


async def test_a_good_token_tells_who_asks(verifier: TokenVerifier, issuer: Issuer) -> None:
    claims = await verifier.verify(issuer.sign())
    assert (claims.subject, claims.client_id, claims.username, claims.jti) == ("7", "web", "mina", "j1")
    assert claims.scopes == {"openid", "apps"}
    service = await verifier.verify(issuer.sign(username=None, scope=None, aud=AUDIENCE))
    assert (service.username, service.scopes) == (None, frozenset())


async def test_ed25519_is_accepted_too(verifier: TokenVerifier, issuer: Issuer) -> None:
    issuer.keys.append(OKPKey.generate_key("Ed25519", {"kid": "k2"}))
    assert (await verifier.verify(issuer.sign(key=issuer.keys[1], alg="Ed25519"))).subject == "7"


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "http://elsewhere"},
        {"iss": None},
        {"aud": ["hooks"]},
        {"aud": None},
        {"exp": 1},
        {"exp": None},
        {"nbf": 9_999_999_999},
        {"sub": None},
        {"client_id": None},
        {"jti": None},
        {"typ": "JWT"},
    ],
)
async def test_a_token_that_says_the_wrong_thing_is_refused(
    verifier: TokenVerifier, issuer: Issuer, changes: dict[str, Any]
) -> None:
    with pytest.raises(InvalidTokenError) as caught:
        await verifier.verify(issuer.sign(**changes))
    assert caught.value.status == 401
    assert caught.value.headers["WWW-Authenticate"].startswith("Bearer")


async def test_forged_and_malformed_tokens_are_refused(verifier: TokenVerifier, issuer: Issuer) -> None:
    forger = ECKey.generate_key("P-256", {"kid": "k1"})
    good = issuer.sign()
    header, payload, signature = good.split(".")
    unsigned = "eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0Iiwia2lkIjoiazEifQ." + payload + "."
    for token in (
        issuer.sign(key=forger),
        f"{header}.{payload}.{signature[::-1]}",
        unsigned,
        "",
        "a.b.c",
        "..",
        "nonsense",
        "é.é.é",
        "x" * 10_000,
    ):
        with pytest.raises(InvalidTokenError):
            await verifier.verify(token)


async def test_keys_are_fetched_once_and_again_for_a_new_one(
    verifier: TokenVerifier, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await asyncio.gather(*(verifier.verify(issuer.sign()) for _ in range(10)))
    assert issuer.key_requests == 1
    issuer.keys.insert(0, ECKey.generate_key("P-256", {"kid": "k2"}))
    with pytest.raises(InvalidTokenError):
        await verifier.verify(issuer.sign())
    assert issuer.key_requests == 1
    monkeypatch.setattr("shared.auth._REFETCH_SECONDS", 0.0)
    await verifier.verify(issuer.sign())
    assert issuer.key_requests == 2


async def test_known_keys_outlive_an_issuer_that_is_away(
    verifier: TokenVerifier, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    issuer.is_down = True
    with pytest.raises(UnavailableError):
        await verifier.verify(issuer.sign())
    issuer.is_down = False
    await verifier.verify(issuer.sign())
    issuer.is_down = True
    monkeypatch.setattr("shared.auth._KEYS_SECONDS", 0.0)
    monkeypatch.setattr("shared.auth._REFETCH_SECONDS", 0.0)
    assert (await verifier.verify(issuer.sign())).subject == "7"


def _tokens(client: httpx.AsyncClient) -> ServiceTokens:
    return ServiceTokens(
        client=client, client_id="builder", client_secret=SecretStr("s3"), audience=AUDIENCE, scopes=["a", "b"]
    )


async def test_a_service_token_is_shared_and_renewed_on_refusal(client: httpx.AsyncClient, issuer: Issuer) -> None:
    tokens = _tokens(client)
    answers = await asyncio.gather(*(client.get("/guarded", auth=tokens) for _ in range(5)))
    assert {answer.json()["given"] for answer in answers} == {"Bearer t2"}
    assert len(issuer.token_requests) == 2
    authorization, form = issuer.token_requests[0]
    assert authorization == "Basic YnVpbGRlcjpzMw=="
    assert form == {"scope": "a b", "audience": AUDIENCE}


async def test_a_token_that_ends_soon_is_not_used(client: httpx.AsyncClient, issuer: Issuer) -> None:
    issuer.lifetime = 0
    tokens = _tokens(client)
    assert await tokens.token() != await tokens.token()


async def test_no_token_is_an_error_without_the_secret(client: httpx.AsyncClient, issuer: Issuer) -> None:
    issuer.is_down = True
    with pytest.raises(UnavailableError, match="no token for builder: passport says 401"):
        await client.get("/guarded", auth=_tokens(client))

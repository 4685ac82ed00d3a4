"""The other side of the controller's logins: an identity provider with just the promises that the controller uses.

It can be told to be away, to close accounts, to end logins; and it counts what it was asked.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from fastapi import FastAPI, Request
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet
from starlette.responses import JSONResponse, Response

from shared.settings import ServiceSettings, load_settings
from shared.web import create_service_app, serving
from support.controller_api import ISSUER

CLIENT = ("controller", "secret-of-the-controller")
INVALID_GRANT = JSONResponse({"error": "invalid_grant"}, status_code=400)


@dataclass
class StandInPassport:
    """Its memory, and what the tests do to it."""

    people: dict[str, dict[str, Any]] = field(default_factory=dict)
    passwords: dict[str, str] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)
    is_away: bool = False
    throttled: bool = False
    url: str = ""

    def __post_init__(self) -> None:
        self._key = ECKey.generate_key("P-256", parameters={"kid": "k1", "alg": "ES256", "use": "sig"})
        self._access: dict[str, str] = {}
        self._refresh: dict[str, str] = {}
        self._codes: dict[str, tuple[str, Mapping[str, str]]] = {}
        self.wrong_nonce = False

    def add(self, username: str, password: str = "correct horse", **flags: Any) -> int:
        """A new account; its id."""
        number = 1000 + len(self.people)
        names = {"username": username, "name": username, "email": f"{username}@example.org"}
        rights = {"is_active": True, "is_staff": False, "is_superuser": False}
        empty = {"first_name": "", "last_name": ""}
        self.people[username] = {"id": number, "sub": str(number), **names, **empty, **rights, **flags}
        self.passwords[username] = password
        return number

    def end_logins(self) -> None:
        """No token that was handed out works any more."""
        self._access.clear()
        self._refresh.clear()

    def expire_access_tokens(self) -> None:
        """Only refresh tokens work now."""
        self._access.clear()

    def access_token(self, **claims: Any) -> str:
        """A signed access token for the controller, with these claims instead of the usual ones."""
        usual = {
            "iss": ISSUER,
            "aud": ["controller"],
            "sub": "0",
            "client_id": "cli",
            "jti": secrets.token_hex(8),
            "exp": int(time.time()) + 60,
        }
        return self._sign(usual | claims, typ="at+jwt")

    def allow(self, location: str, username: str) -> dict[str, str]:
        """The person's browser at the authorize URL: the parameters that come back."""
        query = {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}
        assert query["code_challenge_method"] == "S256"
        code = secrets.token_hex(8)
        self._codes[code] = (username, query)
        return {"code": code, "state": query["state"]}

    def app(self) -> FastAPI:
        """The HTTP side."""
        app = create_service_app(title="stand-in", service="stand-in", lifespan=None, checks={})
        app.add_api_route("/oauth/token/", self._token, methods=["POST"])
        app.add_api_route("/oauth/revoke_token/", self._revoke, methods=["POST"])
        app.add_api_route("/oauth/userinfo/", self._userinfo, methods=["GET"])
        app.add_api_route("/oauth/.well-known/jwks.json", self._jwks, methods=["GET"])
        return app

    async def _jwks(self) -> Response:
        return JSONResponse(KeySet([self._key]).as_dict(private=False))

    async def _token(self, request: Request) -> Response:
        form = await self._form(request)
        grant = form["grant_type"]
        self.asked[grant] += 1
        if self.is_away:
            return Response(status_code=503)
        if self.throttled:
            return Response(status_code=429, headers={"Retry-After": "17"})
        if grant == "password":
            username = form["username"]
            return self._tokens(username) if self._knows(username, form["password"]) else INVALID_GRANT
        if grant == "refresh_token":
            found = self._refresh.pop(form["refresh_token"], None)
            return self._tokens(found) if found is not None else INVALID_GRANT
        return self._exchange(form)

    def _exchange(self, form: Mapping[str, str]) -> Response:
        username, query = self._codes.pop(form["code"], (None, {}))
        challenge = base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).rstrip(b"=")
        fits = query.get("code_challenge") == challenge.decode() and query["redirect_uri"] == form["redirect_uri"]
        if username is None or not fits:
            return INVALID_GRANT
        return self._tokens(username, nonce="another" if self.wrong_nonce else query["nonce"])

    def _tokens(self, username: str, *, nonce: str | None = None) -> Response:
        access, refresh = secrets.token_hex(16), secrets.token_hex(16)
        self._access[access], self._refresh[refresh] = username, username
        body = {"access_token": access, "refresh_token": refresh, "token_type": "Bearer", "expires_in": 900}
        if nonce is not None:
            claims = {"iss": ISSUER, "aud": CLIENT[0], "sub": "0", "exp": int(time.time()) + 60, "nonce": nonce}
            body["id_token"] = self._sign(claims, typ="JWT")
        return JSONResponse(body)

    async def _revoke(self, request: Request) -> Response:
        self.asked["revoke"] += 1
        self._refresh.pop((await self._form(request))["token"], None)
        return Response(status_code=503 if self.is_away else 200)

    async def _userinfo(self, request: Request) -> Response:
        self.asked["userinfo"] += 1
        if self.is_away:
            return Response(status_code=503)
        username = self._access.get(request.headers["authorization"].removeprefix("Bearer "))
        if username is None:
            return JSONResponse({"error": "invalid_token"}, status_code=401)
        return JSONResponse(self.people[username])

    async def _form(self, request: Request) -> dict[str, str]:
        expected = "Basic " + base64.b64encode(":".join(CLIENT).encode()).decode()
        assert request.headers["authorization"] == expected
        return {name: values[0] for name, values in parse_qs((await request.body()).decode()).items()}

    def _knows(self, username: str, password: str) -> bool:
        return self.passwords.get(username) == password and self.people[username]["is_active"]

    def _sign(self, claims: dict[str, Any], *, typ: str) -> str:
        return jwt.encode({"alg": "ES256", "kid": "k1", "typ": typ}, claims, self._key)


@asynccontextmanager
async def running_passport() -> AsyncIterator[StandInPassport]:
    """One that listens on a port of this machine."""
    passport = StandInPassport()
    settings = load_settings(ServiceSettings, bind_port=0)
    async with serving(passport.app(), settings) as address:
        passport.url = address.base_url
        yield passport

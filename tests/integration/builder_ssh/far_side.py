"""The other side of the builder's contracts: HTTP that speaks for controller and passport, and a runner."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID, uuid4

from fastapi import FastAPI, Form, Request, Response
from joserfc import jwt
from joserfc.jwk import ECKey
from pydantic import BaseModel

from builder.runner.port import BuildFailedError, BuildResult, BuildSpec, Log, Plan, Tree

ISSUER = "http://drycc-passport.localhost/oauth"


class ConfigQuestion(BaseModel):
    receive_user: str
    receive_repo: str


@dataclass
class FarSide:
    """Who owns which key (in SHA256 form or MD5) and who may push where.

    `is_away` makes every controller endpoint fail; with a `builder_key` it takes that header and no token. `agents`
    asked it; `releases` are the bodies it was sent to make a release of, `answer_release` answers these, not a success.
    """

    keys: dict[str, str] = field(default_factory=dict)
    builder_key: str | None = None
    api_version: str = "2.3"
    grants: set[tuple[str, str]] = field(default_factory=set)
    values: list[dict[str, Any]] = field(default_factory=list)
    is_away: bool = False
    questions: list[str] = field(default_factory=list)
    agents: set[str | None] = field(default_factory=set)
    releases: list[dict[str, Any]] = field(default_factory=list)
    answer_release: Callable[[], Awaitable[Response]] | None = None
    signing_key: ECKey = field(default_factory=lambda: ECKey.generate_key("P-256", {"kid": "test", "alg": "ES256"}))

    def token(self, *, audience: str, scope: str, subject: str = "builder") -> str:
        claims: dict[str, str | int] = {"iss": ISSUER, "aud": audience, "sub": subject, "client_id": subject}
        claims |= {"scope": scope}
        claims |= {"exp": int(time.time()) + 600, "iat": int(time.time()), "jti": str(uuid4())}
        return jwt.encode({"alg": "ES256", "kid": "test", "typ": "at+jwt"}, claims, self.signing_key)

    def app(self) -> FastAPI:
        app = FastAPI()
        app.state.service = "far-side"
        app.state.server_options = {}

        @app.middleware("http")
        async def controller(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
            if not request.url.path.startswith("/v2/"):
                return await call_next(request)
            self.agents.add(request.headers.get("User-Agent"))
            if self.builder_key is not None:
                is_known = request.headers.get("X-Drycc-Builder-Auth") == self.builder_key
            else:
                is_known = request.headers.get("Authorization", "").startswith("Bearer ")
            response = await call_next(request) if is_known else Response(status_code=401)
            response.headers["DRYCC_API_VERSION"] = self.api_version
            return response

        @app.get("/v2/hooks/key/{fingerprint:path}")
        async def key(fingerprint: str) -> Any:
            self.questions.append(fingerprint)
            if self.is_away:
                return Response(status_code=503)
            if fingerprint not in self.keys:
                return Response('"No Key matches the given query."', status_code=404)
            user = self.keys[fingerprint]
            return {"username": user, "apps": [app for name, app in sorted(self.grants) if name == user]}

        @app.post("/v2/hooks/config/")
        async def config(question: ConfigQuestion) -> Any:
            if self.is_away:
                return Response(status_code=503)
            if (question.receive_user, question.receive_repo) not in self.grants:
                return Response('"object does not exist or does not have permission."', status_code=403)
            return {"app": question.receive_repo, "values": self.values, "uuid": str(uuid4())}

        @app.post("/v2/hooks/build/")
        async def build(request: Request) -> Any:
            self.releases.append(await request.json())
            if self.answer_release is not None:
                return await self.answer_release()
            return {"release": {"version": len(self.releases) + 1}}

        @app.post("/oauth/token/")
        async def token(audience: Annotated[str, Form()], scope: Annotated[str, Form()]) -> Any:
            return {"access_token": self.token(audience=audience, scope=scope), "expires_in": 600}

        @app.get("/oauth/.well-known/jwks.json")
        async def keys() -> Any:
            return {"keys": [self.signing_key.as_dict(private=False)]}

        return app


Build = Callable[[Tree, BuildSpec, Log], Awaitable[None]]


async def print_and_succeed(_tree: Tree, _spec: BuildSpec, log: Log) -> None:
    await log.write("---> Scripted build\n")


@dataclass
class ScriptedRunner:
    """Does what a test says. `may_end` holds builds back until it is set; `files` is what the last build extracted."""

    scratch: Path
    script: Build = print_and_succeed
    may_end: asyncio.Event = field(default_factory=asyncio.Event)
    running: set[UUID] = field(default_factory=set)
    specs: list[BuildSpec] = field(default_factory=list)
    cancelled: list[UUID] = field(default_factory=list)
    discarded: list[tuple[str, set[UUID] | None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.may_end.set()

    async def check(self, tree: Tree, spec: BuildSpec) -> Plan:
        procfile = await tree.read("Procfile")
        if procfile is None:
            raise BuildFailedError(
                "no-procfile", "there is no Procfile", hint="Add one with a line such as `web: ./serve`."
            )
        name, _, command = procfile.decode().strip().partition(": ")
        return Plan("buildpack", "procfile", {name: command}, {}, "")

    async def build(self, source: Path | Tree, spec: BuildSpec, plan: Plan, log: Log) -> BuildResult:
        assert not isinstance(source, Path)
        self.specs.append(spec)
        self.running.add(spec.build_id)
        try:
            await self.script(source, spec, log)
            await self.may_end.wait()
        except asyncio.CancelledError:
            self.cancelled.append(spec.build_id)
            raise
        finally:
            self.running.discard(spec.build_id)
        image = f"workspace/{spec.app}:{spec.build_id}"
        return BuildResult(image, plan.stack, plan.procfile, plan.dryccfile, plan.dockerfile)

    async def discard(self, app: str, keep: set[UUID] | None) -> None:
        self.discarded.append((app, keep))

"""What the builder asks the controller: whose key this is, and what a push to an app may use."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Generator
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from urllib.parse import quote
from uuid import UUID

import httpx
from pydantic import BaseModel, SecretStr, ValidationError

from builder.domain.errors import AppGoneError, ControllerUnavailableError, PushNotAllowedError
from builder.domain.retention import Wanted
from builder.runner.port import AppConfig, ConfigValue
from shared.errors import SuiteError
from shared.logging import get_logger

log = get_logger(__name__)

# The version of the API that this client speaks, and the header in which controllers tell theirs (builder.md 8).
API_VERSION: Final = (2, 3)
API_VERSION_HEADER: Final = "DRYCC_API_VERSION"
BUILDER_KEY_HEADER: Final = "X-Drycc-Builder-Auth"
HEADERS: Final = {"User-Agent": "drycc-builder"}
_NO_APP: Final = "No App matches"
_VERSION = re.compile(r"(\d{1,9})\.(\d{1,9})(?:\.\d+)*")


@dataclass(frozen=True)
class Account:
    """The owner of a key."""

    username: str


@dataclass(frozen=True)
class Fingerprints:
    """Of one public key: `SHA256:<base64>`, and MD5 in colon form (`aa:bb:...`) for controllers that know only that."""

    sha256: str
    md5: str


class BuilderKey(httpx.Auth):
    """The shared key of controllers that know builders by that alone (builder.md 8)."""

    def __init__(self, key: SecretStr) -> None:
        self._key = key

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers[BUILDER_KEY_HEADER] = self._key.get_secret_value()
        yield request


class _KeyAnswer(BaseModel):
    username: str


class _ConfigItem(BaseModel):
    name: str
    value: str | None = None
    group: str | None = None
    ptype: str | None = None


class _ConfigAnswer(BaseModel):
    values: list[_ConfigItem] = []


class _WantedAnswer(BaseModel):
    builds: list[UUID]
    images: list[str] = []


class ControllerClient:
    """The hook endpoints of the API 2.3. Each call has one deadline, retries included."""

    def __init__(self, client: httpx.AsyncClient, *, timeout: timedelta) -> None:
        self._client = client
        self._timeout = timeout.total_seconds()
        self._knows_sha256: bool | None = None
        self._told_version: str | None = None

    async def account(self, fingerprints: Fingerprints) -> Account | None:
        """The account that a key belongs to; None when nobody registered it.

        A controller that knows only MD5 says "not found" to every SHA256 fingerprint. So until some key has been found
        the other form is tried as well; the form in which one was found is the one that is asked for from then on.

        Raises:
            ControllerUnavailableError: nobody can tell now.
        """
        if self._knows_sha256 is not False and (account := await self._find(fingerprints.sha256)):
            self._knows_sha256 = True
            return account
        if self._knows_sha256 is not True and (account := await self._find(fingerprints.md5)):
            if self._knows_sha256 is None:
                log.info("controller_knows_md5_only")
                self._knows_sha256 = False
            return account
        return None

    async def _find(self, fingerprint: str) -> Account | None:
        response = await self._ask("GET", f"/v2/hooks/key/{quote(fingerprint, safe=':')}")
        if response.status_code == httpx.codes.NOT_FOUND:
            return None
        _expect_ok(response)
        try:
            return Account(_KeyAnswer.model_validate_json(response.content).username)
        except ValidationError as exc:
            raise _unusable(response) from exc

    async def config(self, app: str, username: str) -> AppConfig:
        """The app's configuration, if this user may push to it: the permission check of every git command.

        Raises:
            PushNotAllowedError: no such app, or not for this user.
            ControllerUnavailableError: nobody can tell now.
        """
        body = {"receive_user": username, "receive_repo": app}
        response = await self._ask("POST", "/v2/hooks/config/", json=body)
        if response.status_code in (httpx.codes.FORBIDDEN, httpx.codes.NOT_FOUND):
            raise PushNotAllowedError(app, username)
        _expect_ok(response)
        try:
            items = _ConfigAnswer.model_validate_json(response.content).values
        except ValidationError:
            raise _unusable(response) from None  # the cause would quote config values
        return AppConfig(
            tuple(
                ConfigValue(item.name, item.value, item.group, item.ptype) for item in items if item.value is not None
            )
        )

    async def wanted(self, app: str) -> Wanted | None:
        """The builds of the app that must be kept; None from a controller that does not know that question.

        Raises:
            AppGoneError: it knows no such app.
            ControllerUnavailableError: nobody can tell now.
        """
        response = await self._ask("GET", f"/v2/hooks/builds/{quote(app)}")
        if response.status_code == httpx.codes.NOT_FOUND and _NO_APP in response.text:
            raise AppGoneError(app)
        is_unknown = response.status_code in (httpx.codes.NOT_FOUND, httpx.codes.METHOD_NOT_ALLOWED)
        # Without the header it is somebody in front of a controller that is away.
        if is_unknown and _VERSION.fullmatch(response.headers.get(API_VERSION_HEADER, "")):
            return None
        _expect_ok(response)
        try:
            answer = _WantedAnswer.model_validate_json(response.content)
        except ValidationError as exc:
            raise _unusable(response) from exc
        return Wanted(frozenset(answer.builds), frozenset(answer.images))

    async def _ask(self, method: str, path: str, *, json: object = None) -> httpx.Response:
        try:
            async with asyncio.timeout(self._timeout):
                response = await self._ask_twice(method, path, json)
        except (httpx.HTTPError, TimeoutError, SuiteError) as exc:
            log.warning("controller_unreachable", method=method, error=type(exc).__name__)
            raise ControllerUnavailableError from exc
        self._look_at_version(response)
        return response

    def _look_at_version(self, response: httpx.Response) -> None:
        """Say once of each version that it may not fit, and go on: most of an API stays as it was."""
        version = response.headers.get(API_VERSION_HEADER)
        if version is None or version == self._told_version:
            return
        self._told_version = version
        if not speaks_our_version(version):
            ours = ".".join(map(str, API_VERSION))
            log.warning("controller_api_differs", ours=ours, controller=version[:20])

    async def _ask_twice(self, method: str, path: str, json: object) -> httpx.Response:
        """Ask again over a new connection when the other side had just closed the kept one; both calls only read."""
        try:
            return await self._client.request(method, path, json=json, headers=HEADERS)
        except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
            return await self._client.request(method, path, json=json, headers=HEADERS)


def speaks_our_version(version: str) -> bool:
    """Whether a controller of that API version has all that we ask for: our major version, at least our minor one.

    Compared as numbers: 2.10 is newer than 2.9.
    """
    match = _VERSION.fullmatch(version)
    return match is not None and int(match[1]) == API_VERSION[0] and int(match[2]) >= API_VERSION[1]


def _expect_ok(response: httpx.Response) -> None:
    if response.status_code != httpx.codes.OK:
        raise _unusable(response)


def _unusable(response: httpx.Response) -> ControllerUnavailableError:
    """Also a 401 or 403 on the key look-up lands here: then this service is set up wrongly, not the one who pushes."""
    log.error("controller_answer_unusable", method=response.request.method, status=response.status_code)
    return ControllerUnavailableError()

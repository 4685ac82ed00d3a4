"""What the builder asks the controller: whose key this is, and what a push to an app may use."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ValidationError

from builder.domain.errors import ControllerUnavailableError, PushNotAllowedError
from builder.runner.port import AppConfig, ConfigValue
from shared.errors import SuiteError
from shared.logging import get_logger

log = get_logger(__name__)


@dataclass(frozen=True)
class Account:
    """The owner of a key."""

    username: str


class _KeyAnswer(BaseModel):
    username: str


class _ConfigItem(BaseModel):
    name: str
    value: str | None = None
    group: str | None = None
    ptype: str | None = None


class _ConfigAnswer(BaseModel):
    values: list[_ConfigItem] = []


class ControllerClient:
    """The hook endpoints of the API 2.3. Each call has one deadline, retries included."""

    def __init__(self, client: httpx.AsyncClient, *, timeout: timedelta) -> None:
        self._client = client
        self._timeout = timeout.total_seconds()

    async def account(self, fingerprint: str) -> Account | None:
        """The account that a key belongs to (`SHA256:...`); None when nobody registered it.

        Raises:
            ControllerUnavailableError: nobody can tell now.
        """
        response = await self._ask("GET", f"/v2/hooks/key/{quote(fingerprint, safe='')}")
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
        response = await self._ask("POST", "/v2/hooks/config", json=body)
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

    async def _ask(self, method: str, path: str, *, json: object = None) -> httpx.Response:
        try:
            async with asyncio.timeout(self._timeout):
                return await self._ask_twice(method, path, json)
        except (httpx.HTTPError, TimeoutError, SuiteError) as exc:
            log.warning("controller_unreachable", method=method, error=type(exc).__name__)
            raise ControllerUnavailableError from exc

    async def _ask_twice(self, method: str, path: str, json: object) -> httpx.Response:
        """Ask again over a new connection when the other side had just closed the kept one; both calls only read."""
        try:
            return await self._client.request(method, path, json=json)
        except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
            return await self._client.request(method, path, json=json)


def _expect_ok(response: httpx.Response) -> None:
    if response.status_code != httpx.codes.OK:
        raise _unusable(response)


def _unusable(response: httpx.Response) -> ControllerUnavailableError:
    """Also a 401 or 403 on the key look-up lands here: then this service is set up wrongly, not the one who pushes."""
    log.error("controller_answer_unusable", method=response.request.method, status=response.status_code)
    return ControllerUnavailableError()

"""The call with which controllers that know no events make a release: `POST /v2/hooks/build/` (builder.md 8)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx

from builder.domain.errors import ControllerUnavailableError
from builder.domain.release_ends import ReleaseEnd, answered, unanswered
from builder.services.controller import HEADERS
from shared.errors import SuiteError
from shared.logging import get_logger

log = get_logger(__name__)

PATH = "/v2/hooks/build/"
# A kept connection may be closed by the other side just when we send: then nobody knows whether it was heard.
ONCE = HEADERS | {"Connection": "close"}
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


class ReleaseCalls:
    """Speaks through `client`, which serves nothing else; `timeout` is for a connection, `patience` for the answer."""

    def __init__(self, client: httpx.AsyncClient, *, timeout: timedelta, patience: timedelta) -> None:
        self._client = client
        self._patience = patience.total_seconds()
        self._timeouts = httpx.Timeout(self._patience, connect=timeout.total_seconds())

    async def make(self, app: str, build_id: UUID, body: Mapping[str, Any]) -> ReleaseEnd:
        """Ask for the release, once; a controller that knows keys of requests makes no second one, whatever repeats it.

        Raises:
            ControllerUnavailableError: the request surely did not arrive, or was put off (429); ask again.
        """
        headers = ONCE | {"Idempotency-Key": str(build_id)}
        try:
            async with asyncio.timeout(self._patience):
                response = await self._client.post(PATH, json=body, headers=headers, timeout=self._timeouts)
        except (*_NOT_SENT, SuiteError) as exc:  # SuiteError: there is no token
            log.warning("controller_unreachable", method="POST", error=type(exc).__name__)
            raise ControllerUnavailableError from exc
        except (httpx.TimeoutException, TimeoutError):
            end = unanswered(app, f"it did not answer for {self._patience / 60:g} min")
        except httpx.HTTPError as exc:
            log.warning("controller_hung_up", method="POST", error=type(exc).__name__)
            end = unanswered(app, "the connection broke")
        else:
            if response.status_code == httpx.codes.TOO_MANY_REQUESTS:
                raise ControllerUnavailableError
            end = answered(app, response.status_code, response.content)
            log.info("controller_answered", status=response.status_code)
        return end

"""HTTP clients for calls between our services: a deadline, the request id, and another try when nobody listened."""

from __future__ import annotations

import functools
import ssl
from pathlib import Path
from typing import Final

import httpx
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_exponential_jitter

from shared.logging import current_request_id

REQUEST_ID_HEADER: Final = "X-Request-ID"
_ATTEMPTS: Final = 4
_REPEATABLE: Final = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})


@functools.cache
def tls_context() -> ssl.SSLContext:
    """The trusted authorities, loaded once: that takes longer than most requests, and httpx does it per client."""
    return httpx.create_ssl_context()


def create_client(
    *,
    base_url: str,
    socket: Path | None = None,
    auth: httpx.Auth | None = None,
    timeout: float = 10.0,
) -> httpx.AsyncClient:
    """A client for `base_url`, over the unix `socket` when one is given. `timeout` is in seconds, per phase.

    Sends the request id of the task that asks. Tries again, within about a second, when no connection came about, and
    for methods that may be repeated (RFC 9110 section 9.2.2) also when a kept connection turned out to be closed.
    Proxies of the environment are not used.
    """
    inner = httpx.AsyncHTTPTransport(uds=str(socket) if socket else None, verify=tls_context())
    return httpx.AsyncClient(
        base_url=base_url,
        transport=RetryTransport(inner),
        auth=auth,
        timeout=timeout,
        event_hooks={"request": [_send_request_id]},
    )


async def _send_request_id(request: httpx.Request) -> None:
    request_id = current_request_id()
    if request_id is not None:
        request.headers.setdefault(REQUEST_ID_HEADER, request_id)


class RetryTransport(httpx.AsyncBaseTransport):
    """Repeats what cannot have had an effect."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self._inner = inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        def may_repeat(exc: BaseException) -> bool:
            if isinstance(exc, httpx.ConnectError | httpx.ConnectTimeout):
                return True  # nothing was sent
            is_cut_off = isinstance(exc, httpx.RemoteProtocolError | httpx.ReadError | httpx.WriteError)
            is_replayable = isinstance(request.stream, httpx.ByteStream)
            return is_cut_off and is_replayable and request.method in _REPEATABLE

        attempts = AsyncRetrying(
            retry=retry_if_exception(may_repeat),
            stop=stop_after_attempt(_ATTEMPTS),
            wait=wait_exponential_jitter(multiplier=0.05, max=0.5, jitter=0.05),
            reraise=True,
        )
        return await attempts(self._inner.handle_async_request, request)

    async def aclose(self) -> None:
        await self._inner.aclose()

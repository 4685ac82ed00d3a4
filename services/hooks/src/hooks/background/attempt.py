"""One attempt to deliver: an HTTP request to a receiver, and what came of it in words that hold no URL."""

from __future__ import annotations

import asyncio

import httpx
from pydantic import SecretStr

from hooks.domain.delivery import Delivery, Outcome, Target
from hooks.domain.signature import signature_headers
from shared.clock import Clock
from shared.http import tls_context

_EXPLAINED: tuple[tuple[type[httpx.HTTPError], str], ...] = (
    (httpx.ConnectTimeout, "could not connect in time"),
    (httpx.ConnectError, "could not connect"),
    (httpx.TimeoutException, "did not answer in time"),
    (httpx.RemoteProtocolError, "closed the connection without a proper answer"),
    (httpx.NetworkError, "the connection broke"),
)


class Poster:
    """Sends deploy hooks. Owns its HTTP client; a context manager."""

    def __init__(
        self, *, secret: SecretStr | None, connect_timeout_seconds: float, timeout_seconds: float, clock: Clock
    ) -> None:
        self._secret = secret
        self._timeout_seconds = timeout_seconds
        self._clock = clock
        # Redirects are not followed: the signature covers one URL.
        self._client = httpx.AsyncClient(
            follow_redirects=False,
            verify=tls_context(),
            timeout=httpx.Timeout(timeout_seconds, connect=connect_timeout_seconds),
            headers={"User-Agent": "Workflow-Hooks"},
        )

    async def __aenter__(self) -> Poster:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self._client.aclose()

    async def post(self, delivery: Delivery, target: Target) -> Outcome:
        """POST the hook with an empty body. Only an answer of 2xx counts as taken.

        `Workflow-Delivery` is the same in every attempt, so that a receiver can drop a hook that it has had.
        """
        url = target.complete(delivery.facts)
        headers = {"Workflow-Delivery": str(delivery.id)}
        if self._secret is not None:
            headers |= signature_headers(url, secret=self._secret.get_secret_value(), now=self._clock.now())
        try:
            async with asyncio.timeout(self._timeout_seconds):
                status = await self._status_of(url, headers)
        except TimeoutError:
            return Outcome(status=None, error="did not answer in time")
        except httpx.HTTPError as exc:
            return Outcome(status=None, error=_explain(exc))
        return _judge(status)

    async def _status_of(self, url: str, headers: dict[str, str]) -> int:
        # The body is never read: a receiver may not make us hold whatever it likes to send.
        async with self._client.stream("POST", url, headers=headers) as response:
            return response.status_code


def _explain(exc: httpx.HTTPError) -> str:
    for kind, sentence in _EXPLAINED:
        if isinstance(exc, kind):
            return sentence
    return f"could not be sent ({type(exc).__name__})"


def _judge(status: int) -> Outcome:
    if httpx.codes.is_success(status):
        return Outcome(status=status, error=None)
    if httpx.codes.is_redirect(status):
        return Outcome(status=status, error=f"answered {status}: redirects are not followed, configure the final URL")
    return Outcome(status=status, error=f"answered {status}")

"""The connection to the API server: where it is, whom it trusts, who we are; each read anew when its file changes.

The library is imported when a connection is made and not before: it brings all its generated models (3 s, 100 MB).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from aiohttp import ClientResponse, ClientTimeout, ClientWebSocketResponse

from shared.errors import InvalidInputError
from shared.logging import get_logger

if TYPE_CHECKING:
    from kubernetes_asyncio.client import ApiClient, Configuration

_SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_USER_AGENT: Final = "workflow"
_IDENTITY: Final = ("host", "ssl_ca_cert", "cert_file", "key_file", "verify_ssl", "tls_server_name", "proxy")
_DRAIN_SECONDS: Final = 30.0
log = get_logger(__name__)

Stamp = tuple[tuple[int, int, int], ...]


class Access(Protocol):
    """How to reach the API server and who we are."""

    def stamp(self) -> Stamp:
        """Changes whenever `load` may give something else."""

    async def load(self) -> Configuration:
        """Read everything anew.

        Raises:
            InvalidInputError: there is no usable configuration; the text says where it was looked for.
        """


@dataclass(frozen=True)
class InCluster:
    """The service account of the pod that we run in."""

    token: Path = _SERVICE_ACCOUNT / "token"
    authority: Path = _SERVICE_ACCOUNT / "ca.crt"

    def stamp(self) -> Stamp:
        return _stamp(self.token, self.authority)

    async def load(self) -> Configuration:
        return await asyncio.to_thread(self._load)

    def _load(self) -> Configuration:
        library = _library()
        configuration: Configuration = library.client.Configuration()
        try:
            library.config.load_incluster_config(
                client_configuration=configuration,
                try_refresh_token=False,
                token_filename=str(self.token),
                cert_filename=str(self.authority),
            )
        except (library.config.ConfigException, OSError) as exc:
            raise InvalidInputError(f"This is no pod with a service account, and no kubeconfig is set: {exc}") from exc
        return configuration


@dataclass(frozen=True)
class Kubeconfig:
    """A kubeconfig file, with its current context or another one."""

    path: Path
    context: str | None = None

    def stamp(self) -> Stamp:
        return _stamp(self.path)

    async def load(self) -> Configuration:
        library = await asyncio.to_thread(_library)  # leaves the loop to others meanwhile
        configuration: Configuration = library.client.Configuration()
        if not self.path.is_file():
            raise InvalidInputError(f"There is no kubeconfig at {self.path}")
        try:
            await library.config.load_kube_config(
                config_file=str(self.path),
                context=self.context,
                client_configuration=configuration,
                persist_config=False,
            )
        except Exception as exc:
            # It reads YAML and runs programs. No text but the library's own sentences: the file has keys in it.
            reason = str(exc) if isinstance(exc, library.config.ConfigException) else type(exc).__name__
            raise InvalidInputError(f"The kubeconfig {self.path} cannot be used: {reason}") from None
        return configuration


class Transport:
    """Sends requests with our credentials. Not for use before `open` and after `close`."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._stamp: Stamp | None = None
        self._generation = 0
        self._client: ApiClient | None = None
        self._identity: tuple[object, ...] = ()
        self._token: str | None = None
        self._host = ""
        self._loading = asyncio.Lock()
        self._draining: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Read the configuration. Nothing is sent yet."""
        await self._load(self._access.stamp(), used=self._generation)

    async def close(self) -> None:
        """Close all connections; what still runs on them breaks."""
        for task in self._draining:
            task.cancel()
        await asyncio.gather(*self._draining, return_exceptions=True)
        if self._client is not None:
            await self._client.close()
            self._client = None

    @property
    def generation(self) -> int:
        """How many times the credentials have been read; see `renew`."""
        return self._generation

    async def renew(self, used: int) -> None:
        """Read the credentials anew, unless somebody has done so since `generation` was `used`."""
        await self._load(self._access.stamp(), used=used)

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        body: bytes | None,
        timeout: ClientTimeout,
    ) -> ClientResponse:
        """Send one request; the answer's body is not read yet."""
        await self._refresh()
        rest = self._rest()
        kwargs: dict[str, Any] = {"data": body, "timeout": timeout, "headers": self._headers(headers)}
        if rest.server_hostname:
            kwargs["server_hostname"] = rest.server_hostname
        if rest.proxy:
            kwargs["proxy"] = rest.proxy
        # The library's own request() would log bodies, parse models and forget to hand down the method's headers.
        answer: ClientResponse = await rest.pool_manager.request(
            method, self._url(path), params=dict(query), allow_redirects=False, **kwargs
        )
        return answer

    async def websocket(
        self, path: str, *, query: Sequence[tuple[str, str]], protocols: tuple[str, ...], heartbeat: float | None
    ) -> ClientWebSocketResponse:
        """Open a WebSocket that speaks one of these protocols."""
        await self._refresh()
        rest = self._rest()
        kwargs: dict[str, Any] = {"proxy": rest.proxy} if rest.proxy else {}
        if rest.server_hostname:
            kwargs["server_hostname"] = rest.server_hostname
        socket: ClientWebSocketResponse = await rest.pool_manager.ws_connect(
            self._url(path), params=query, protocols=protocols, heartbeat=heartbeat, headers=self._headers({}), **kwargs
        )
        return socket

    async def _refresh(self) -> None:
        stamp = self._access.stamp()
        if stamp != self._stamp:
            with contextlib.suppress(InvalidInputError):  # half written: go on with what we have
                await self._load(stamp, used=self._generation)

    def _rest(self) -> Any:
        if self._client is None:
            raise RuntimeError("the transport is not open")
        return self._client.rest_client

    def _url(self, path: str) -> str:
        return f"{self._host}{path}"

    def _headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        own = {"User-Agent": _USER_AGENT, **headers}
        return own if self._token is None else {**own, "Authorization": self._token}

    async def _load(self, stamp: Stamp, *, used: int) -> None:
        async with self._loading:
            if self._generation != used:
                return
            configuration = await self._access.load()
            token = configuration.api_key.get("BearerToken")
            self._token = token.strip() if token else None
            self._host = str(configuration.host)
            self._stamp = stamp
            self._generation += 1
            identity = _identity(configuration)
            if identity != self._identity:
                self._identity = identity
                self._replace(configuration)

    def _replace(self, configuration: Configuration) -> None:
        # Every watch holds a connection of its own: no limit.
        configuration.connection_pool_maxsize = 0
        former, self._client = self._client, _library().client.ApiClient(configuration)
        if former is not None:
            log.info("cluster_connection_renewed")
            task = asyncio.create_task(_close_later(former))
            self._draining.add(task)
            task.add_done_callback(self._draining.discard)


async def _close_later(client: ApiClient) -> None:
    """Requests on the former connections may end; watches break and start anew on the new ones."""
    try:
        await asyncio.sleep(_DRAIN_SECONDS)
    finally:
        await client.close()


def _library() -> Any:
    import kubernetes_asyncio  # noqa: PLC0415 - see the module's docstring

    return kubernetes_asyncio


def _identity(configuration: Configuration) -> tuple[object, ...]:
    """What connections are made of; other files under the same names count as a change."""
    files = (configuration.ssl_ca_cert, configuration.cert_file, configuration.key_file)
    return (*(getattr(configuration, name) for name in _IDENTITY), *_stamp(*(Path(name) for name in files if name)))


def _stamp(*paths: Path) -> Stamp:
    return tuple(_file_stamp(path) for path in paths)


def _file_stamp(path: Path) -> tuple[int, int, int]:
    try:
        status = path.stat()
    except OSError:
        return (0, 0, 0)
    return (status.st_mtime_ns, status.st_ino, status.st_size)

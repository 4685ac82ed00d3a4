"""A registry's HTTP interface (OCI distribution specification 1.1), as far as removing images needs it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote, urlsplit

import httpx

from builder.domain.errors import RegistryRefusesDeletesError, RegistryUnavailableError
from builder.registry.tokens import NoTokenError, fetch_token

DEADLINE_SECONDS: Final = 20.0
_MANIFESTS: Final = ", ".join(
    (
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
    )
)
_TAGS_AT_ONCE: Final = 1000
_GONE: Final = (httpx.codes.OK, httpx.codes.ACCEPTED, httpx.codes.NO_CONTENT, httpx.codes.NOT_FOUND)


@dataclass(frozen=True)
class Account:
    """Who asks."""

    username: str
    password: str = field(repr=False)

    @property
    def basic(self) -> httpx.BasicAuth:
        return httpx.BasicAuth(self.username, self.password)


class RegistryClient:
    """One registry. Every method raises RegistryUnavailableError when it does not answer, or refuses us."""

    def __init__(self, client: httpx.AsyncClient, *, host: str, is_insecure: bool, account: Account | None) -> None:
        self._client = client
        self._host = host
        self._is_insecure = is_insecure
        self._account = account
        self._tokens: dict[str, str] = {}
        self._asks_basic = False

    async def tags(self, repository: str) -> list[str]:
        """The tags of a repository; none where there is no such repository."""
        found: list[str] = []
        path: str | None = f"/v2/{quote(repository)}/tags/list?n={_TAGS_AT_ONCE}"
        while path is not None:
            response = await self._ask("GET", path, repository)
            if response.status_code == httpx.codes.NOT_FOUND:
                break
            found += [str(tag) for tag in _document(self._expect(response, repository)).get("tags") or ()]
            path = _next_page(response)
        return found

    async def digest(self, repository: str, tag: str) -> str | None:
        """The digest of the manifest that has this tag; None where none has."""
        response = await self._ask("HEAD", f"/v2/{quote(repository)}/manifests/{quote(tag)}", repository)
        if response.status_code == httpx.codes.NOT_FOUND:
            return None
        digest: str | None = self._expect(response, repository).headers.get("Docker-Content-Digest")
        return digest

    async def made_at(self, repository: str, tag: str) -> datetime | None:
        """When the image of that tag says that it was made; None where it does not say."""
        response = await self._ask("GET", f"/v2/{quote(repository)}/manifests/{quote(tag)}", repository)
        if response.status_code == httpx.codes.NOT_FOUND:
            return None
        config = (_document(self._expect(response, repository)).get("config") or {}).get("digest")
        if not isinstance(config, str):
            return None
        response = await self._ask("GET", f"/v2/{quote(repository)}/blobs/{quote(config)}", repository)
        if response.status_code == httpx.codes.NOT_FOUND:
            return None
        made = _document(self._expect(response, repository)).get("created")
        return _moment(made) if isinstance(made, str) else None

    async def delete(self, repository: str, digest: str) -> None:
        """Remove a manifest and with it its tags; absent is fine.

        Raises:
            RegistryRefusesDeletesError: the registry is set up to delete nothing.
        """
        response = await self._ask("DELETE", f"/v2/{quote(repository)}/manifests/{quote(digest)}", repository)
        if response.status_code == httpx.codes.METHOD_NOT_ALLOWED:
            raise RegistryRefusesDeletesError(self._host)
        if response.status_code not in _GONE:
            self._expect(response, repository)

    def _expect(self, response: httpx.Response, repository: str) -> httpx.Response:
        if response.status_code != httpx.codes.OK:
            raise RegistryUnavailableError(self._host, f"{response.status_code} for {repository}")
        return response

    async def _ask(self, method: str, path: str, repository: str) -> httpx.Response:
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                response = await self._send(method, path, repository)
                if response.status_code == httpx.codes.UNAUTHORIZED and await self._log_in(response, repository):
                    response = await self._send(method, path, repository)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as exc:
            raise RegistryUnavailableError(self._host, type(exc).__name__) from exc
        return response

    async def _send(self, method: str, path: str, repository: str) -> httpx.Response:
        token = self._tokens.get(repository)
        headers = {"Accept": f"{_MANIFESTS}, */*"} | ({"Authorization": f"Bearer {token}"} if token else {})
        basic = self._account.basic if self._asks_basic and self._account is not None else None
        url = f"{'http' if self._is_insecure else 'https'}://{self._host}{path}"
        # Stores that a registry sends readers to get no credentials: httpx keeps them from other hosts.
        return await self._client.request(method, url, headers=headers, auth=basic, follow_redirects=method != "DELETE")

    async def _log_in(self, response: httpx.Response, repository: str) -> bool:
        """Whether asking again may help: with the account itself, or with a token had for it."""
        scheme = response.headers.get("WWW-Authenticate", "").partition(" ")[0]
        if scheme.lower() == "basic":
            is_new, self._asks_basic = not self._asks_basic, True
            return is_new and self._account is not None
        if scheme.lower() != "bearer":
            return False
        try:
            token = await fetch_token(
                self._client,
                response.headers["WWW-Authenticate"],
                scopes=[f"repository:{repository}:pull,delete"],
                account=self._account.basic if self._account is not None else None,
                may_be_plain=lambda _host: self._is_insecure,
            )
        except NoTokenError as exc:
            raise RegistryUnavailableError(self._host, str(exc)) from exc
        self._tokens = {repository: token}  # one app after the other: older ones are of no use
        return True


def _document(response: httpx.Response) -> dict[str, Any]:
    try:
        found = response.json()
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise RegistryUnavailableError(response.url.host, "its answer is no JSON object")
    return found


def _next_page(response: httpx.Response) -> str | None:
    url = response.links.get("next", {}).get("url")
    if url is None:
        return None
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}"


def _moment(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text[:19] + "+00:00")
    except ValueError:
        return None
    return found if found.year > 1980 else None  # reproducible images say 1970 or 1980

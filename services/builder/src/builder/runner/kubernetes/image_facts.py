"""What images say of themselves, read from their registries (OCI distribution specification 1.1), nothing pulled."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import httpx

from builder.domain.builders import Reference
from builder.registry.tokens import NoTokenError, fetch_token
from builder.runner.kubernetes.config import KubernetesRunnerConfig
from shared.logging import get_logger

_INDEXES: Final = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_MANIFESTS: Final = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
_ACCEPT: Final = {"Accept": ", ".join((*_MANIFESTS, *_INDEXES))}
_HUB: Final = ("docker.io", "registry-1.docker.io")
_SECONDS: Final = 20.0
"""For all requests about one image together: somebody waits at a `git push`."""
_MOST_BYTES: Final = 16 * 1024 * 1024
_REDIRECTS: Final = 3


log = get_logger(__name__)


class ImageUnknownError(Exception):
    """The registry has no such image, or none that we may see."""


class RegistryAwayError(Exception):
    """The registry did not answer, or not with what it should; the text says what it did."""


@dataclass(frozen=True)
class ImageFacts:
    """`name` is the image's with its digest, also when a mirror was asked."""

    name: str
    env: Mapping[str, str]
    labels: Mapping[str, str]


class ImageReader:
    """Reads with the platform's account at its own registry, and as nobody elsewhere."""

    def __init__(self, config: KubernetesRunnerConfig, *, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._config = config
        self._transport = transport

    async def read(self, image: Reference) -> ImageFacts:
        """The facts of an image; a mirror is asked before the registry itself.

        Raises:
            ImageUnknownError, RegistryAwayError: there are none, or not now.
        """
        places = [image]
        if (mirror := self._config.registry_mirrors.get(image.host)) is not None:
            places.insert(0, Reference(mirror, image.path, image.tag, image.digest))
        # Proxies of the environment count: they are how a platform without a way out reaches other registries.
        async with httpx.AsyncClient(transport=self._transport, timeout=_SECONDS) as client:
            for place in places:
                try:
                    async with asyncio.timeout(_SECONDS):
                        return await _Repository(client, place, self._config).facts(image.repository)
                except Exception as exc:  # names, and what registries of strangers say, may be anything
                    if place is places[-1]:
                        raise _reason(place, exc) from exc
        raise AssertionError("there is always a place")


class _Repository:
    def __init__(self, http: httpx.AsyncClient, image: Reference, config: KubernetesRunnerConfig) -> None:
        self._http = http
        self._image = image
        self._insecure = config.insecure_registries
        self._host = _HUB[1] if image.host == _HUB[0] else image.host
        scheme = "http" if self._host in self._insecure else "https"
        self._base = f"{scheme}://{self._host}/v2/{image.path}"
        account = config.registry_account if image.host == config.registry else None
        self._account = httpx.BasicAuth(*account) if account is not None else None
        words = ":".join(account or ())
        self._authorization = f"Basic {base64.b64encode(words.encode()).decode()}" if words else ""

    async def facts(self, repository: str) -> ImageFacts:
        document, digest = await self._manifest(self._image.digest or self._image.tag)
        if "manifests" in document:
            document, _ = await self._manifest(_for_linux(document))
        config = _parsed(await self._get(f"{self._base}/blobs/{_text(document, 'config', 'digest')}"))
        of_containers = config.get("config") or {}
        listed = (str(item).partition("=") for item in of_containers.get("Env") or ())
        return ImageFacts(
            f"{repository}@{digest}",
            {name: value for name, _, value in listed},
            {str(name): str(value) for name, value in (of_containers.get("Labels") or {}).items()},
        )

    async def _manifest(self, reference: str) -> tuple[dict[str, Any], str]:
        content = await self._get(f"{self._base}/manifests/{reference}")
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        if reference.startswith("sha256:") and reference != digest:
            raise RegistryAwayError("it sent something else than was asked for")
        return _parsed(content), digest

    async def _get(self, url: str) -> bytes:
        answer, content = await self._send(url)
        if answer.status_code == httpx.codes.UNAUTHORIZED and await self._login(answer):
            answer, content = await self._send(url)
        if answer.status_code in (401, 403, 404):
            raise ImageUnknownError
        if not answer.is_success:
            raise RegistryAwayError(f"it answered {answer.status_code}")
        return content

    async def _send(self, url: str) -> tuple[httpx.Response, bytes]:
        headers = _ACCEPT | ({"Authorization": self._authorization} if self._authorization else {})
        for _ in range(_REDIRECTS):
            async with self._http.stream("GET", url, headers=headers) as answer:
                if not answer.is_redirect:
                    return answer, await _content(answer)
                onward = answer.url.join(answer.headers.get("Location", ""))
            if onward.scheme != "https" and onward.netloc.decode() not in self._insecure:
                raise RegistryAwayError("it leads to a place without TLS")
            if onward.netloc != httpx.URL(url).netloc:  # a store of somebody else gets no credentials of ours
                headers.pop("Authorization", None)
            url = str(onward)
        raise RegistryAwayError("it leads from one place to another")

    async def _login(self, answer: httpx.Response) -> bool:
        """Whether a token was had from whom the registry named (token authentication of the distribution project)."""
        try:
            token = await fetch_token(
                self._http,
                answer.headers.get("WWW-Authenticate", ""),
                scopes=[f"repository:{self._image.path}:pull"],
                account=self._account,
                may_be_plain=lambda host: self._host in self._insecure or host in self._insecure,
            )
        except NoTokenError:
            return False
        self._authorization = f"Bearer {token}"
        return True


async def _content(answer: httpx.Response) -> bytes:
    content = b""
    async for piece in answer.aiter_bytes():
        content += piece
        if len(content) > _MOST_BYTES:
            raise RegistryAwayError("it sent more than a manifest can have")
    return content


def _parsed(content: bytes) -> dict[str, Any]:
    try:
        document = json.loads(content)
    except ValueError as exc:
        raise RegistryAwayError("it did not answer in JSON") from exc
    if not isinstance(document, dict):
        raise RegistryAwayError("it answered with something else than an image")
    return document


def _text(document: Mapping[str, Any], *keys: str) -> str:
    value: object = document
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    if not isinstance(value, str):
        raise RegistryAwayError("it answered with something else than an image")
    return value


def _for_linux(index: Mapping[str, Any]) -> str:
    """Any image for Linux: what is asked for here is the same for all processors."""
    for entry in index["manifests"]:
        if (entry.get("platform") or {}).get("os") == "linux":
            return _text(entry, "digest")
    raise ImageUnknownError


def _reason(image: Reference, exc: Exception) -> Exception:
    if isinstance(exc, ImageUnknownError):
        return ImageUnknownError(f"{image.host} has no such image, or none that everybody may pull")
    words = str(exc) if isinstance(exc, RegistryAwayError) else "it does not answer"
    if not isinstance(exc, RegistryAwayError | TimeoutError | httpx.HTTPError):
        log.warning("registry_not_understood", registry=image.host, error=f"{type(exc).__name__}: {exc}")
        words = "its name or its answer cannot be understood"
    return RegistryAwayError(f"the registry {image.host} cannot be read now: {words}")

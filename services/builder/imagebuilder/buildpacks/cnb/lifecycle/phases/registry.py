"""A registry's HTTP interface (OCI distribution specification 1.1), as far as pulling and pushing images needs it."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import os
import re
import ssl
import time
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_INDEXES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
_ACCEPT = ", ".join((MANIFEST, _DOCKER_MANIFEST, *_INDEXES))
_CHUNK = 1024 * 1024
_TIMEOUT_SECONDS = 120
_TRIES = 4
# Who makes tokens may be a builder that is started anew, which takes longer than a moment: with this 62 s.
_TOKEN_TRIES = 6
_SHORTEST_TOKEN_SECONDS = 60  # of the specification of token authentication
_TOKEN_MARGIN_SECONDS = 30
_MOST_MANIFEST = 4 * 1024 * 1024
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


class RegistryError(Exception):
    """A registry did not do what was asked; the text names it, never a credential. `status` is 0 without an answer."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Name:
    """`host/path:tag` or `host/path@sha256:...`."""

    host: str
    path: str
    reference: str

    @classmethod
    def parse(cls, text: str) -> Name:
        """Read a full image name; Docker Hub's short names are completed.

        Raises:
            RegistryError: it is no image name.
        """
        match = re.fullmatch(
            r"(?P<name>[^@\s]+?)(?::(?P<tag>[\w][\w.-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?", text
        )
        if match is None:
            raise RegistryError(f"`{text}` is no image name")
        host, slash, path = match["name"].partition("/")
        if not slash or not (set(host) & set(".:") or host == "localhost"):
            host, path = "docker.io", match["name"] if slash else f"library/{match['name']}"
        return cls(
            "registry-1.docker.io" if host == "docker.io" else host, path, match["digest"] or match["tag"] or "latest"
        )

    def __str__(self) -> str:
        separator = "@" if self.reference.startswith("sha256:") else ":"
        return f"{self.host}/{self.path}{separator}{self.reference}"


@dataclass(frozen=True)
class Image:
    """A manifest and the configuration that it names."""

    name: Name
    digest: str
    manifest: Mapping[str, Any]
    config: Mapping[str, Any]

    @property
    def labels(self) -> Mapping[str, str]:
        """Labels of its configuration."""
        return self.config.get("config", {}).get("Labels") or {}


@dataclass(frozen=True)
class _Token:
    """What a token server gave; `until` is when to ask for another one, on the clock `time.monotonic`."""

    text: str
    until: float


class Registry:
    """Talks to registries: plain HTTP with those named, verified TLS with all others."""

    def __init__(self, auths: Mapping[str, str], insecure: frozenset[str]) -> None:
        self._auths = auths
        self._insecure = insecure
        self._tokens: dict[tuple[str, str], _Token] = {}

    @classmethod
    def from_environment(cls, insecure: list[str]) -> Registry:
        """Credentials of `$DOCKER_CONFIG/config.json`."""
        file = Path(os.environ.get("DOCKER_CONFIG") or Path(os.environ.get("HOME", "/"), ".docker"), "config.json")
        auths: dict[str, str] = {}
        if file.is_file():
            for host, entry in json.loads(file.read_text()).get("auths", {}).items():
                value = entry.get("auth")
                if not value and "username" in entry:
                    value = base64.b64encode(f"{entry['username']}:{entry.get('password', '')}".encode()).decode()
                if value:
                    auths[re.sub(r"^https?://|/.*$", "", host)] = value
        return cls(auths, frozenset(insecure))

    def find(self, name: Name) -> Image | None:
        """The image of that name for this machine; None when the registry has none.

        Raises:
            RegistryError: the registry did not answer, or not with an image.
        """
        path = f"/v2/{name.path}/manifests/{name.reference}"
        try:
            with self._ask(name, "GET", path, headers={"Accept": _ACCEPT}) as answer:
                content = answer.read(_MOST_MANIFEST)
                kind = (answer.headers.get("Content-Type") or "").partition(";")[0]
        except RegistryError as error:
            if error.status == 404:
                return None
            raise
        manifest = json.loads(content)
        if kind in _INDEXES or "manifests" in manifest:
            return self.find(Name(name.host, name.path, _for_this_machine(manifest, name)))
        config = json.loads(self._blob(name, manifest["config"]["digest"]))
        return Image(name, f"sha256:{hashlib.sha256(content).hexdigest()}", manifest, config)

    def check_push(self, name: Name) -> None:
        """Raise RegistryError unless uploads to that repository may begin."""
        with self._ask(name, "POST", f"/v2/{name.path}/blobs/uploads/") as answer:
            where = answer.headers.get("Location", "")
        # Who may push may not always delete; the registry clears up what stays.
        with self._ask(name, "DELETE", where, fine=(204, 401, 403, 404, 405)):
            pass

    def download(self, name: Name, digest: str, target: Path) -> None:
        """Write a blob to a file, checked against its digest."""
        found = hashlib.sha256()
        with self._ask(name, "GET", f"/v2/{name.path}/blobs/{digest}") as answer, target.open("wb") as file:
            while piece := answer.read(_CHUNK):
                found.update(piece)
                file.write(piece)
        if f"sha256:{found.hexdigest()}" != digest:
            raise RegistryError(f"{name.host} sent something else than {digest}")

    def has(self, name: Name, digest: str) -> bool:
        """Whether that repository holds the blob."""
        with self._ask(name, "HEAD", f"/v2/{name.path}/blobs/{digest}", fine=(200, 404)) as answer:
            return answer.status == 200

    def mount(self, name: Name, digest: str, source: Name) -> bool:
        """Whether the blob is in the repository now, taken from another one of the same registry without a transfer."""
        if name.host != source.host:
            return False
        query = urllib.parse.urlencode({"mount": digest, "from": source.path})
        with self._ask(name, "POST", f"/v2/{name.path}/blobs/uploads/?{query}", fine=(201, 202, 401, 403)) as answer:
            return answer.status == 201

    def upload(self, name: Name, digest: str, content: bytes | Path) -> None:
        """Put a blob into the repository."""
        with self._ask(name, "POST", f"/v2/{name.path}/blobs/uploads/", fine=(202,)) as answer:
            where = answer.headers.get("Location", "")
        where += f"{'&' if '?' in where else '?'}{urllib.parse.urlencode({'digest': digest})}"
        size = content.stat().st_size if isinstance(content, Path) else len(content)
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
        with self._ask(name, "PUT", where, body=content, headers=headers, fine=(201,)):
            pass

    def put_manifest(self, name: Name, manifest: Mapping[str, Any]) -> str:
        """Give the image its name, the last step of a push; its digest."""
        content = json.dumps(manifest, separators=(",", ":")).encode()
        path = f"/v2/{name.path}/manifests/{name.reference}"
        with self._ask(name, "PUT", path, body=content, headers={"Content-Type": MANIFEST}, fine=(201, 202)):
            return f"sha256:{hashlib.sha256(content).hexdigest()}"

    def _blob(self, name: Name, digest: str) -> bytes:
        with self._ask(name, "GET", f"/v2/{name.path}/blobs/{digest}") as answer:
            content: bytes = answer.read(_MOST_MANIFEST)
        if f"sha256:{hashlib.sha256(content).hexdigest()}" != digest:
            raise RegistryError(f"{name.host} sent something else than {digest}")
        return content

    @contextmanager
    def _ask(
        self,
        name: Name,
        verb: str,
        where: str,
        *,
        body: bytes | Path | None = None,
        headers: Mapping[str, str] | None = None,
        fine: tuple[int, ...] = (200, 201, 202, 204),
    ) -> Iterator[http.client.HTTPResponse]:
        """Send a request; what a moment may heal is tried again, a token is fetched when asked for one."""
        has_login = False
        for attempt in range(1, _TRIES + 1):
            stack = ExitStack()
            try:
                answer = stack.enter_context(
                    self._once(name.host, verb, where, body=body, headers=self._headers(name, headers))
                )
            except (OSError, http.client.HTTPException) as error:
                if attempt == _TRIES or isinstance(error, ssl.SSLCertVerificationError):
                    raise RegistryError(f"the registry {name.host} cannot be reached: {error}") from error
                time.sleep(2**attempt)
                continue
            with stack:
                if answer.status == 401 and not has_login and attempt < _TRIES and self._login(name, answer):
                    has_login = True
                    continue
                if answer.status >= 500 and attempt < _TRIES:
                    time.sleep(2**attempt)
                    continue
                if answer.status not in fine:
                    raise RegistryError(_words(name, verb, answer), answer.status)
                yield answer
                return

    def _headers(self, name: Name, headers: Mapping[str, str] | None) -> dict[str, str]:
        token = self._tokens.get((name.host, name.path))
        basic = self._auths.get(name.host)
        if token and time.monotonic() < token.until:
            found = f"Bearer {token.text}"
        else:
            found = f"Basic {basic}" if basic else ""
        return {**(headers or {}), **({"Authorization": found} if found else {})}

    @contextmanager
    def _once(
        self, host: str, verb: str, where: str, *, body: bytes | Path | None, headers: dict[str, str], hops: int = 0
    ) -> Iterator[http.client.HTTPResponse]:
        parts = urllib.parse.urlsplit(where)
        target = parts.netloc or host
        if target != host:  # a store that the registry sends us to gets no credentials of ours
            headers = {key: value for key, value in headers.items() if key != "Authorization"}
        plain = target in self._insecure
        kind = http.client.HTTPConnection if plain else http.client.HTTPSConnection
        connection = kind(target, timeout=_TIMEOUT_SECONDS)
        content: IO[bytes] | bytes | None = body.open("rb") if isinstance(body, Path) else body
        try:
            path = urllib.parse.urlunsplit(("", "", parts.path, parts.query, ""))
            connection.request(verb, path, body=content, headers={"User-Agent": "workflow-imagebuilder", **headers})
            answer = connection.getresponse()
            if verb in ("GET", "HEAD") and answer.status in (301, 302, 303, 307, 308) and hops < 5:
                onward = urllib.parse.urljoin(
                    f"{'http' if plain else 'https'}://{target}{path}", answer.headers["Location"]
                )
                with self._once(target, verb, onward, body=None, headers=headers, hops=hops + 1) as final:
                    yield final
                return
            yield answer
        finally:
            connection.close()
            if content is not None and not isinstance(content, bytes):
                content.close()

    def _login(self, name: Name, answer: http.client.HTTPResponse) -> bool:
        """Whether a token was had from whom the registry named (distribution specification, token authentication)."""
        challenge = answer.headers.get("WWW-Authenticate", "")
        facts = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
        if not challenge.lower().startswith("bearer") or "realm" not in facts:
            return False
        realm = urllib.parse.urlsplit(facts["realm"])
        if realm.scheme != "https" and realm.netloc not in self._insecure and name.host not in self._insecure:
            return False
        scopes = (facts.get("scope") or f"repository:{name.path}:pull,push").split(" ")
        query = urllib.parse.urlencode([("service", facts.get("service", "")), *(("scope", one) for one in scopes)])
        content = self._fetch_token(realm, query, self._auths.get(name.host))
        text = content.get("token") or content.get("access_token") or ""
        seconds = max(content.get("expires_in") or 0, _SHORTEST_TOKEN_SECONDS) - _TOKEN_MARGIN_SECONDS
        self._tokens[name.host, name.path] = _Token(text, time.monotonic() + seconds)
        return bool(text)

    def _fetch_token(self, realm: urllib.parse.SplitResult, query: str, basic: str | None) -> Mapping[str, Any]:
        """What the token server answers, nothing when that is no. `basic` are our credentials.

        Raises:
            RegistryError: it does not answer, also not in the end.
        """
        kind = http.client.HTTPSConnection if realm.scheme == "https" else http.client.HTTPConnection
        headers = {"Authorization": f"Basic {basic}"} if basic else {}
        for attempt in range(1, _TOKEN_TRIES + 1):
            connection = kind(realm.netloc, timeout=_TIMEOUT_SECONDS)
            try:
                connection.request("GET", f"{realm.path}?{query}", headers=headers)
                reply = connection.getresponse()
                if reply.status < 500:
                    found: dict[str, Any] = json.loads(reply.read(_MOST_MANIFEST)) if reply.status == 200 else {}
                    return found
                why = f"{reply.status} {reply.reason}"
            except (OSError, http.client.HTTPException) as error:
                if isinstance(error, ssl.SSLCertVerificationError):
                    raise RegistryError(f"the token server {realm.netloc} is not trusted: {error}") from error
                why = str(error)
            finally:
                connection.close()
            if attempt < _TOKEN_TRIES:
                time.sleep(2**attempt)
        raise RegistryError(f"the token server {realm.netloc} cannot be reached: {why}")


def _for_this_machine(index: Mapping[str, Any], name: Name) -> str:
    machine = _MACHINES.get(os.uname().machine, os.uname().machine)
    for entry in index["manifests"]:
        platform = entry.get("platform", {})
        if platform.get("os") == "linux" and platform.get("architecture") == machine:
            return str(entry["digest"])
    raise RegistryError(f"{name} has no image for linux/{machine}")


def _words(name: Name, verb: str, answer: http.client.HTTPResponse) -> str:
    try:
        errors = json.loads(answer.read(64 * 1024))["errors"]
        said = "; ".join(f"{item.get('code', '')} {item.get('message', '')}".strip() for item in errors)
    except (ValueError, KeyError, TypeError, AttributeError, OSError, http.client.HTTPException):
        said = answer.reason
    doing = {"GET": "pull from", "HEAD": "pull from"}.get(verb, "push to")
    return f"{doing} {name.host}/{name.path}: {answer.status} {said}"

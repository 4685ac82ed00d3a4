"""A registry that leaves to a builder who may do what: the two halves of their configuration, and a client."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import urljoin

import httpx
from pydantic import SecretStr

from support.certificates import MadePair, make_pair

ISSUER: Final = "builder-of-tests"
SERVICE: Final = "registry-of-tests"
BUILD_KEY: Final = b"k" * 32
OPERATOR: Final = ("cleaner", "operator's password")
MACHINE: Final = ("node", "machine's password")
MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"


def token_settings(pair: MadePair) -> dict[str, Any]:
    """Settings of a builder that makes the tokens, signed with the key of `pair`."""
    return {
        "source_token_key": SecretStr(BUILD_KEY.decode()),
        "registry_token_key": SecretStr(pair.key),
        "registry_token_certificate": pair.certificate,
        "registry_token_issuer": ISSUER,
        "registry_token_service": SERVICE,
        "registry_username": OPERATOR[0],
        "registry_password": SecretStr(OPERATOR[1]),
        "registry_pull_username": MACHINE[0],
        "registry_pull_password": SecretStr(MACHINE[1]),
    }


def token_auth(directory: Path, pair: MadePair, *, builder: str) -> dict[str, Any]:
    """The section `auth` of that registry; `builder` is the URL of the builder's HTTP interface."""
    bundle = directory / "bundle.pem"
    bundle.write_text(pair.certificate)
    realm = f"{builder}/registry/token"
    return {"token": {"realm": realm, "service": SERVICE, "issuer": ISSUER, "rootcertbundle": str(bundle)}}


@cache
def signing_pair(number: int = 0) -> MadePair:
    """A key and its certificate; another one for another number."""
    return make_pair("builder", number=number)


@dataclass(frozen=True)
class RegistryClient:
    """Asks the registry at `host` with one account, as clients do: for each request a token of its own."""

    host: str
    username: str
    password: str

    async def push(self, name: str, tag: str = "1") -> int:
        """Push a small image; the first status that is no success, else 201."""
        config, layer = b'{"architecture": "amd64", "os": "linux"}', b"layer"
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": _about(config, "application/vnd.oci.image.config.v1+json"),
            "layers": [_about(layer, "application/vnd.oci.image.layer.v1.tar")],
        }
        for blob in (config, layer):
            begun = await self.ask("POST", f"/v2/{name}/blobs/uploads/")
            if begun.status_code != httpx.codes.ACCEPTED:
                return begun.status_code
            put = await self.ask("PUT", f"{begun.headers['Location']}&digest={_digest(blob)}", content=blob)
            if put.status_code != httpx.codes.CREATED:
                return put.status_code
        content = json.dumps(manifest).encode()
        headers = {"Content-Type": MANIFEST}
        return (await self.ask("PUT", f"/v2/{name}/manifests/{tag}", content=content, headers=headers)).status_code

    async def pull(self, name: str, tag: str = "1") -> int:
        """The status of asking for a manifest."""
        return (await self.ask("GET", f"/v2/{name}/manifests/{tag}", headers={"Accept": MANIFEST})).status_code

    async def delete(self, name: str, tag: str = "1") -> int:
        """The status of deleting an image; that of looking for it, when there it ends."""
        found = await self.ask("HEAD", f"/v2/{name}/manifests/{tag}", headers={"Accept": MANIFEST})
        if found.status_code != httpx.codes.OK:
            return found.status_code
        return (await self.ask("DELETE", f"/v2/{name}/manifests/{found.headers['Docker-Content-Digest']}")).status_code

    async def ask(
        self, verb: str, path: str, *, headers: Mapping[str, str] | None = None, content: bytes | None = None
    ) -> httpx.Response:
        """The registry's answer, with the token that it asks for; the token server's, when that gives none."""
        url = urljoin(f"http://{self.host}", path)
        async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
            refused = await client.request(verb, url, headers=headers, content=content)
            if refused.status_code != httpx.codes.UNAUTHORIZED:
                return refused
            given = await client.get(challenge(refused), auth=(self.username, self.password))
            if given.status_code != httpx.codes.OK:
                return given
            return await client.request(
                verb,
                url,
                headers={**(headers or {}), "Authorization": f"Bearer {given.json()['token']}"},
                content=content,
            )

    @property
    def auth_file(self) -> str:
        """The docker auth file of this account."""
        auth = base64.b64encode(f"{self.username}:{self.password}".encode()).decode()
        return json.dumps({"auths": {self.host: {"auth": auth}}})


def challenge(answer: httpx.Response) -> str:
    """The URL at which that answer of a registry says that a token is to be had."""
    words = answer.headers["WWW-Authenticate"].removeprefix("Bearer ")
    facts = dict(part.split("=", 1) for part in words.replace('",', '"\n').split("\n"))
    facts = {name: value.strip('"') for name, value in facts.items()}
    query = [("service", facts["service"]), *(("scope", one) for one in facts.get("scope", "").split(" "))]
    return str(httpx.URL(facts["realm"], params=query))


def _about(content: bytes, kind: str) -> dict[str, Any]:
    return {"mediaType": kind, "digest": _digest(content), "size": len(content)}


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"

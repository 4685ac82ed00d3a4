"""Images in a registry of tests: pushed with any content, and looked for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import httpx

MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"


class TestedRegistry:
    """The registry at `host`, asked as `auth` where it wants that."""

    __test__ = False

    def __init__(self, host: str, auth: tuple[str, str] | None = None) -> None:
        self.host = host
        self._auth = auth

    def _ask(self, verb: str, path: str, content: bytes | None = None, **headers: str) -> httpx.Response:
        url = httpx.URL(f"http://{self.host}").join(path)
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return httpx.request(verb, url, content=content, headers=given, auth=self._auth, trust_env=False, timeout=30)

    def push(
        self,
        repository: str,
        tag: str,
        content: str = "",
        created: datetime | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> str:
        """Push an image that depends on `content` alone; its reference with digest. Its layer, `sha256:0` when it is
        unpacked, cannot be."""
        facts: dict[str, Any] = {"architecture": "amd64", "os": "linux", "history": [{"comment": content}]}
        if created:
            facts["created"] = created.isoformat()
        if labels is not None:
            facts |= {"config": {"Labels": dict(labels)}, "rootfs": {"type": "layers", "diff_ids": ["sha256:0"]}}
        config = json.dumps(facts).encode()
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self._upload(repository, config, "application/vnd.oci.image.config.v1+json"),
            "layers": [self._upload(repository, b"layer", "application/vnd.oci.image.layer.v1.tar")],
        }
        body = json.dumps(manifest).encode()
        put = self._ask("PUT", f"/v2/{repository}/manifests/{tag}", body, Content_Type=MANIFEST)
        assert put.status_code == 201, put.text
        return f"{self.host}/{repository}@{put.headers['Docker-Content-Digest']}"

    def has(self, reference: str) -> bool:
        """Whether the image is there."""
        repository, _, digest = reference.removeprefix(f"{self.host}/").partition("@")
        found = self._ask("HEAD", f"/v2/{repository}/manifests/{digest}", Accept=MANIFEST)
        return found.status_code == httpx.codes.OK

    def tags(self, repository: str) -> list[str]:
        """The tags of a repository, sorted."""
        answer = self._ask("GET", f"/v2/{repository}/tags/list")
        return sorted(answer.json()["tags"] or []) if answer.status_code == httpx.codes.OK else []

    def _upload(self, repository: str, content: bytes, kind: str) -> dict[str, Any]:
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        begun = self._ask("POST", f"/v2/{repository}/blobs/uploads/")
        where = httpx.URL(begun.headers["Location"]).copy_merge_params({"digest": digest})
        put = self._ask("PUT", str(where), content)
        assert put.status_code == 201, put.text
        return {"mediaType": kind, "digest": digest, "size": len(content)}

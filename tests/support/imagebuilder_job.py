"""Builds of Dockerfiles as the builder runs them: a Job without rights, a Secret, a source that the test serves."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import httpx

from support.build_source import TOKEN
from support.cluster_image import REGISTRY, REGISTRY_OF_PODS
from support.kubectl import Kubectl, eventually

SHA: Final = "8a5d4f4b9b1d2c6f3e7a0b1c2d3e4f5061728394"
_SECONDS: Final = 300
_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"


@dataclass(frozen=True)
class ContainerBuild:
    """One build: its name is unique, `app` decides about repository and cache."""

    name: str
    app: str
    source_url: str
    imagebuilder: str
    dockerfiles: Sequence[Mapping[str, Any]] = ({"ptype": "web", "path": "Dockerfile", "args": {}},)
    config: Mapping[str, str] = field(default_factory=dict)
    token: str = TOKEN
    cache_image: str | None = None
    mirrors: Mapping[str, str] = field(default_factory=dict)
    work: Mapping[str, str] = field(default_factory=lambda: {"sizeLimit": "5Gi"})
    seccomp: str = "Unconfined"

    @property
    def image(self) -> str:
        """The tag that `web` is pushed under."""
        return f"{REGISTRY_OF_PODS}/{self.app}/{self.app}:git-{SHA[:12]}-{self.name}"

    def manifests(self, namespace: str) -> list[dict[str, Any]]:
        """The Secret of the build and its Job."""
        metadata = {"name": self.name, "namespace": namespace}
        secrets = {"request": json.dumps(self._request()), "token": self.token, "registry": '{"auths": {}}'}
        secrets |= {f"config-{name}": value for name, value in self.config.items()}
        template = {"metadata": {"labels": {"build": self.name}}, "spec": self._pod()}
        spec = {"backoffLimit": 0, "activeDeadlineSeconds": _SECONDS, "template": template}
        return [
            {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": secrets},
            {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec},
        ]

    def _request(self) -> dict[str, Any]:
        return {
            "build_id": self.name,
            "app": self.app,
            "number": 1,
            "sha": SHA,
            "stack": "container",
            "source_url": self.source_url,
            "image": self.image,
            "insecure_registries": [REGISTRY_OF_PODS],
            "registry_mirrors": dict(self.mirrors),
            "cache_image": self.cache_image,
            "dockerfiles": [{"image": self._image(str(entry["ptype"])), **entry} for entry in self.dockerfiles],
            "builder_image": None,
            "run_image": None,
            "processes": {},
        }

    def _image(self, ptype: str) -> str:
        return self.image if ptype == "web" else f"{self.image}-{ptype}"

    def _pod(self) -> dict[str, Any]:
        items = [
            {"key": "request", "path": "request.json"},
            {"key": "token", "path": "token"},
            {"key": "registry", "path": "registry/config.json"},
            *({"key": f"config-{name}", "path": f"config/{name}"} for name in self.config),
        ]
        container = {
            "name": "build",
            "image": self.imagebuilder,
            "command": ["python3", "-m", "imagebuilder", "container"],
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"], "add": ["SETUID", "SETGID"]},
            },
            "resources": {"requests": {"cpu": "100m"}, "limits": {"memory": "2Gi", "ephemeral-storage": "6Gi"}},
            "volumeMounts": [
                {"name": "build", "mountPath": "/build", "readOnly": True},
                {"name": "work", "mountPath": "/scratch"},
            ],
        }
        return {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": 10,
            "securityContext": {"runAsUser": 0, "seccompProfile": {"type": self.seccomp}},
            "containers": [container],
            "volumes": [
                {"name": "build", "secret": {"secretName": self.name, "items": items}},
                {"name": "work", "emptyDir": dict(self.work)},
            ],
        }


@dataclass(frozen=True)
class Outcome:
    """How a build ended: its log, and what it left for the builder."""

    succeeded: bool
    log: str
    result: Mapping[str, Any]

    @property
    def images(self) -> dict[str, str]:
        """Process type -> digest-pinned name."""
        assert self.succeeded, self.log
        return dict(self.result["images"])

    @property
    def error(self) -> dict[str, str]:
        """Why it failed."""
        assert not self.succeeded, self.log
        return dict(self.result["error"])


def start_build(kubectl: Kubectl, namespace: str, build: ContainerBuild) -> None:
    """Make its objects."""
    kubectl.apply(build.manifests(namespace))


def ended_build(kubectl: Kubectl, namespace: str, build: ContainerBuild) -> Outcome:
    """Wait for its end."""

    def ended() -> Any:
        pods = kubectl.get("pods", "-n", namespace, "-l", f"build={build.name}")["items"]
        states = [status["state"] for pod in pods for status in pod["status"].get("containerStatuses", ())]
        assert states, "no container yet"
        assert "terminated" in states[0], states
        return pods[0]["metadata"]["name"], states[0]["terminated"]

    pod, state = eventually(ended, seconds=_SECONDS)
    log = kubectl("logs", "-n", namespace, pod)
    return Outcome(state["exitCode"] == 0, log, json.loads(state.get("message") or "{}"))


def manifest(image: str) -> dict[str, Any]:
    """The manifest of an image of the cluster's registry."""
    name, separator, reference = image.partition("@")
    if not separator:
        name, _, reference = image.rpartition(":")
    answer = _registry(name, f"manifests/{reference}")
    return dict(answer.json())


def blob(image: str, digest: str) -> bytes:
    """A blob of an image's repository."""
    name = image.partition("@")[0]
    return _registry(name, f"blobs/{digest}").content


def _registry(name: str, path: str) -> httpx.Response:
    repository = name.removeprefix(f"{REGISTRY_OF_PODS}/").partition(":")[0]
    url = f"http://{REGISTRY}/v2/{repository}/{path}"
    answer = httpx.get(url, headers={"Accept": _MANIFEST}, timeout=30, trust_env=False)
    answer.raise_for_status()
    return answer

"""Buildpack builds as the builder runs them: a Job without rights, each phase in a container of its own."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.kubectl import Kubectl, eventually

_PACKAGE = Path(__file__).parents[2] / "services/builder/imagebuilder/src/imagebuilder"
_PYTHON = "python:3.11-slim-bookworm"
_LOCKED = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
_SECONDS = 400


@dataclass(frozen=True)
class BuildJob:
    """One build: where its source is, the images that it works with, the app's configuration."""

    name: str
    source_url: str
    image: str
    builder_image: str
    run_image: str
    cache_image: str | None = None
    previous_image: str | None = None
    config: Mapping[str, str] = field(default_factory=dict)
    skip_layers: bool = False

    def manifests(self, namespace: str) -> list[dict[str, Any]]:
        """The Secret of the build, our program, the Job."""
        metadata = {"name": self.name, "namespace": namespace}
        request = {"build_id": self.name, "app": "app", "stack": "buildpack", "image": self.image}
        texts = {f"config.{name}": value for name, value in self.config.items()}
        return [
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": metadata,
                "stringData": {
                    "request.json": json.dumps(request),
                    "registry.json": json.dumps({"auths": {}}),
                    **texts,
                },
            },
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": metadata,
                "data": {"buildpack.py": (_PACKAGE / "buildpack.py").read_text()},
            },
            {
                "apiVersion": "batch/v1",
                "kind": "Job",
                "metadata": metadata,
                "spec": {
                    "backoffLimit": 0,
                    "activeDeadlineSeconds": _SECONDS,
                    "template": {"metadata": {"labels": {"build": self.name}}, "spec": self._pod()},
                },
            },
        ]

    def _pod(self) -> dict[str, Any]:
        config = [{"key": f"config.{name}", "path": name} for name in self.config]
        secret = {"secretName": self.name}
        return {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 1001,
                "runAsGroup": 1001,
                "fsGroup": 1001,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "initContainers": self._phases(),
            "containers": [self._own("finish", "finish", {"request": "/build", "facts": "/facts"}, read_only="facts")],
            "volumes": [
                {"name": "workspace", "emptyDir": {}},
                {"name": "layers", "emptyDir": {}},
                {"name": "facts", "emptyDir": {}},
                {"name": "platform", "emptyDir": {"medium": "Memory", "sizeLimit": "8Mi"}},
                {"name": "program", "configMap": {"name": self.name}},
                {"name": "request", "secret": {**secret, "items": [{"key": "request.json", "path": "request.json"}]}},
                {"name": "registry", "secret": {**secret, "items": [{"key": "registry.json", "path": "config.json"}]}},
                {"name": "config", "secret": {**secret, "items": config}}
                if config
                else {"name": "config", "emptyDir": {}},
            ],
        }

    def _phases(self) -> list[dict[str, Any]]:
        registry = f"-insecure-registry={self.image.partition('/')[0]}"
        analyzed, group, report = (
            "-analyzed=/facts/analyzed.toml",
            "-group=/layers/group.toml",
            "-report=/facts/report.toml",
        )
        cache = [f"-cache-image={self.cache_image}"] if self.cache_image else []
        previous = [f"-previous-image={self.previous_image}"] if self.previous_image else []
        pushing = {"facts": "/facts", "layers": "/layers", "registry": "/build/registry"}
        reading = {"workspace": "/workspace", "layers": "/layers", "platform": "/platform"}
        fetch = f"wget -qO- {self.source_url} | tar -xz -C /workspace"
        return [
            _container("source", "busybox:1", ["sh", "-ec", fetch], {"workspace": "/workspace"}),
            self._own("platform", "platform", {"config": "/build/config", "platform": "/platform"}),
            self._phase(
                "analyze",
                "analyzer",
                [analyzed, f"-run-image={self.run_image}", registry, *previous, self.image],
                pushing,
            ),
            self._phase("detect", "detector", [group], reading, read_only="platform"),
            self._phase("restore", "restorer", [analyzed, group, registry, *cache], pushing),
            self._phase("build", "builder", [group], reading, read_only="platform"),
            self._phase(
                "export",
                "exporter",
                [analyzed, group, report, registry, *cache, self.image],
                {**pushing, "workspace": "/workspace"},
            ),
        ]

    def _phase(
        self, name: str, program: str, arguments: list[str], mounts: Mapping[str, str], *, read_only: str = ""
    ) -> dict[str, Any]:
        env = {"CNB_PLATFORM_API": "0.12", "DOCKER_CONFIG": "/build/registry"}
        if self.skip_layers:
            env["CNB_SKIP_LAYERS"] = "true"
        command = [f"/cnb/lifecycle/{program}", *arguments]
        return _container(name, self.builder_image, command, mounts, env=env, read_only=read_only)

    def _own(self, name: str, step: str, mounts: Mapping[str, str], *, read_only: str = "") -> dict[str, Any]:
        command = ["python3", "-c", f"import sys; from imagebuilder.buildpack import main; sys.exit(main('{step}'))"]
        env = {"PYTHONPATH": "/opt"}
        return _container(
            name, _PYTHON, command, {**mounts, "program": "/opt/imagebuilder"}, env=env, read_only=read_only
        )


@dataclass(frozen=True)
class Outcome:
    """How a build ended: all that was said, what the containers left in their termination logs, seconds."""

    succeeded: bool
    log: str
    said: Mapping[str, str]
    seconds: float

    @property
    def image(self) -> str:
        """The digest-pinned name of the image."""
        assert self.succeeded, self.log
        return str(json.loads(self.said["finish"])["images"]["web"])

    @property
    def error(self) -> dict[str, str]:
        """The reason that was told, whichever container told it."""
        found = [json.loads(text)["error"] for text in self.said.values() if text.startswith('{"error"')]
        assert len(found) == 1, (self.said, self.log)
        return dict(found[0])


def run_build(kubectl: Kubectl, namespace: str, job: BuildJob) -> Outcome:
    """Run it to its end."""
    began = time.monotonic()
    kubectl.apply(job.manifests(namespace))

    def ended() -> bool:
        status = kubectl.get("job", job.name, "-n", namespace).get("status", {})
        assert status.get("succeeded") or status.get("failed")
        return bool(status.get("succeeded"))

    succeeded = eventually(ended, seconds=_SECONDS)
    seconds = time.monotonic() - began
    (pod,) = kubectl.get("pods", "-n", namespace, "-l", f"build={job.name}")["items"]
    said: dict[str, str] = {}
    log: list[str] = []
    for status in (*pod["status"]["initContainerStatuses"], *pod["status"].get("containerStatuses", ())):
        if state := status["state"].get("terminated"):
            said[status["name"]] = state.get("message", "")
            log.append(kubectl("logs", "-n", namespace, pod["metadata"]["name"], "-c", status["name"]))
    return Outcome(succeeded, "".join(log), said, seconds)


def _container(
    name: str,
    image: str,
    command: list[str],
    mounts: Mapping[str, str],
    *,
    env: Mapping[str, str] | None = None,
    read_only: str = "",
) -> dict[str, Any]:
    return {
        "name": name,
        "image": image,
        "command": command,
        "env": [{"name": key, "value": value} for key, value in (env or {}).items()],
        "securityContext": _LOCKED,
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "1Gi"}},
        "volumeMounts": [
            {"name": volume, "mountPath": path, "readOnly": volume == read_only} for volume, path in mounts.items()
        ],
    }

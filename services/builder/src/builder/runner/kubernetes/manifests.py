"""A build as objects: one Secret with all that it is told, one Job that does it (builder.md 7, 13, 18.1, 18.14).

Pure. The containers of the pod run one after another; each sees only those parts of the Secret that it needs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from builder.domain.dryccfile import dockerfiles
from builder.domain.images import WEB, tag_of
from builder.runner.kubernetes.config import KubernetesRunnerConfig
from builder.runner.kubernetes.kinds import APP, BUILD
from builder.runner.kubernetes.tokens import source_token
from builder.runner.port import BuildSpec, Plan
from shared.kubernetes.kinds import Manifest

STATIC_START: Final = "serve"
"""The process that the buildpack for plain files makes."""

_LONGEST_APP: Final = 33
_DEADLINE_MARGIN_SECONDS: Final = 60
_DIRECTORY: Final = "/build"
_REQUEST, _TOKEN, _REGISTRY = "request", "token", "registry"
_CONFIG: Final = "config"
_FILES: Final[Mapping[str, tuple[str, str]]] = {
    _REQUEST: ("request", "request.json"),
    _TOKEN: ("token", "token"),
    _REGISTRY: ("registry", "config.json"),
}
"""Of each part but the config: its key in the Secret, and its file."""

# What buildah needs to unpack images as they are (owners, modes, file capabilities) and to enter them.
_BUILDAH_CAPABILITIES: Final = (
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "MKNOD",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
    "KILL",
    "NET_BIND_SERVICE",
)


@dataclass(frozen=True)
class Step:
    """One container. `parts` of the Secret are mounted below /build; `mounts` are directories of the pod."""

    name: str
    image: str
    command: tuple[str, ...]
    parts: tuple[str, ...]
    security: Mapping[str, Any]
    mounts: Mapping[str, str] = field(default_factory=dict)


def name_of(spec: BuildSpec) -> str:
    """The name of the Job and of its Secret."""
    return f"build-{spec.app[:_LONGEST_APP].strip('-')}-{spec.number}-{spec.build_id.hex[-8:]}"


def image_of(spec: BuildSpec, config: KubernetesRunnerConfig, ptype: str = WEB) -> str:
    """The reference under which an image is pushed; it never names another one later."""
    suffix = "" if ptype == WEB else f"-{ptype}"
    return f"{config.registry}/{spec.app}/{spec.app}:{tag_of(spec.sha, spec.number)}{suffix}"


def render(spec: BuildSpec, plan: Plan, config: KubernetesRunnerConfig) -> tuple[Manifest, Manifest]:
    """The Secret and the Job of a build."""
    values = spec.config.group("global")
    return _secret(spec, plan, config, values), _job(spec, plan, config, values)


def request_of(spec: BuildSpec, plan: Plan, config: KubernetesRunnerConfig) -> dict[str, object]:
    """What the image builder is told; nothing secret is in it."""
    return {
        "build_id": str(spec.build_id),
        "app": spec.app,
        "number": spec.number,
        "sha": spec.sha,
        "stack": plan.stack,
        "source_url": f"{config.source_url.rstrip('/')}/builds/{spec.build_id}/source",
        "image": image_of(spec, config),
        "insecure_registries": list(config.insecure_registries),
        "cache_image": f"{config.registry}/{spec.app}/cache:{plan.stack}",
        "dockerfiles": _dockerfiles(spec, plan, config),
        "builder_image": config.builder_image,
        "run_image": config.run_image,
        "processes": dict(plan.procfile),
    }


def _dockerfiles(spec: BuildSpec, plan: Plan, config: KubernetesRunnerConfig) -> list[dict[str, object]]:
    """Those of the pipelines first; the one in the root is built when no pipeline has built `web` (builder.md 13.3)."""
    found = dict(dockerfiles(plan.dryccfile))
    if WEB not in found and plan.dockerfile:
        found[WEB] = ("Dockerfile", {})
    return [
        {"ptype": ptype, "path": path, "image": image_of(spec, config, ptype), "args": dict(arguments)}
        for ptype, (path, arguments) in found.items()
    ]


def _secret(spec: BuildSpec, plan: Plan, config: KubernetesRunnerConfig, values: Mapping[str, str]) -> Manifest:
    data = {
        "request": json.dumps(request_of(spec, plan, config)),
        "token": source_token(config.source_token_key, spec.build_id),
        "registry": config.registry_auth,
    }
    # Names of config values may have characters that keys of Secrets may not.
    data |= {f"config-{index}": value for index, value in enumerate(values.values())}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": _metadata(spec, config),
        "immutable": True,
        "stringData": data,
    }


def _job(spec: BuildSpec, plan: Plan, config: KubernetesRunnerConfig, values: Mapping[str, str]) -> Manifest:
    metadata = _metadata(spec, config)
    deadline = int(spec.limits.timeout.total_seconds())
    steps = [_container(step, spec, config) for step in _steps(plan, config)]
    pod = {
        "restartPolicy": "Never",
        "activeDeadlineSeconds": deadline,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 10,
        "nodeSelector": dict(config.node_selector),
        "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
        "initContainers": steps[:-1],
        "containers": steps[-1:],
        "volumes": _volumes(spec, plan, config, values),
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata,
        "spec": {
            "backoffLimit": 0,
            # The pod's own deadline is told by the pod; the Job's would take the pod and its output away.
            "activeDeadlineSeconds": deadline + int(config.start_timeout.total_seconds()) + _DEADLINE_MARGIN_SECONDS,
            "ttlSecondsAfterFinished": int(config.ttl.total_seconds()),
            "template": {
                "metadata": {"labels": dict(metadata["labels"]), "annotations": dict(metadata["annotations"])},
                "spec": pod,
            },
        },
    }


def _metadata(spec: BuildSpec, config: KubernetesRunnerConfig) -> Manifest:
    return {
        "name": name_of(spec),
        "namespace": config.namespace,
        "labels": {
            "app.kubernetes.io/managed-by": "workflow",
            "app.kubernetes.io/component": "build",
            BUILD: str(spec.build_id),
            APP: spec.app,
        },
        "annotations": {"workflow.dev/actor": spec.actor, "workflow.dev/build-number": str(spec.number)},
    }


def _steps(_plan: Plan, config: KubernetesRunnerConfig) -> list[Step]:
    security = {
        "runAsUser": 0,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"], "add": list(_BUILDAH_CAPABILITIES)},
    }
    parts = (_REQUEST, _TOKEN, _CONFIG, _REGISTRY)
    command = ("python3", "-m", "imagebuilder", "container")
    return [Step("build", config.imagebuilder_image, command, parts, security, {"scratch": "/var/lib/containers"})]


def _container(step: Step, spec: BuildSpec, config: KubernetesRunnerConfig) -> Manifest:
    disk = str(spec.limits.disk_bytes)
    return {
        "name": step.name,
        "image": step.image,
        "imagePullPolicy": config.pull_policy,
        "command": list(step.command),
        "securityContext": dict(step.security),
        "resources": {
            "requests": {"cpu": config.cpu_request, "memory": config.memory_request},
            "limits": {"cpu": config.cpu_limit, "memory": config.memory_limit, "ephemeral-storage": disk},
        },
        "terminationMessagePolicy": "File",
        "volumeMounts": [
            *({"name": part, "mountPath": _path(part), "readOnly": True} | _sub_path(part) for part in step.parts),
            *({"name": name, "mountPath": path} for name, path in step.mounts.items()),
        ],
    }


def _path(part: str) -> str:
    if part in (_CONFIG, _REGISTRY):
        return f"{_DIRECTORY}/{part}"
    return f"{_DIRECTORY}/{_FILES[part][1]}"


def _sub_path(part: str) -> dict[str, str]:
    """Parts that are one file directly below /build are mounted as that file."""
    return {} if part in (_CONFIG, _REGISTRY) else {"subPath": _FILES[part][1]}


def _volumes(spec: BuildSpec, plan: Plan, config: KubernetesRunnerConfig, values: Mapping[str, str]) -> list[Manifest]:
    name = name_of(spec)
    steps = _steps(plan, config)
    parts = dict.fromkeys(part for step in steps for part in step.parts)
    secrets: list[Manifest] = [
        {"name": part, "secret": {"secretName": name, "items": _items(part, values)}} for part in parts
    ]
    directories = dict.fromkeys(directory for step in steps for directory in step.mounts)
    limit = {"sizeLimit": str(spec.limits.disk_bytes)}
    return [*secrets, *({"name": directory, "emptyDir": dict(limit)} for directory in directories)]


def _items(part: str, values: Mapping[str, str]) -> list[dict[str, str]]:
    if part == _CONFIG:
        return [{"key": f"config-{index}", "path": value} for index, value in enumerate(values)]
    key, path = _FILES[part]
    return [{"key": key, "path": path}]

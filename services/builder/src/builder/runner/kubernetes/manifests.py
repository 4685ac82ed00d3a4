"""A build as objects: one Secret with all that it is told, one Job that does it (builder.md 7, 13, 18.1, 18.14).

Pure. The containers of the pod run one after another; each sees only those parts of the Secret that it needs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Final

from builder.domain.dryccfile import dockerfiles
from builder.domain.images import WEB, cache_repository, image_repository, tag_of
from builder.domain.variables import DISABLE_CACHE, app_variables, is_disabled, is_file_name
from builder.runner.kubernetes.config import KubernetesRunnerConfig
from builder.runner.kubernetes.kinds import APP, BUILD
from builder.runner.kubernetes.steps import IN_MEMORY, Part, Step, pod_security, steps_of
from builder.runner.kubernetes.tokens import docker_auth, registry_password, source_token
from builder.runner.port import BuildSpec, Plan
from shared.kubernetes.kinds import Manifest

STATIC_START: Final = "serve"
"""The process that the buildpack for plain files makes."""

_LONGEST_APP: Final = 33
_DEADLINE_MARGIN_SECONDS: Final = 60
_DIRECTORY: Final = "/build"
_FILES: Final[Mapping[Part, tuple[str, str]]] = {
    "request": ("request", "request.json"),
    "token": ("token", "token"),
    "registry": ("registry", "config.json"),
}
"""Of each part but the config: its key in the Secret, and its file."""


def name_of(spec: BuildSpec) -> str:
    """The name of the Job and of its Secret."""
    return f"build-{spec.app[:_LONGEST_APP].strip('-')}-{spec.number}-{spec.build_id.hex[-8:]}"


def image_of(spec: BuildSpec, config: KubernetesRunnerConfig, ptype: str = WEB) -> str:
    """The reference under which an image is pushed; it never names another one later."""
    suffix = "" if ptype == WEB else f"-{ptype}"
    repository = image_repository(spec.app, config.organization)
    return f"{config.registry}/{repository}:{tag_of(spec.sha, spec.number)}{suffix}"


def render(spec: BuildSpec, plan: Plan, config: KubernetesRunnerConfig) -> tuple[Manifest, Manifest]:
    """The Secret and the Job of a build."""
    values = variables_of(spec, plan)
    return _secret(spec, plan, config, values), _job(spec, plan, config, values)


def variables_of(spec: BuildSpec, plan: Plan) -> dict[str, str]:
    """What the build sees of the app's config: Dockerfiles as files that they ask for by name, buildpacks as their
    environment, in which some names are not the app's and two are ours (builder.md 11 and 13.4)."""
    values = spec.config.group("global")
    if plan.stack != "container":
        values = app_variables({**values, **plan.arguments}) | {"DRYCC_APP": spec.app, "SOURCE_VERSION": spec.sha}
    return {name: value for name, value in values.items() if is_file_name(name)}


def left_out_of(spec: BuildSpec, plan: Plan) -> list[str]:
    """Names of the app's variables that the build does not get, or not with the app's value."""
    given = variables_of(spec, plan)
    return sorted(
        name
        for name, value in spec.config.group("global").items()
        if name not in given or (given[name] != value and name not in plan.arguments)
    )


def request_of(spec: BuildSpec, plan: Plan, config: KubernetesRunnerConfig) -> dict[str, object]:
    """What the image builder is told; nothing secret is in it."""
    return {
        "build_id": str(spec.build_id),
        "app": spec.app,
        "number": spec.number,
        "sha": spec.sha,
        "stack": plan.stack,
        "source_url": f"{config.source_url.rstrip('/')}/builds/{spec.build_id}/source",
        "source_max_bytes": spec.limits.disk_bytes,
        "image": image_of(spec, config),
        "insecure_registries": list(config.insecure_registries),
        "registry_mirrors": dict(config.registry_mirrors),
        "cache_image": None if _is_fresh(spec, plan) else _cache_image(spec, plan, config),
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
        {"ptype": ptype, "path": path, "image": image_of(spec, config, ptype), "args": {**plan.arguments, **arguments}}
        for ptype, (path, arguments) in found.items()
    ]


def _secret(spec: BuildSpec, plan: Plan, config: KubernetesRunnerConfig, values: Mapping[str, str]) -> Manifest:
    data = {
        "request": json.dumps(request_of(spec, plan, config)),
        "token": source_token(config.source_token_key, spec.build_id),
        "registry": _registry_auth(spec, config),
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


def _registry_auth(spec: BuildSpec, config: KubernetesRunnerConfig) -> str:
    """The docker auth file of a build: an account of its own, or the one that all have."""
    if config.registry_auth is not None:
        return config.registry_auth
    return docker_auth(config.registry, str(spec.build_id), registry_password(config.source_token_key, spec.build_id))


def _job(spec: BuildSpec, plan: Plan, config: KubernetesRunnerConfig, values: Mapping[str, str]) -> Manifest:
    metadata = _metadata(spec, config)
    deadline = int(spec.limits.timeout.total_seconds())
    steps = _steps(spec, plan, config)
    containers = [_container(step, spec, config) for step in steps]
    pod = {
        "restartPolicy": "Never",
        "activeDeadlineSeconds": deadline,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 10,
        "nodeSelector": dict(config.node_selector),
        "securityContext": pod_security(plan),
        "initContainers": containers[:-1],
        "containers": containers[-1:],
        "volumes": _volumes(spec, steps, values),
    }
    if config.image_pull_secrets:
        pod["imagePullSecrets"] = [{"name": name} for name in config.image_pull_secrets]
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


def _steps(spec: BuildSpec, plan: Plan, config: KubernetesRunnerConfig) -> list[Step]:
    return steps_of(
        plan,
        config,
        image=image_of(spec, config),
        cache=_cache_image(spec, plan, config),
        skips_cache=_is_fresh(spec, plan),
    )


def _is_fresh(spec: BuildSpec, plan: Plan) -> bool:
    """Whether nothing of earlier builds may be used."""
    return plan.is_fresh or is_disabled(spec.config.group("global").get(DISABLE_CACHE, ""))


def _cache_image(spec: BuildSpec, plan: Plan, config: KubernetesRunnerConfig) -> str:
    return f"{config.registry}/{cache_repository(spec.app, config.organization)}:{plan.stack}"


def _container(step: Step, spec: BuildSpec, config: KubernetesRunnerConfig) -> Manifest:
    disk = str(spec.limits.disk_bytes)
    capabilities = {"drop": ["ALL"]} | ({"add": list(step.capabilities)} if step.capabilities else {})
    return {
        "name": step.name,
        "image": step.image,
        "imagePullPolicy": config.pull_policy,
        "command": list(step.command),
        "env": [{"name": name, "value": value} for name, value in step.env.items()],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": capabilities},
        "resources": {
            "requests": {"cpu": config.cpu_request, "memory": config.memory_request},
            "limits": {"cpu": config.cpu_limit, "memory": config.memory_limit, "ephemeral-storage": disk},
        },
        "volumeMounts": [
            *(_part_mount(part) for part in step.parts),
            *(
                {"name": name, "mountPath": path} | ({"readOnly": True} if name in step.reads else {})
                for name, path in step.directories.items()
            ),
        ],
    }


def _part_mount(part: Part) -> Manifest:
    """The config and the registry's file have directories of their own, the others are files below /build."""
    mount = {"name": part, "mountPath": f"{_DIRECTORY}/{part}", "readOnly": True}
    if part in ("config", "registry"):
        return mount
    file = _FILES[part][1]
    return mount | {"mountPath": f"{_DIRECTORY}/{file}", "subPath": file}


def _volumes(spec: BuildSpec, steps: Sequence[Step], values: Mapping[str, str]) -> list[Manifest]:
    parts = dict.fromkeys(part for step in steps for part in step.parts)
    secrets = [_part_volume(part, name_of(spec), values) for part in parts]
    directories = dict.fromkeys(name for step in steps for name in step.directories)
    limit = str(spec.limits.disk_bytes)
    return [*secrets, *({"name": name, "emptyDir": _empty(name, limit)} for name in directories)]


def _empty(name: str, limit: str) -> Manifest:
    return {"medium": "Memory", "sizeLimit": "8Mi"} if name in IN_MEMORY else {"sizeLimit": limit}


def _part_volume(part: Part, secret: str, values: Mapping[str, str]) -> Manifest:
    if part != "config":
        key, path = _FILES[part]
        items = [{"key": key, "path": path}]
    elif values:
        items = [{"key": f"config-{index}", "path": name} for index, name in enumerate(values)]
    else:  # a Secret without items would show all of it
        return {"name": part, "emptyDir": {}}
    return {"name": part, "secret": {"secretName": secret, "items": items}}

"""A filer: the Job through which the files of a volume are reached (kubernetes.md 1.7).

It listens on nothing and knows no password (weakness 56): its files are reached by commands in its container.
"""

from __future__ import annotations

from typing import Final

from controller.engine.kubernetes import names
from controller.engine.kubernetes.config import KubernetesConfig
from controller.engine.kubernetes.manifests.base import Manifest, app_object, present, whole_seconds

ROOT: Final = "/data"
"""Where the volume is in a filer."""

CONTAINER: Final = "filer"
_MOUNT: Final = "volume"
_GRACE_SECONDS: Final = 10
_KEPT_SECONDS: Final = 30
# The first process of a container takes no signal that it does not ask for. What is being uploaded has a second to
# take its half a file away.
_WAIT: Final = """trap 'kill -TERM -1; sleep 1; exit 0' TERM INT
while :; do sleep 86400 & wait $!; done"""
_RESOURCES: Final = {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"cpu": "500m", "memory": "128Mi"}}


def render_filer(app: str, claim: str, config: KubernetesConfig, *, node: str | None = None) -> Manifest:
    """The Job of a filer; `node` is the machine that it has to run on, for a volume that is in use on one already.

    It ends when it has not been used for `config.filer_idle`: whoever uses it gives it more time, and when the last
    controller is gone the cluster still ends it.
    """
    labels = {names.VOLUME: claim}
    user = config.filer_user
    pod = {
        "serviceAccountName": names.SERVICE_ACCOUNT,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": _GRACE_SECONDS,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": user,
            "runAsGroup": user,
            "fsGroup": user,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "affinity": None if node is None else _on_node(node),
        "volumes": [{"name": _MOUNT, "persistentVolumeClaim": {"claimName": claim}}],
        "containers": [_container(config)],
    }
    return app_object(
        "batch/v1",
        "Job",
        app,
        names.filer(claim),
        ptype=names.FILER,
        more_labels=labels,
        spec={
            "backoffLimit": 0,
            "activeDeadlineSeconds": whole_seconds(config.filer_idle, least=1),
            "ttlSecondsAfterFinished": _KEPT_SECONDS,
            "template": {"metadata": {"labels": {**names.labels(app, names.FILER), **labels}}, "spec": present(pod)},
        },
    )


def _container(config: KubernetesConfig) -> Manifest:
    return {
        "name": CONTAINER,
        "image": config.filer_image,
        "imagePullPolicy": config.filer_pull_policy,
        "command": ["sh", "-c", _WAIT],
        "resources": {part: dict(amounts) for part, amounts in _RESOURCES.items()},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": _MOUNT, "mountPath": ROOT}],
    }


def _on_node(node: str) -> Manifest:
    term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}}

"""The pod template of a process type or a one-off (kubernetes.md 1.4, 1.6)."""

from __future__ import annotations

import re
from typing import Any, Final

from controller.domain.names import RUN
from controller.domain.plans import LimitPlan
from controller.domain.spec import ProcessSpec
from controller.engine.kubernetes import names
from controller.engine.kubernetes.config import KubernetesConfig
from controller.engine.kubernetes.manifests.base import Manifest, present, whole_seconds
from controller.engine.kubernetes.manifests.probes import lifecycle_of, probes_of
from controller.engine.kubernetes.manifests.quantities import canonical_all
from controller.engine.kubernetes.manifests.secrets import env_secret, key_of, pull_secret
from controller.engine.kubernetes.manifests.security import container_security, pod_security
from controller.engine.shell import SHELL, shell_line

PULL_POLICY: Final = "IMAGE_PULL_POLICY"
"""Variable of an app that wins over the operator's choice."""

_PULL_POLICIES: Final = ("Always", "IfNotPresent", "Never")
_CONTAINER_IP: Final = "CONTAINER_IP"
# What Kubernetes would replace in a command: a reference to a variable, or an escaped dollar sign.
_DOLLAR: Final = re.compile(r"\$(?=[$(])")


class PodParts:
    """What the pods of a process are made of: the secrets that they refer to, and the template.

    Pods of one-offs are labelled `run`, whatever process type they are of, so that no service finds them.
    """

    def __init__(self, app: str, process: ProcessSpec, config: KubernetesConfig, *, is_one_off: bool = False) -> None:
        self._app = app
        self._process = process
        self._config = config
        self._is_one_off = is_one_off
        self._ptype = RUN if is_one_off else process.ptype
        self._plan: LimitPlan = config.catalog.plan_of(process.plan)
        self._env = env_secret(app, process)
        self._pull = pull_secret(app, process, config)

    @property
    def secrets(self) -> tuple[Manifest, ...]:
        """The Secrets that must be there before the pods."""
        return (self._env,) if self._pull is None else (self._env, self._pull)

    def template(self, *, restart_policy: str, **more: object) -> Manifest:
        """The template; `more` stands beside the containers."""
        release = self._process.release
        annotations = {**self._plan.annotations, names.FINGERPRINT: self._process.fingerprint}
        return {
            "metadata": {
                "labels": names.pod_labels(self._app, self._ptype, release),
                "annotations": dict(sorted(annotations.items())),
            },
            "spec": present({**self._pod(restart_policy), **more}),
        }

    def _pod(self, restart_policy: str) -> Manifest:
        process, plan = self._process, self._plan
        volumes = sorted({mount.volume for mount in process.mounts})
        pull = None if self._pull is None else [{"name": self._pull["metadata"]["name"]}]
        return {
            "serviceAccountName": names.SERVICE_ACCOUNT,
            "automountServiceAccountToken": False,
            "restartPolicy": restart_policy,
            "terminationGracePeriodSeconds": whole_seconds(process.grace_period),
            "dnsPolicy": self._config.dns_policy,
            "runtimeClassName": plan.runtime_class_name,
            "nodeSelector": dict(sorted({**plan.node_selector, **process.tags}.items())),
            "securityContext": pod_security(plan),
            "imagePullSecrets": pull,
            "volumes": [
                {
                    "name": names.volume_claim(volume),
                    "persistentVolumeClaim": {"claimName": names.volume_claim(volume)},
                }
                for volume in volumes
            ],
            "containers": [self._container()],
        }

    def _container(self) -> Manifest:
        process, plan = self._process, self._plan
        resources = {"limits": canonical_all(plan.limits), "requests": canonical_all(plan.requests)}
        # Handlers are for the process type that they were given to, not for a command in its environment.
        lifecycle = lifecycle_of(process, self._config) if self._ptype == process.ptype else None
        return present(
            {
                "name": names.deployment(self._app, self._ptype),
                "image": process.image,
                "imagePullPolicy": _pull_policy(process, self._config),
                **_command(process),
                "env": self._variables(),
                "resources": present(resources),
                "securityContext": container_security(plan, self._config),
                **({} if self._is_one_off else probes_of(process)),
                "lifecycle": lifecycle,
                "volumeMounts": [
                    {"name": names.volume_claim(mount.volume), "mountPath": mount.path} for mount in process.mounts
                ],
            }
        )

    def _variables(self) -> list[dict[str, Any]]:
        """Every variable as a reference, by name: no value stands in a pod (weaknesses 14, 49)."""
        secret = self._env["metadata"]["name"]
        known: dict[str, dict[str, Any]] = {_CONTAINER_IP: {"fieldRef": {"fieldPath": "status.podIP"}}}
        for name in self._process.env:
            known[name] = {"secretKeyRef": {"name": secret, "key": key_of(name)}}
        return [{"name": name, "valueFrom": known[name]} for name in sorted(known)]


def _command(process: ProcessSpec) -> Manifest:
    """A line of a Procfile goes to a shell; all else is the image's, with what was named.

    The shell is the first process of the container, which takes no notice of SIGTERM: a program that needs no shell
    to wait for it takes its place.
    """
    if process.shell is not None:
        return {"command": [SHELL, "-c", _DOLLAR.sub("$$", shell_line(process.shell))]}
    return {"command": list(process.command), "args": list(process.args)}


def _pull_policy(process: ProcessSpec, config: KubernetesConfig) -> str:
    own = process.env.get(PULL_POLICY, "")
    return own if own in _PULL_POLICIES else config.image_pull_policy

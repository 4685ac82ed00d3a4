"""What stands before anything of an app can run: its namespace and the rules in there (weakness 54)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from controller.engine.kubernetes import names
from controller.engine.kubernetes.config import Account, KubernetesConfig
from controller.engine.kubernetes.manifests.base import Manifest, app_object, plain
from controller.engine.kubernetes.manifests.policies import network_policy
from controller.engine.kubernetes.manifests.quantities import canonical_all

_POD_SECURITY = "pod-security.kubernetes.io"
_LIMITED = ("cpu", "ephemeral-storage", "memory")


def render_foundation(app: str, quota: Mapping[str, object] | None, config: KubernetesConfig) -> tuple[Manifest, ...]:
    """Namespace, our rights in it, quota, limit range, network policy and service account, in the order of apply."""
    found = (
        _namespace(app, config),
        *_rights(app, config),
        None if quota is None else _quota(app, quota),
        _limit_range(app, config) if config.limit_range else None,
        network_policy(app, config) if config.network_policy else None,
        _service_account(app),
    )
    return tuple(item for item in found if item is not None)


def _namespace(app: str, config: KubernetesConfig) -> Manifest:
    security = {
        f"{_POD_SECURITY}/enforce": config.pod_security_level,
        f"{_POD_SECURITY}/enforce-version": "latest",
        f"{_POD_SECURITY}/warn": "restricted",
        f"{_POD_SECURITY}/warn-version": "latest",
    }
    labels = {**config.namespace_labels, **security, **names.labels(app)}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": names.namespace(app), "labels": labels}}


def _rights(app: str, config: KubernetesConfig) -> Iterator[Manifest]:
    """What the platform itself may do with the app: it may do so nowhere else (weakness 50)."""
    worker, api = config.worker_account, config.api_account or config.worker_account
    for account, part in ((worker, names.WORKER_RIGHTS), (api, names.API_RIGHTS)):
        if account is not None:
            yield _binding(app, account, names.role(config.role_prefix, part))


def _binding(app: str, account: Account, role: str) -> Manifest:
    return app_object(
        "rbac.authorization.k8s.io/v1",
        "RoleBinding",
        app,
        role,
        roleRef={"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        subjects=[{"kind": "ServiceAccount", "namespace": account.namespace, "name": account.name}],
    )


def _quota(app: str, quota: Mapping[str, object]) -> Manifest:
    spec = plain(quota)
    if isinstance(spec.get("hard"), dict):
        spec["hard"] = canonical_all(spec["hard"])
    return app_object("v1", "ResourceQuota", app, names.rules(app), spec=spec)


def _limit_range(app: str, config: KubernetesConfig) -> Manifest | None:
    """A container that says nothing gets what a process type without a plan gets: otherwise a quota refuses it."""
    plan = config.catalog.default
    limits = {name: amount for name, amount in plan.limits.items() if name in _LIMITED}
    requests = {**limits, **{name: amount for name, amount in plan.requests.items() if name in _LIMITED}}
    if not requests:
        return None
    defaults = {
        "type": "Container",
        "default": canonical_all(limits),
        "defaultRequest": canonical_all(requests),
    }
    return app_object("v1", "LimitRange", app, names.rules(app), spec={"limits": [defaults]})


def _service_account(app: str) -> Manifest:
    """No token of it reaches a pod (weakness 53)."""
    return app_object("v1", "ServiceAccount", app, names.SERVICE_ACCOUNT, automountServiceAccountToken=False)

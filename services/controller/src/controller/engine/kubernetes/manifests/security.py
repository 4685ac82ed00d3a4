"""Security contexts: a plan's own over what is safe for every app (weakness 54)."""

from __future__ import annotations

from controller.domain.plans import LimitPlan
from controller.engine.kubernetes.config import KubernetesConfig
from controller.engine.kubernetes.manifests.base import Manifest, plain


def pod_security(plan: LimitPlan) -> Manifest:
    """The security context of a pod."""
    return {"seccompProfile": {"type": "RuntimeDefault"}, **plain(plan.pod_security_context)}


def container_security(plan: LimitPlan, config: KubernetesConfig) -> Manifest:
    """That of its container; where the namespace admits only what is `restricted`, one that is admitted."""
    own: Manifest = plain(plan.container_security_context)
    if own.get("privileged") is True:
        return own  # The API server refuses the defaults beside it.
    restricted = {"runAsNonRoot": True, "capabilities": {"drop": ["ALL"]}}
    more = restricted if config.pod_security_level == "restricted" else {}
    return {"allowPrivilegeEscalation": False, **more, **own}

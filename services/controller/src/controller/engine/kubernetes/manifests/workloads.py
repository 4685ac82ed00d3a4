"""Deployments and their autoscalers (kubernetes.md 1.4, 1.9)."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from controller.domain.spec import Autoscale, ProcessSpec
from controller.engine.kubernetes import names
from controller.engine.kubernetes.config import KubernetesConfig
from controller.engine.kubernetes.manifests.base import Manifest, app_object, whole_seconds
from controller.engine.kubernetes.manifests.handlers import check_handlers
from controller.engine.kubernetes.manifests.pods import PodParts

DEPLOY_BATCHES: Final = "DRYCC_DEPLOY_BATCHES"
HISTORY_LIMIT: Final = "KUBERNETES_DEPLOYMENTS_REVISION_HISTORY_LIMIT"
"""Variables of an app that win over the operator's choices."""

_SURGE: Final = "25%"
_ZONE, _HOST = "topology.kubernetes.io/zone", "kubernetes.io/hostname"
_MOST_DIGITS: Final = 7
_SETTLING_SECONDS: Final = 1


def render_process(
    app: str, process: ProcessSpec, rule: Autoscale | None, config: KubernetesConfig
) -> tuple[Manifest, ...]:
    """The secrets, the Deployment and, with a `rule`, the autoscaler of a process type.

    Raises:
        NotSupportedError: it has a probe or a lifecycle handler that is none.
    """
    check_handlers(process)
    parts = PodParts(app, process, config)
    scaled = rule if process.replicas > 0 else None
    scaler = () if scaled is None else (_autoscaler(app, scaled),)
    return (*parts.secrets, _deployment(app, process, parts, config, is_scaled=scaled is not None), *scaler)


def _deployment(
    app: str, process: ProcessSpec, parts: PodParts, config: KubernetesConfig, *, is_scaled: bool
) -> Manifest:
    """With an autoscaler, the number of replicas is its business (weakness 20), unless there are to be none at all."""
    history = _number(process, HISTORY_LIMIT, config.revision_history_limit)
    template = parts.template(restart_policy="Always", topologySpreadConstraints=_spread(app, process))
    is_asked = any("readinessProbe" in container for container in template["spec"]["containers"])
    return app_object(
        "apps/v1",
        "Deployment",
        app,
        names.deployment(app, process.ptype),
        ptype=process.ptype,
        annotations={
            names.CHANGE_CAUSE: f"release v{process.release}",
            names.FINGERPRINT: process.fingerprint,
        },
        spec={
            **({} if is_scaled else {"replicas": process.replicas}),
            **({} if history is None else {"revisionHistoryLimit": history}),
            "progressDeadlineSeconds": _progress_deadline(process, config),
            "selector": {"matchLabels": names.selector(app, process.ptype)},
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": _surge(process, config, is_scaled), "maxUnavailable": 0},
            },
            # Without a check a process is ready as soon as it runs: one that ends at once is not to count.
            **({} if is_asked else {"minReadySeconds": _SETTLING_SECONDS}),
            "template": template,
        },
    )


def _autoscaler(app: str, rule: Autoscale) -> Manifest:
    name = names.deployment(app, rule.ptype)
    target = {"type": "Utilization", "averageUtilization": rule.cpu_percent}
    return app_object(
        "autoscaling/v2",
        "HorizontalPodAutoscaler",
        app,
        name,
        ptype=rule.ptype,
        spec={
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "minReplicas": rule.least,
            "maxReplicas": rule.most,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
        },
    )


def _surge(process: ProcessSpec, config: KubernetesConfig, is_scaled: bool) -> int | str:
    """How many pods beyond the wanted ones a rollout may start; never none (weakness 12)."""
    batches = _number(process, DEPLOY_BATCHES, config.deploy_batches) or 0
    if batches < 1:
        return _SURGE
    return batches if is_scaled or process.replicas == 0 else min(batches, process.replicas)


def _progress_deadline(process: ProcessSpec, config: KubernetesConfig) -> int:
    """After so long without progress the Deployment says that it failed: the start deadline and what probes allow."""
    base = process.start_deadline or config.start_deadline
    allowed = [probe.budget for probe in (process.readiness, process.liveness) if probe is not None]
    return whole_seconds(base + max(allowed, default=timedelta(0)), least=1)


def _spread(app: str, process: ProcessSpec) -> list[Manifest]:
    """Replicas go to different zones and machines as far as there are any (weakness 47)."""
    return [
        {
            "maxSkew": 1,
            "topologyKey": key,
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": names.selector(app, process.ptype)},
            "matchLabelKeys": ["pod-template-hash"],
        }
        for key in (_ZONE, _HOST)
    ]


def _number(process: ProcessSpec, variable: str, default: int | None) -> int | None:
    text = process.env.get(variable, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS else default

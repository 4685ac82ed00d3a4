"""From what an app should be to objects of the API: pure, the same spec gives the same manifests byte for byte."""

from __future__ import annotations

from collections.abc import Collection

from controller.domain.spec import AppSpec
from controller.engine.kubernetes.config import KubernetesConfig
from controller.engine.kubernetes.kinds import kind_of
from controller.engine.kubernetes.manifests.base import Manifest
from controller.engine.kubernetes.manifests.foundation import render_foundation
from controller.engine.kubernetes.manifests.handlers import check_handlers
from controller.engine.kubernetes.manifests.jobs import render_job
from controller.engine.kubernetes.manifests.network import render_network_manifests
from controller.engine.kubernetes.manifests.volumes import render_volume
from controller.engine.kubernetes.manifests.workloads import render_process

__all__ = ["Manifest", "check_handlers", "render", "render_foundation", "render_job"]


def render(spec: AppSpec, config: KubernetesConfig, *, pending: Collection[str] = ()) -> tuple[Manifest, ...]:
    """Everything that is to be there for an app, in the order of apply; what is not in it should not be there.

    `pending` are the host names whose automatic certificate is not there yet.

    Raises:
        NotSupportedError: the spec asks for what a cluster cannot have.
    """
    rules = {rule.ptype: rule for rule in spec.autoscale}
    found = [*render_foundation(spec.app, spec.quota, config)]
    for process in spec.processes:
        found += render_process(spec.app, process, rules.get(process.ptype), config)
    for volume in spec.volumes:
        found += render_volume(spec.app, volume, config)
    found += render_network_manifests(spec.app, spec.network, config, pending=pending)
    return tuple(sorted(found, key=_place))


def _place(manifest: Manifest) -> int:
    """What another object refers to comes before it (kubernetes.md 5.5)."""
    return kind_of(manifest).order or 0

"""Services (kubernetes.md 1.8)."""

from __future__ import annotations

from controller.domain.spec_network import ServiceSpec
from controller.engine.kubernetes import names
from controller.engine.kubernetes.manifests.base import Manifest, app_object


def service(app: str, spec: ServiceSpec) -> Manifest:
    """The Service of a process type: its pods of all releases. Routes know it by its name, which is never cut."""
    ports = [
        {"name": port.name, "port": port.port, "protocol": port.protocol, "targetPort": port.target_port}
        for port in spec.ports
    ]
    content = {"type": "ClusterIP", "selector": names.selector(app, spec.ptype), "ports": ports}
    return app_object("v1", "Service", app, spec.name, ptype=spec.ptype, spec=content)

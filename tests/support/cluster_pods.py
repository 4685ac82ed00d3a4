"""Pods of an app on a real cluster that say what a test wants them to say."""

from __future__ import annotations

from controller.engine.kubernetes import names
from shared.kubernetes.kinds import Manifest
from support.cluster_rights import Rights
from support.cluster_world import namespace
from support.kubectl import Kubectl, eventually


def app_with_rights(kubectl: Kubectl, rights: Rights, app: str) -> None:
    """The namespace of an app, in which the engine has the rights that it has in those of apps and no others."""
    kubectl.apply([namespace(app)])
    kubectl.apply(rights.bindings(app))
    eventually(lambda: kubectl("get", "serviceaccount", "default", "-n", app))


def speaker(app: str, name: str, script: str, *, image: str = "busybox:1", grace: int = 0, **spec: object) -> Manifest:
    """A pod that looks like one of the process type `web`."""
    container = {
        "name": f"{app}-web",
        "image": image,
        "command": ["sh", "-c", script],
        "resources": {"requests": {"cpu": "1m"}, "limits": {"memory": "64Mi"}},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": app, "labels": names.pod_labels(app, "web", 1)},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": grace, **spec},
    }

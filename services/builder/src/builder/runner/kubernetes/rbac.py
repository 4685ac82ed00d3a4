"""What the builder may do in a cluster: what its code calls for, in the one namespace where builds run. Pure.

Who may make Jobs in a namespace may also run them as any of its service accounts and mount any of its Secrets. So
builds have a namespace of their own, with nothing else in it.
"""

from __future__ import annotations

from typing import Final

from builder.runner.kubernetes.kinds import EVENT, JOB, POD, SECRET
from shared.kubernetes.kinds import Manifest
from shared.kubernetes.rights import GROUP, VERSION, Rights, resource_of, rules

RIGHTS: Final[Rights] = {
    resource_of(JOB): frozenset({"get", "list", "watch", "create", "delete"}),
    # Neither read nor listed: a build's Secret has the app's config.
    resource_of(SECRET): frozenset({"create", "patch", "delete"}),
    resource_of(POD): frozenset({"list", "watch"}),
    ("", "pods/log"): frozenset({"get"}),
    resource_of(EVENT): frozenset({"list"}),
}
_LABELS: Final = {"app.kubernetes.io/managed-by": "workflow"}


def render_namespace(namespace: str) -> Manifest:
    """The namespace of the builds.

    Builds of Dockerfiles make a user namespace, which no seccomp profile of the levels below `privileged` lets them do.
    """
    labels = {**_LABELS, "pod-security.kubernetes.io/enforce": "privileged"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}}


def render_rights(name: str, namespace: str, *, account: str, account_namespace: str) -> tuple[Manifest, Manifest]:
    """The Role `name` in the namespace of the builds, and the binding that gives it to the builder's account."""
    metadata = {"name": name, "namespace": namespace, "labels": _LABELS}
    subject = {"kind": "ServiceAccount", "namespace": account_namespace, "name": account}
    return (
        {"apiVersion": VERSION, "kind": "Role", "metadata": metadata, "rules": rules(RIGHTS)},
        {
            "apiVersion": VERSION,
            "kind": "RoleBinding",
            "metadata": metadata,
            "roleRef": {"apiGroup": GROUP, "kind": "Role", "name": name},
            "subjects": [subject],
        },
    )

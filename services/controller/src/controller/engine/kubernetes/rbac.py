"""What the platform may do in a cluster: as little as its code calls for (kubernetes.md 4.3 and 5, weakness 50). Pure.

A process that writes apps (the worker) and one of the API alone have a service account each, with rights of two kinds:
everywhere it may do what has no namespace, and watch all but Secrets; whatever else it does it may do in the namespaces
of apps only. There a RoleBinding that the worker makes with the namespace binds one ClusterRole to each of the two
accounts (`manifests.foundation`): of rights that it does not have itself it may give these and no others. A process
that does both works has one account with all four roles.

Rights know no namespaces that are made later: who may make RoleBindings may make them anywhere, and so get at the
Secrets of `kube-system` after all. An admission policy (`render_guard`, Kubernetes 1.30 and later) keeps the worker to
namespaces that are ours.

Everybody who is signed in may ask which kinds there are; no right is needed for that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from controller.engine.kubernetes import names
from controller.engine.kubernetes.config import Account
from controller.engine.kubernetes.kinds import (
    ALL,
    JOB,
    NAMESPACE,
    PERSISTENT_VOLUME_CLAIM,
    POD,
    ROLE_BINDING,
    SHOWN,
    WATCHED,
    Kind,
)
from controller.engine.kubernetes.lists import HAVE_KEYED_LISTS
from shared.kubernetes.kinds import Manifest
from shared.kubernetes.rights import GROUP, VERSION, Rights, resource_of, rules

_ADMISSION: Final = "admissionregistration.k8s.io/v1"
_POLICY: Final = "ValidatingAdmissionPolicy"
_WORKER: Final = "worker"
_API: Final = "api"
_WATCH: Final = frozenset({"list", "watch"})
_LOG: Final[Rights] = {("", "pods/log"): frozenset({"get"})}
# A WebSocket is opened by GET; newer API servers want `create` for it, which is what exec was by POST.
_EXEC: Final[Rights] = {("", "pods/exec"): frozenset({"get", "create"})}

# What is done beside writing what was rendered and deleting what is not any more.
_WORKER_BESIDES: Final[Mapping[Kind, frozenset[str]]] = {
    NAMESPACE: frozenset({"get", "delete"}),  # namespaces.ensure, removal
    POD: frozenset({"patch"}),  # jobs: the end of a one-off
    JOB: frozenset({"delete"}),  # filer_pods.sweep
}
_API_BESIDES: Final[Mapping[Kind, frozenset[str]]] = {
    # Engine.stop_instance; and what holds a volume whose files are wanted (filer_pods).
    POD: frozenset({"get", "patch", "delete"}),
    JOB: frozenset({"get", "create", "patch", "delete"}),
    # Engine.check_volume, as a dry run needs the same rights; and a claim that the watch has not told of yet (files).
    PERSISTENT_VOLUME_CLAIM: frozenset({"get", "create", "patch"}),
}


def worker_rights() -> Rights:
    """What a worker may do everywhere, without the right to give the rights in apps."""
    return _joined(
        {resource_of(kind): _WATCH for kind in WATCHED if kind.watched == "cluster"},
        {
            resource_of(kind): _written(kind) | _WORKER_BESIDES.get(kind, frozenset())
            for kind in ALL
            if _is_outside(kind)
        },
    )


def worker_rights_in_app() -> Rights:
    """What a worker may do in the namespace of an app."""
    inside = [kind for kind in ALL if not _is_outside(kind)]
    return _joined(
        {resource_of(kind): _WATCH for kind in WATCHED if kind.watched == "namespace"},
        {resource_of(kind): _written(kind) | _WORKER_BESIDES.get(kind, frozenset()) for kind in inside},
        _LOG,
    )


def api_rights() -> Rights:
    """What a process of the API alone may do everywhere."""
    return {resource_of(kind): _WATCH for kind in SHOWN}


def api_rights_in_app() -> Rights:
    """What a process of the API alone may do in the namespace of an app."""
    return _joined({resource_of(kind): verbs for kind, verbs in _API_BESIDES.items()}, _LOG, _EXEC)


def render_rights(prefix: str, *, worker: Account, api: Account) -> tuple[Manifest, ...]:
    """The four ClusterRoles, whose names begin with `prefix`, and the bindings of those that count everywhere.

    The rest is bound in the namespace of each app by the engine, which is told `prefix` and the same accounts.
    """
    in_apps = (names.role(prefix, names.WORKER_RIGHTS), names.role(prefix, names.API_RIGHTS))
    bind = {"apiGroups": [GROUP], "resources": ["clusterroles"], "resourceNames": list(in_apps), "verbs": ["bind"]}
    everywhere = (names.role(prefix, _WORKER), names.role(prefix, _API))
    return (
        _role(everywhere[0], [*rules(worker_rights()), bind]),
        _role(in_apps[0], rules(worker_rights_in_app())),
        _role(everywhere[1], rules(api_rights())),
        _role(in_apps[1], rules(api_rights_in_app())),
        _binding(everywhere[0], worker),
        _binding(everywhere[1], api),
    )


def render_guard(prefix: str, *accounts: Account) -> tuple[Manifest, ...]:
    """What keeps these accounts from namespaces and volumes that are not ours, and from RoleBindings in the former.

    A namespace that somebody else has made cannot be given our labels by them either.
    """
    name = names.role(prefix, _WORKER)
    users = ", ".join(f"'system:serviceaccount:{one.namespace}:{one.name}'" for one in accounts)
    spec = {
        "failurePolicy": "Fail",
        "matchConstraints": {
            "resourceRules": [
                _matching("", "namespaces", "UPDATE", "DELETE"),
                _matching("", "persistentvolumes", "UPDATE", "DELETE"),
                _matching(GROUP, "rolebindings", "CREATE", "UPDATE", "DELETE"),
            ]
        },
        "matchConditions": [{"name": "is-the-worker", "expression": f"request.userInfo.username in [{users}]"}],
        "validations": [
            {
                # The note on what we apply: what somebody has taken our labels off gets them back.
                "expression": f"request.resource.resource == 'rolebindings' || {_is_ours('oldObject')}"
                f" || ({_was_applied('oldObject')})",
                "message": "Workflow may change only what it has made",
                "reason": "Forbidden",
            },
            {
                "expression": f"request.resource.resource != 'rolebindings' || {_is_ours('namespaceObject')}",
                "message": "Workflow may give rights only in namespaces that it has made",
                "reason": "Forbidden",
            },
        ],
    }
    bound = {"policyName": name, "validationActions": ["Deny"]}
    return (
        {"apiVersion": _ADMISSION, "kind": _POLICY, "metadata": _metadata(name), "spec": spec},
        {"apiVersion": _ADMISSION, "kind": f"{_POLICY}Binding", "metadata": _metadata(name), "spec": bound},
    )


def _is_outside(kind: Kind) -> bool:
    """It is written before there are any rights in a namespace."""
    return not kind.namespaced or kind is ROLE_BINDING


def _written(kind: Kind) -> frozenset[str]:
    """What `apply` does with objects of a kind: a server-side apply of one that is not there needs `create` as well."""
    if kind.order is None:
        return frozenset()
    verbs = {"create", "patch"}
    if kind.is_pruned:
        verbs.add("delete")
    if kind in HAVE_KEYED_LISTS:  # write: what others have put into our lists is looked at
        verbs.add("get")
    return frozenset(verbs)


def _joined(*parts: Rights) -> Rights:
    resources = {resource for part in parts for resource in part}
    return {one: frozenset().union(*(part.get(one, ()) for part in parts)) for one in resources}


def _matching(group: str, plural: str, *operations: str) -> Manifest:
    return {"apiGroups": [group], "apiVersions": ["*"], "resources": [plural], "operations": list(operations)}


def _is_ours(thing: str) -> str:
    labels = f"{thing}.metadata.labels"
    each = (f"'{key}' in {labels} && {labels}['{key}'] == '{value}'" for key, value in names.OURS.items())
    return f"(has({labels}) && {' && '.join(each)})"


def _was_applied(thing: str) -> str:
    return f"has({thing}.metadata.annotations) && '{names.MANIFEST}' in {thing}.metadata.annotations"


def _role(name: str, rules: Iterable[Manifest]) -> Manifest:
    return {"apiVersion": VERSION, "kind": "ClusterRole", "metadata": _metadata(name), "rules": list(rules)}


def _binding(role: str, account: Account) -> Manifest:
    return {
        "apiVersion": VERSION,
        "kind": "ClusterRoleBinding",
        "metadata": _metadata(role),
        "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "ServiceAccount", "namespace": account.namespace, "name": account.name}],
    }


def _metadata(name: str) -> Manifest:
    return {"name": name, "labels": dict(names.OURS)}

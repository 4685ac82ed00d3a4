"""The rights of the platform are what its code calls for: every call in the package is looked up here, and no right is
left without a call."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest

import controller.engine.kubernetes
from controller.engine.kubernetes import kinds, names
from controller.engine.kubernetes.config import Account
from controller.engine.kubernetes.kinds import (
    ALL,
    JOB,
    NAMESPACE,
    PERSISTENT_VOLUME,
    PRUNED,
    ROLE_BINDING,
    SECRET,
    SHOWN,
    WATCHED,
    Kind,
)
from controller.engine.kubernetes.lists import HAVE_KEYED_LISTS
from controller.engine.kubernetes.rbac import (
    api_rights,
    api_rights_in_app,
    render_guard,
    render_rights,
    worker_rights,
    worker_rights_in_app,
)
from shared.kubernetes.rights import Resource, rules
from support.client_calls import SUBRESOURCES, VERBS, Call, calls
from support.rights_page import PAGE, render

PACKAGE: Final = Path(controller.engine.kubernetes.__file__).parent
WRITTEN: Final = tuple(kind for kind in ALL if kind.order is not None)
REPLACED: Final = (SECRET, ROLE_BINDING)
WORKER, API = "worker", "api"

# Calls whose kind is a variable.
KINDS: Final[Mapping[Call, Collection[Kind]]] = {
    ("apply", "_delete", "delete"): PRUNED,
    ("namespaces", "ensure", "create"): (NAMESPACE,),
    ("removal", "_delete", "delete"): (NAMESPACE, PERSISTENT_VOLUME),
    ("watcher", "_list", "pages"): WATCHED,
    ("watcher", "_watch", "watch"): WATCHED,
    ("write", "write", "apply"): WRITTEN,
    ("write", "_hand_over_replicas", "apply"): (kinds.DEPLOYMENT,),
    ("write", "_replace", "delete"): REPLACED,
    ("write", "_replace", "apply"): REPLACED,
    ("write", "_find", "get"): HAVE_KEYED_LISTS,
    ("write", "_reset", "patch"): HAVE_KEYED_LISTS,
    ("write", "_reset", "apply"): HAVE_KEYED_LISTS,
    ("engine", "check_volume", "apply"): (kinds.PERSISTENT_VOLUME_CLAIM,),
    ("filer_pods", "_create", "create"): (JOB,),
}
# Which process gets to a call: by module, or by module and function. `stop_instance` of the API ends one-offs as well.
PROCESSES: Final[Mapping[str | tuple[str, str], tuple[str, ...]]] = {
    "apply": (WORKER,),
    "namespaces": (WORKER,),
    "removal": (WORKER,),
    "write": (WORKER,),
    "watcher": (WORKER, API),
    "logs": (WORKER, API),
    "log_reader": (WORKER, API),
    "jobs": (WORKER, API),
    "exec": (API,),
    "files": (API,),
    "filer_pods": (API,),
    ("filer_pods", "_end"): (WORKER, API),
    ("engine", "check_volume"): (API,),
    ("engine", "stop_instance"): (API,),
}


def test_every_call_has_its_right_and_every_right_a_call() -> None:
    for process, everywhere, in_app in (
        (WORKER, worker_rights(), worker_rights_in_app()),
        (API, api_rights(), api_rights_in_app()),
    ):
        granted = {(one, verb) for rights in (everywhere, in_app) for one, verbs in rights.items() for verb in verbs}
        needed = set(_needed(process))
        assert sorted(needed - granted) == [], f"calls of the {process} that rbac.py gives no right for"
        assert sorted(granted - needed) == [], f"rights of the {process} in rbac.py that no code calls for"


def test_the_tables_above_name_calls_that_there_are() -> None:
    there = {(module, function, method) for module, function, method, _ in calls(PACKAGE, kinds)}
    assert sorted(set(KINDS) - there) == []


def _needed(process: str) -> Iterator[tuple[Resource, str]]:
    for module, function, method, constant in calls(PACKAGE, kinds):
        by = PROCESSES.get((module, function)) or PROCESSES.get(module)
        assert by, f"{module}.{function} calls client.{method}: say in PROCESSES which process gets there"
        if process not in by:
            continue
        if method in SUBRESOURCES:
            resource, verbs = SUBRESOURCES[method]
            yield from ((resource, verb) for verb in verbs)
            continue
        found = (constant,) if constant else KINDS.get((module, function, method))
        assert found, f"{module}.{function} calls client.{method}: say in KINDS for which kinds"
        if module == "watcher" and process == API:
            found = SHOWN
        yield from (((kind.group, kind.plural), verb) for kind in found for verb in VERBS[method])


def manifests() -> dict[tuple[str, str], dict[str, Any]]:
    made = render_rights("wf", worker=Account("drycc", "worker"), api=Account("drycc", "api"))
    return {(one["kind"], one["metadata"]["name"]): one for one in made}


def test_weakness_50_nobody_reads_the_secrets_of_a_cluster() -> None:
    secrets = ("", "secrets")
    assert secrets not in worker_rights()
    assert secrets not in api_rights()
    assert secrets not in api_rights_in_app()
    assert secrets in worker_rights_in_app()
    for rights in (worker_rights(), worker_rights_in_app(), api_rights(), api_rights_in_app()):
        for (group, plural), verbs in rights.items():
            assert "*" not in (group, plural, *verbs)


def test_weakness_50_what_is_done_to_apps_is_done_in_their_namespaces_only() -> None:
    writes = {"create", "patch", "delete"}
    everywhere = {resource for resource, verbs in worker_rights().items() if verbs & writes}
    assert everywhere == {
        ("", "namespaces"),
        ("", "persistentvolumes"),
        ("rbac.authorization.k8s.io", "rolebindings"),
    }
    assert not any(verbs - {"list", "watch"} for verbs in api_rights().values())
    for rights in (worker_rights(), api_rights()):
        assert not any("/" in plural for _, plural in rights)


def test_weakness_50_the_worker_may_give_the_two_roles_in_apps_and_no_other() -> None:
    made = manifests()
    found = [rule for one in made.values() for rule in one.get("rules", ()) if "bind" in rule["verbs"]]
    roles = ["wf-worker-in-app", "wf-api-in-app"]
    assert found == [
        {
            "apiGroups": ["rbac.authorization.k8s.io"],
            "resources": ["clusterroles"],
            "resourceNames": roles,
            "verbs": ["bind"],
        }
    ]
    assert all(("ClusterRole", role) in made for role in roles)
    bound = {one["roleRef"]["name"]: one["subjects"] for one in made.values() if one["kind"] == "ClusterRoleBinding"}
    assert bound == {
        "wf-worker": [{"kind": "ServiceAccount", "namespace": "drycc", "name": "worker"}],
        "wf-api": [{"kind": "ServiceAccount", "namespace": "drycc", "name": "api"}],
    }


def test_weakness_51_commands_in_pods_are_started_by_the_api_alone() -> None:
    assert ("", "pods/exec") not in {**worker_rights(), **worker_rights_in_app(), **api_rights()}
    assert api_rights_in_app()["", "pods/exec"] == {"get", "create"}


@pytest.mark.parametrize("kind", WATCHED, ids=lambda kind: kind.kind)
def test_what_is_watched_may_be_watched(kind: Kind) -> None:
    rights = worker_rights() if kind.watched == "cluster" else worker_rights_in_app()
    assert rights[kind.group, kind.plural] >= {"list", "watch"}


def test_the_api_alone_watches_no_secrets_and_nothing_in_single_namespaces() -> None:
    assert SECRET not in SHOWN
    assert {kind.watched for kind in SHOWN} == {"cluster"}


def test_rules_put_together_what_has_the_same_verbs() -> None:
    read, write = frozenset({"watch", "list"}), frozenset({"patch", "create"})
    rights = {("apps", "b"): read, ("apps", "a"): read, ("", "c"): write, ("", "d"): frozenset[str]()}
    assert rules(rights) == [
        {"apiGroups": [""], "resources": ["c"], "verbs": ["create", "patch"]},
        {"apiGroups": ["apps"], "resources": ["a", "b"], "verbs": ["list", "watch"]},
    ]


def test_the_page_for_operators_is_what_the_code_says() -> None:
    assert PAGE.read_text(encoding="utf-8") == render(), "run: .venv/bin/python tests/support/rights_page.py"


def test_weakness_50_the_worker_is_kept_to_what_is_ours() -> None:
    policy, binding = render_guard("wf", Account("drycc", "worker"), Account("x", "y"))
    assert policy["metadata"]["name"] == binding["spec"]["policyName"] == "wf-worker"
    assert binding["spec"]["validationActions"] == ["Deny"]
    users = "['system:serviceaccount:drycc:worker', 'system:serviceaccount:x:y']"
    assert [one["expression"] for one in policy["spec"]["matchConditions"]] == [f"request.userInfo.username in {users}"]
    for validation in policy["spec"]["validations"]:
        assert all(f"labels['{key}'] == '{value}'" in validation["expression"] for key, value in names.OURS.items())
    guarded = {one["resources"][0] for one in policy["spec"]["matchConstraints"]["resourceRules"]}
    writes = {"create", "patch", "delete"}
    assert guarded == {plural for (_, plural), verbs in worker_rights().items() if verbs & writes}


def test_everything_of_ours_says_so() -> None:
    labels: Iterable[Any] = (one["metadata"]["labels"] for one in manifests().values())
    assert all(label == names.OURS for label in labels)

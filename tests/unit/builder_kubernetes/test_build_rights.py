"""The rights of the builder are what its code calls for: every call of the client is looked up here, and no right is
left without a call."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Final

import builder.runner.kubernetes
from builder.runner.kubernetes import kinds
from builder.runner.kubernetes.kinds import JOB, POD, SECRET
from builder.runner.kubernetes.rbac import RIGHTS, render_namespace, render_rights
from shared.kubernetes.kinds import Kind
from shared.kubernetes.rights import Resource
from support.client_calls import SUBRESOURCES, VERBS, Call, calls
from support.rights_page import BUILDER_PAGE, render_builder

PACKAGE: Final = Path(builder.runner.kubernetes.__file__).parent

# Calls whose kind is a variable.
KINDS: Final[Mapping[Call, Collection[Kind]]] = {
    ("runner", "end", "delete"): (JOB, SECRET),
    ("runner", "_create", "create"): (JOB, SECRET),
    ("watching", "_list", "list"): (JOB, POD),
    ("watching", "_watch", "watch"): (JOB, POD),
}


def needed() -> Iterator[tuple[Resource, str]]:
    for module, function, method, constant in calls(PACKAGE, kinds):
        if method in SUBRESOURCES:
            resource, verbs = SUBRESOURCES[method]
            yield from ((resource, verb) for verb in verbs)
            continue
        found = (constant,) if constant else KINDS.get((module, function, method))
        assert found, f"{module}.{function} calls client.{method}: say in KINDS for which kinds"
        yield from (((kind.group, kind.plural), verb) for kind in found for verb in VERBS[method])


def test_every_call_has_its_right_and_every_right_a_call() -> None:
    granted = {(resource, verb) for resource, verbs in RIGHTS.items() for verb in verbs}
    asked = set(needed())
    assert sorted(asked - granted) == [], "calls that rbac.py gives no right for"
    assert sorted(granted - asked) == [], "rights in rbac.py that no code calls for"


def test_the_table_above_names_calls_that_there_are() -> None:
    there = {(module, function, method) for module, function, method, _ in calls(PACKAGE, kinds)}
    assert sorted(set(KINDS) - there) == []


def test_the_client_is_called_in_this_package_alone() -> None:
    others = [path for path in PACKAGE.parents[1].rglob("*.py") if PACKAGE not in path.parents]
    assert [path.name for path in others if "shared.kubernetes.client" in path.read_text()] == []


def test_no_right_counts_outside_of_the_namespace_of_builds_and_none_reads_secrets() -> None:
    role, binding = render_rights("wf", "builds", account="builder", account_namespace="platform")
    assert (role["kind"], binding["kind"]) == ("Role", "RoleBinding")
    assert {one["metadata"]["namespace"] for one in (role, binding)} == {"builds"}
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert binding["subjects"] == [{"kind": "ServiceAccount", "namespace": "platform", "name": "builder"}]
    assert not RIGHTS["", "secrets"] & {"get", "list", "watch"}
    assert not any("*" in (group, plural, *verbs) for (group, plural), verbs in RIGHTS.items())


def test_the_namespace_of_builds_lets_them_make_user_namespaces() -> None:
    namespace = render_namespace("builds")
    assert namespace["metadata"]["name"] == "builds"
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "privileged"


def test_the_page_for_operators_is_what_the_code_says() -> None:
    page = BUILDER_PAGE.read_text(encoding="utf-8")
    assert page == render_builder(), "run: .venv/bin/python tests/support/rights_page.py"

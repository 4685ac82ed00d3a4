"""The roles of the platform in a cluster, made of the code: `python tests/support/rights_page.py` writes the pages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from builder.runner.kubernetes import rbac as builder_rights
from builder.settings_kubernetes import KubernetesSettings
from controller.engine.kubernetes.config import Account, KubernetesConfig
from controller.engine.kubernetes.rbac import render_guard, render_rights
from shared.kubernetes.kinds import Manifest

_DOCS: Final = Path(__file__).parents[2] / "docs"
PAGE: Final = _DOCS / "kubernetes-rbac.yaml"
BUILDER_PAGE: Final = _DOCS / "kubernetes-rbac-builder.yaml"
_CONFIG: Final = KubernetesConfig()
_WORKER: Final = Account(_CONFIG.platform_namespace, "workflow-controller-worker")
_API: Final = Account(_CONFIG.platform_namespace, "workflow-controller-api")
_BUILDER: Final = "workflow-builder"
_BUILDS: Final = str(KubernetesSettings.model_fields["build_namespace"].default)
_LONGEST: Final = 70
_HEAD: Final = """\
# What the controller may do in a cluster. Made from the code by `python tests/support/rights_page.py`; a test keeps
# both together.
#
# The worker writes apps; an API process beside it reads them, joins people to commands in them, and holds no Secret.
# The roles that end in `-in-app` count nowhere by themselves: the worker binds them to the two accounts in the
# namespace of each app. One process that is both needs one account, which both ClusterRoleBindings name as well as the
# policy.
#
# Rights know no namespaces that are made later: who may make RoleBindings may make them anywhere. The admission policy
# at the end keeps the worker to namespaces and volumes that it has made itself. It needs Kubernetes 1.30; in older
# clusters leave it out, and know that who has the worker's token can then get at all Secrets in one step.
"""
_BUILDER_HEAD: Final = """\
# What the builder may do in a cluster (BUILDER_RUNNER=kubernetes). Made from the code by
# `python tests/support/rights_page.py`; a test keeps both together.
#
# Builds have a namespace of their own, which BUILDER_BUILD_NAMESPACE names: keep anything else out of it, for who may
# make Jobs there can run them as any of its service accounts and mount any of its Secrets. Pods of builds have no
# token of an account. The builder has no right anywhere else.
#
# Nothing in there is privileged. Its level of Pod Security is, because builds of Dockerfiles make a user namespace,
# which the seccomp profile of the other levels forbids.
"""


class _Plain(yaml.SafeDumper):
    """Without anchors; short lists and mappings stand on one line, so that a rule is read at a glance."""

    def ignore_aliases(self, data: object) -> bool:
        return True

    def represent_mapping(self, tag: str, mapping: Any, flow_style: bool | None = None) -> yaml.MappingNode:
        is_long = any(isinstance(value, str) and len(value) > _LONGEST for value in mapping.values())
        return super().represent_mapping(tag, mapping, False if is_long else flow_style)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=">" if len(text) > _LONGEST else None)


_Plain.add_representer(str, _text)


def render() -> str:
    """The page of the controller."""
    objects = [*map(_account, (_WORKER, _API)), *render_rights(_CONFIG.role_prefix, worker=_WORKER, api=_API)]
    return _page(_HEAD, [*objects, *render_guard(_CONFIG.role_prefix, _WORKER)])


def render_builder() -> str:
    """The page of the builder."""
    account = Account(_CONFIG.platform_namespace, _BUILDER)
    rights = builder_rights.render_rights(_BUILDER, _BUILDS, account=account.name, account_namespace=account.namespace)
    return _page(_BUILDER_HEAD, [_account(account), builder_rights.render_namespace(_BUILDS), *rights])


def _account(one: Account) -> Manifest:
    metadata = {"name": one.name, "namespace": one.namespace}
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}


def _page(head: str, objects: Sequence[Manifest]) -> str:
    options: dict[str, Any] = {"sort_keys": False, "width": 118, "default_flow_style": None, "explicit_start": True}
    return head + str(yaml.dump_all(objects, Dumper=_Plain, **options))


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
    BUILDER_PAGE.write_text(render_builder(), encoding="utf-8")

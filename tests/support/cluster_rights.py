"""The engine on a real cluster with exactly the rights of `rbac`, and none of those that the tests themselves have."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from controller.engine.kubernetes.config import Account, KubernetesConfig
from controller.engine.kubernetes.kinds import ROLE_BINDING, kind_of
from controller.engine.kubernetes.manifests import render_foundation
from controller.engine.kubernetes.rbac import render_guard, render_rights
from shared.kubernetes.kinds import Manifest
from support.faulty_api_server import write_kubeconfig
from support.kubectl import Kubectl

BINDINGS: Final = 2
"""How many RoleBindings an app has."""
_TOKEN_LIFETIME: Final = "8h"
_CLUSTER_SCOPED: Final = (
    "clusterrolebindings,clusterroles,validatingadmissionpolicybindings,validatingadmissionpolicies"
)
_MARK: Final = "workflow-test-rights"


@dataclass(frozen=True)
class Rights:
    """Roles of a name of their own, and the accounts that have them."""

    prefix: str
    directory: Path
    worker: Account
    api: Account
    whole: Account

    def kubeconfig(self, account: Account) -> Path:
        """The file that says which cluster, and that we are that account."""
        return self.directory / account.name

    @property
    def settings(self) -> dict[str, Any]:
        """What goes with `whole` in a `KubernetesConfig`."""
        return {"worker_account": self.whole, "role_prefix": self.prefix}

    def config(self, config: KubernetesConfig | None = None) -> KubernetesConfig:
        """For one process that does everything, as `whole`."""
        return replace(config or KubernetesConfig(), **self.settings)

    def split_config(self, config: KubernetesConfig | None = None) -> KubernetesConfig:
        """For two processes, as `worker` and as `api`."""
        return replace(self.config(config), worker_account=self.worker, api_account=self.api)

    def bindings(self, app: str) -> list[Manifest]:
        """What gives `whole` its rights in the namespace of an app."""
        return [one for one in render_foundation(app, None, self.config()) if kind_of(one) is ROLE_BINDING]


@contextmanager
def granted_rights(kubectl: Kubectl, directory: Path) -> Iterator[Rights]:
    """Accounts in a namespace of their own, with their roles; all is gone afterwards."""
    prefix = f"rights-{uuid4().hex[:8]}"
    accounts = [Account(prefix, name) for name in ("worker", "api", "whole")]
    rights = Rights(prefix, directory, *accounts)
    try:
        kubectl("create", "namespace", prefix)
        for account in accounts:
            kubectl("create", "serviceaccount", account.name, "-n", prefix)
        apart = render_rights(prefix, worker=rights.worker, api=rights.api)
        guard = render_guard(prefix, rights.worker, rights.whole)
        for manifest in (*apart, *_bindings_of_the_whole(apart, rights.whole), *guard):
            manifest["metadata"]["labels"] = {_MARK: prefix}
            kubectl("create", "-f", "-", stdin=json.dumps(manifest))
        for account in accounts:
            write_account_kubeconfig(kubectl, account, rights.kubeconfig(account))
        yield rights
    finally:
        kubectl("delete", _CLUSTER_SCOPED, "-l", f"{_MARK}={prefix}")
        kubectl("delete", "namespace", prefix, "--wait=false", "--ignore-not-found")


def _bindings_of_the_whole(apart: tuple[Manifest, ...], whole: Account) -> Iterator[Manifest]:
    """As an operator does who runs the API and the worker in one process."""
    for binding in apart:
        if binding["kind"] == "ClusterRoleBinding":
            name = f"{binding['metadata']['name']}-whole"
            subject = {"kind": "ServiceAccount", "namespace": whole.namespace, "name": whole.name}
            yield {**binding, "metadata": {"name": name}, "subjects": [subject]}


def write_account_kubeconfig(kubectl: Kubectl, account: Account, path: Path) -> None:
    """Write the file that says which cluster, and that we are that account of it."""
    token = kubectl("create", "token", account.name, "-n", account.namespace, "--duration", _TOKEN_LIFETIME)
    view = json.loads(kubectl("config", "view", "--raw", "--minify", "--flatten", "-o", "json"))
    cluster = view["clusters"][0]["cluster"]
    write_kubeconfig(path, cluster["server"], cluster=cluster, token=token.strip())

"""No command of the released client is forgotten (cli.md 1.2 and 10). Runs after all other tests of this directory."""

from __future__ import annotations

import pytest

from client.commands import TREE
from client.coverage import Record

# Left out: `update`, which asks its vendor's site only, and `help` and `completion` of the flag library.
COMMANDS = {
    "apps": "create destroy info list logs open run transfer",
    "auth": "login logout whoami",
    "autodeploy": "disable enable info",
    "autorollback": "disable enable info",
    "autoscale": "list set unset",
    "builds": "create fetch info",
    "certs": "add attach detach info list remove",
    "config": "attach detach info pull push set unset",
    "domains": "add list remove",
    "gateways": "add list remove",
    "git": "remote remove",
    "healthchecks": "list set unset",
    "keys": "add list remove",
    "labels": "list set unset",
    "limits": "list plans set specs unset",
    "perms": "add list remove update",
    "ps": "delete describe exec list logs",
    "pts": "clean describe list restart scale",
    "registry": "list set unset",
    "releases": "deploy info list rollback",
    "resources": "bind create describe destroy list plans services unbind update",
    "routes": "add attach detach get list remove set",
    "routing": "disable enable info",
    "services": "add list remove",
    "tags": "list set unset",
    "timeouts": "list set unset",
    "tls": "auto force info issuer",
    "tokens": "add list remove",
    "users": "disable enable list",
    "volumes": "add expand info list mount remove unmount",
    "volumes client": "cp ls rm",
}
ALONE = ("version",)
SHORTCUTS = ("create", "destroy", "exec", "info", "login", "logout", "logs", "open", "pull", "run", "scale", "whoami")
EVERY = sorted([*ALONE, *SHORTCUTS, *(f"{group} {word}" for group in COMMANDS for word in COMMANDS[group].split())])


def test_the_model_has_them_all() -> None:
    assert sorted(TREE.commands) == EVERY


@pytest.mark.parametrize("command", EVERY)
def test_each_has_reached_the_suite(record: Record, command: str) -> None:
    assert command in record.commands

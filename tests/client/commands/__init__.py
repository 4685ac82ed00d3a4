"""Every command of the released client, by group (cli.md 10).

`update` is missing: it never talks to a controller. Neither are `help` and `completion` of the flag library here.
"""

from __future__ import annotations

from client.commands import (
    apps,
    auth,
    builds,
    certs,
    config,
    domains,
    gateways,
    health,
    keys,
    limits,
    people,
    process_config,
    processes,
    ptypes,
    releases,
    resources,
    routes,
    services,
    settings,
    tls,
    version,
    volume_files,
    volumes,
)
from client.commands.registry import TREE

_INFO = ("autodeploy", "autorollback", "builds", "config", "routing", "tls")
_NOTHING = ("auth", "git", "volumes client")  # these print help


def _complete() -> None:
    for group in sorted({path.split()[0] for path in TREE.commands if " " in path}):
        TREE.groups[group] = f"{group} info" if group in _INFO else f"{group} list"
    TREE.groups.update(dict.fromkeys(_NOTHING, ""))
    for name, path in {
        "login": "auth login",
        "logout": "auth logout",
        "whoami": "auth whoami",
        "create": "apps create",
        "destroy": "apps destroy",
        "info": "apps info",
        "open": "apps open",
        "run": "apps run",
        "exec": "ps exec",
        "pull": "builds create",
        "scale": "pts scale",
    }.items():
        TREE.shortcut(name, path)
    TREE.shortcut("logs", "ps logs", for_app=False)


_complete()

__all__ = [
    "TREE",
    "apps",
    "auth",
    "builds",
    "certs",
    "config",
    "domains",
    "gateways",
    "health",
    "keys",
    "limits",
    "people",
    "process_config",
    "processes",
    "ptypes",
    "releases",
    "resources",
    "routes",
    "services",
    "settings",
    "tls",
    "version",
    "volume_files",
    "volumes",
]

"""What is known of the cluster's machines."""

from __future__ import annotations

from collections.abc import Mapping

from controller.engine.kubernetes.cache import Cache
from controller.engine.kubernetes.facts import holds
from controller.engine.kubernetes.kinds import NODE
from controller.engine.kubernetes.store import CLUSTER
from shared.kubernetes.kinds import Manifest


def has_machine(cache: Cache, tags: Mapping[str, str]) -> bool:
    """Whether some machine that takes new pods has all of these labels. As long as no machine is known at all, nothing
    is held against the tags: a pod that fits nowhere says so itself."""
    machines = cache.objects(NODE, CLUSTER)
    return not machines or any(_takes_pods(machine) and _has(machine, tags) for machine in machines)


def _takes_pods(machine: Manifest) -> bool:
    is_going = bool(machine["metadata"].get("deletionTimestamp"))
    return not machine["spec"]["unschedulable"] and not is_going and holds(machine, "Ready")


def _has(machine: Manifest, tags: Mapping[str, str]) -> bool:
    return tags.items() <= (machine["metadata"].get("labels") or {}).items()

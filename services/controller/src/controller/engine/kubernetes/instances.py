"""Which pod stands behind the name of an instance, and which of its containers is the app's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from controller.domain.names import RUN
from controller.engine.kubernetes import names
from controller.engine.kubernetes.cache import Cache
from controller.engine.kubernetes.facts import Part, count, is_going, label, name_of, owner_of
from controller.engine.kubernetes.kinds import JOB, POD
from controller.engine.kubernetes.observe_jobs import is_one_off, pods_of
from shared.kubernetes.kinds import Manifest

_ENDED = ("Succeeded", "Failed")


@dataclass(frozen=True)
class Run:
    """One run of a container, from its start to its end; a restart is another one. Its output is what the API server
    gives as that of the container."""

    id: str
    is_running: bool


def pod_of(cache: Cache, app: str, instance: str) -> Manifest | None:
    """The pod of that name, or the newest pod of the one-off (Job) of that name; None when there is none.

    Pods that are no instances, such as those that hand out the files of volumes, are not found.
    """
    entry = cache.find(POD, app, instance)
    if entry is not None and instance_of(entry.object) is not None:
        return entry.object
    job = one_off(cache, app, instance)
    pods = [] if job is None else pods_of(job, cache.objects(POD, app))
    return pods[-1] if pods else None


def one_off(cache: Cache, app: str, name: str) -> Manifest | None:
    """The Job of a one-off; None when there is none of that name."""
    entry = cache.find(JOB, app, names.job(name))
    return entry.object if entry is not None and is_one_off(entry.object) else None


def speaking(cache: Cache, app: str) -> Iterator[Manifest]:
    """The pods of all instances of an app, those of one-offs included."""
    return (pod for pod in cache.objects(POD, app) if instance_of(pod) is not None)


def instance_of(pod: Manifest) -> str | None:
    """The name under which a pod is listed: that of its Job for a one-off; None when it is no instance."""
    if label(pod, names.HERITAGE) != names.OURS[names.HERITAGE]:
        return None
    ptype, (kind, owner) = label(pod, names.TYPE), owner_of(pod)
    if kind == "Job":
        return owner if ptype == RUN else None
    return name_of(pod) if ptype not in ("", RUN) else None


def origin_of(pod: Manifest) -> str:
    """What stands for it in the merged output of an app: `web.5d8f9c7b6-x2x4z`."""
    name, ptype = instance_of(pod) or name_of(pod), label(pod, names.TYPE)
    prefix = f"{names.deployment(label(pod, names.APP), ptype)}-"
    # The cluster shortens long names of Deployments in those of their pods.
    suffix = name.removeprefix(prefix) if name.startswith(prefix) else name.rpartition("-")[2]
    return f"{ptype}.{suffix}"


def container_of(pod: Manifest) -> str:
    """The name of the container with the app's process; others may have been injected."""
    own = names.deployment(label(pod, names.APP), label(pod, names.TYPE))
    there = [str(one.get("name", "")) for one in (pod.get("spec") or {}).get("containers") or ()]
    return own if own in there or not there else there[0]


def run_of(pod: Manifest, container: str) -> Run | None:
    """The run of a container whose output can be had now; None before the first one.

    While a container waits to be started again that is the run before.
    """
    status = _status(pod, container)
    state, last = status.get("state") or {}, (status.get("lastState") or {}).get("terminated") or {}
    if state.get("running") is not None:
        return Run(str(status.get("containerID") or status.get("restartCount")), is_running=True)
    ended = (state.get("terminated") or {}).get("containerID") or last.get("containerID")
    return Run(str(ended), is_running=False) if ended else None


def has_run_before(pod: Manifest, container: str) -> bool:
    """There was a run before the present one."""
    return count(_status(pod, container), "restartCount") > 0


def is_over(pod: Manifest, container: str) -> bool:
    """That container will not run (again)."""
    if (pod.get("status") or {}).get("phase") in _ENDED:
        return True
    run = run_of(pod, container)
    never = (pod.get("spec") or {}).get("restartPolicy") == "Never"
    return (run is None or not run.is_running) and (is_going(pod) or (never and run is not None))


def _status(pod: Manifest, container: str) -> Part:
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    return next((one for one in statuses if one.get("name") == container), {})

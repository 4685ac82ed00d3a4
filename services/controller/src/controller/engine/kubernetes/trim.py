"""What the cache keeps of an object: what somebody reads, and of Secrets no value (kubernetes.md 5, weakness 50)."""

from __future__ import annotations

import base64
import hashlib
import secrets
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from controller.engine.kubernetes.kinds import DEPLOYMENT, EVENT, JOB, NODE, POD, REPLICA_SET, SECRET, Kind
from controller.engine.kubernetes.names import FIELD_MANAGER
from shared.kubernetes.kinds import Manifest

DIGESTS: Final = "digests"
"""Stands in a trimmed Secret for `data`: a digest for each key, good for comparison within this process only."""

_KEY: Final = secrets.token_bytes(32)
_LONGEST_INTERNED: Final = 64
_METADATA_NOISE: Final = ("managedFields", "resourceVersion", "selfLink", "generateName")
_NOTE_NOISE: Final = "kubectl.kubernetes.io/last-applied-configuration"
_POD_KEEPS: Final = (
    "nodeName",
    "nodeSelector",
    "restartPolicy",
    "terminationGracePeriodSeconds",
    "containers",
    "initContainers",
    "volumes",
)
_CONTAINER_KEEPS: Final = ("name", "image", "command", "args", "resources", "ports", "volumeMounts")
_NODE_METADATA: Final = ("name", "uid", "labels", "deletionTimestamp")
_EVENT_NOISE: Final = ("deprecatedSource", "reportingController", "reportingInstance", "action")


@dataclass(frozen=True, slots=True)
class Entry:
    """An object as the cache keeps it: without resourceVersion, which is `version` here (0 when it is no number).

    `secrets`: names of the Secrets that its pods refer to. `owns_replicas`: this engine set `spec.replicas`.
    """

    object: Manifest
    version: int
    secrets: frozenset[str] = frozenset()
    owns_replicas: bool = False

    @property
    def uid(self) -> str:
        """Tells it from another object of the same name."""
        return str(self.object["metadata"].get("uid", ""))

    @property
    def is_terminating(self) -> bool:
        """It is to go, and will as soon as nothing holds it."""
        return bool(self.object["metadata"].get("deletionTimestamp"))


def entry_of(kind: Kind, live: Manifest) -> Entry:
    """What to keep of an object that the API server sent."""
    if kind is NODE:
        return Entry(interned(_node(live)), version_of(live["metadata"].get("resourceVersion")))
    trimmed = {**live, "metadata": _metadata(live["metadata"])}
    used: frozenset[str] = frozenset()
    if kind is SECRET:
        trimmed = _secret(trimmed)
    elif kind is EVENT:
        trimmed = {key: value for key, value in trimmed.items() if key not in _EVENT_NOISE}
    elif kind in (POD, REPLICA_SET, JOB, DEPLOYMENT):
        spec = live.get("spec") or {}
        pod = spec if kind is POD else (spec.get("template") or {}).get("spec") or {}
        used = frozenset(_secrets_of(pod))
        if kind is not DEPLOYMENT:
            trimmed["spec"] = _pod(spec) if kind is POD else _owner(spec, keeps_pod=kind is JOB)
    return Entry(
        interned(trimmed),
        version_of(live["metadata"].get("resourceVersion")),
        used,
        owns_replicas=kind is DEPLOYMENT and _owns_replicas(live["metadata"].get("managedFields") or ()),
    )


def version_of(text: object) -> int:
    """A resourceVersion as a number that grows with each change of its kind; 0 for one that is no number."""
    return int(text) if isinstance(text, str) and text.isascii() and text.isdigit() else 0


def digests(secret: Mapping[str, Any]) -> dict[str, str]:
    """A digest of each value of a Secret, live or rendered; `stringData` wins over `data` as on the API server."""
    values = {key: _decoded(value) for key, value in (secret.get("data") or {}).items()}
    values |= {key: str(value).encode() for key, value in (secret.get("stringData") or {}).items()}
    return {key: hashlib.blake2b(value, key=_KEY, digest_size=16).hexdigest() for key, value in values.items()}


def interned(value: Any) -> Any:
    """A copy whose keys and short texts are shared with all other copies: most objects say the same."""
    if isinstance(value, str):
        return sys.intern(value) if len(value) <= _LONGEST_INTERNED else value
    if isinstance(value, dict):
        return {sys.intern(key): interned(part) for key, part in value.items()}
    if isinstance(value, list):
        return [interned(part) for part in value]
    return value


def _metadata(metadata: Mapping[str, Any]) -> Manifest:
    kept = {key: value for key, value in metadata.items() if key not in _METADATA_NOISE}
    if _NOTE_NOISE in (kept.get("annotations") or {}):
        kept["annotations"] = {key: value for key, value in kept["annotations"].items() if key != _NOTE_NOISE}
    return kept


def _secret(secret: Manifest) -> Manifest:
    kept = {key: value for key, value in secret.items() if key not in ("data", "stringData")}
    return {**kept, DIGESTS: digests(secret)}


def _decoded(value: object) -> bytes:
    try:
        return base64.b64decode(str(value), validate=True)
    except ValueError:
        return str(value).encode()


def _node(node: Mapping[str, Any]) -> Manifest:
    """What tells whether pods can run there. A machine says every few minutes, at times every few seconds, that it is
    alive: nothing of what changes by that is kept."""
    metadata = {key: node["metadata"][key] for key in _NODE_METADATA if key in node["metadata"]}
    conditions = (node.get("status") or {}).get("conditions") or ()
    ready = [{"type": "Ready", "status": one.get("status")} for one in conditions if one.get("type") == "Ready"]
    unschedulable = bool((node.get("spec") or {}).get("unschedulable"))
    return {"metadata": metadata, "spec": {"unschedulable": unschedulable}, "status": {"conditions": ready}}


def _pod(spec: Mapping[str, Any]) -> Manifest:
    kept = {key: spec[key] for key in _POD_KEEPS if key in spec}
    for key in ("containers", "initContainers"):
        if key in kept:
            kept[key] = [{name: one[name] for name in _CONTAINER_KEEPS if name in one} for one in kept[key] or ()]
    return kept


def _owner(spec: Mapping[str, Any], *, keeps_pod: bool) -> Manifest:
    """A ReplicaSet or Job: without the pod but for its metadata, as its pods show it themselves."""
    template = spec.get("template") or {}
    pod = {"spec": _pod(template.get("spec") or {})} if keeps_pod else {}
    return {**spec, "template": {"metadata": _metadata(template.get("metadata") or {}), **pod}}


def _secrets_of(pod: Mapping[str, Any]) -> Iterator[str]:
    for reference in pod.get("imagePullSecrets") or ():
        yield str(reference.get("name", ""))
    for volume in pod.get("volumes") or ():
        yield str((volume.get("secret") or {}).get("secretName", ""))
        for source in (volume.get("projected") or {}).get("sources") or ():
            yield str((source.get("secret") or {}).get("name", ""))
    for key in ("initContainers", "containers", "ephemeralContainers"):
        for container in pod.get(key) or ():
            for variable in container.get("env") or ():
                yield str(((variable.get("valueFrom") or {}).get("secretKeyRef") or {}).get("name", ""))
            for source in container.get("envFrom") or ():
                yield str((source.get("secretRef") or {}).get("name", ""))


def _owns_replicas(managed: Any) -> bool:
    return any(
        one.get("manager") == FIELD_MANAGER
        and not one.get("subresource")
        and "f:replicas" in ((one.get("fieldsV1") or {}).get("f:spec") or {})
        for one in managed
    )

"""Names and labels of everything that the engine makes in a cluster; nobody else puts one together.

A name that would be too long is cut and ends in a hash of the whole, so that two long names never become one.
"""

from __future__ import annotations

import hashlib
import json
from typing import Final

FIELD_MANAGER: Final = "workflow-controller"
"""Who owns the fields that we apply."""

APP: Final = "app"
HERITAGE: Final = "heritage"
MANAGED_BY: Final = "app.kubernetes.io/managed-by"
TYPE: Final = "type"
VERSION: Final = "version"
CLASS: Final = "class"
OURS: Final = {HERITAGE: "drycc", MANAGED_BY: "workflow"}
"""On every object of ours. Log collectors and dashboards select by the first one."""

FINGERPRINT: Final = "workflow.drycc.cc/fingerprint"
"""Annotation of a Deployment, a Job and their pods: the fingerprint of the ProcessSpec."""
MANIFEST: Final = "workflow.drycc.cc/manifest"
"""Annotation of every object that is applied: hash of what was rendered, so that a field we stop sending is noticed."""
ENDED_FOR: Final = "workflow.drycc.cc/ended-for"
"""Annotation of a Job that we end before its time: the reason code of its outcome, `stopped` for instance."""
CHANGE_CAUSE: Final = "kubernetes.io/change-cause"

CERTIFICATE: Final = "workflow.drycc.cc/certificate"
"""Label of a Secret that cert-manager fills: the name of the Certificate. The Secret is theirs, so that it has no other
label of ours but that of the app; without its Certificate it is of no use."""

SERVICE_ACCOUNT: Final = "app"
"""The service account of every pod of an app; it may do nothing."""

WORKER_RIGHTS: Final = "worker-in-app"
API_RIGHTS: Final = "api-in-app"
"""What the ClusterRoles end in that a process has in the namespace of each app; see `role`."""

FILER: Final = "drycc.filer"
"""The `type` of what reads and writes the files of a volume for us; no process type can have that name."""
VOLUME: Final = "volume"
"""Label of a filer: the claim that it is for."""

LABEL_LIMIT: Final = 63
NAME_LIMIT: Final = 253
_HASH_LENGTH: Final = 8


def joined(*parts: str, limit: int = LABEL_LIMIT) -> str:
    """The parts with hyphens between them; a name over `limit` characters is cut and ends in a hash of the whole."""
    name = "-".join(parts)
    if len(name) <= limit:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:_HASH_LENGTH]
    return f"{name[: limit - _HASH_LENGTH - 1].rstrip('-.')}-{digest}"


def content_hash(value: object) -> str:
    """10 hex digits that stand for a value of JSON; equal values have equal ones, whatever the order of their keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:10]


def labels(app: str, ptype: str | None = None) -> dict[str, str]:
    """Labels of an object of the app, and of the process type where it belongs to one."""
    own = {APP: app} if ptype is None else {APP: app, TYPE: ptype}
    return {**own, **OURS}


def pod_labels(app: str, ptype: str, release: int) -> dict[str, str]:
    """Labels of a pod of that release."""
    return {**labels(app, ptype), VERSION: f"v{release}"}


def selector(app: str, ptype: str) -> dict[str, str]:
    """What Deployments and Services find the pods of a process type by; immutable for the former."""
    return {APP: app, TYPE: ptype, HERITAGE: OURS[HERITAGE]}


def namespace(app: str) -> str:
    """The namespace of an app."""
    return app


def role(prefix: str, part: str) -> str:
    """A ClusterRole of the platform's own, and what binds it: `prefix` is the operator's choice."""
    return f"{prefix}-{part}"


def rules(app: str) -> str:
    """The ResourceQuota, the LimitRange and the NetworkPolicy of an app."""
    return app


def deployment(app: str, ptype: str) -> str:
    """The Deployment of a process type, its autoscaler, and the container in its pods."""
    return joined(app, ptype)


def job(name: str) -> str:
    """The Job of a one-off; its name becomes a label of its pods."""
    return joined(name)


def env_secret(app: str, ptype: str, digest: str) -> str:
    """The Secret with the variables whose `content_hash` that is."""
    return joined(app, ptype, "env", digest, limit=NAME_LIMIT)


def pull_secret(prefix: str, ptype: str, digest: str) -> str:
    """The Secret with the registry credentials whose `content_hash` that is."""
    return joined(prefix, ptype, digest, limit=NAME_LIMIT)


def volume_claim(volume: str) -> str:
    """The PersistentVolumeClaim of a volume, and the volume in a pod."""
    return joined(volume)


def filer(claim: str) -> str:
    """The Job through which the files of a volume are reached."""
    return f"drycc-filer-{content_hash(claim)}"


def persistent_volume(app: str, volume: str, digest: str) -> str:
    """The PersistentVolume of a volume of type nfs or oss. It has no namespace: `digest` keeps apps apart."""
    return joined(app, volume, digest, limit=NAME_LIMIT)


def volume_secret(volume: str) -> str:
    """The Secret with the credentials of a volume of type oss."""
    return joined(volume, "volume", "credentials", limit=NAME_LIMIT)


def gateway(app: str) -> str:
    """The gateway that every app with a web process has; users choose the names of others."""
    return app


def listener(protocol: str, port: int, hostname: str | None) -> str:
    """A listener of a gateway; it keeps its name whatever other listeners come and go."""
    own = (protocol.lower(), str(port))
    return "-".join(own if hostname is None else (*own, _host_hash(hostname)))


def listener_set(gateway: str, hostname: str) -> str:
    """The set of a gateway's listeners for a host name."""
    return _of_host(gateway, hostname)


def route(name: str, hostname: str | None = None) -> str:
    """The part of a route that is about one host name; None for the part that has the route's own name."""
    return name if hostname is None else _of_host(name, hostname)


def redirect(name: str, hostname: str) -> str:
    """The redirect to HTTPS beside that part of a route."""
    return f"{_of_host(name, hostname)}.https-redirect"


def issuer(app: str) -> str:
    """The Issuer of an app."""
    return app


def acme_account_secret(app: str) -> str:
    """The Secret in which cert-manager keeps the key of the app's ACME account."""
    return joined(app, "acme-private-key-secret", limit=NAME_LIMIT)


def acme_binding_secret(app: str) -> str:
    """The Secret with the key that binds the app's ACME account to another account."""
    return joined(app, "acme-external-account-binding-secret", limit=NAME_LIMIT)


def certificate(app: str, hostname: str) -> str:
    """The automatic Certificate for a host name, and the Secret that it is kept in. The latter has it as a label."""
    return joined(app, "tls", _host_hash(hostname))


def user_certificate(secret: str) -> str:
    """The Secret with a user's own certificate, by the name that it has in the spec."""
    return joined(secret, limit=NAME_LIMIT)


def _of_host(name: str, hostname: str) -> str:
    # Joined by a dot, which no name that a user chooses can have.
    return f"{name}.{_host_hash(hostname)}"


def _host_hash(hostname: str) -> str:
    return hashlib.sha256(hostname.encode()).hexdigest()[:_HASH_LENGTH]

"""Certificates: users' own, automatic ones, and the ACME account (kubernetes.md 1.14 and 1.15; weaknesses 31, 32, 57).

There is one Certificate for each host name: one name that cannot be had holds up no other, and a new one needs no new
certificate for the rest. No annotation tells cert-manager to make Certificates out of gateways besides.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Any, Final

from controller.domain.spec_network import CertificateSpec, IssuerSpec
from controller.engine.kubernetes import names
from controller.engine.kubernetes.config import KubernetesConfig
from controller.engine.kubernetes.manifests.base import Manifest, app_object
from controller.engine.kubernetes.manifests.network_gateways import gateway_ref
from controller.engine.kubernetes.manifests.network_listeners import HTTP, HTTP_PORT, Listener

_GROUP: Final = "cert-manager.io"
_VERSION: Final = f"{_GROUP}/v1"
_BINDING_KEY: Final = "secret"
MOST_PARENTS: Final = 32
"""How many parents the Gateway API admits for a route."""


def user_certificate(app: str, spec: CertificateSpec) -> Manifest:
    """The Secret with a user's own key pair."""
    data = {"tls.crt": _base64(spec.certificate), "tls.key": _base64(spec.key)}
    return _secret(app, names.user_certificate(spec.secret), "kubernetes.io/tls", data)


def account_binding(app: str, issuer: IssuerSpec) -> tuple[Manifest, ...]:
    """The Secret with the key that binds the ACME account to another one, where there is such a key."""
    if not (issuer.key_id and issuer.key_secret):
        return ()
    # cert-manager wants base64url without padding; servers hand the key out in any dress.
    key = issuer.key_secret.strip().replace("+", "-").replace("/", "_").rstrip("=")
    return (_secret(app, names.acme_binding_secret(app), "Opaque", {_BINDING_KEY: _base64(key)}),)


def issuer(app: str, spec: IssuerSpec, parents: Mapping[Listener, Manifest], config: KubernetesConfig) -> Manifest:
    """The Issuer: challenges come in by the gateways that listen on port 80 now. `parents` are all listeners of the
    app and what a route refers to for each."""
    acme: dict[str, Any] = {
        "server": spec.server,
        "email": spec.email,
        "privateKeySecretRef": {"name": names.acme_account_secret(app)},
        "solvers": _solvers(parents, config),
    }
    if config.acme_ca_bundle:
        acme["caBundle"] = config.acme_ca_bundle
    if account_binding(app, spec):
        key = {"name": names.acme_binding_secret(app), "key": _BINDING_KEY}
        acme["externalAccountBinding"] = {"keyID": spec.key_id, "keySecretRef": key}
    return app_object(_VERSION, "Issuer", app, names.issuer(app), spec={"acme": acme})


def certificate(app: str, hostname: str) -> Manifest:
    """The automatic Certificate for a host name, which cert-manager writes to the Secret of the same name."""
    name = names.certificate(app, hostname)
    spec = {
        "secretName": name,
        "secretTemplate": {"labels": {names.APP: app, names.CERTIFICATE: name}},
        "issuerRef": {"group": _GROUP, "kind": "Issuer", "name": names.issuer(app)},
        "dnsNames": [hostname],
        "revisionHistoryLimit": 1,
    }
    return app_object(_VERSION, "Certificate", app, name, spec=spec)


def _solvers(parents: Mapping[Listener, Manifest], config: KubernetesConfig) -> list[dict[str, Any]]:
    plain = [own for own in parents if (own.protocol, own.port) == (HTTP, HTTP_PORT)]
    if config.gateway_listeners == "listeners":
        # Gateways as a whole: each challenge finds the listener of its host name.
        gateways = [gateway_ref(name) for name in dict.fromkeys(own.gateway for own in plain)]
        return [_solver(gateways)] if gateways else []
    # A Gateway as a parent leaves the sets beside it out, and those of all host names would be too many for a route.
    ordered = sorted((own for own in plain if own.hostname is not None), key=lambda own: own.hostname or "")
    return [
        {"selector": {"dnsNames": [host]}, **_solver([dict(parents[own]) for own in group])}
        for host, group in groupby(ordered, key=lambda own: own.hostname)
    ]


def _solver(parents: Iterable[dict[str, Any]]) -> dict[str, Any]:
    return {"http01": {"gatewayHTTPRoute": {"parentRefs": list(parents)[:MOST_PARENTS]}}}


def _secret(app: str, name: str, kind: str, data: Mapping[str, str]) -> Manifest:
    return app_object("v1", "Secret", app, name, type=kind, data=data)


def _base64(text: str) -> str:
    return b64encode(text.encode()).decode()

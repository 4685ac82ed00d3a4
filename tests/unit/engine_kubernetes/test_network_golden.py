"""Networks as objects of a cluster, compared to the byte, and what all of them have in common."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest

from support.golden import check_golden
from support.kubernetes_networks import APP, CASES

GOLDEN: Final = Path(__file__).parent / "golden"
_ORDER: Final = (
    ("Secret",),
    ("Service",),
    ("Gateway", "XListenerSet"),
    ("HTTPRoute", "GRPCRoute", "TLSRoute", "TCPRoute", "UDPRoute"),
    ("Issuer",),
    ("Certificate",),
)


@pytest.mark.parametrize("name", CASES)
def test_golden(name: str) -> None:
    check_golden(GOLDEN / f"{name}.yaml", CASES[name].render())


@pytest.mark.parametrize("name", CASES)
def test_every_object_is_labelled_and_in_the_order_of_apply(name: str) -> None:
    manifests = CASES[name].render()
    for manifest in manifests:
        metadata = manifest["metadata"]
        assert metadata["namespace"] == APP
        assert {"app": APP, "heritage": "drycc", "app.kubernetes.io/managed-by": "workflow"}.items() <= metadata[
            "labels"
        ].items()
    places = [next(i for i, kinds in enumerate(_ORDER) if each["kind"] in kinds) for each in manifests]
    assert places == sorted(places)
    names = [(each["kind"], each["metadata"]["name"]) for each in manifests]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", CASES)
def test_the_same_network_gives_the_same_bytes_and_shares_nothing(name: str) -> None:
    first = CASES[name].render()
    before = json.dumps(first)
    for manifest in first:
        _spoil(manifest)
    assert json.dumps(CASES[name].render()) == before


@pytest.mark.parametrize("name", CASES)
def test_weakness_31_nothing_tells_cert_manager_to_make_certificates_of_gateways(name: str) -> None:
    assert "cert-manager.io/issuer" not in json.dumps(CASES[name].render())


@pytest.mark.parametrize("name", CASES)
def test_weakness_55_no_other_namespace_attaches_routes(name: str) -> None:
    for manifest in CASES[name].render():
        for listener in manifest.get("spec", {}).get("listeners", ()):
            assert listener["allowedRoutes"] == {"namespaces": {"from": "Same"}}


def _spoil(value: Any) -> None:
    if isinstance(value, dict):
        for item in value.values():
            _spoil(item)
        value.clear()
    elif isinstance(value, list):
        for item in value:
            _spoil(item)
        value.clear()

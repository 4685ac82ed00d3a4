"""Whose address a request comes from, when proxies stand before us."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from controller.api.origins import client_address, is_trusted

TRUSTED = (ip_network("10.0.0.0/8"), ip_network("2001:db8::/32"))


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("10.0.0.1", ["192.0.2.7"], "192.0.2.7"),
        ("10.0.0.1", ["198.51.100.1, 192.0.2.7"], "192.0.2.7"),  # the first one is the client's own invention
        ("10.0.0.1", ["198.51.100.1, 192.0.2.7, 10.0.0.2"], "192.0.2.7"),
        ("10.0.0.1", ["198.51.100.1", "192.0.2.7, 10.0.0.2"], "192.0.2.7"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["192.0.2.7, unknown"], "10.0.0.1"),
        ("10.0.0.1", ["192.0.2.7, unknown, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", ["192.0.2.7:4711"], "192.0.2.7"),
        ("10.0.0.1", ["[2001:DB8:1::1]:80"], "2001:db8:1::1"),
        ("10.0.0.1", ["2a00::1, 2001:db8::5"], "2a00::1"),
        (None, ["192.0.2.7"], "192.0.2.7"),
        (None, [], None),
        (None, [""], None),
    ],
)
def test_the_last_hop_that_is_no_proxy_of_ours_is_the_client(
    peer: str | None, forwarded: list[str], client: str | None
) -> None:
    assert client_address(peer, forwarded, TRUSTED) == client


@pytest.mark.parametrize(
    ("address", "trusted"),
    [("10.1.2.3", True), ("192.0.2.7", False), ("2001:db8::1", True), ("testclient", False), (None, False)],
)
def test_networks_say_who_is_trusted(address: str | None, trusted: bool) -> None:
    assert is_trusted(address, TRUSTED) is trusted

"""Caddy's configuration: what the platform's own hosts let through."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from standalone.caddy import base_config
from standalone.home import Home


def _routes(directory: Path) -> list[Any]:
    home = Home(directory / "home")
    home.prepare()
    config: Any = base_config(home, home.load(), listen="fd/3")
    routes: list[Any] = config["apps"]["http"]["servers"]["edge"]["routes"]
    return routes


def test_the_metrics_of_services_are_not_public(tmp_path: Path) -> None:
    routes = _routes(tmp_path)
    proxies = [route for route in routes if route["handle"][0]["handler"] == "reverse_proxy"]
    hosts = [host for route in proxies for host in route["match"][0]["host"]]
    assert len(hosts) == 2
    refusal = routes[0]
    assert refusal["match"] == [{"host": hosts, "path": ["/metrics"]}]
    assert refusal["handle"] == [{"handler": "static_response", "status_code": 404}]
    assert refusal["terminal"]

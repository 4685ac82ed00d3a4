"""Caddy's configuration: what the platform's own hosts let through, and that nothing changes it."""

from __future__ import annotations

from pathlib import Path, PurePath
from typing import Any

from controller.engine.local.edgeconfig import apps_route
from standalone.caddy import base_config
from standalone.home import Home


def _config(directory: Path) -> Any:
    home = Home(directory / "home")
    home.prepare()
    return base_config(home, home.load(), listen="fd/3")


def _routes(directory: Path) -> list[Any]:
    routes: list[Any] = _config(directory)["apps"]["http"]["servers"]["edge"]["routes"]
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


def test_apps_come_after_the_platforms_own_hosts(tmp_path: Path) -> None:
    assert _routes(tmp_path)[-2] == apps_route(PurePath("edge"))


def test_nobody_can_change_it_or_finds_it_changed(tmp_path: Path) -> None:
    assert _config(tmp_path)["admin"] == {"disabled": True, "config": {"persist": False}}

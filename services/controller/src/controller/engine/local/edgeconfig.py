"""Routes as Caddy's JSON (caddyserver.com/docs/json/apps/http/servers/routes). Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from controller.engine.local.slots import NOWHERE, SlotFiles

Route = tuple[str, str, str, int]
"""Host, app, process type, number of slots."""

# Below the keep-alive times of common servers (gunicorn 2 s, node and uvicorn 5 s): we never reuse a connection that
# the app is about to close, and an instance that gets no more requests is free of connections a second later.
_UPSTREAM_IDLE = "1s"
# Dial errors only: nothing of the request has been sent then, so any method may be tried again.
_TRY_DURATION, _TRY_INTERVAL = "3s", "50ms"
# Upgraded connections outlive changes of the configuration; they end with the instance that serves them.
_STREAM_CLOSE_DELAY = "24h"


def revision_id(routes: Sequence[Route]) -> str:
    """The id that the configuration made of these routes carries inside, so that asking for it is cheap."""
    return f"apps-{hashlib.sha256(json.dumps(routes).encode()).hexdigest()[:24]}"


def apps_object(routes: Sequence[Route], files: SlotFiles) -> dict[str, object]:
    """The route object with the id `apps`."""
    marker: dict[str, object] = {"@id": revision_id(routes), "handle": []}
    inner = [marker, *(_host_route(route, files) for route in routes)]
    return {"@id": "apps", "handle": [{"handler": "subroute", "routes": inner}]}


def _host_route(route: Route, files: SlotFiles) -> dict[str, object]:
    host, app, ptype, slots = route
    nowhere = [{"vars": {files.placeholder(app, ptype, 0): [NOWHERE]}}]
    choice = [
        {"match": nowhere, "handle": [_page(app, ptype)], "terminal": True},
        {"handle": [_proxy([files.placeholder(app, ptype, slot) for slot in range(slots)])], "terminal": True},
    ]
    return {"match": [{"host": [host]}], "handle": [{"handler": "subroute", "routes": choice}], "terminal": True}


def _proxy(dials: Sequence[str]) -> dict[str, object]:
    return {
        "handler": "reverse_proxy",
        "upstreams": [{"dial": dial} for dial in dials],
        "flush_interval": -1,
        "stream_close_delay": _STREAM_CLOSE_DELAY,
        "load_balancing": {
            "selection_policy": {"policy": "round_robin"},
            "try_duration": _TRY_DURATION,
            "try_interval": _TRY_INTERVAL,
        },
        "transport": {"protocol": "http", "dial_timeout": "2s", "keep_alive": {"idle_timeout": _UPSTREAM_IDLE}},
    }


def _page(app: str, ptype: str) -> dict[str, object]:
    return {
        "handler": "static_response",
        "status_code": 503,
        "headers": {"Content-Type": ["text/plain; charset=utf-8"], "Retry-After": ["5"]},
        "body": f"{app} has no running {ptype} process; see `drycc apps logs`\n",
    }

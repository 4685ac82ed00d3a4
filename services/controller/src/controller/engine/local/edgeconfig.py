"""The apps' part of Caddy's configuration (caddyserver.com/docs/json/apps/http/servers/routes). Pure.

It is the same for all apps and all time: which host leads where stands in files (`edgefiles`), which Caddy looks up
for each request. A change of its configuration would close connections whose request Caddy has not read yet.
"""

from __future__ import annotations

import re
from pathlib import PurePath

from controller.engine.local.edgefiles import HOSTS, NUMBER_DIGITS, READERS, SLOTS

# Only such a host is looked up, so none leads out of the directory or stands for others.
_HOST = r"^[a-z0-9_-]+(\.[a-z0-9_-]+)*$"

# Below the keep-alive times of common servers (gunicorn 2 s, node and uvicorn 5 s): we never reuse a connection that
# the app is about to close, and an instance that gets no more requests is free of connections a second later.
_UPSTREAM_IDLE = "1s"
# Caddy tries again after an error in dialling, whatever the method, as nothing has been sent; and a GET also when the
# app ends the connection instead of answering. All tries of one proxy are made with what was looked up before it, so
# the 3 s in which an instance may come are divided: after each of these times it is looked up again.
_TRY_DURATIONS = ("200ms", "400ms", "800ms", "1600ms")
_TRY_INTERVAL = "50ms"

_SHEET = "{http.matchers.file.relative}"
_LETTERS = [f"{{edge.letter.{place}}}" for place in range(len(READERS))]
_SLOTS = [f"{{edge.slot.{slot}}}" for slot in range(SLOTS)]


def is_routable(host: str) -> bool:
    """Whether the edge can look up such a host: labels of a-z, 0-9, `_` and `-`, 253 characters at most."""
    return len(host) <= 253 and re.fullmatch(_HOST, host) is not None


def apps_route(directory: PurePath) -> dict[str, object]:
    """The route of all apps; a request to a host that leads nowhere goes on to the next route.

    `directory` is relative to Caddy's working directory. An absolute path could hold braces or stars, which have a
    meaning here.
    """
    known = {
        "match": [_matches("{http.request.host}", _HOST)],
        "handle": [_draw_letters(), _serve(directory, *_TRY_DURATIONS)],
    }
    return {"handle": [{"handler": "subroute", "routes": [_lower_case_host(), known]}]}


def _lower_case_host() -> dict[str, object]:
    """Hosts are the same in both cases (RFC 9110 4.2.3), names of files are not."""
    letters = [{"search": letter.upper(), "replace": letter} for letter in "abcdefghijklmnopqrstuvwxyz"]
    handler = {"handler": "headers", "request": {"replace": {"Host": letters}}}
    return {"match": [_matches("{http.request.host}", "[A-Z]")], "handle": [handler]}


def _draw_letters() -> dict[str, object]:
    """Three random letters for each request, out of its UUID: the variant is one of 8, 9, a and b (RFC 9562 4.1)."""
    letters = {"input_regexp": "^(.)(.).{17}(.)", "outputs": ["$3", "$1", "$2"]}
    return {"handler": "map", "source": "{http.request.uuid}", "destinations": _LETTERS, "mappings": [letters]}


def _serve(directory: PurePath, try_duration: str, *later: str) -> dict[str, object]:
    """Look up and proxy; after an error in dialling once more for each of the later durations."""
    routes = [_looked_up(directory, [_idle_page(), {"handle": [_read_slots(), _proxy(try_duration)]}])]
    again = {"errors": {"routes": [_after_dial_error(_serve(directory, *later)), _fail()]}} if later else {}
    return {"handler": "subroute", "routes": routes, **again}


def _looked_up(directory: PurePath, routes: list[dict[str, object]]) -> dict[str, object]:
    readers = "".join(f"[_{letter}]" for letter in _LETTERS)
    # Question marks instead of a star: a name that does not fit is found out at its first characters.
    pattern = f"/{{http.request.host}}/{'?' * NUMBER_DIGITS}.{readers}*"
    # Twice: between reading the directory and looking at the sheet, the host may have been given another place.
    look = {"root": str(directory / HOSTS), "try_files": [pattern, pattern]}
    return {"match": [{"file": look}], "handle": [{"handler": "subroute", "routes": routes}], "terminal": True}


def _idle_page() -> dict[str, object]:
    answer = {
        "handler": "static_response",
        "status_code": 503,
        "headers": {"Content-Type": ["text/plain; charset=utf-8"], "Retry-After": ["5"]},
        "body": "{http.regexp.idle.app} has no running {http.regexp.idle.ptype} process; see `drycc apps logs`\n",
    }
    idle = _matches(_SHEET, r"=(?P<app>[^.]+)\.(?P<ptype>[^.]+)$", name="idle")
    return {"match": [idle], "handle": [answer], "terminal": True}


def _read_slots() -> dict[str, object]:
    """Each slot becomes a placeholder; only that of the chosen one is worked out."""
    sheet = rf"/[0-9]{{{NUMBER_DIGITS}}}\.[_0-9a-f]{{{len(READERS)}}}" + "-([^-]+)" * SLOTS + "$"
    slots = {"input_regexp": sheet, "outputs": [f"${slot}" for slot in range(1, SLOTS + 1)]}
    return {"handler": "map", "source": _SHEET, "destinations": _SLOTS, "mappings": [slots]}


def _proxy(try_duration: str) -> dict[str, object]:
    return {
        "handler": "reverse_proxy",
        "upstreams": [{"dial": slot} for slot in _SLOTS],
        "flush_interval": -1,
        "load_balancing": {
            "selection_policy": {"policy": "round_robin"},
            "try_duration": try_duration,
            "try_interval": _TRY_INTERVAL,
        },
        "transport": {"protocol": "http", "dial_timeout": "2s", "keep_alive": {"idle_timeout": _UPSTREAM_IDLE}},
    }


def _after_dial_error(handler: dict[str, object]) -> dict[str, object]:
    return {"match": [_matches("{http.error.message}", "^dial ")], "handle": [handler], "terminal": True}


def _fail() -> dict[str, object]:
    """Any other error stays what it is; without this route, the request would go on as if there were no such host."""
    error = {"error": "{http.error.message}", "status_code": "{http.error.status_code}"}
    return {"handle": [{"handler": "error", **error}]}


def _matches(placeholder: str, pattern: str, **name: str) -> dict[str, object]:
    return {"vars_regexp": {placeholder: {"pattern": pattern, **name}}}

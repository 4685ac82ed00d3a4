"""Probes and lifecycle handlers that the API knows. What it does not know it refuses as if it had failed itself (500),
and with it all that an app should be: so nothing else is sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from controller.domain.schemas import MOST_NUMBER, JsonPath, schema_problem
from controller.domain.spec import ProcessSpec
from controller.engine.port import NotSupportedError

PROBES: Final = ("readinessProbe", "livenessProbe", "startupProbe")

_TEXT: Final = {"type": "string"}
_PORT: Final = {"type": "integer", "minimum": 1, "maximum": 65535}
_COUNT: Final = {"type": "integer", "minimum": 0, "maximum": MOST_NUMBER}


def _object(required: str, **properties: object) -> Mapping[str, Any]:
    return {"type": "object", "required": [required], "properties": properties, "additionalProperties": False}


_HEADER: Final = {**_object("name", name=_TEXT, value=_TEXT), "required": ["name", "value"]}
_COMMON: Final[Mapping[str, Any]] = {
    "exec": _object("command", command={"type": "array", "items": _TEXT, "minItems": 1}),
    "httpGet": _object(
        "port",
        path=_TEXT,
        port=_PORT,
        host=_TEXT,
        scheme={"enum": ["HTTP", "HTTPS"]},
        httpHeaders={"type": "array", "items": _HEADER},
    ),
    "tcpSocket": _object("port", port=_PORT, host=_TEXT),
}
_TIMES: Final = (
    *("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"),
    "terminationGracePeriodSeconds",
)
_PROBE: Final = {
    "type": "object",
    "properties": {**_COMMON, "grpc": _object("port", port=_PORT, service=_TEXT), **dict.fromkeys(_TIMES, _COUNT)},
    "additionalProperties": False,
}
_LIFECYCLE: Final = {
    "type": "object",
    "properties": {**_COMMON, "sleep": _object("seconds", seconds=_COUNT)},
    "additionalProperties": False,
    "minProperties": 1,
    "maxProperties": 1,
}


def check_handlers(process: ProcessSpec) -> None:
    """Refuse what no pod can have.

    Raises:
        NotSupportedError: a probe or a lifecycle handler is not one of the API's; the text says which and why.
    """
    found = {probe: (process.healthcheck.get(probe), _PROBE) for probe in PROBES}
    found |= {"postStart": (process.post_start, _LIFECYCLE), "preStop": (process.pre_stop, _LIFECYCLE)}
    for name, (handler, schema) in found.items():
        problem = None if handler is None else schema_problem(handler, schema, strict=True, hides=_may_be_secret)
        if problem is not None:
            raise NotSupportedError(f"{name} of {process.ptype}: {problem}")


def _may_be_secret(path: JsonPath) -> bool:
    return "command" in path or "httpHeaders" in path

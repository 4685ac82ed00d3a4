"""JSON Schemas of what people write by hand, and how a mismatch is told: `could not validate <value>: <why>`.

Values are printed the Python way, because clients have always seen them so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match
from jsonschema.validators import extend

# With \Z: Python's $ would let a line's end through.
_FILE_NAME: Final = r"^(?P<name>[a-z0-9]+(\.[a-z0-9]+)*)\Z"
_KEY: Final = r"^[A-z0-9_\-\.]+\Z"
_STRING: Final = {"type": "string"}
_STRINGS: Final = {"type": "array", "items": _STRING}
_STRING_MAP: Final = {"type": "object", "patternProperties": {_KEY: _STRING}, "additionalProperties": False}

_PIPELINE: Final = {
    "type": "object",
    "required": ["kind", "ptype", "deploy"],
    "properties": {
        "kind": {"type": "string", "pattern": "^pipeline$"},
        "ptype": _STRING,
        "build": {
            "type": "object",
            "properties": {"docker": _STRING, "arg": _STRING_MAP},
            "additionalProperties": False,
        },
        "env": _STRING_MAP,
        "run": {
            "type": "object",
            "properties": {
                "command": _STRINGS,
                "args": _STRINGS,
                "image": _STRING,
                "timeout": {"type": "integer", "minimum": 1},
            },
            "additionalProperties": False,
        },
        "config": _STRINGS,
        "deploy": {
            "type": "object",
            "properties": {"command": _STRINGS, "args": _STRINGS, "image": _STRING},
            "additionalProperties": False,
        },
    },
    "additionalProperties": False,
}

DRYCCFILE: Final[Mapping[str, Any]] = {
    "type": "object",
    "required": ["pipeline"],
    "properties": {
        "config": {"type": "object", "patternProperties": {_FILE_NAME: _STRING_MAP}, "additionalProperties": False},
        "pipeline": {"type": "object", "patternProperties": {_FILE_NAME: _PIPELINE}, "additionalProperties": False},
    },
    "additionalProperties": False,
}

_INTEGER: Final = {"type": "integer"}
PROBE: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {
        "exec": {
            "type": "object",
            "required": ["command"],
            "properties": {"command": {"type": "array", "minItems": 1, "items": _STRING}},
        },
        "httpGet": {
            "type": "object",
            "required": ["port"],
            "properties": {
                "path": _STRING,
                "port": _INTEGER,
                "host": _STRING,
                "scheme": _STRING,
                "httpHeaders": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["name", "value"],
                        "properties": {"name": _STRING, "value": _STRING},
                    },
                },
            },
        },
        "tcpSocket": {"type": "object", "required": ["port"], "properties": {"port": _INTEGER}},
        "initialDelaySeconds": {"type": "integer", "minimum": 0},
        "timeoutSeconds": {"type": "integer", "minimum": 1},
        "periodSeconds": {"type": "integer", "minimum": 1},
        "successThreshold": {"type": "integer", "minimum": 1},
        "failureThreshold": {"type": "integer", "minimum": 1},
    },
}

AUTOSCALE: Final[Mapping[str, Any]] = {
    "type": "object",
    "required": ["min", "max", "cpu_percent"],
    "properties": {"min": _INTEGER, "max": _INTEGER, "cpu_percent": _INTEGER},
    "additionalProperties": False,
}


# JSON Schema counts 5.0 as an integer.
_Strict: Final[type[Draft202012Validator]] = extend(  # type: ignore[no-untyped-call]
    Draft202012Validator,
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine(
        "integer", lambda _checker, value: isinstance(value, int) and not isinstance(value, bool)
    ),
)


def schema_problem(value: object, schema: Mapping[str, Any], *, strict: bool = False) -> str | None:
    """What keeps `value` from fitting `schema`, as a sentence; None when it fits.

    With `strict` 5.0 is no integer: for what is shown again as it was sent, for released clients cannot read that.
    """
    validator = (_Strict if strict else Draft202012Validator)(schema)
    error = best_match(validator.iter_errors(value))
    return None if error is None else f"could not validate {value!r}: {error.message}"

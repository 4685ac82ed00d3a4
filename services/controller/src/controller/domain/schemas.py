"""JSON Schemas of what people write by hand, and how a mismatch is told: `could not validate <value>: <why>`.

Values are printed the Python way, because clients have always seen them so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match
from jsonschema.validators import extend

from controller.domain.shown import MOST_SHOWN, brief, shown

HIDDEN: Final = "***"
MOST_NUMBER: Final = 2**31 - 1
"""What engines and released clients can read."""

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
                "timeout": {"type": "integer", "minimum": 1, "maximum": MOST_NUMBER},
            },
            "additionalProperties": False,
        },
        "config": {"type": "array", "items": {"type": "string", "pattern": _KEY}},
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

_PORT: Final = {"type": "integer", "minimum": 1, "maximum": 65535}
_SOME: Final = {"type": "integer", "minimum": 0, "maximum": MOST_NUMBER}
_AT_LEAST_ONE: Final = {**_SOME, "minimum": 1}
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
                "port": _PORT,
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
        "tcpSocket": {"type": "object", "required": ["port"], "properties": {"port": _PORT}},
        "initialDelaySeconds": _SOME,
        "timeoutSeconds": _AT_LEAST_ONE,
        "periodSeconds": _AT_LEAST_ONE,
        "successThreshold": _AT_LEAST_ONE,
        "failureThreshold": _AT_LEAST_ONE,
    },
}

AUTOSCALE: Final[Mapping[str, Any]] = {
    "type": "object",
    "required": ["min", "max", "cpu_percent"],
    "properties": {"min": _SOME, "max": _AT_LEAST_ONE, "cpu_percent": _AT_LEAST_ONE},
    "additionalProperties": False,
}


# JSON Schema counts 5.0 as an integer.
_Strict: Final[type[Draft202012Validator]] = extend(  # type: ignore[no-untyped-call]
    Draft202012Validator,
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine(
        "integer", lambda _checker, value: isinstance(value, int) and not isinstance(value, bool)
    ),
)


JsonPath = Sequence[str | int]


def schema_problem(
    value: object, schema: Mapping[str, Any], *, strict: bool = False, hides: Callable[[JsonPath], bool] | None = None
) -> str | None:
    """What keeps `value` from fitting `schema`, as a sentence; None when it fits.

    With `strict` 5.0 is no integer: for what is shown again as it was sent, for released clients cannot read that.
    The sentence has `***` for what stands at a path that `hides`.
    """
    validator = (_Strict if strict else Draft202012Validator)(schema)
    error = best_match(validator.iter_errors(value))
    if error is None:
        return None
    part = error.instance
    if hides is not None:
        part, value = _masked(part, list(error.absolute_path), hides), _masked(value, [], hides)
    message = error.message.replace(repr(error.instance), shown(part))
    return f"could not validate {shown(value)}: {brief(message, 2 * MOST_SHOWN)}"


def _masked(value: object, path: JsonPath, hides: Callable[[JsonPath], bool]) -> object:
    if isinstance(value, Mapping):
        return {key: _masked(item, [*path, key], hides) for key, item in value.items()}
    if isinstance(value, list):
        return [_masked(item, [*path, index], hides) for index, item in enumerate(value)]
    return HIDDEN if hides(path) else value

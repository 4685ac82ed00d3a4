"""How commands of the client end when they do not succeed, and what it makes of HTTP errors (cli.md 1.5 and 7)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Final


class ClientError(Exception):
    """An error that the program returns: `Error: <text>` on stderr, exit status 1."""


class DecodeError(ClientError):
    """The answer does not fit what the program reads it into."""


class ClientPanic(Exception):  # noqa: N818  Go's own word; it is no error that the program handles
    """The Go runtime ends the program: a stack trace on stderr, exit status 2."""


BLANK: Final = "This field may not be blank."
_USERNAME: Final = "Enter a valid username. This value may contain only letters, numbers and @/./+/-/_ characters."
_APP_NAME: Final = "App name can only contain a-z (lowercase), 0-9 and hyphens"
_NAME: Final = "Can only contain a-z (lowercase), 0-9 and hyphens"
_OWNS_APPS: Final = "still has applications assigned. Delete or transfer ownership"
_KEY: Final = "a key is required"
_CERTIFICATE: Final = "Could not load certificate"

Match = Callable[[object], bool]


def _has(text: str) -> Match:
    return lambda value: isinstance(value, list) and text in value


def _mentions(text: str) -> Match:
    return lambda value: isinstance(value, list) and any(isinstance(item, str) and text in item for item in value)


def _says(text: str) -> Match:
    return lambda value: isinstance(value, str) and text in value


_BAD_REQUESTS: Final[tuple[tuple[str, Match, str], ...]] = (
    ("username", _has(BLANK), _USERNAME),
    ("username", _has(_USERNAME), _USERNAME),
    ("username", _has("A user with that username already exists."), "A user with that username already exists."),
    ("password", _has(BLANK), "A Password is required"),
    (
        "non_field_errors",
        _has("Unable to log in with provided credentials."),
        "Unable to log in with provided credentials.",
    ),
    ("id", _has(_APP_NAME), _APP_NAME),
    ("id", _has("Application with this id already exists."), "Application with this id already exists."),
    ("key", _has(BLANK), _KEY),
    ("key", _has("Public Key is already in use"), "Public Key is already in use"),
    ("public", _has(BLANK), _KEY),
    ("public", _has("Key contains invalid base64 chars"), _KEY),
    ("certificate", _mentions(BLANK), _CERTIFICATE),
    ("certificate", _mentions(_CERTIFICATE), _CERTIFICATE),
    ("name", _has(BLANK), "name can only contain a-z (lowercase), 0-9 and hyphens"),
    ("name", _has(_NAME), "name can only contain a-z (lowercase), 0-9 and hyphens"),
    ("domain", _has("Hostname does not look valid."), "Hostname does not look valid."),
    (
        "domain",
        _has("Domain is already in use by another application"),
        "Domain is already in use by another application",
    ),
    ("image", _has(BLANK), "The given image is invalid"),
    ("id", _has(BLANK), "An id is required"),
    ("email", _has("Enter a valid email address."), "Enter a valid email address."),
    ("detail", _says("does not exist in application"), "Pod not found in application"),
    ("detail", _says("version cannot be below 0"), "The given version is invalid"),
    ("detail", _says("No nodes matched the provided labels"), "No nodes matched the provided labels"),
)
_FIXED: Final[Mapping[int, str]] = {
    401: "Unauthorized: Missing or Invalid Token",
    403: "you do not have permission to perform this action",
    405: "Method Not Allowed",
    500: "Internal Server Error",
}


def error_of(status: int, body: bytes) -> ClientError:
    """What the program says about an answer with `status` >= 400 (cli.md 7)."""
    raw = body.decode("utf-8", "replace")
    if status in _FIXED:
        return ClientError(_FIXED[status])
    if status == 404:
        return ClientError(raw or "Not Found")
    if status == 400:
        return ClientError(_bad_request(raw))
    if status in (409, 422):
        return ClientError(_detailed(status, raw))
    return ClientError(_unknown(status, raw))


def _unknown(status: int, text: str) -> str:
    return f"Unknown Error ({status}): " + text.replace("\\n", "\n")


def _bad_request(raw: str) -> str:
    try:
        body = json.loads(raw)
    except ValueError:
        body = None
    if isinstance(body, dict):
        for field, matches, text in _BAD_REQUESTS:
            if matches(body.get(field)):
                return text
    return _unknown(400, raw)


def _detailed(status: int, raw: str) -> str:
    body, reason = _object(raw)
    if body is None:
        return f"Unknown Error ({status}): error decoding json response ({reason}): {raw}"
    detail = body.get("detail")
    if status == 409 and isinstance(detail, str) and _OWNS_APPS in detail:
        return f"failed to delete user because the user {_OWNS_APPS}"
    if status == 422 and isinstance(detail, str):
        return f"Unable to process your request: {detail}"
    return _unknown(status, raw)


def _object(raw: str) -> tuple[Mapping[str, object] | None, str]:
    try:
        body = json.loads(raw)
    except ValueError as error:
        return None, str(error)
    if isinstance(body, dict):
        return body, ""
    kind = {list: "array", str: "string", bool: "bool"}.get(type(body), "number")
    return None, f"json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}"

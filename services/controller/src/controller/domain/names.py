"""Rules for process type names, config keys and label texts, with the sentences of the API contract."""

from __future__ import annotations

import re

PTYPE_PATTERN = r"^(?P<type>[a-z0-9]+(\-[a-z0-9]+)*)$"
KEY_PATTERN = r"^[A-z0-9_\-\.]+$"
PTYPE_MESSAGE = f"Process types can only supports: {PTYPE_PATTERN}"
PTYPE_LENGTH_MESSAGE = "The length of ptype must be between 3 and 63"
NAME_PATTERN = r"^(?P<name>[a-z0-9]+(\-[a-z0-9]+)*)$"
NAME_MESSAGE = f"name can only supports: {NAME_PATTERN}"
NAME_LENGTH_MESSAGE = "The length of name must be between 3 and 63"
KEY_MESSAGE = f"Config key can only supports: {KEY_PATTERN}"
RUN = "run"
"""The process type of one-offs: never scaled."""
WEB = "web"
"""The process type that is routed to."""

_PTYPE = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_KEY = re.compile(r"[A-z0-9_.-]+")
_LABEL = re.compile(r"(?:[a-zA-Z\d][-.\w]{0,61})?[a-zA-Z\d]", re.ASCII)


def ptype_problem(ptype: str) -> str | None:
    """What is wrong with a process type's name; None when nothing is."""
    if not _PTYPE.fullmatch(ptype):
        return PTYPE_MESSAGE
    return None if 3 <= len(ptype) <= 63 else PTYPE_LENGTH_MESSAGE


def name_problem(name: str) -> str | None:
    """What is wrong with the name of a gateway, a route, a volume or a resource; None when nothing is (4.7)."""
    if not _PTYPE.fullmatch(name):
        return NAME_MESSAGE
    return None if 3 <= len(name) <= 63 else NAME_LENGTH_MESSAGE


def key_problem(key: str) -> str | None:
    """What is wrong with the name of a variable, a group or a registry entry; None when nothing is."""
    return None if _KEY.fullmatch(key) else KEY_MESSAGE


def tag_key_problem(key: str) -> str | None:
    """What is wrong with `[prefix/]name` as a node label; None when nothing is."""
    prefix, slash, name = key.rpartition("/")
    if not _LABEL.fullmatch(name):
        return 'Tag keys must be alphanumeric or "-_.", and 1-63 characters.'
    if slash and len(prefix) > 253:
        return "Tag key prefixes must 253 characters or less."
    if slash and not all(_LABEL.fullmatch(part) for part in prefix.split(".")):
        return "Tag key prefixes must be DNS subdomains."
    return None


def tag_value_problem(value: str) -> str | None:
    """What is wrong with the value of a node label; None when nothing is."""
    if _LABEL.fullmatch(value):
        return None
    return 'Tag values must be alphanumeric or "-_.", and 1-63 characters.'

"""Takes secrets out of facts and text before they are logged or stored. Knows names and shapes, not values."""

from __future__ import annotations

import re
from collections.abc import Mapping

REDACTED = "[redacted]"
_MAX_DEPTH = 6

_SECRET_KEY = re.compile(
    r"pass(word|wd|phrase)|secret|token(?!_type|s_used)|authorization|cookie|credential|signature|dsn$"
    r"|(private|api|encryption|signing|builder|access|master|fernet|ssh)_?keys?$|^keys?_?material$|^pem$",
    re.IGNORECASE,
)
# Mappings whose values are the users' own configuration: the names help, the values must not show.
_VALUE_MAPS = re.compile(r"^(config_?values?|values|env|environ|environment|build_env)$", re.IGNORECASE)

_TEXT_RULES: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
        REDACTED,
    ),
    (re.compile(r"\beyJ[\w-]+\.[\w-]+\.[\w-]*"), REDACTED),
    (re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s:/@]*):[^\s@/]+@", re.IGNORECASE), rf"\1:{REDACTED}@"),
    (
        re.compile(
            r"\b([\w-]*(?:password|passwd|passphrase|secret|token|authorization|api[_-]?key|signature))"
            r"([\"']?\s*[=:]\s*)(?!\s*\[redacted\])(?:(?:bearer|token|basic)\s+)?"
            r"(\"[^\"]*\"|'[^']*'|[^\s&,;\"'}\])]+)",
            re.IGNORECASE,
        ),
        rf"\1\2{REDACTED}",
    ),
    (re.compile(r"\b(bearer)\s+[\w.~+/=-]+", re.IGNORECASE), rf"\1 {REDACTED}"),
    # "token expired" and "basic authentication" are prose: a credential has a digit in it or is long.
    (re.compile(r"\b(token|basic)\s+(?=\S*\d|\S{24,})[\w.~+/=:-]{6,}", re.IGNORECASE), rf"\1 {REDACTED}"),
    (re.compile(r"([?&](?:code|key|sig|state)=)[^\s&#\"']+", re.IGNORECASE), rf"\1{REDACTED}"),
)


def redact_text(text: str) -> str:
    """`text` without credentials of well-known shapes: bearer tokens, JWTs, URL passwords, `password=...`, PEM keys."""
    for pattern, replacement in _TEXT_RULES:
        text = pattern.sub(replacement, text)
    return text


def redact(value: object, *, key: str = "", depth: int = 0) -> object:
    """`value` with every secret in it replaced, judged by `key`, by the keys inside, and by the shape of texts.

    Containers come back as new ones; what is no container and no text is left alone unless its key gives it away.
    """
    if value is None or isinstance(value, bool):
        return value
    if _SECRET_KEY.search(key) or depth >= _MAX_DEPTH:
        return REDACTED
    if _VALUE_MAPS.match(key):
        return {str(name): REDACTED for name in value} if isinstance(value, Mapping) else REDACTED
    if isinstance(value, Mapping):
        return {name: redact(item, key=str(name), depth=depth + 1) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [redact(item, depth=depth + 1) for item in value]
    return _redact_leaf(value)


def _redact_leaf(value: object) -> object:
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, bytes | bytearray):
        return redact_text(bytes(value).decode(errors="replace"))
    if isinstance(value, BaseException):
        return redact_text(f"{type(value).__name__}: {value}")
    return value

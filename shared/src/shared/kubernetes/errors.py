"""Answers of the API server as errors of ours, in its own words; never with what was sent to it.

Any body is taken: what stands between us and the API server answers in HTML, in plain text, or not at all
(kubernetes.md 5, weaknesses 40 and 48).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from shared.errors import ConflictError, InvalidInputError, NotFoundError, SuiteError, UnavailableError
from shared.redaction import redact_text

_LONGEST: Final = 2000
_LONGEST_VALUE: Final = 80
_NO_ACCESS: Final = re.compile(r'\b(?:User "|Unauthorized\b|.* cannot (?:get|list|watch|create|patch|delete|update)\b)')
_INPUT: Final = re.compile(
    r', error found in #\d+ byte of .*|(?<=Invalid value: )(?:"(?:[^"\\]|\\.)*"|\{.*\})|(?<=, got )&\{.*\}', re.S
)
_DENIED: Final = re.compile(r"\b(?:ValidatingAdmissionPolicy|admission webhook) .*\bdenied (?:the )?request\b")
_REFUSALS: Final = (400, 403, 422)
_UNREADABLE: Final = ("failed to create typed patch object", "failed to convert new object")
_MARKUP: Final = re.compile(r"<(?:style|script)\b.*?</(?:style|script)>|<[^>]*>", re.S | re.I)


class ClusterError(SuiteError):
    """The API server did not do what we asked. `words` are its own, `reason` its code for it (`AlreadyExists`)."""

    code: ClassVar[str] = "cluster-error"
    status: ClassVar[int] = 503
    title: ClassVar[str] = "Kubernetes did not do it"

    def __init__(self, action: str, words: str, *, reason: str = "", http_status: int = 0) -> None:
        super().__init__(f"Could not {action}: {words}", reason=reason)
        self.action = action
        self.words = words
        self.reason = reason
        self.http_status = http_status


class ClusterNotFoundError(ClusterError, NotFoundError):
    """There is no such object, or no such kind."""

    code = "cluster-not-found"
    status = 404


class ClusterConflictError(ClusterError, ConflictError):
    """It exists already, has changed meanwhile, or another manager owns the field."""

    code = "cluster-conflict"
    status = 409


class ClusterForbiddenError(ClusterError):
    """The platform's own account lacks the right."""

    code = "cluster-forbidden"
    title = "The platform may not do this in the cluster"


class ClusterDeniedError(ClusterError, InvalidInputError):
    """A rule of the cluster stands against it: admission policy, quota, limit range, pod security."""

    code = "cluster-denied"
    status = 400
    title = "The cluster's rules deny it"


class ClusterInvalidError(ClusterError, InvalidInputError):
    """The API server cannot accept the object as it is."""

    code = "cluster-invalid"
    status = 400
    title = "Kubernetes does not accept it"


class ClusterGoneError(ClusterError):
    """The version that a watch or a list wanted to go on from is forgotten: list anew."""

    code = "cluster-gone"


class ClusterUnavailableError(ClusterError, UnavailableError):
    """The API server does not answer, or not sensibly; trying again later may help."""

    code = "cluster-unavailable"
    status = 503


class ClusterSilentError(ClusterUnavailableError):
    """A stream has said nothing for as long as it may: its connection is dead, or nothing has happened."""

    code = "cluster-silent"


class ClusterBusyError(ClusterUnavailableError):
    """Too many requests. `retry_after` are seconds, None when the API server did not say."""

    code = "cluster-busy"
    retry_after: float | None = None


def error_of(
    action: str, status: int, body: bytes, headers: Mapping[str, str] | None = None, *, is_secret: bool = False
) -> ClusterError:
    """The error for an answer with that HTTP status, whatever its body; `action` tells what we were doing.

    `is_secret`: it was about a Secret, so no value that the answer quotes is repeated.
    """
    answer = _parsed(body)
    words = _words(status, answer, body, longest_value=0 if is_secret else _LONGEST_VALUE)
    error = _class_of(status, answer)(action, words, reason=_reason(answer), http_status=status)
    if isinstance(error, ClusterBusyError):
        error.retry_after = _seconds((headers or {}).get("Retry-After"), answer)
    return error


def error_of_event(action: str, answer: Mapping[str, Any]) -> ClusterError:
    """The error for a Status object that came through a watch."""
    code = answer.get("code")
    return error_of(action, code if isinstance(code, int) else 500, json.dumps(answer).encode())


def unreachable(action: str, exc: BaseException) -> ClusterUnavailableError:
    """The error for a connection that failed or a deadline that passed; only the kind of `exc` is told."""
    text = "it did not answer in time" if isinstance(exc, TimeoutError) else type(exc).__name__
    return ClusterUnavailableError(action, f"the API server cannot be reached: {text}")


def _class_of(status: int, answer: Mapping[str, Any]) -> type[ClusterError]:
    if status == 500 and str(answer.get("message", "")).startswith(_UNREADABLE):
        return ClusterInvalidError  # server-side apply says so with a 500
    if status in _REFUSALS and _DENIED.search(str(answer.get("message", ""))):
        return ClusterDeniedError  # a policy chooses the status, and its default is that of an invalid object
    if status == 403:
        is_ours = bool(_NO_ACCESS.search(str(answer.get("message", "")))) or not answer
        return ClusterForbiddenError if is_ours else ClusterDeniedError
    if status in _CLASSES:
        return _CLASSES[status]
    return ClusterUnavailableError if status >= 500 else ClusterError


_CLASSES: Final[Mapping[int, type[ClusterError]]] = {
    400: ClusterInvalidError,
    401: ClusterForbiddenError,
    404: ClusterNotFoundError,
    409: ClusterConflictError,
    410: ClusterGoneError,
    413: ClusterInvalidError,
    422: ClusterInvalidError,
    429: ClusterBusyError,
}


def _parsed(body: bytes) -> Mapping[str, Any]:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}


def _reason(answer: Mapping[str, Any]) -> str:
    reason = answer.get("reason")
    return reason if isinstance(reason, str) else ""


def _words(status: int, answer: Mapping[str, Any], body: bytes, *, longest_value: int) -> str:
    message = answer.get("message")
    if isinstance(message, str) and message.strip():
        # The API server quotes values of the input and nothing else; `redact_text` would garble "a Secret: ...".
        text = _INPUT.sub(lambda found: _shortened(found[0], longest_value), " ".join(message.split()))
    else:
        page = "" if answer else _MARKUP.sub(" ", body[: _LONGEST * 4].decode(errors="replace"))
        text = redact_text(" ".join(page.split()))
    return text[:_LONGEST] if text else f"HTTP status {status}"


def _shortened(value: str, longest: int) -> str:
    """What the API server quotes of the input: a short plain value helps, anything else may hold a secret."""
    if value.startswith(","):
        return ""
    return value if value.startswith('"') and len(value) <= longest else "…"


def _seconds(header: str | None, answer: Mapping[str, Any]) -> float | None:
    details = answer.get("details")
    stated = header if header is not None else details.get("retryAfterSeconds") if isinstance(details, dict) else None
    try:
        seconds = float(stated) if stated is not None else None
    except (TypeError, ValueError):
        return None
    return seconds if seconds is not None and 0 <= seconds < 3600 else None

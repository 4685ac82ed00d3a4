"""What became of the release that a controller was asked for over HTTP, read out of its answer and said to the pusher.

Controllers answer as builder.md 8 has it: `{"release": {"version": n}}`, or an error whose text is a JSON string, a map
of field names, or under `detail`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus

from builder.domain.builds import Verdict
from builder.domain.text import failure, progress

MAX_LINES = 10
MAX_LINE = 500
NO_VERDICT = "no-verdict"
UNREACHED = "controller-unavailable"
OVERTAKEN = "overtaken"
# What released builders knew; every other status of 300 to 499 is "refused".
_CODES: dict[int, str] = {
    HTTPStatus.BAD_REQUEST: "invalid-input",
    HTTPStatus.UNAUTHORIZED: "unauthenticated",
    HTTPStatus.FORBIDDEN: "forbidden",
    HTTPStatus.NOT_FOUND: "not-found",
    HTTPStatus.CONFLICT: "conflict",
    HTTPStatus.UNPROCESSABLE_ENTITY: "invalid-input",
}


@dataclass(frozen=True)
class ReleaseEnd:
    """`verdict` is None where nobody knows whether there is a release; else the other fields say more about it."""

    verdict: Verdict | None
    version: int | None = None
    code: str | None = None
    message: str | None = None
    hint: str = ""

    def text(self, app: str) -> str:
        """The last words of the push."""
        if self.verdict is Verdict.DEPLOYED:
            return progress(f"Done, {app}:v{self.version} deployed to Workflow")
        what = "No verdict" if self.verdict is None else "Not deployed"
        return failure(what, code=self.code or NO_VERDICT, message=self.message or "", hint=self.hint)


def answered(app: str, status: int, body: bytes) -> ReleaseEnd:
    """What an answer of the controller means.

    A fault of its own, or of something before it (5xx), does not tell whether there is a release, and neither does a
    success that is not the controller's.
    """
    if status < HTTPStatus.MULTIPLE_CHOICES:
        version = _version(body)
        if version is None:
            return unanswered(app, "what it answered names no release")
        return ReleaseEnd(Verdict.DEPLOYED, version=version)
    said = words_of(body)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return unanswered(app, f"it answered {_named(status)}" + (f": {said}" if said else ""))
    message = said or f"the controller answered {_named(status)}"
    return ReleaseEnd(Verdict.REJECTED, code=_CODES.get(status, "refused"), message=message, hint=_hint(app, status))


def unanswered(app: str, why: str) -> ReleaseEnd:
    """The controller was asked, and it is not known what came of it: asking again could make a second release."""
    return ReleaseEnd(
        None,
        code=NO_VERDICT,
        message=f"the build is complete, but the controller did not say whether it made a release: {why}",
        hint=f"It may have made one: see `drycc releases list -a {app}` before you push again.",
    )


def unreached(minutes: float) -> ReleaseEnd:
    """The controller could not be asked at all."""
    return ReleaseEnd(
        Verdict.REJECTED,
        code=UNREACHED,
        message=f"the build is complete, but the controller could not be reached for {minutes:g} min",
        hint="Nothing was deployed; push again later.",
    )


def overtaken(number: int) -> ReleaseEnd:
    """A newer build of the app came first; the release of an older one would undo it."""
    return ReleaseEnd(Verdict.REJECTED, code=OVERTAKEN, message=f"build {number} of this app was released before it")


def words_of(body: bytes) -> str:
    """The sentences of an error body, printable and bounded; empty for one that is none, as the page of a proxy."""
    text = body.decode("utf-8", "replace")
    try:
        sentences = list(_sentences(json.loads(text)))
    except (ValueError, RecursionError):
        sentences = [] if text.lstrip().startswith("<") else [text]
    lines = [_printable(line) for sentence in sentences for line in sentence.replace("\\n", "\n").splitlines()]
    return "\n".join([line for line in lines if line][:MAX_LINES])


def _sentences(value: object, name: str = "") -> Iterator[str]:
    match value:
        case dict():
            for key, inner in value.items():
                yield from _sentences(inner, "" if key in ("detail", "error", "non_field_errors") else str(key))
        case list():
            for inner in value:
                yield from _sentences(inner, name)
        case None:
            return
        case _:
            yield f"{name}: {value}" if name else str(value)


def _printable(line: str) -> str:
    """Without control sequences, which would reach the pusher's terminal."""
    shown = "".join(char if char.isprintable() else " " for char in line).strip()
    return shown if len(shown) <= MAX_LINE else shown[: MAX_LINE - 3] + "..."


def _version(body: bytes) -> int | None:
    try:
        version = json.loads(body)["release"]["version"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    return version if isinstance(version, int) and not isinstance(version, bool) and version > 0 else None


def _named(status: int) -> str:
    try:
        return f"{status} ({HTTPStatus(status).phrase})"
    except ValueError:
        return str(status)


def _hint(app: str, status: int) -> str:
    match status:
        case HTTPStatus.UNAUTHORIZED:
            return "The builder is not known to its controller; tell an administrator."
        case HTTPStatus.NOT_FOUND:
            return "It may have been destroyed meanwhile: see `drycc apps list`."
        # Controllers of before keep a release whose deployment they could not begin (controller-api.md 3.8).
        case HTTPStatus.BAD_REQUEST | HTTPStatus.CONFLICT:
            return f"See `drycc releases list -a {app}`; then push again, or deploy the release that is there."
        case _:
            return ""

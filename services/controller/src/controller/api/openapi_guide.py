"""What the OpenAPI document says in prose: how all endpoints behave, the streams, what each status means."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

GUIDE: Final = """\
The REST API 2.3 of Drycc Workflow, and what Workflow adds to it. This document needs no credentials: it holds no
secrets.

**Paths.** Every path may end in one slash; repeated slashes count as one. What follows `/v2/keys/` and
`/v2/hooks/key/` is taken as it stands. A path that fits no template (an app called `Shop`, say) is a 404 with an
HTML page. HEAD is answered wherever GET is. A method that a path does not have is a 405 with `Allow` and
`{"detail": "Method \\"PUT\\" not allowed."}`. `/healthz`, `/readiness` and `/metrics` stand outside `/v2/`.

**Who asks.** `Authorization: token <key>` with the key that a login gives, or `Authorization: bearer <access
token>` of the identity provider. Builders send `X-Drycc-Builder-Auth`, or the access token of a service with the
scope `controller:hook`. An app that the caller may not know of does not exist (404); one that they may look at but
not change is a 403.

**Bodies.** JSON. No body means `{}`, unknown keys are ignored. Texts are UTF-8 without U+0000.

**Lists.** Paged lists take `limit` (100 when it is missing, 0 or no number) and `offset`, and have links to their
neighbours; the others come whole.

**Repeated requests.** A POST with an `Idempotency-Key` that was answered with success is answered so again, without
happening again. Rates are limited for each credential (429 with `Retry-After`).

**Formats.** Times are UTC with whole seconds, `2025-02-03T04:05:06Z`. Ids are UUIDs in lower case. `owner` is a
user name, `app` the name of an app.

**Errors.** A sentence under `detail`; or a map of field to sentences, with `non_field_errors` for the whole; or a
bare list or text. Who accepts `application/problem+json` gets RFC 9457 instead, with a stable `code`. A 500 is
`{"detail": "Server Error"}` and a bug of ours; its `X-Request-ID` is in our log.

**Versions.** Every answer has `DRYCC_API_VERSION`, `DRYCC_PLATFORM_VERSION` and `X-Request-ID`; a sound
`X-Request-ID` of the request is kept.

**Streams.** WebSockets, with the same `Authorization`; whoever may not use one is refused with a 403 before the
handshake. The first message of the client is a JSON object that says what it wants; what it leaves out has a default. A
request that makes no sense closes the stream with 1008 and a reason, its end with 1000.

| path | first message | then |
|---|---|---|
"""

STREAMS: Final[Mapping[str, tuple[str, str]]] = {
    "/v2/apps/{app_id}/logs": (
        '`{"lines": 100, "follow": false, "timeout": 300}`; `timeout` in seconds',
        "text messages, one line each, of all instances",
    ),
    "/v2/apps/{app_id}/pods/{name}/logs": (
        '`{"lines": 300, "follow": false}`; `lines` of 0 or less: all that is kept',
        "one text message with everything; with `follow` binary messages as the output comes",
    ),
    "/v2/apps/{app_id}/pods/{name}/exec": (
        '`{"command": ["bash"], "tty": true, "stdin": true}`',
        "messages of one channel byte and its payload: 0 input, 1 output, 2 errors, 3 the final status as JSON, "
        '4 the new size of the terminal, `{"Height": 40, "Width": 120}`; without `stdin` one message with everything',
    ),
}

STATUSES: Final[Mapping[int, tuple[str, str]]] = {
    304: ("NotModified", "Not changed since the version in If-None-Match."),
    400: ("BadRequest", "The request is wrong; nothing has changed."),
    401: ("Unauthenticated", "Nobody that we know asks."),
    403: ("Forbidden", "Whoever asks may not do this."),
    404: ("NotFound", "There is no such object, or none that the caller may know of. HTML: no such path."),
    409: ("Conflict", "It does not fit what is there, or the same request is being handled."),
    412: ("PreconditionFailed", "The object is no longer the one in If-Match."),
    413: ("TooLarge", "The body is larger than this platform accepts."),
    415: ("UnsupportedMediaType", "The body is of another media type than the endpoint takes."),
    422: (
        "Unprocessable",
        "What is to be removed is not there, a parameter is out of its range, or the Idempotency-Key came before.",
    ),
    423: ("Locked", "Nobody may do this to themselves."),
    429: ("TooManyRequests", "Too many requests; Retry-After says when to come again."),
    503: ("Unavailable", "Something that is needed is away; try again later."),
}
"""Status -> the name of its shared answer, and what it means."""

PLACEHOLDERS: Final[Mapping[str, str]] = {
    "app": "Name of an app.",
    "name": "Name of the object within its app.",
    "username": "Name of a user.",
    "uuid": "Id of the object.",
    "kind": "`apps` or `users`.",
    "id": "Name of the app, or number of the user.",
    "plan": "Id of a limit plan.",
    "path": "Path from the root of the volume, slashes included.",
    "service": "Name of a class of resources.",
    "domain": "A host name; Unicode is taken as well as its ASCII form.",
    "ptype": "Name of a process type.",
    "fingerprint": "`SHA256:...`, or MD5 in colon form.",
    "rest": "The id as it stands, slashes included.",
    "version": "`v` and the number of a release.",
}
"""Placeholder of `converters` -> what stands there, unless the parameter has a description of its own."""


HIDDEN: Final[Mapping[str, tuple[str, str, str]]] = {
    "/v2/auth/token": ("key", r"^[-\w]+$", "The key of the login."),
}
"""Path of a route -> the placeholder behind it, its pattern and its meaning, where a secret is taken out of the path
before routing."""


def guide(streams: Collection[str]) -> str:
    """The text. `streams` are the paths of the WebSocket endpoints.

    Raises:
        KeyError: a stream is described nowhere.
    """
    rows = [f"| `{path}` | {STREAMS[path][0]} | {STREAMS[path][1]} |" for path in sorted(streams)]
    return GUIDE + "\n".join(rows) + "\n"

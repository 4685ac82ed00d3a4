"""Answers of an API server, and of what stands before it, become errors that tell what happened and no secret."""

from __future__ import annotations

import json

import pytest

from shared.errors import ConflictError, InvalidInputError, NotFoundError, UnavailableError
from shared.kubernetes.errors import (
    ClusterBusyError,
    ClusterConflictError,
    ClusterDeniedError,
    ClusterError,
    ClusterForbiddenError,
    ClusterGoneError,
    ClusterInvalidError,
    ClusterNotFoundError,
    ClusterUnavailableError,
    error_of,
    error_of_event,
    unreachable,
)

ACTION = "apply Service shop/shop"


def body(message: str, reason: str = "", **details: object) -> bytes:
    return json.dumps({"kind": "Status", "message": message, "reason": reason, "details": details}).encode()


@pytest.mark.parametrize(
    ("status", "message", "expected"),
    [
        (400, "the body is not right", ClusterInvalidError),
        (401, "Unauthorized", ClusterForbiddenError),
        (403, 'services is forbidden: User "x" cannot create resource "services"', ClusterForbiddenError),
        (403, "pods is forbidden: exceeded quota: app, requested: pods=1, used: pods=10", ClusterDeniedError),
        (422, "x is forbidden: ValidatingAdmissionPolicy 'p' with binding 'p' denied request: no", ClusterDeniedError),
        (400, 'admission webhook "w.example.org" denied the request: no', ClusterDeniedError),
        (403, 'pods "x" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot', ClusterDeniedError),
        (404, 'services "shop" not found', ClusterNotFoundError),
        (409, "the object has been modified", ClusterConflictError),
        (410, "too old resource version", ClusterGoneError),
        (418, "short and stout", ClusterError),
        (422, 'Service "shop" is invalid: spec.ports: Required value', ClusterInvalidError),
        (429, "too many requests", ClusterBusyError),
        (500, "failed calling webhook", ClusterUnavailableError),
        (500, "failed to create typed patch object: .spec.foo: field not declared in schema", ClusterInvalidError),
        (500, "failed to convert new object (a/b; /v1, Kind=Secret): illegal base64 data", ClusterInvalidError),
        (503, "the server is starting", ClusterUnavailableError),
        (504, "Timeout", ClusterUnavailableError),
    ],
)
def test_weakness_25_each_status_has_its_error_with_the_servers_words(
    status: int, message: str, expected: type[ClusterError]
) -> None:
    error = error_of(ACTION, status, body(message, "Why"))
    assert type(error) is expected
    assert error.words == message
    assert error.detail == f"Could not {ACTION}: {message}"
    assert (error.reason, error.http_status) == ("Why", status)


def test_errors_are_those_of_the_suite() -> None:
    assert isinstance(error_of(ACTION, 404, b""), NotFoundError)
    assert isinstance(error_of(ACTION, 409, b""), ConflictError)
    assert isinstance(error_of(ACTION, 422, b""), InvalidInputError)
    assert isinstance(error_of(ACTION, 429, b""), UnavailableError)
    assert (error_of(ACTION, 404, b"").status, error_of(ACTION, 403, b"").status) == (404, 503)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"[1, 2]",
        b'"text"',
        b"{",
        b"[" * 100_000,
        b'{"message": 5, "reason": [], "details": "none", "code": "x"}',
        b'{"message": null}',
        b"\xff\xfe\x00",
        b"<html><head><style>b{color:red}</style></head><body><h1>502 Bad Gateway</h1></body></html>",
    ],
)
@pytest.mark.parametrize("status", [403, 404, 422, 429, 502])
def test_weakness_40_any_body_makes_an_error(content: bytes, status: int) -> None:
    error = error_of(ACTION, status, content)
    assert error.detail.startswith(f"Could not {ACTION}: ")
    assert "<" not in error.words
    assert "color" not in error.words
    assert len(error.words) < 3000


def test_weakness_40_pages_of_proxies_are_read_as_text() -> None:
    page = b"<html><head><style>b{}</style></head><body><h1>502 Bad Gateway</h1>\n<hr>nginx</body></html>"
    assert error_of(ACTION, 502, page).words == "502 Bad Gateway nginx"


def test_an_event_of_a_watch_may_be_an_error() -> None:
    gone = error_of_event("watch pods", {"kind": "Status", "code": 410, "message": "too old resource version"})
    assert isinstance(gone, ClusterGoneError)
    assert isinstance(error_of_event("watch pods", {}), ClusterUnavailableError)


def test_retry_after_comes_from_the_header_or_the_body() -> None:
    def seconds(content: bytes, headers: dict[str, str]) -> float | None:
        error = error_of(ACTION, 429, content, headers)
        assert isinstance(error, ClusterBusyError)
        return error.retry_after

    assert seconds(b"", {"Retry-After": "7"}) == 7
    assert seconds(body("slow", retryAfterSeconds=3), {}) == 3
    assert seconds(b"", {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}) is None
    assert seconds(b"", {"Retry-After": "-1"}) is None
    assert seconds(b"", {"Retry-After": "nan"}) is None
    assert seconds(b"", {}) is None


def test_weakness_48_values_of_secrets_are_not_repeated() -> None:
    message = 'Secret "x" is invalid: data[a]: Invalid value: "hunter2": must be base64'
    assert "hunter2" not in error_of("apply Secret a/x", 422, body(message), is_secret=True).detail
    quoted = (
        'Secret in version "v1" cannot be handled as a Secret: illegal base64 data at input byte 4, '
        'error found in #10 byte of ...|"a":"hunter2"}}|..., bigger context ...|{"data":{"a":"hunter2"}}|...'
    )
    error = error_of(ACTION, 400, body(quoted))
    assert "hunter2" not in error.detail
    assert "illegal base64" in error.detail
    typed = "failed to create typed patch object (a/b): .data: expected map, got &{hunter2}"
    assert error_of(ACTION, 500, body(typed)).words.endswith(": .data: expected map, got …")
    objects = 'is invalid: spec.template: Invalid value: {"env":[{"value":"hunter2"}]}: field is immutable'
    assert "hunter2" not in error_of(ACTION, 422, body(objects)).detail


def test_short_values_of_other_objects_help() -> None:
    message = 'Service "shop" is invalid: spec.ports[0].port: Invalid value: "0": must be between 1 and 65535'
    assert error_of(ACTION, 422, body(message)).words == message


def test_weakness_48_broken_connections_show_their_kind_only() -> None:
    error = unreachable(ACTION, ConnectionResetError('{"data": {"password": "hunter2"}}'))
    assert isinstance(error, ClusterUnavailableError)
    assert error.words == "the API server cannot be reached: ConnectionResetError"
    assert unreachable(ACTION, TimeoutError()).words == "the API server cannot be reached: it did not answer in time"

"""Every text that the program makes of an error answer (cli.md 7)."""

from __future__ import annotations

import pytest

from client.canned import Bench
from client.model.failures import BLANK

USERNAME = "Enter a valid username. This value may contain only letters, numbers and @/./+/-/_ characters."
OWNS_APPS = "still has applications assigned. Delete or transfer ownership"
NO_OBJECT = "json: cannot unmarshal array into Go value of type map[string]interface {}"


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("username", USERNAME),
        ("username", "A user with that username already exists."),
        ("non_field_errors", "Unable to log in with provided credentials."),
        ("id", "App name can only contain a-z (lowercase), 0-9 and hyphens"),
        ("id", "Application with this id already exists."),
        ("key", "Public Key is already in use"),
        ("domain", "Hostname does not look valid."),
        ("domain", "Domain is already in use by another application"),
        ("email", "Enter a valid email address."),
    ],
)
async def test_messages_that_are_shown_as_they_are(client: Bench, field: str, message: str) -> None:
    assert await shown(client, 400, {field: ["something else", message]}) == message
    longer = await shown(client, 400, {field: [f"{message} Really."]})
    assert longer.startswith("Unknown Error (400): ")


@pytest.mark.parametrize(
    ("field", "message", "text"),
    [
        ("username", BLANK, USERNAME),
        ("password", BLANK, "A Password is required"),
        ("id", BLANK, "An id is required"),
        ("key", BLANK, "a key is required"),
        ("public", BLANK, "a key is required"),
        ("public", "Key contains invalid base64 chars", "a key is required"),
        ("certificate", f"x {BLANK}", "Could not load certificate"),
        ("certificate", "Could not load certificate: bad", "Could not load certificate"),
        ("name", BLANK, "name can only contain a-z (lowercase), 0-9 and hyphens"),
        (
            "name",
            "Can only contain a-z (lowercase), 0-9 and hyphens",
            "name can only contain a-z (lowercase), 0-9 and hyphens",
        ),
        ("image", BLANK, "The given image is invalid"),
    ],
)
async def test_messages_that_are_replaced(client: Bench, field: str, message: str, text: str) -> None:
    assert await shown(client, 400, {field: [message]}) == text


@pytest.mark.parametrize(
    ("detail", "text"),
    [
        ("pod x does not exist in application shop", "Pod not found in application"),
        ("version cannot be below 0", "The given version is invalid"),
        ("No nodes matched the provided labels: a=b", "No nodes matched the provided labels"),
    ],
)
async def test_details_that_are_replaced(client: Bench, detail: str, text: str) -> None:
    assert await shown(client, 400, {"detail": detail}) == text


@pytest.mark.parametrize(
    ("status", "body", "text"),
    [
        (400, {"a": ["b"]}, 'Unknown Error (400): {"a": ["b"]}'),
        (
            400,
            {"public": ["Public Key is already in use"]},
            'Unknown Error (400): {"public": ["Public Key is already in use"]}',
        ),
        (400, ["bare"], 'Unknown Error (400): ["bare"]'),
        (400, b"a\\nb", "Unknown Error (400): a\nb"),
        (401, {}, "Unauthorized: Missing or Invalid Token"),
        (403, {}, "you do not have permission to perform this action"),
        (404, "No App matches the given query.", '"No App matches the given query."'),
        (404, None, "Not Found"),
        (405, {}, "Method Not Allowed"),
        (409, {"detail": "ana changed nothing"}, 'Unknown Error (409): {"detail": "ana changed nothing"}'),
        (409, {"detail": f"ana {OWNS_APPS}"}, f"failed to delete user because the user {OWNS_APPS}"),
        (409, [], f"Unknown Error (409): error decoding json response ({NO_OBJECT}): []"),
        (422, {"detail": "x does not exist"}, "Unable to process your request: x does not exist"),
        (422, {"detail": 1}, 'Unknown Error (422): {"detail": 1}'),
        (423, None, "Unknown Error (423): "),
        (500, {}, "Internal Server Error"),
        (503, {"detail": "later"}, 'Unknown Error (503): {"detail": "later"}'),
    ],
)
async def test_other_errors(client: Bench, status: int, body: object, text: str) -> None:
    assert await shown(client, status, body) == text


async def shown(client: Bench, status: int, body: object) -> str:
    """What a command says when the server answers so."""
    client.server.only(body, status=f"{status} Whatever")
    done = await client.session.run("apps", "list")
    assert (done.status, done.stdout) == (1, "")
    return done.error

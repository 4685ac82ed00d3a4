"""The command's client of the REST API: names of keys, and refusals in the platform's own sentences."""

import json
from collections.abc import Callable

import httpx
import pytest

from standalone.client import Client
from standalone.errors import CommandFailedError
from standalone.home import Config

Answer = Callable[[httpx.Request], httpx.Response]


def client_of(answer: Answer) -> Client:
    return Client(Config(), transport=httpx.MockTransport(answer))


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ('{"id":["drycc is a reserved name."]}', "id: drycc is a reserved name."),
        ('{"id":["Too long.","Not a name."],"public":["Taken."]}', "id: Too long. Not a name. public: Taken."),
        ('{"detail":"No build."}', "No build."),
        ('"No App matches the given query."', "No App matches the given query."),
        ("<html>", "<html>"),
        ("", "no reason was given"),
    ],
)
def test_a_refusal_is_told_in_the_platforms_words(body: str, text: str) -> None:
    with client_of(lambda _: httpx.Response(400, text=body)) as client, pytest.raises(CommandFailedError) as caught:
        client.apps()
    assert caught.value.detail == f"{text} (GET /v2/apps/ answered 400)"


def test_another_key_of_the_same_person_gets_a_name_of_its_own() -> None:
    sent: list[dict[str, str]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            sent.append(json.loads(request.content))
            return httpx.Response(201, json={})
        return httpx.Response(200, json={"results": [{"id": "ana@laptop", "public": "ssh-ed25519 AAAA ana"}]})

    with client_of(answer) as client:
        client.ensure_key("ana@laptop", "ssh-ed25519 AAAA")
        client.ensure_key("ana@laptop", "ssh-ed25519 BBBB")
        client.ensure_key("ana@desk", "ssh-ed25519 BBBB")
    assert [key["id"] for key in sent] == ["ana@laptop-4a8d8134", "ana@desk"]


@pytest.mark.parametrize(("name", "is_new"), [("shop", False), ("", True), (".", True)])
def test_only_an_app_of_that_very_name_is_taken_as_there(name: str, is_new: bool) -> None:
    with client_of(lambda _: httpx.Response(200, json={"results": [{"id": "shop"}]})) as client:
        assert client.ensure_app(name) is is_new

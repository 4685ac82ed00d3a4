"""Who am I, tokens, SSH keys."""

from __future__ import annotations

import base64
from uuid import uuid4

import pytest

from controller.repositories.accounts import TokenRepository
from controller.schema.accounts import TokenRow
from controller.services.accounts import Accounts
from support.controller_api import Api, Person

TIMESTAMP = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$"


def public_key(seed: str, comment: str = "ana@laptop") -> str:
    """Something that looks like an Ed25519 key; each seed gives another."""
    blob = b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + seed.encode().ljust(32, b"\0")
    return f"ssh-ed25519 {base64.b64encode(blob).decode()} {comment}"


async def test_whoami(ana: Person) -> None:
    body = (await ana.client.get("/v2/auth/whoami/")).json()
    assert body.pop("last_login").endswith("Z")
    assert body.pop("date_joined").endswith("Z")
    assert body == {
        "id": ana.account.id,
        "email": "ana@example.org",
        "username": "ana",
        "first_name": "",
        "last_name": "",
        "is_superuser": False,
        "is_staff": False,
        "is_active": True,
        "groups": [],
        "user_permissions": [],
    }


async def test_tokens_are_listed_without_their_text(api: Api, ana: Person) -> None:
    assert len(ana.token) == 128
    body = (await ana.client.get("/v2/tokens/?limit=0")).json()
    assert body["count"] == 1
    (token,) = body["results"]
    assert token["fuzzy_key"] == f"{ana.token[:14]}...{ana.token[-14:]}"
    assert (token["owner"], token["alias"]) == ("ana", "tests")
    assert ana.token not in str(body)


async def test_a_deleted_token_ends_at_once(api: Api, ana: Person) -> None:
    async with api.context.unit_of_work() as uow:
        text = await Accounts(uow).issue_token(ana.account, alias="other", sealed_refresh_token=None)
    other = api.client(authorization=f"token {text}")
    assert (await other.get("/v2/")).status_code == 200
    listed = (await ana.client.get("/v2/tokens/")).json()["results"]
    uuid = next(token["uuid"] for token in listed if token["alias"] == "other")
    assert (await ana.client.delete(f"/v2/tokens/{uuid}/")).status_code == 204
    refused = await other.get("/v2/")
    assert (refused.status_code, refused.json()) == (401, {"detail": "Invalid token."})
    again = await ana.client.delete(f"/v2/tokens/{uuid}/")
    assert (again.status_code, again.json()) == (404, "No Token matches the given query.")
    await other.aclose()


async def test_tokens_of_others_do_not_exist(ana: Person, bo: Person) -> None:
    uuid = (await bo.client.get("/v2/tokens/")).json()["results"][0]["uuid"]
    assert (await ana.client.delete(f"/v2/tokens/{uuid}/")).status_code == 404
    malformed = await ana.client.delete("/v2/tokens/not-a-uuid/")
    assert (malformed.status_code, malformed.content) == (404, b'""')
    assert (await ana.client.delete(f"/v2/tokens/{uuid4()}/")).status_code == 404


async def test_only_digests_of_tokens_are_stored(api: Api, ana: Person) -> None:
    async with api.context.database.session() as session:
        rows = (await session.execute(TokenRow.__table__.select())).all()
        assert rows
        assert all(ana.token not in repr(tuple(row)) for row in rows)
        assert await TokenRepository(session).list_of(ana.account.id, limit=1, offset=5) == ([], 1)


async def test_a_closed_account(api: Api) -> None:
    cy = await api.person("cy")
    async with api.context.unit_of_work() as uow:
        await Accounts(uow).store(type(cy.account)(id=cy.account.id, username="cy", is_active=False), signed_in=False)
    api.context.authenticator.forget_user(cy.account.id)
    response = await cy.client.get("/v2/")
    assert (response.status_code, response.json()) == (401, {"detail": "User inactive or deleted."})


async def test_key_life_cycle(ana: Person) -> None:
    public = public_key("life")
    created = await ana.client.post("/v2/keys/", json={"id": "ana@laptop/1 x", "public": public + "\n"})
    assert created.status_code == 201
    body = created.json()
    assert (body["id"], body["public"], body["owner"]) == ("ana@laptop/1 x", public, "ana")
    assert len(body["fingerprint"].split(":")) == 16
    listed = (await ana.client.get("/v2/keys/")).json()
    assert body in listed["results"]
    path = "/v2/keys/ana@laptop/1%20x"
    assert (await ana.client.get(path)).json() == body
    slashed = await ana.client.delete(path + "/")
    assert (slashed.status_code, slashed.json()) == (404, "No Key matches the given query.")
    assert (await ana.client.delete(path)).status_code == 204
    assert (await ana.client.delete(path)).status_code == 404


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        ({"id": "k", "public": "ssh-rsa foo_bar"}, {"public": ["Key contains invalid base64 chars"]}),
        ({"id": "k", "public": "ssh-rsa"}, {"public": ["Key contains invalid base64 chars"]}),
        ({"id": "k", "public": "ssh-rsa \n"}, {"public": ["Key contains invalid base64 chars"]}),
        ({}, {"id": ["This field is required."], "public": ["This field is required."]}),
        ({"id": "", "public": public_key("x")}, {"id": ["This field may not be blank."]}),
        ({"id": "k", "public": None}, {"public": ["This field may not be null."]}),
        (
            {"id": "k" * 129, "public": public_key("x")},
            {"id": ["Ensure this field has no more than 128 characters."]},
        ),
        (
            {"id": "k", "public": public_key("x") + "\n" + public_key("y")},
            {"public": ["Only one key can be added at a time"]},
        ),
    ],
)
async def test_bad_keys(ana: Person, body: dict[str, object], answer: dict[str, object]) -> None:
    response = await ana.client.post("/v2/keys/", json=body)
    assert (response.status_code, response.json()) == (400, answer)


async def test_a_key_belongs_to_one_person(ana: Person, bo: Person) -> None:
    public = public_key("shared")
    assert (await ana.client.post("/v2/keys/", json={"id": "laptop", "public": public})).status_code == 201
    in_use = ["Public Key is already in use"]
    for person in (ana, bo):
        other_comment = {"id": "second", "public": public_key("shared", "other comment")}
        response = await person.client.post("/v2/keys/", json=other_comment)
        assert response.status_code == 400
        assert response.json() == {"public": in_use, "key": in_use}
    same_name = {"id": "laptop", "public": public_key("bo")}
    assert (await bo.client.post("/v2/keys/", json=same_name)).status_code == 201
    taken = await ana.client.post("/v2/keys/", json={"id": "laptop", "public": public_key("third")})
    assert (taken.status_code, taken.json()) == (400, {"id": ["SSH Key with this id already exists."]})


async def test_keys_of_others_do_not_exist(ana: Person, bo: Person) -> None:
    await ana.client.post("/v2/keys/", json={"id": "private", "public": public_key("private")})
    assert (await bo.client.get("/v2/keys/private")).status_code == 404
    assert (await bo.client.delete("/v2/keys/private")).status_code == 404
    assert (await ana.client.get("/v2/keys/private")).status_code == 200

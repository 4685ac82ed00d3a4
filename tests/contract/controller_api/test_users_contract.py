"""The people of the platform, for superusers."""

from __future__ import annotations

import base64

import pytest

from controller.domain.accounts import Profile
from controller.services.accounts import Accounts
from support.controller_api import BUILDER_KEY, Api, Person

PUBLIC = f"ssh-ed25519 {base64.b64encode(b'the key of fred').decode()} fred"


async def test_everybody_is_listed_by_name(api: Api, root: Person, ana: Person, bo: Person) -> None:
    body = (await root.client.get("/v2/users/?limit=2")).json()
    assert (body["count"], len(body["results"]), body["previous"]) == (3, 2, None)
    assert [user["username"] for user in body["results"]] == ["ana", "bo"]
    assert [user["username"] for user in (await root.client.get(body["next"])).json()["results"]] == ["root"]
    assert body["results"][0] == (await ana.client.get("/v2/auth/whoami/")).json()


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "users/"), ("PATCH", "users/bo/enable/"), ("PATCH", "users/bo/disable/")]
)
async def test_only_superusers_may(api: Api, ana: Person, staff: Person, method: str, path: str) -> None:
    for person in (ana, staff):
        response = await person.client.request(method, f"/v2/{path}")
        assert response.status_code == 403
        assert response.json() == {"detail": "You do not have permission to perform this action."}
    assert (await api.anonymous.request(method, f"/v2/{path}")).status_code == 401


@pytest.mark.parametrize("action", ["enable", "disable"])
async def test_nobody_does_it_to_themselves_or_to_nobody(root: Person, action: str) -> None:
    own = await root.client.patch(f"/v2/users/root/{action}/")
    assert (own.status_code, own.content) == (423, b"")
    unknown = await root.client.patch(f"/v2/users/nobody/{action}/")
    assert (unknown.status_code, unknown.json()) == (404, "No User matches the given query.")
    assert (await root.client.get("/v2/auth/whoami/")).json()["is_active"] is True


async def test_who_is_disabled_is_out_at_once_until_enabled(api: Api, root: Person) -> None:
    fred = await api.person("fred")
    await api.create("freds", "fred")
    assert (await fred.client.post("/v2/keys/", json={"id": "laptop", "public": PUBLIC})).status_code == 201
    disabled = await root.client.patch("/v2/users/fred/disable/")
    assert (disabled.status_code, disabled.content) == (204, b"")
    refused = await fred.client.get("/v2/apps/")
    assert (refused.status_code, refused.json()) == (401, {"detail": "User inactive or deleted."})
    shown = {user["username"]: user["is_active"] for user in (await root.client.get("/v2/users/")).json()["results"]}
    assert shown["fred"] is False
    hook = {"X-Drycc-Builder-Auth": BUILDER_KEY}
    pushed = {"receive_user": "fred", "receive_repo": "freds"}
    assert (await api.anonymous.post("/v2/hooks/config/", json=pushed, headers=hook)).status_code == 403
    assert (await api.anonymous.get("/v2/hooks/keys/freds/", headers=hook)).json() == {}
    assert (await root.client.patch("/v2/users/fred/enable/")).status_code == 204
    assert (await fred.client.get("/v2/apps/")).status_code == 200
    keys = (await api.anonymous.get("/v2/hooks/keys/freds/", headers=hook)).json()
    assert list(keys) == ["fred"]
    trail = (await root.client.get("/v2/audit/?limit=2")).json()["results"]
    assert [(entry["actor"], entry["action"], entry["target"]) for entry in trail] == [
        ("root", "user.enabled", "fred"),
        ("root", "user.disabled", "fred"),
    ]


async def test_only_changes_leave_an_entry(api: Api, root: Person) -> None:
    await api.person("hal")
    for action in ("enable", "disable", "disable", "enable", "enable"):
        assert (await root.client.patch(f"/v2/users/hal/{action}/")).status_code == 204
    trail = (await root.client.get("/v2/audit/?limit=100")).json()["results"]
    assert [entry["action"] for entry in trail if entry["target"] == "hal"] == ["user.enabled", "user.disabled"]


async def test_news_of_the_person_leave_it_and_a_login_ends_it(api: Api, root: Person) -> None:
    gus = await api.person("gus")
    await root.client.patch("/v2/users/gus/disable/")
    profile = Profile(id=gus.account.id, username="gus", email="gus@example.org")
    for signed_in in (False, True):
        async with api.context.unit_of_work() as uow:
            account = await Accounts(uow).store(profile, signed_in=signed_in)
        assert account.is_active is signed_in
    api.context.authenticator.forget_user(gus.account.id)
    assert (await gus.client.get("/v2/apps/")).status_code == 200

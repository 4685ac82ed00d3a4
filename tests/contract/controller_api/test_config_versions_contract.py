"""`ETag` and `If-Match` on configs: a change of what somebody else has changed meanwhile is refused."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx

from support.controller_api import Api, Person


def variable(name: str, value: str) -> dict[str, Any]:
    """A change of one variable."""
    return {"values": [{"name": name, "value": value, "group": "global"}]}


async def change(person: Person, app: str, body: Any, etag: str | None = None) -> httpx.Response:
    """A change of the config, only of that version if one is given."""
    headers = {} if etag is None else {"If-Match": etag}
    return await person.client.post(f"/v2/apps/{app}/config/", json=body, headers=headers)


async def test_the_etag_is_the_uuid_and_new_with_each_change(api: Api, ana: Person) -> None:
    await api.create("etag-new")
    shown = await ana.client.get("/v2/apps/etag-new/config/")
    assert shown.headers["etag"] == f'"{shown.json()["uuid"]}"'
    changed = await change(ana, "etag-new", variable("A", "1"))
    assert changed.headers["etag"] == f'"{changed.json()["uuid"]}"' != shown.headers["etag"]
    assert (await ana.client.get("/v2/apps/etag-new/config/")).headers["etag"] == changed.headers["etag"]
    assert (await ana.client.get("/v2/apps/etag-new/config/?version=v1")).headers["etag"] == shown.headers["etag"]


async def test_who_has_it_need_not_load_it_again(api: Api, ana: Person) -> None:
    await api.create("etag-known")
    url = "/v2/apps/etag-known/config/"
    etag = (await ana.client.get(url)).headers["etag"]
    known = await ana.client.get(url, headers={"If-None-Match": etag})
    assert (known.status_code, known.content, known.headers["etag"]) == (304, b"", etag)
    assert known.headers["DRYCC_API_VERSION"] == "2.3"
    await change(ana, "etag-known", variable("A", "1"))
    assert (await ana.client.get(url, headers={"If-None-Match": etag})).status_code == 200


async def test_a_change_of_an_old_version_changes_nothing(api: Api, ana: Person) -> None:
    await api.create("etag-old")
    etag = (await ana.client.get("/v2/apps/etag-old/config/")).headers["etag"]
    assert (await change(ana, "etag-old", variable("A", "1"), etag)).status_code == 201
    refused = await change(ana, "etag-old", variable("A", "2"), etag)
    assert refused.status_code == 412
    assert refused.json() == {"detail": "it was changed meanwhile: read it again and repeat the change"}
    current = await ana.client.get("/v2/apps/etag-old/config/")
    assert current.json()["values"][0]["value"] == "1"
    assert (await ana.client.get("/v2/apps/etag-old/releases/")).json()["count"] == 2
    assert (await change(ana, "etag-old", variable("A", "2"), current.headers["etag"])).status_code == 201
    assert (await change(ana, "etag-old", variable("A", "3"), "*")).status_code == 201
    assert (await change(ana, "etag-old", variable("A", "4"))).status_code == 201


async def test_detaching_groups_can_be_made_to_depend_on_it_too(api: Api, ana: Person) -> None:
    await api.create("etag-refs")
    first = await change(ana, "etag-refs", {**variable("A", "1"), "values_refs": {"web": ["global"]}})
    assert first.status_code == 201
    second = await change(ana, "etag-refs", variable("A", "2"))
    body = {"values_refs": {"web": ["global"]}}
    for etag, status in ((first.headers["etag"], 412), (second.headers["etag"], 200)):
        request = ana.client.build_request(
            "DELETE", "/v2/apps/etag-refs/config/", json=body, headers={"If-Match": etag}
        )
        response = await ana.client.send(request)
        assert response.status_code == status
    latest = await ana.client.get("/v2/apps/etag-refs/config/")
    assert response.headers["etag"] == latest.headers["etag"]


async def test_no_update_is_lost_among_many_at_once(api: Api, ana: Person) -> None:
    await api.create("etag-race")
    etag = (await ana.client.get("/v2/apps/etag-race/config/")).headers["etag"]
    answers = await asyncio.gather(*(change(ana, "etag-race", variable("N", f"{n}"), etag) for n in range(6)))
    assert sorted(answer.status_code for answer in answers) == [201, *[412] * 5]


async def test_a_malformed_header_is_refused(api: Api, ana: Person) -> None:
    await api.create("etag-bad")
    for etag in ("abc", '"open', "W/abc"):
        response = await change(ana, "etag-bad", variable("A", "1"), etag)
        assert response.status_code == 400
        assert response.json()["detail"].startswith("If-Match must be * or entity tags in quotes")
    assert (await ana.client.get("/v2/apps/etag-bad/releases/")).json()["count"] == 1

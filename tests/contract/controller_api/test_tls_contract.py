"""TLS settings: the defaults, merged changes, the issuer, and what the cluster says."""

from __future__ import annotations

from uuid import UUID

import pytest
from sqlalchemy import select

from controller.domain.spec_network import NetworkObservation, TlsEvent
from controller.schema.audit import AuditRow
from controller.schema.domains import TlsRow
from controller.services.tls import NO_ACME
from support.controller_api import ALL_FEATURES, Api, Person, running_api
from support.fixtures import MakeDatabase

DEFAULT = {
    "email": "anonymous@cert-manager.io",
    "server": "https://acme-v02.api.letsencrypt.org/directory",
    "key_id": "",
    "key_secret": "",
}
ISSUER = {"email": "ops@example.org", "server": "https://acme.example.org/dir", "key_id": "kid", "key_secret": "hush"}
NOTHING = {"detail": "ana changed nothing"}
NO_TLS = {
    "detail": "this platform ends no TLS for apps: run a TLS proxy in front of it, or install the platform on a cluster"
}


async def test_the_defaults(api: Api, ana: Person) -> None:
    await api.create("tls-a")
    app = (await ana.client.get("/v2/apps/tls-a")).json()
    response = await ana.client.get("/v2/apps/tls-a/tls/")
    body = response.json()
    assert response.status_code == 200
    assert UUID(body.pop("uuid"))
    assert body == {
        "app": "tls-a",
        "owner": "ana",
        "events": [],
        "created": app["created"],
        "updated": app["created"],
        "issuer": DEFAULT,
        "https_enforced": None,
        "certs_auto_enabled": None,
    }


async def test_each_change_leaves_the_rest(api: Api, ana: Person) -> None:
    """In the reference a flag reset the issuer, an issuer reset the flags, and of two flags one was lost."""
    await api.create("tls-b")
    uuids = set()
    for change, flags, issuer in (
        ({"https_enforced": False}, (False, None), DEFAULT),
        ({"issuer": ISSUER}, (False, None), ISSUER),
        ({"https_enforced": True}, (True, None), ISSUER),
        ({"certs_auto_enabled": True}, (True, True), ISSUER),
        ({"https_enforced": False, "certs_auto_enabled": False}, (False, False), ISSUER),
        ({"https_enforced": False, "certs_auto_enabled": True}, (False, True), ISSUER),
        ({"issuer": {"email": "a@b.org", "server": "https://acme.b.org"}, "https_enforced": None}, (False, True),
         {"email": "a@b.org", "server": "https://acme.b.org", "key_id": "", "key_secret": ""}),
    ):  # fmt: skip
        response = await ana.client.post("/v2/apps/tls-b/tls/", json=change)
        body = response.json()
        assert response.status_code == 201, body
        assert ((body["https_enforced"], body["certs_auto_enabled"]), body["issuer"]) == (flags, issuer)
        assert (await ana.client.get("/v2/apps/tls-b/tls/")).json() == body
        uuids.add(body["uuid"])
    assert len(uuids) == 7


async def test_nothing_changed(api: Api, ana: Person) -> None:
    await api.create("tls-c")
    url = "/v2/apps/tls-c/tls/"
    for body in ({}, {"issuer": DEFAULT}, {"other": 1}, {"https_enforced": None}):
        response = await ana.client.post(url, json=body)
        assert (response.status_code, response.json()) == (409, NOTHING)
    first = (await ana.client.post(url, json={"https_enforced": True, "issuer": ISSUER})).json()
    same: tuple[dict[str, object], ...] = ({"https_enforced": True}, {"https_enforced": "yes", "issuer": ISSUER})
    for again in same:
        response = await ana.client.post(url, json=again)
        assert (response.status_code, response.json()) == (409, NOTHING)
    assert (await ana.client.get(url)).json() == first


@pytest.mark.parametrize(
    ("body", "errors"),
    [
        ({"https_enforced": "zz"}, {"https_enforced": ["Must be a valid boolean."]}),
        ({"certs_auto_enabled": 7}, {"certs_auto_enabled": ["Must be a valid boolean."]}),
        ({"issuer": ISSUER | {"email": "nobody"}}, {"email": ["Enter a valid email address."]}),
        ({"issuer": {"key_id": "k"}}, {"email": ["This field is required."], "server": ["This field is required."],
          "key_secret": ["Give both key_id and key_secret, or neither."]}),
        ({"issuer": []}, {"issuer": ["Give an object with email, server, key_id and key_secret."]}),
    ],
)  # fmt: skip
async def test_bad_requests(api: Api, ana: Person, body: dict[str, object], errors: object) -> None:
    if not (await ana.client.get("/v2/apps/tls-bad")).is_success:
        await api.create("tls-bad")
    response = await ana.client.post("/v2/apps/tls-bad/tls/", json=body)
    assert (response.status_code, response.json()) == (400, errors)
    assert (await ana.client.get("/v2/apps/tls-bad/tls/")).json()["issuer"] == DEFAULT


async def test_events_come_from_the_engine(api: Api, ana: Person) -> None:
    await api.create("tls-d")
    event = TlsEvent("tls-d", "Issuer", "2025-02-03T04:05:06Z", "Ready", "True", "registered")
    api.engine.show_network("tls-d", NetworkObservation(tls_events=(event,)))
    assert (await ana.client.get("/v2/apps/tls-d/tls/")).json()["events"] == [
        {"name": "tls-d", "kind": "Issuer", "time": "2025-02-03T04:05:06Z", "type": "Ready", "status": "True",
         "message": "registered"}
    ]  # fmt: skip


async def test_the_issuers_key_is_secret_at_rest_and_in_the_trail(api: Api, ana: Person) -> None:
    await api.create("tls-e")
    await ana.client.post("/v2/apps/tls-e/tls/", json={"issuer": ISSUER})
    await ana.client.post("/v2/apps/tls-e/tls/", json={"https_enforced": True})
    async with api.context.database.session() as session:
        row = (await session.scalars(select(TlsRow).order_by(TlsRow.updated.desc()).limit(1))).one()
        query = select(AuditRow).where(AuditRow.app == "tls-e", AuditRow.action == "tls.changed")
        entries = list(await session.scalars(query.order_by(AuditRow.uuid)))
    assert "hush" not in row.sealed_issuer
    public = {name: ISSUER[name] for name in ("email", "server", "key_id")}
    assert [(entry.before, entry.after) for entry in entries] == [
        ({"issuer": {name: DEFAULT[name] for name in public}}, {"issuer": public}),
        ({"https_enforced": None}, {"https_enforced": True}),
    ]


async def test_who_may_do_what(api: Api, ana: Person) -> None:
    await api.create("tls-f")
    viewer = await api.grant("tls-f", "vic", "view")
    changer = await api.grant("tls-f", "cleo", "view,change")
    stranger = await api.person("stan")
    url, body = "/v2/apps/tls-f/tls", {"https_enforced": True}
    assert (await stranger.client.get(url)).status_code == 404
    assert (await stranger.client.post(url, json=body)).status_code == 404
    assert (await api.anonymous.get(url)).status_code == 401
    assert (await viewer.client.get(url)).status_code == 200
    assert (await viewer.client.post(url, json=body)).status_code == 403
    changed = await changer.client.post(url, json=body)
    assert (changed.status_code, changed.json()["owner"]) == (201, "cleo")


async def test_without_automatic_certificates_there_are_still_those_of_users(make_database: MakeDatabase) -> None:
    features = ALL_FEATURES - {"acme"}
    async with running_api(await make_database("controller"), features=features, run_worker=False) as api:
        await api.create("plain")
        ana = await api.person("ana")
        for body in ({"certs_auto_enabled": True}, {"issuer": ISSUER}, {"https_enforced": True, "issuer": ISSUER}):
            refused = await ana.client.post("/v2/apps/plain/tls/", json=body)
            assert (refused.status_code, refused.json()) == (400, {"detail": NO_ACME})
        assert (await ana.client.post("/v2/apps/plain/tls/", json={"https_enforced": True})).status_code == 201


async def test_an_engine_without_tls_switches_nothing_on(make_database: MakeDatabase) -> None:
    async with running_api(await make_database("controller"), features=frozenset(), run_worker=False) as api:
        await api.create("plain")
        ana = await api.person("ana")
        for body in ({"https_enforced": True}, {"certs_auto_enabled": True}, {"issuer": ISSUER}):
            refused = await ana.client.post("/v2/apps/plain/tls/", json=body)
            assert (refused.status_code, refused.json()) == (400, NO_TLS)
        off = {"https_enforced": False, "certs_auto_enabled": False}
        assert (await ana.client.post("/v2/apps/plain/tls/", json=off)).status_code == 201
        assert (await ana.client.get("/v2/apps/plain/tls/")).json()["issuer"] == DEFAULT

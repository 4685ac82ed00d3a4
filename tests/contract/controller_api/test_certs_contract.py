"""Certificates: stored with their keys, attached to domains of the same app, detached."""

from __future__ import annotations

import asyncio
import threading

import pytest
from sqlalchemy import select

from controller.domain.certificates import KeyPair
from controller.repositories.apps import AppRepository
from controller.repositories.domains import CertificateRepository, DomainRepository
from controller.schema.audit import AuditRow
from controller.schema.domains import CertificateRow
from controller.services import certificates
from controller.services.pem import read_key_pair
from support.certificates import MadePair, make_pair
from support.controller_api import Api, Person, running_api
from support.fixtures import MakeDatabase

REQUIRED = ["This field is required."]
BLANK = ["This field may not be blank."]
LETTERS = ["Can only contain a-z (lowercase), 0-9 and hyphens"]
NO_CERTIFICATE = ["Could not load certificate: no -----BEGIN CERTIFICATE----- block in it can be read"]
NO_KEY = ["Could not load private key: no -----BEGIN PRIVATE KEY----- block in it can be read"]
UNKNOWN = "No Certificate matches the given query."
UNKNOWN_DOMAIN = "No Domain matches the given query."
NO_APP = "No App matches the given query."
PAIR = make_pair("shop.example.org")


def request(name: str, pair: MadePair = PAIR) -> dict[str, object]:
    """A good request."""
    return {"name": name, "certificate": pair.certificate, "key": pair.key}


async def app_with(api: Api, app: str, *, certs: str = "", domains: str = "", owner: str = "ana") -> str:
    """An app with these certificates and domains; its URL."""
    await api.create(app, owner)
    client = (await api.person(owner)).client
    for name in certs.split():
        response = await client.post(f"/v2/apps/{app}/certs/", json=request(name))
        assert response.status_code == 201, response.text
    for domain in domains.split():
        response = await client.post(f"/v2/apps/{app}/domains/", json={"domain": domain, "ptype": "web"})
        assert response.status_code == 201, response.text
    return f"/v2/apps/{app}"


async def attached(person: Person, url: str) -> dict[str, list[str]]:
    """The domains of each certificate."""
    page = (await person.client.get(f"{url}/certs/")).json()
    return {item["name"]: item["domains"] for item in page["results"]}


async def test_add_show_list(api: Api, ana: Person) -> None:
    url = await app_with(api, "cert-a")
    added = await ana.client.post(f"{url}/certs/", json=request("shop-cert"))
    assert added.status_code == 201
    body = added.json()
    assert set(body) == {
        "id", "app", "owner", "domains", "san", "created", "updated", "name", "common_name", "fingerprint",
        "expires", "starts", "issuer", "subject",
    }  # fmt: skip
    assert isinstance(body["id"], int)
    assert {name: body[name] for name in ("app", "owner", "name", "domains", "san", "common_name")} == {
        "app": "cert-a",
        "owner": "ana",
        "name": "shop-cert",
        "domains": [],
        "san": ["shop.example.org"],
        "common_name": "shop.example.org",
    }
    assert (body["starts"], body["expires"]) == ("2025-01-01T00:00:00Z", "2079-10-05T00:00:00Z")
    assert body["issuer"] == body["subject"] == "/CN=shop.example.org"
    assert len(body["fingerprint"]) == 95
    assert body["fingerprint"] == body["fingerprint"].upper()
    assert (await ana.client.get(f"{url}/certs/shop-cert")).json() == body
    assert (await ana.client.get(f"{url}/certs/")).json()["results"] == [body]


async def test_lists_are_pages_by_name(api: Api, ana: Person) -> None:
    url = await app_with(api, "cert-pages", certs="b a c")
    page = (await ana.client.get(f"{url}/certs/?limit=2")).json()
    assert ([item["name"] for item in page["results"]], page["count"]) == (["a", "b"], 3)
    assert page["next"] == "http://drycc.test/v2/apps/cert-pages/certs/?limit=2&offset=2"


@pytest.mark.parametrize(
    ("changes", "errors"),
    [
        ({"name": "My_Cert"}, {"name": LETTERS}),
        ({"name": "-a"}, {"name": ["name can only supports: ^(?P<name>[a-z0-9]+(\\-[a-z0-9]+)*)$"]}),
        ({"name": ""}, {"name": BLANK}),
        ({"name": "a" * 254}, {"name": ["Ensure this field has no more than 253 characters."]}),
        ({"certificate": "nonsense", "key": "nonsense"}, {"certificate": NO_CERTIFICATE, "key": NO_KEY}),
        ({"certificate": "", "key": ""}, {"certificate": BLANK, "key": BLANK}),
        ({"key": PAIR.certificate}, {"key": NO_KEY}),
        ({"key": "x" * 8193}, {"key": ["Ensure this field has no more than 8192 characters."]}),
        ({"key": make_pair("x.org", number=1).key}, ["Certificate and private key do not match!"]),
        ({"key": make_pair("x.org", kind="ed25519").key}, ["Certificate and private key do not match!"]),
    ],
)
async def test_bad_certificates(api: Api, ana: Person, changes: dict[str, str], errors: object) -> None:
    if not (await ana.client.get("/v2/apps/cert-bad")).is_success:
        await api.create("cert-bad")
    response = await ana.client.post("/v2/apps/cert-bad/certs/", json=request("good") | changes)
    assert (response.status_code, response.json()) == (400, errors)
    assert await attached(ana, "/v2/apps/cert-bad") == {}


async def test_missing_fields(api: Api, ana: Person) -> None:
    url = await app_with(api, "cert-missing")
    response = await ana.client.post(f"{url}/certs/", json={})
    assert (response.status_code, response.json()) == (
        400,
        {"name": REQUIRED, "certificate": REQUIRED, "key": REQUIRED},
    )


async def test_names_are_unique_in_an_app(api: Api, ana: Person) -> None:
    url = await app_with(api, "cert-twice", certs="one")
    other = await app_with(api, "cert-elsewhere")
    response = await ana.client.post(f"{url}/certs/", json=request("one"))
    unique = {"non_field_errors": ["The fields app, name must make a unique set."]}
    assert (response.status_code, response.json()) == (400, unique)
    assert (await ana.client.post(f"{other}/certs/", json=request("one"))).status_code == 201


async def test_an_expired_certificate_is_kept(api: Api, ana: Person) -> None:
    url = await app_with(api, "cert-old")
    response = await ana.client.post(f"{url}/certs/", json=request("old", make_pair("shop.example.org", days=1)))
    assert (response.status_code, response.json()["expires"]) == (201, "2025-01-02T00:00:00Z")


async def test_the_key_is_ciphertext_in_the_database(api: Api, ana: Person) -> None:
    await app_with(api, "cert-sealed", certs="sealed")
    async with api.context.unit_of_work() as uow:
        row = await uow.session.scalar(select(CertificateRow).where(CertificateRow.name == "sealed"))
        assert row is not None
        assert "PRIVATE KEY" not in f"{row.sealed_key} {row.certificate}"
        assert uow.cipher.open(row.sealed_key) == PAIR.key


async def test_attach_and_detach(api: Api, ana: Person) -> None:
    url = await app_with(api, "cert-b", certs="one two", domains="a.cert-b.org b.cert-b.org")
    for domain in ("b.cert-b.org", "A.cert-b.org."):
        response = await ana.client.post(f"{url}/certs/one/domain/", json={"domain": domain})
        assert (response.status_code, response.content) == (201, b"")
    assert await attached(ana, url) == {"one": ["a.cert-b.org", "b.cert-b.org"], "two": []}
    again = await ana.client.post(f"{url}/certs/one/domain/", json={"domain": "a.cert-b.org"})
    assert again.status_code == 201
    instead = await ana.client.post(f"{url}/certs/two/domain/", json={"domain": "a.cert-b.org"})
    assert instead.status_code == 201
    assert await attached(ana, url) == {"one": ["b.cert-b.org"], "two": ["a.cert-b.org"]}
    detached = await ana.client.delete(f"{url}/certs/two/domain/a.cert-b.org")
    assert (detached.status_code, detached.content) == (204, b"")
    assert await attached(ana, url) == {"one": ["b.cert-b.org"], "two": []}


async def test_detach_what_is_not_attached(api: Api, ana: Person) -> None:
    """The reference answered 503, as if trying again could help."""
    url = await app_with(api, "cert-c", certs="my-cert other", domains="a.cert-c.org")
    await ana.client.post(f"{url}/certs/other/domain/", json={"domain": "a.cert-c.org"})
    detail = "Could not delete certificate secret my-cert-certificate for application cert-c"
    for _ in range(2):
        response = await ana.client.delete(f"{url}/certs/my-cert/domain/a.cert-c.org")
        assert (response.status_code, response.json()) == (409, {"detail": detail})
    assert await attached(ana, url) == {"my-cert": [], "other": ["a.cert-c.org"]}


async def test_unknown_names(api: Api, ana: Person) -> None:
    url = await app_with(api, "cert-d", certs="one", domains="a.cert-d.org")
    for method, path, body, message in (
        ("GET", "none", None, UNKNOWN),
        ("DELETE", "none", None, UNKNOWN),
        ("POST", "none/domain", {"domain": "a.cert-d.org"}, UNKNOWN),
        ("DELETE", "none/domain/a.cert-d.org", None, UNKNOWN),
        ("POST", "one/domain", {"domain": "b.cert-d.org"}, UNKNOWN_DOMAIN),
        ("POST", "one/domain", {"domain": "*"}, UNKNOWN_DOMAIN),
        ("DELETE", "one/domain/b.cert-d.org", None, UNKNOWN_DOMAIN),
    ):
        response = await ana.client.request(method, f"{url}/certs/{path}", json=body)
        assert (response.status_code, response.json()) == (404, message)
    for bad in ({}, {"domain": ""}, {"domain": None}, {"domain": 5}):
        response = await ana.client.post(f"{url}/certs/one/domain/", json=bad)
        assert (response.status_code, response.json()) == (400, {"detail": "domain is a required field"})


async def test_domains_of_other_apps_cannot_be_secured(api: Api, ana: Person, bo: Person) -> None:
    """The reference looked for the domain among those of all apps."""
    mine = await app_with(api, "cert-mine", certs="one")
    yours = await app_with(api, "cert-yours", certs="two", domains="a.cert-yours.org", owner="bo")
    response = await ana.client.post(f"{mine}/certs/one/domain/", json={"domain": "a.cert-yours.org"})
    assert (response.status_code, response.json()) == (404, UNKNOWN_DOMAIN)
    assert (await ana.client.post(f"{mine}/certs/two/domain/", json={"domain": "a.cert-yours.org"})).json() == UNKNOWN
    assert await attached(bo, yours) == {"two": []}


async def test_removing_detaches_everywhere(api: Api, ana: Person) -> None:
    url = await app_with(api, "cert-e", certs="one two", domains="a.cert-e.org b.cert-e.org")
    for name in ("a", "b"):
        await ana.client.post(f"{url}/certs/one/domain/", json={"domain": f"{name}.cert-e.org"})
    assert (await ana.client.delete(f"{url}/certs/one")).status_code == 204
    assert await attached(ana, url) == {"two": []}
    assert (await ana.client.get(f"{url}/domains/")).json()["count"] == 2
    await ana.client.post(f"{url}/certs/two/domain/", json={"domain": "a.cert-e.org"})
    assert (await ana.client.delete(f"{url}/domains/a.cert-e.org")).status_code == 204
    assert await attached(ana, url) == {"two": []}


async def test_who_may_do_what(api: Api, ana: Person) -> None:
    url = await app_with(api, "cert-guarded", certs="one", domains="a.cert-guarded.org")
    changer = await api.grant("cert-guarded", "cleo", "view,change")
    viewer = await api.grant("cert-guarded", "vic", "view")
    stranger = await api.person("stan")
    calls: list[tuple[str, str, object]] = [
        ("GET", f"{url}/certs", None),
        ("GET", f"{url}/certs/one", None),
        ("POST", f"{url}/certs", request("two")),
        ("POST", f"{url}/certs/one/domain", {"domain": "a.cert-guarded.org"}),
        ("DELETE", f"{url}/certs/one/domain/a.cert-guarded.org", None),
        ("DELETE", f"{url}/certs/one", None),
    ]
    for method, path, body in calls:
        response = await stranger.client.request(method, path, json=body)
        assert (response.status_code, response.json()) == (404, NO_APP)
        assert (await api.anonymous.request(method, path, json=body)).status_code == 401
        wanted = 200 if method == "GET" else 403
        assert (await viewer.client.request(method, path, json=body)).status_code == wanted
        wanted = {"GET": 200, "POST": 201, "DELETE": 403}[method]
        assert (await changer.client.request(method, path, json=body)).status_code == wanted
    page = (await ana.client.get(f"{url}/certs")).json()["results"]
    assert [(item["name"], item["owner"]) for item in page] == [("one", "ana"), ("two", "cleo")]


async def test_the_trail_tells_what_the_certificate_is_good_for(api: Api, ana: Person) -> None:
    url = await app_with(api, "cert-audit", certs="one", domains="a.cert-audit.org")
    await ana.client.post(f"{url}/certs/one/domain/", json={"domain": "a.cert-audit.org"})
    await ana.client.delete(f"{url}/certs/one/domain/a.cert-audit.org")
    await ana.client.delete(f"{url}/certs/one")
    async with api.context.database.session() as session:
        query = select(AuditRow).where(AuditRow.app == "cert-audit", AuditRow.action.startswith("certificate."))
        entries = list(await session.scalars(query.order_by(AuditRow.uuid)))
    assert [(entry.action, entry.target) for entry in entries] == [
        ("certificate.added", "one"),
        ("certificate.attached", "a.cert-audit.org"),
        ("certificate.detached", "a.cert-audit.org"),
        ("certificate.removed", "one"),
    ]
    assert entries[1].before == {"certificate": None}
    assert entries[1].after == {"certificate": "one", "is_for_this_name": False, "expired": False}
    assert not any("BEGIN" in f"{entry.before} {entry.after}" for entry in entries)


async def test_rendering_gets_domains_and_keys(api: Api, ana: Person) -> None:
    url = await app_with(api, "cert-render", certs="one", domains="b.cert-render.org a.cert-render.org")
    await ana.client.post(f"{url}/certs/one/domain/", json={"domain": "a.cert-render.org"})
    async with api.context.unit_of_work() as uow:
        app = await AppRepository(uow.session).get("cert-render")
        domains = await DomainRepository(uow.session).list_all(app)
        certificates = await CertificateRepository(uow.session, uow.cipher).list_all(app)
    assert [(each.domain, each.ptype, each.certificate) for each in domains] == [
        ("a.cert-render.org", "web", "one"),
        ("b.cert-render.org", "web", None),
    ]
    assert [(each.name, each.secret, each.domains) for each in certificates] == [
        ("one", "one-certificate", ("a.cert-render.org",))
    ]
    assert (certificates[0].certificate, certificates[0].key) == (PAIR.certificate, PAIR.key)
    assert PAIR.key not in repr(certificates)


async def test_an_engine_without_tls_attaches_nothing(make_database: MakeDatabase) -> None:
    async with running_api(await make_database("controller"), features=frozenset(), run_worker=False) as api:
        url = await app_with(api, "plain", certs="one", domains="a.plain.org")
        ana = await api.person("ana")
        refused = await ana.client.post(f"{url}/certs/one/domain/", json={"domain": "a.plain.org"})
        detail = (
            "this platform ends no TLS for apps: run a TLS proxy in front of it, or install the platform on a cluster"
        )
        assert (refused.status_code, refused.json()) == (400, {"detail": detail})
        assert await attached(ana, url) == {"one": []}


async def test_keys_are_read_while_no_connection_is_held(
    make_database: MakeDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large RSA key takes seconds: a few of them must not keep everybody else from the database."""
    began, go_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def read_slowly(certificate: str, key: str) -> KeyPair:
        loop.call_soon_threadsafe(began.set)
        assert go_on.wait(30)
        return read_key_pair(certificate, key)

    monkeypatch.setattr(certificates, "read_key_pair", read_slowly)
    async with running_api(await make_database("controller"), database_pool_size=1, run_worker=False) as api:
        await api.create("slow")
        ana = await api.person("ana")
        adding = asyncio.create_task(ana.client.post("/v2/apps/slow/certs/", json=request("one")))
        try:
            await asyncio.wait_for(began.wait(), 10)
            listed = await asyncio.wait_for(ana.client.get("/v2/apps/slow/certs/"), 5)
        finally:
            go_on.set()
        assert (listed.status_code, listed.json()["count"]) == (200, 0)
        assert (await adding).status_code == 201

"""Domains: names that lead to an app, unique over all apps, and none of the platform's own."""

from __future__ import annotations

import asyncio
import re

import pytest
from sqlalchemy import select

from controller.repositories.apps import AppRepository
from controller.schema.audit import AuditRow
from controller.schema.domains import DomainRow
from support.certificates import make_pair
from support.controller_api import Api, Person, running_api
from support.fixtures import MakeDatabase

REQUIRED = ["This field is required."]
TAKEN = ["Domain is already in use by another application"]
UNKNOWN = "No Domain matches the given query."
NO_APP = "No App matches the given query."
FORBIDDEN = {"detail": "You do not have permission to perform this action."}
PTYPE = ["Process types can only supports: ^(?P<type>[a-z0-9]+(\\-[a-z0-9]+)*)$"]


async def names(person: Person, app: str) -> list[str]:
    """The app's domains."""
    page = (await person.client.get(f"/v2/apps/{app}/domains/")).json()
    assert page["count"] == len(page["results"])
    return [item["domain"] for item in page["results"]]


async def test_add_list_remove(api: Api, ana: Person) -> None:
    await api.create("dom-a")
    added = await ana.client.post("/v2/apps/dom-a/domains/", json={"domain": "shop.dom-a.org", "ptype": "web"})
    assert added.status_code == 201
    body = added.json()
    assert list(body) == ["owner", "created", "updated", "app", "domain", "ptype"]
    assert (body["owner"], body["app"], body["domain"], body["ptype"]) == ("ana", "dom-a", "shop.dom-a.org", "web")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", body["created"])
    assert (await ana.client.get("/v2/apps/dom-a/domains/")).json()["results"] == [body]
    removed = await ana.client.delete("/v2/apps/dom-a/domains/shop.dom-a.org")
    assert (removed.status_code, removed.content) == (204, b"")
    assert await names(ana, "dom-a") == []


async def test_pages_are_ordered_by_name(api: Api, ana: Person) -> None:
    await api.create("dom-pages")
    for name in ("c", "a", "b"):
        body = {"domain": f"{name}.dom-pages.org", "ptype": "worker"}
        assert (await ana.client.post("/v2/apps/dom-pages/domains/", json=body)).status_code == 201
    page = (await ana.client.get("/v2/apps/dom-pages/domains/?limit=2")).json()
    assert [item["domain"] for item in page["results"]] == ["a.dom-pages.org", "b.dom-pages.org"]
    assert (page["count"], page["previous"]) == (3, None)
    assert page["next"] == "http://drycc.test/v2/apps/dom-pages/domains/?limit=2&offset=2"
    assert (await ana.client.get("/v2/apps/dom-pages/domains/?limit=-1")).json()["count"] == 3


@pytest.mark.parametrize(
    ("body", "errors"),
    [
        ({}, {"domain": REQUIRED, "ptype": REQUIRED}),
        ({"ptype": "web"}, {"domain": REQUIRED}),
        ({"domain": "x.dom-bad.org"}, {"ptype": REQUIRED}),
        ({"domain": " ", "ptype": ""}, {k: ["This field may not be blank."] for k in ("domain", "ptype")}),
        ({"domain": None, "ptype": None}, {k: ["This field may not be null."] for k in ("domain", "ptype")}),
        ({"domain": ["x"], "ptype": {}}, {k: ["Not a valid string."] for k in ("domain", "ptype")}),
        ({"domain": "x.dom-bad.org", "ptype": "Web"}, {"ptype": PTYPE}),
        ({"domain": "x.dom-bad.org", "ptype": "wo"}, {"ptype": ["The length of ptype must be between 3 and 63"]}),
        ({"domain": "*", "ptype": "web"}, {"domain": ["Hostname can't only be a wildcard"]}),
        ({"domain": "x.1", "ptype": "a_b"}, {"domain": ["Hostname does not look valid."], "ptype": PTYPE}),
        (
            {"domain": "a..b.", "ptype": "web"},
            {"domain": ["Hostname does not look valid, could not convert to ACE a..b: Empty Label"]},
        ),
        ({"domain": "a." * 128, "ptype": "web"}, {"domain": ["Hostname must be 253 characters or less."]}),
    ],
)
async def test_bad_domains(api: Api, ana: Person, body: dict[str, object], errors: dict[str, list[str]]) -> None:
    if not (await ana.client.get("/v2/apps/dom-bad")).is_success:
        await api.create("dom-bad")
    response = await ana.client.post("/v2/apps/dom-bad/domains/", json=body)
    assert (response.status_code, response.json()) == (400, errors)
    assert await names(ana, "dom-bad") == []


async def test_names_are_unique_over_all_apps(api: Api, ana: Person, bo: Person) -> None:
    await api.create("dom-mine")
    await api.create("dom-yours", "bo")
    body = {"domain": "münchen.dom-mine.org.", "ptype": "web"}
    assert (await ana.client.post("/v2/apps/dom-mine/domains/", json=body)).json()["domain"] == (
        "xn--mnchen-3ya.dom-mine.org"
    )
    for person, app in ((ana, "dom-mine"), (bo, "dom-yours")):
        for sent, message in (
            ("xn--mnchen-3ya.dom-mine.org", TAKEN[0]),
            ("XN--mnchen-3ya.dom-mine.org", TAKEN[0]),
            ("münchen.dom-mine.org", "The domain münchen.dom-mine.org is already in use by another app"),
            ("münchen.dom-mine.org.", "The domain münchen.dom-mine.org is already in use by another app"),
            (
                "xn--mnchen-3ya.dom-mine.org.",
                "The domain xn--mnchen-3ya.dom-mine.org is already in use by another app",
            ),
        ):
            response = await person.client.post(f"/v2/apps/{app}/domains/", json={"domain": sent, "ptype": "web"})
            assert (response.status_code, response.json()) == (400, {"domain": [message]})
    assert (await bo.client.delete("/v2/apps/dom-yours/domains/xn--mnchen-3ya.dom-mine.org")).status_code == 404
    assert (await ana.client.delete("/v2/apps/dom-mine/domains/münchen.dom-mine.org.")).status_code == 204
    assert (await bo.client.post("/v2/apps/dom-yours/domains/", json=body)).status_code == 201


async def test_of_two_who_ask_at_once_one_gets_it(api: Api, ana: Person, bo: Person) -> None:
    await api.create("dom-race-a")
    await api.create("dom-race-b", "bo")
    for number in range(5):
        body = {"domain": f"n{number}.dom-race.org", "ptype": "web"}
        answers = await asyncio.gather(
            ana.client.post("/v2/apps/dom-race-a/domains/", json=body),
            bo.client.post("/v2/apps/dom-race-b/domains/", json=body),
        )
        assert sorted(answer.status_code for answer in answers) == [201, 400]
        assert [answer.json() for answer in answers if answer.status_code == 400] == [{"domain": TAKEN}]


async def test_case_makes_no_other_name(api: Api, ana: Person) -> None:
    """The reference kept the case, so that one host could be of two apps."""
    await api.create("dom-case")
    body = {"domain": "Shop.Dom-Case.org", "ptype": "web"}
    assert (await ana.client.post("/v2/apps/dom-case/domains/", json=body)).json()["domain"] == "shop.dom-case.org"
    assert (await ana.client.post("/v2/apps/dom-case/domains/", json=body)).json() == {"domain": TAKEN}
    assert (await ana.client.delete("/v2/apps/dom-case/domains/SHOP.dom-case.org")).status_code == 204


async def test_wildcards(api: Api, ana: Person) -> None:
    await api.create("dom-wild")
    body = {"domain": "*.dom-wild.org", "ptype": "web"}
    assert (await ana.client.post("/v2/apps/dom-wild/domains/", json=body)).status_code == 201
    assert await names(ana, "dom-wild") == ["*.dom-wild.org"]
    assert (await ana.client.delete("/v2/apps/dom-wild/domains/%2A.dom-wild.org")).status_code == 204
    assert await names(ana, "dom-wild") == []


@pytest.mark.parametrize("name", ["l·l.dom-idn.org", "उदाहरण.dom-idn.org", "*.日本語・.dom-idn.org"])
async def test_remove_as_it_was_sent(api: Api, ana: Person, name: str) -> None:
    """Names of IDNA 2008 hold marks and dots that are no letters for regular expressions."""
    if not (await ana.client.get("/v2/apps/dom-idn")).is_success:
        await api.create("dom-idn")
    added = await ana.client.post("/v2/apps/dom-idn/domains/", json={"domain": name, "ptype": "web"})
    assert added.status_code == 201, added.text
    assert (await ana.client.delete(f"/v2/apps/dom-idn/domains/{name}")).status_code == 204
    assert await names(ana, "dom-idn") == []


@pytest.mark.parametrize("name", ["none.dom-gone.org", "a_b", "...", "-", "münchen.org", "*.org", "x.1"])
async def test_remove_what_is_not_there(api: Api, ana: Person, name: str) -> None:
    if not (await ana.client.get("/v2/apps/dom-gone")).is_success:
        await api.create("dom-gone")
    response = await ana.client.delete(f"/v2/apps/dom-gone/domains/{name}")
    assert (response.status_code, response.json()) == (404, UNKNOWN)


@pytest.mark.parametrize(
    "name",
    [
        "drycc.test", "DRYCC.test", "drycc-builder.test", "passport.test", "*.test", "apps.test", "*.apps.test",
        "drycc", "drycc.apps.test", "dom-victim", "dom-victim.apps.test", "login.dom-victim.apps.test",
        "*.dom-victim.apps.test",
    ],
)  # fmt: skip
async def test_hosts_of_the_platform_and_of_other_apps_are_in_use(api: Api, ana: Person, name: str) -> None:
    if not (await ana.client.get("/v2/apps/dom-thief")).is_success:
        await api.create("dom-thief")
        await api.create("dom-victim", "bo")
    response = await ana.client.post("/v2/apps/dom-thief/domains/", json={"domain": name, "ptype": "web"})
    assert (response.status_code, response.json()) == (400, {"domain": TAKEN})


async def test_single_labels_are_hosts_below_the_apps_domain(api: Api, ana: Person, bo: Person) -> None:
    """Released clients and the edge expand them; so no later app may be called so either."""
    await api.create("dom-label")
    await api.create("dom-other", "bo")
    body = {"domain": "dom-boutique", "ptype": "web"}
    assert (await ana.client.post("/v2/apps/dom-label/domains/", json=body)).status_code == 201
    expanded = {"domain": "dom-boutique.apps.test", "ptype": "web"}
    refused = await bo.client.post("/v2/apps/dom-other/domains/", json=expanded)
    assert refused.json() == {"domain": ["The domain dom-boutique.apps.test is already in use by another app"]}
    taken = await bo.client.post("/v2/apps/", json={"id": "dom-boutique"})
    assert (taken.status_code, taken.json()) == (400, {"id": ["Application with this id already exists."]})
    deeper = {"domain": "www.dom-mall.apps.test", "ptype": "web"}
    assert (await ana.client.post("/v2/apps/dom-label/domains/", json=deeper)).status_code == 201
    assert (await bo.client.post("/v2/apps/", json={"id": "dom-mall"})).status_code == 400
    assert (await bo.client.post("/v2/apps/", json={"id": "mall"})).status_code == 201
    own = {"domain": "www.dom-label.apps.test", "ptype": "web"}
    assert (await ana.client.post("/v2/apps/dom-label/domains/", json=own)).status_code == 201


async def test_an_app_and_a_domain_do_not_get_the_same_host(api: Api, ana: Person, bo: Person) -> None:
    await api.create("dom-dash")
    for number in range(5):
        name = f"dom-dash-{number}"
        answers = await asyncio.gather(
            ana.client.post("/v2/apps/dom-dash/domains/", json={"domain": name, "ptype": "web"}),
            bo.client.post("/v2/apps/", json={"id": name}),
        )
        assert sorted(answer.status_code for answer in answers) == [201, 400]


async def test_who_may_do_what(api: Api, ana: Person, root: Person, staff: Person) -> None:
    await api.create("dom-guarded")
    viewer = await api.grant("dom-guarded", "vic", "view")
    changer = await api.grant("dom-guarded", "cleo", "view,change")
    stranger = await api.person("stan")
    body = {"domain": "x.dom-guarded.org", "ptype": "web"}
    url = "/v2/apps/dom-guarded/domains"
    assert (await api.anonymous.get(url)).status_code == 401
    for method, path in (("GET", url), ("POST", url), ("DELETE", f"{url}/x.dom-guarded.org")):
        response = await stranger.client.request(method, path, json=body if method == "POST" else None)
        assert (response.status_code, response.json()) == (404, NO_APP)
    assert (await viewer.client.get(url)).status_code == 200
    refused = await viewer.client.post(url, json=body)
    assert (refused.status_code, refused.json()) == (403, FORBIDDEN)
    assert (await changer.client.post(url, json=body)).json()["owner"] == "cleo"
    assert (await changer.client.delete(f"{url}/x.dom-guarded.org")).status_code == 403
    for person in (staff, root):
        assert (await person.client.delete(f"{url}/x.dom-guarded.org")).status_code == 204
        assert (await person.client.post(url, json=body)).status_code == 201


async def test_each_change_is_a_generation_and_an_audit_entry(api: Api, ana: Person) -> None:
    await api.create("dom-audit")
    generations = []
    body = {"domain": "ünder.dom-audit.org", "ptype": "web"}
    for call in (
        ana.client.post("/v2/apps/dom-audit/domains/", json=body),
        ana.client.delete("/v2/apps/dom-audit/domains/ünder.dom-audit.org"),
    ):
        assert (await call).is_success
        async with api.context.unit_of_work() as uow:
            generations.append((await AppRepository(uow.session).get("dom-audit")).generation)
    async with api.context.database.session() as session:
        entries = list(
            await session.scalars(
                select(AuditRow)
                .where(AuditRow.app == "dom-audit", AuditRow.action.startswith("domain."))
                .order_by(AuditRow.uuid)
            )
        )
        assert not list(await session.scalars(select(DomainRow).where(DomainRow.domain.endswith("dom-audit.org"))))
    stored = "xn--nder-zra.dom-audit.org"
    assert [(entry.action, entry.actor, entry.target, entry.before, entry.after) for entry in entries] == [
        ("domain.added", "ana", stored, None, {"ptype": "web"}),
        ("domain.removed", "ana", stored, {"ptype": "web", "certificate": None}, None),
    ]
    assert generations == [2, 3]


async def test_an_engine_without_wildcards_says_so(make_database: MakeDatabase) -> None:
    async with running_api(await make_database("controller"), features=frozenset(), run_worker=False) as api:
        await api.create("plain")
        ana = await api.person("ana")
        body = {"domain": "*.example.org", "ptype": "web"}
        refused = await ana.client.post("/v2/apps/plain/domains/", json=body)
        assert (refused.status_code, refused.json()) == (
            400,
            {"detail": "the edge of this platform routes no wildcards: add each host name by itself"},
        )
        assert (
            await ana.client.post("/v2/apps/plain/domains/", json=body | {"domain": "a.example.org"})
        ).status_code == 201


async def test_a_transfer_takes_along_what_the_owner_made(api: Api, ana: Person, bo: Person) -> None:
    """The reference left certificates behind, and did all of it in the background."""
    await api.create("dom-gift")
    cleo = await api.grant("dom-gift", "cleo", "view,change,delete")
    url, pair = "/v2/apps/dom-gift", make_pair("a.dom-gift.org")
    for person, name in ((ana, "a"), (cleo, "c")):
        domain = {"domain": f"{name}.dom-gift.org", "ptype": "web"}
        cert = {"name": f"{name}-cert", "certificate": pair.certificate, "key": pair.key}
        assert (await person.client.post(f"{url}/domains/", json=domain)).status_code == 201
        assert (await person.client.post(f"{url}/certs/", json=cert)).status_code == 201
    assert (await ana.client.post(f"{url}/tls/", json={"https_enforced": True})).status_code == 201
    assert (await ana.client.post(f"{url}/", json={"owner": "bo"})).status_code == 200
    for path in ("domains", "certs"):
        page = (await bo.client.get(f"{url}/{path}/")).json()
        assert [item["owner"] for item in page["results"]] == ["bo", "cleo"]
    for path in ("tls", "settings"):
        assert (await bo.client.get(f"{url}/{path}/")).json()["owner"] == "bo"
    assert (await ana.client.get(f"{url}/domains/")).status_code == 404

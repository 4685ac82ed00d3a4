"""Volumes: made, shown, expanded, mounted, removed."""

from __future__ import annotations

import re
from typing import Any

import pytest
from sqlalchemy import select

from controller.domain.spec_storage import Mount, VolumeSpec
from controller.engine.port import NotSupportedError
from controller.schema.audit import AuditRow
from controller.schema.storage import VolumeRow
from support import eventually
from support.controller_api import Api, Person, running_api
from support.fixtures import MakeDatabase

SIZE = "Volume size limit format: <number><unit> or <number><unit>/<number><unit>, where unit = G, range: 16384G~1G"
LABEL = "Can only contain a-z (lowercase), 0-9 and hyphens"
NAME = "name can only supports: ^(?P<name>[a-z0-9]+(\\-[a-z0-9]+)*)$"
LENGTH = "The length of name must be between 3 and 63"
NO_PARAMETERS = "parameters cannot be empty when the type is not csi."
NO_VOLUME = "No Volume matches the given query."
NO_APP = "No App matches the given query."
NFS = {"nfs": {"server": "nfs.example.org", "path": "/exports"}}
OSS = {"oss": {"bucket": "b", "server": "https://s3.example.org", "access_key": "AK-1", "secret_key": "SK-1"}}


async def make(person: Person, app: str, name: str = "data", **facts: Any) -> dict[str, Any]:
    """A new volume of 5 GiB."""
    response = await person.client.post(f"/v2/apps/{app}/volumes/", json={"name": name, "size": "5G"} | facts)
    assert response.status_code == 201, response.text
    body: dict[str, Any] = response.json()
    return body


async def mount(person: Person, app: str, path: object, name: str = "data") -> Any:
    """Mount or unmount a volume; the response."""
    return await person.client.patch(f"/v2/apps/{app}/volumes/{name}/path/", json={"path": path})


async def told(api: Api, app: str, *volumes: VolumeSpec) -> None:
    """Wait until the engine has been told of exactly these volumes."""

    async def is_told() -> bool:
        spec = api.engine.spec(app)
        return spec is not None and spec.volumes == volumes

    await eventually(is_told)


async def mounted(api: Api, app: str, **mounts: tuple[Mount, ...]) -> None:
    """Wait until the engine has been told of these mounts by process type, and its instances have them."""

    async def is_mounted() -> bool:
        spec = api.engine.spec(app)
        observed = await api.engine.observe(app)
        return (
            spec is not None
            and {process.ptype: process.mounts for process in spec.processes} == mounts
            and all(state.settled for state in observed.ptypes)
        )

    await eventually(is_mounted)


async def test_create_show_list(api: Api, ana: Person) -> None:
    await api.create("vol-a")
    body = await make(ana, "vol-a", "data")
    assert list(body) == [
        "uuid", "app", "owner", "path", "parameters", "created", "updated", "name", "size", "type",
    ]  # fmt: skip
    facts = {key: body[key] for key in ("app", "owner", "path", "parameters", "name", "size", "type")}
    assert facts == {
        "app": "vol-a", "owner": "ana", "path": {}, "parameters": {}, "name": "data", "size": "5G", "type": "csi",
    }  # fmt: skip
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", body["created"])
    assert (await ana.client.get("/v2/apps/vol-a/volumes/data/")).json() == body
    other = await make(ana, "vol-a", "archive", type="nfs", size="20g", parameters=NFS)
    assert (other["size"], other["parameters"]) == ("20G", NFS)
    page = (await ana.client.get("/v2/apps/vol-a/volumes/?limit=1")).json()
    assert (page["count"], [item["name"] for item in page["results"]]) == (2, ["archive"])
    assert page["next"] == "http://drycc.test/v2/apps/vol-a/volumes/?limit=1&offset=1"
    await told(api, "vol-a", VolumeSpec("archive", "nfs", 20, NFS), VolumeSpec("data", "csi", 5))


async def test_a_volume_needs_nothing_but_a_name(api: Api, ana: Person) -> None:
    await api.create("vol-bare")
    created = await ana.client.post("/v2/apps/vol-bare/volumes/", json={"name": "data"})
    assert (created.status_code, created.json()["size"], created.json()["type"]) == (201, "0G", "csi")
    await told(api, "vol-bare", VolumeSpec("data", "csi", None))


@pytest.mark.parametrize(
    ("body", "errors"),
    [
        ({}, {"name": ["This field is required."]}),
        ({"name": ""}, {"name": ["This field may not be blank."]}),
        ({"name": None}, {"name": ["This field may not be null."]}),
        ({"name": "v1"}, {"name": [LENGTH]}),
        ({"name": "a" * 64}, {"name": [LENGTH]}),
        ({"name": "V_1x"}, {"name": [LABEL]}),
        ({"name": "data-"}, {"name": [NAME]}),
        ({"name": "data", "size": "5M"}, {"size": [SIZE]}),
        ({"name": "data", "size": "0G"}, {"size": [SIZE]}),
        ({"name": "data", "size": "99999G"}, {"size": [SIZE]}),
        ({"name": "data", "type": "foo"}, {"type": ['"foo" is not a valid choice.']}),
        ({"name": "data", "type": "nfs"}, {"type": [NO_PARAMETERS]}),
        ({"name": "data", "type": "oss", "parameters": {}}, {"type": [NO_PARAMETERS]}),
        (
            {"name": "data", "type": "nfs", "parameters": {"nfs": {"path": "/"}}},
            {"parameters": ["could not validate {'nfs': {'path': '/'}}: 'server' is a required property"]},
        ),
        (
            {"name": "data", "parameters": []},
            {"parameters": ["could not validate []: [] is not of type 'object'"]},
        ),
        ([], {"non_field_errors": ["Invalid data. Expected a dictionary, but got list."]}),
    ],
)
async def test_bad_volumes(api: Api, ana: Person, body: object, errors: object) -> None:
    if (await ana.client.get("/v2/apps/vol-bad/")).status_code == 404:
        await api.create("vol-bad")
    refused = await ana.client.post("/v2/apps/vol-bad/volumes/", json=body)
    assert (refused.status_code, refused.json()) == (400, errors)
    assert (await ana.client.get("/v2/apps/vol-bad/volumes/")).json()["count"] == 0


async def test_a_name_is_taken_once_per_app(api: Api, ana: Person) -> None:
    await api.create("vol-twice")
    await api.create("vol-once")
    await make(ana, "vol-twice")
    await make(ana, "vol-once")
    again = await ana.client.post("/v2/apps/vol-twice/volumes/", json={"name": "data", "size": "1G"})
    message = "The fields app, name must make a unique set."
    assert (again.status_code, again.json()) == (400, {"non_field_errors": [message]})


async def test_keys_are_sealed_and_shown(api: Api, ana: Person) -> None:
    await api.create("vol-keys")
    assert (await make(ana, "vol-keys", type="oss", parameters=OSS))["parameters"] == OSS
    assert (await ana.client.get("/v2/apps/vol-keys/volumes/data")).json()["parameters"] == OSS
    async with api.context.database.session() as session:
        sealed = (await session.scalars(select(VolumeRow.sealed_parameters))).all()
        trail = (await session.scalars(select(AuditRow).where(AuditRow.app == "vol-keys"))).all()
    assert not any("SK-1" in text for text in sealed)
    entry = next(row for row in trail if row.action == "volume.created")
    assert (entry.actor, entry.target, entry.before) == ("ana", "data", None)
    assert entry.after == {"type": "oss", "size": "5G", "path": {}}


async def test_expand(api: Api, ana: Person) -> None:
    await api.create("vol-grow")
    before = await make(ana, "vol-grow")
    url = "/v2/apps/vol-grow/volumes/data/"
    grown = await ana.client.patch(url, json={"name": "data", "size": "10g"})
    assert (grown.status_code, grown.json()["size"]) == (200, "10G")
    assert grown.json()["uuid"] == before["uuid"]
    await told(api, "vol-grow", VolumeSpec("data", "csi", 10))
    same = await ana.client.patch(url, json={"size": "10G"})
    assert (same.status_code, same.json()) == (200, grown.json())


@pytest.mark.parametrize(
    ("body", "errors"),
    [
        ({"size": "4G"}, {"detail": "Shrink volume is not supported."}),
        ({}, {"size": ["This field is required."]}),
        ({"size": "bad"}, {"size": [SIZE]}),
        ({"size": None}, {"size": ["This field may not be null."]}),
        ({"size": "99999G"}, {"size": [SIZE]}),
    ],
)
async def test_bad_sizes(api: Api, ana: Person, body: object, errors: object) -> None:
    if (await ana.client.get("/v2/apps/vol-small/")).status_code == 404:
        await api.create("vol-small")
        await make(ana, "vol-small")
    refused = await ana.client.patch("/v2/apps/vol-small/volumes/data/", json=body)
    assert (refused.status_code, refused.json()) == (400, errors)


async def test_what_cannot_grow(api: Api, ana: Person) -> None:
    await api.create("vol-nfs")
    await make(ana, "vol-nfs", type="nfs", parameters=NFS)
    refused = await ana.client.patch("/v2/apps/vol-nfs/volumes/data/", json={"size": "10G"})
    assert (refused.status_code, refused.json()) == (400, {"detail": "nfs volume is not support expand."})


async def test_the_engine_may_refuse_to_grow_in_its_own_words(api: Api, ana: Person) -> None:
    await api.create("vol-stuck")
    await make(ana, "vol-stuck")
    words = "only dynamically provisioned pvc can be resized"
    api.engine.refuse_volumes(NotSupportedError(words))
    try:
        refused = await ana.client.patch("/v2/apps/vol-stuck/volumes/data/", json={"size": "10G"})
    finally:
        api.engine.refuse_volumes(None)
    assert (refused.status_code, refused.json()) == (400, {"detail": words})
    assert (await ana.client.get("/v2/apps/vol-stuck/volumes/data/")).json()["size"] == "5G"


async def test_the_engine_may_refuse_to_make_one(api: Api, ana: Person) -> None:
    """It was kept, and could never be made."""
    await api.create("vol-never")
    words = "Volume type nfs is not supported."
    api.engine.refuse_volumes(NotSupportedError(words))
    try:
        body = {"name": "data", "type": "nfs", "parameters": NFS}
        refused = await ana.client.post("/v2/apps/vol-never/volumes/", json=body)
    finally:
        api.engine.refuse_volumes(None)
    assert (refused.status_code, refused.json()) == (400, {"detail": words})
    assert (await ana.client.get("/v2/apps/vol-never/volumes/")).json()["count"] == 0


async def test_mount_and_unmount(api: Api, ana: Person) -> None:
    await api.create("vol-mount")
    await api.build("vol-mount")
    before = await make(ana, "vol-mount")
    releases = (await ana.client.get("/v2/apps/vol-mount/releases/")).json()["count"]
    pods = {pod["name"] for pod in (await ana.client.get("/v2/apps/vol-mount/pods/")).json()["results"]}
    answer = await mount(ana, "vol-mount", {"web": "/data/", "worker": "/w"})
    assert (answer.status_code, answer.json()["path"]) == (200, {"web": "/data", "worker": "/w"})
    assert answer.json()["uuid"] == before["uuid"]
    await mounted(api, "vol-mount", web=(Mount("data", "/data"),), worker=(Mount("data", "/w"),))
    after = {pod["name"] for pod in (await ana.client.get("/v2/apps/vol-mount/pods/")).json()["results"]}
    assert not pods & after
    assert (await ana.client.get("/v2/apps/vol-mount/releases/")).json()["count"] == releases
    shown = (await ana.client.get("/v2/apps/vol-mount/ptypes/vol-mount-web/describe/")).json()["results"][0]
    assert shown["volume_mounts"] == [{"name": "data", "mountPath": "/data"}]
    answer = await mount(ana, "vol-mount", {"worker": None})
    assert answer.json()["path"] == {"web": "/data"}
    await mounted(api, "vol-mount", web=(Mount("data", "/data"),), worker=())
    async with api.context.database.session() as session:
        query = select(AuditRow).where(AuditRow.app == "vol-mount", AuditRow.action == "volume.mounted")
        entries = (await session.scalars(query.order_by(AuditRow.uuid))).all()
    facts = {"type": "csi", "size": "5G"}
    assert [(entry.before, entry.after) for entry in entries] == [
        ({**facts, "path": {}}, {**facts, "path": {"web": "/data", "worker": "/w"}}),
        ({**facts, "path": {"web": "/data", "worker": "/w"}}, {**facts, "path": {"web": "/data"}}),
    ]


async def test_bad_mounts(api: Api, ana: Person) -> None:
    await api.create("vol-where")
    await api.build("vol-where")
    await make(ana, "vol-where")
    await make(ana, "vol-where", "logs")
    assert (await mount(ana, "vol-where", {"web": "/data"})).status_code == 200
    missing = await ana.client.patch("/v2/apps/vol-where/volumes/data/path/")
    assert (missing.status_code, missing.json()) == (400, {"detail": "path is a required field"})
    for path, name, errors in (
        (None, "data", {"detail": "path is a required field"}),
        (["/data"], "data", {"path": ["Expected a dictionary, but got list."]}),
        ({"web": "/data/"}, "data", {"detail": "mount path not changed"}),
        ({"web": "data"}, "data", ["Volume path format: /path"]),
        ({"nope": "/data"}, "data", {"detail": "process type nope is not included in procfile"}),
        ({"web": "/data"}, "logs", {"detail": "path /data is used by another volume"}),
    ):
        refused = await mount(ana, "vol-where", path, name)
        assert (refused.status_code, refused.json()) == (400, errors), path
    assert (await mount(ana, "vol-where", {"web": "/data"}, "none")).json() == NO_VOLUME
    assert (await mount(ana, "vol-where", {"worker": None})).json()["path"] == {"web": "/data"}


async def test_delete(api: Api, ana: Person) -> None:
    await api.create("vol-gone")
    await api.build("vol-gone")
    await make(ana, "vol-gone")
    url = "/v2/apps/vol-gone/volumes/data/"
    await mount(ana, "vol-gone", {"web": "/data"})
    refused = await ana.client.delete(url)
    assert (refused.status_code, refused.json()) == (400, {"detail": "this volume is mounting"})
    await mount(ana, "vol-gone", {"web": None})
    deleted = await ana.client.delete(url)
    assert (deleted.status_code, deleted.content) == (204, b"")
    await told(api, "vol-gone")
    for response in (await ana.client.get(url), await ana.client.delete(url), await ana.client.patch(url, json={})):
        assert (response.status_code, response.json()) == (404, NO_VOLUME)


async def test_one_offs_have_the_volumes_of_run(api: Api, ana: Person) -> None:
    await api.create("vol-run")
    await api.build("vol-run")
    await make(ana, "vol-run")
    await make(ana, "vol-run", "logs")
    assert (await mount(ana, "vol-run", {"run": "/data"})).status_code == 200
    for volumes, mounts in (
        ({}, (Mount("data", "/data"),)),
        ({"logs": "/logs", "data": "/mnt/"}, (Mount("data", "/mnt"), Mount("logs", "/logs"))),
    ):
        response = await ana.client.post("/v2/apps/vol-run/run/", json={"command": "ls", "volumes": volumes})
        assert response.status_code == 204, response.text
        name = response.headers["X-Workflow-Job"]

        async def is_started(name: str = name, mounts: tuple[Mount, ...] = mounts) -> bool:
            job = api.engine.job_spec("vol-run", name)
            return job is not None and job.process.mounts == mounts

        await eventually(is_started)
    for volumes, errors in (
        ({"v1": "/data"}, ["The length of ptype must be between 3 and 63"]),
        ({"data": "data"}, ["Volume path format: /path"]),
        ({"none": "/data"}, {"detail": "volume none is not one of this app, which has: data, logs"}),
    ):
        refused = await ana.client.post("/v2/apps/vol-run/run/", json={"command": "ls", "volumes": volumes})
        assert (refused.status_code, refused.json()) == (400, errors)


async def test_the_app_rule_applies_to_each_of_them(api: Api, ana: Person, bo: Person) -> None:
    await api.create("vol-mine")
    await make(ana, "vol-mine")
    url = "/v2/apps/vol-mine/volumes/data/"
    for response in (
        await bo.client.get(url),
        await bo.client.patch(url, json={"size": "10G"}),
        await bo.client.delete(url),
        await mount(bo, "vol-mine", {"web": "/x"}),
        await bo.client.get(f"{url}client/"),
    ):
        assert (response.status_code, response.json()) == (404, NO_APP)
    viewer = await api.grant("vol-mine", "vol-viewer", "view")
    assert (await viewer.client.get(url)).status_code == 200
    assert (await viewer.client.patch(url, json={"size": "10G"})).status_code == 403
    assert (await viewer.client.delete(url)).status_code == 403


async def test_a_new_owner_owns_the_volumes(api: Api, ana: Person, bo: Person) -> None:
    await api.create("vol-moved")
    await make(ana, "vol-moved")
    assert (await ana.client.post("/v2/apps/vol-moved/", json={"owner": bo.name})).status_code == 200
    assert (await bo.client.get("/v2/apps/vol-moved/volumes/data/")).json()["owner"] == "bo"


async def test_an_engine_without_volumes(make_database: MakeDatabase) -> None:
    async with running_api(await make_database("controller"), features=frozenset()) as api:
        await api.create("shop")
        ana = await api.person("ana")
        refused = await ana.client.post("/v2/apps/shop/volumes/", json={"name": "data", "size": "5G"})
        message = "this engine has no volumes: keep data in a database or an object store"
        assert (refused.status_code, refused.json()) == (400, {"detail": message})
        assert (await ana.client.get("/v2/apps/shop/volumes/")).json()["results"] == []


async def test_the_operator_says_how_large(make_database: MakeDatabase) -> None:
    url = await make_database("controller")
    async with running_api(url, min_volume_gib=5, max_volume_gib=10) as api:
        await api.create("shop")
        ana = await api.person("ana")
        await make(ana, "shop")
        refused = await ana.client.post("/v2/apps/shop/volumes/", json={"name": "more", "size": "11G"})
        assert refused.json()["size"][0].endswith("where unit = G, range: 10G~5G")

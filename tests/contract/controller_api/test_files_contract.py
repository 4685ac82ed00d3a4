"""The files in a volume: listed, downloaded, uploaded, removed, never outside of it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote_plus

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import select

from controller.domain.spec import AppSpec
from controller.domain.spec_storage import VolumeSpec
from controller.schema.audit import AuditRow
from support import eventually
from support.controller_api import Api, Person, running_api
from support.fixtures import MakeDatabase

APP = "files"
URL = f"/v2/apps/{APP}/volumes/data/client"
MISSING = "Missing {0}. Request should include a Content-Disposition header with a {0} parameter."


@pytest_asyncio.fixture(scope="module", loop_scope="session", autouse=True)
async def _volume(api: Api) -> None:
    await api.create(APP)
    await make_volume(api, APP)


async def make_volume(api: Api, app: str) -> None:
    """A volume called data."""
    person = await api.person("ana")
    created = await person.client.post(f"/v2/apps/{app}/volumes/", json={"name": "data", "size": "5G"})
    assert created.status_code == 201, created.text


def disposition(name: str, directory: str) -> str:
    """The header as clients write it."""
    return f"attachment;filename*=utf-8''{quote_plus(name)};filepath*=utf-8''{quote_plus(directory)}"


async def upload(person: Person, name: str, directory: str, content: Any = b"hello", **headers: str) -> httpx.Response:
    """Send a file; keyword arguments replace headers."""
    given = {"Content-Type": "filer/octet-stream", "Content-Disposition": disposition(name, directory)}
    given |= {key.replace("_", "-"): value for key, value in headers.items()}
    return await person.client.post(f"{URL}/", content=content, headers=given)


async def listing(person: Person, path: str) -> list[tuple[str, str, str, str]]:
    """Name, path, size and type of what is at a path."""
    body = (await person.client.get(f"{URL}/", params={"path": path})).json()
    assert body["count"] == len(body["results"])
    return [(entry["name"], entry["path"], entry["size"], entry["type"]) for entry in body["results"]]


async def test_up_and_down(ana: Person) -> None:
    # The name is the whole local path, as clients send it.
    uploaded = await upload(ana, "dd/sub/a b+é.txt", "up/dir", b"x" * 12)
    assert (uploaded.status_code, uploaded.json()) == (200, "up/dir/a b+é.txt")
    assert await listing(ana, "up") == [("dir", "up/dir", "0", "dir")]
    assert await listing(ana, "up/dir/") == [("a b+é.txt", "up/dir/a b+é.txt", "12", "file")]
    assert await listing(ana, "up/dir/a b+é.txt") == [("a b+é.txt", "up/dir/a b+é.txt", "12", "file")]
    down = await ana.client.get(f"{URL}/up/dir/a b+é.txt")
    assert (down.status_code, down.content, down.headers["Content-Length"]) == (200, b"x" * 12, "12")
    assert down.headers["Content-Type"] == "application/octet-stream"
    assert down.headers["DRYCC_API_VERSION"] == "2.3"
    head = await ana.client.head(f"{URL}/up/dir/a b+é.txt")
    assert (head.status_code, head.content, head.headers["Content-Length"]) == (200, b"", "12")


async def test_entries_are_texts(ana: Person) -> None:
    await upload(ana, "f.txt", "texts", b"")
    body = (await ana.client.get(f"{URL}/?path=texts&limit=3000")).json()
    entry = body["results"][0]
    assert list(entry) == ["name", "path", "size", "type", "timestamp"]
    assert all(isinstance(value, str) for value in entry.values())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", entry["timestamp"])
    assert (await ana.client.get(f"{URL}/texts/f.txt")).content == b""


async def test_replace_and_remove(ana: Person) -> None:
    await upload(ana, "f.txt", "gone", b"one")
    await upload(ana, "f.txt", "/gone/", b"three")
    assert (await ana.client.get(f"{URL}/gone/f.txt")).content == b"three"
    removed = await ana.client.delete(f"{URL}/gone/f.txt")
    assert (removed.status_code, removed.content) == (200, b"")
    assert await listing(ana, "gone") == []
    await upload(ana, "deep.txt", "gone/a/b")
    assert (await ana.client.delete(f"{URL}/gone")).status_code == 200
    for response in (
        await ana.client.get(f"{URL}/", params={"path": "gone/a"}),
        await ana.client.get(f"{URL}/gone/a/b/deep.txt"),
        await ana.client.delete(f"{URL}/gone"),
    ):
        assert response.status_code == 404
        assert isinstance(response.json(), str)


@pytest.mark.parametrize("root", ["", "/", "//", "."])
async def test_the_root(ana: Person, root: str) -> None:
    await upload(ana, "root.txt", root)
    assert ("root.txt", "root.txt", "5", "file") in await listing(ana, root)


async def test_slashes_and_escapes_in_paths(ana: Person) -> None:
    await upload(ana, "f.txt", "one/two", b"found")
    for path in ("one/two/f.txt", "one//two///f.txt", "/one/two/f.txt", "one%2Ftwo%2Ff.txt", "one/./two/f.txt/"):
        response = await ana.client.get(f"{URL}/{path}")
        assert (response.status_code, response.content) == (200, b"found"), path
    for url in (
        f"/v2//apps/{APP}//volumes/data/client//one/two/f.txt",
        f"//v2/apps/{APP}/volumes/data/client/one/two/f.txt",
    ):
        assert (await ana.client.get(f"http://drycc.test{url}")).content == b"found"
    for url in (URL, f"{URL}/", f"{URL}//"):
        assert (await ana.client.get(url)).json()["count"] >= 1
    # A file may be called like an escape sequence: it is decoded once.
    await upload(ana, "%2e%2e", "odd", b"dots")
    assert (await ana.client.get(f"{URL}/odd/%252e%252e")).content == b"dots"


@pytest.mark.parametrize(
    "path", ["%2e%2e/etc/passwd", "a/%2e%2e/%2e%2e/b", "..%2Fx", "%2F%2e%2e%2Fx", "a/%2e%2e", "x%00y", "n" * 256]
)
async def test_paths_never_leave_the_volume(ana: Person, path: str) -> None:
    for response in (
        await ana.client.get(httpx.URL(f"http://drycc.test{URL}/{path}")),
        await ana.client.delete(httpx.URL(f"http://drycc.test{URL}/{path}")),
        await ana.client.get(httpx.URL(f"http://drycc.test{URL}/?path={path}")),
    ):
        assert response.status_code == 400
        assert response.json().startswith(("a path cannot", "a name in a path cannot"))


@pytest.mark.parametrize("directory", ["../up", "a/../../b", "x\0y"])
async def test_uploads_never_leave_the_volume(ana: Person, directory: str) -> None:
    refused = await upload(ana, "f.txt", directory)
    assert refused.status_code == 400
    assert refused.json().startswith("a path cannot")


async def test_bad_uploads(ana: Person) -> None:
    for given, parameter in (
        ("attachment", "filename"),
        ("attachment;filepath*=utf-8''dir", "filename"),
        (disposition("dir/", "dir"), "filename"),
        (disposition("..", "dir"), "filename"),
        ("attachment;filename*=utf-8''f.txt", "filepath"),
    ):
        refused = await upload(ana, "", "", Content_Disposition=given)
        assert (refused.status_code, refused.json()) == (400, {"detail": MISSING.format(parameter)})
    refused = await upload(ana, "", "", Content_Disposition="attachment;filename*=utf-8''%ff;filepath*=utf-8''a")
    assert (refused.status_code, refused.json()) == (400, "the filename in Content-Disposition must be UTF-8")
    refused = await upload(ana, "f.txt", "", Content_Type="application/json")
    message = 'Unsupported media type "application/json" in request.'
    assert (refused.status_code, refused.json()) == (415, {"detail": message})


async def test_plain_parameters_do_too(ana: Person) -> None:
    header = 'attachment; filename="a;b.txt"; filepath=plain'
    assert (await upload(ana, "", "", Content_Disposition=header)).json() == "plain/a;b.txt"


async def test_files_and_directories_are_no_substitutes(ana: Person) -> None:
    await upload(ana, "f.txt", "kinds/dir")
    for response in (
        await ana.client.get(f"{URL}/kinds/dir"),
        await upload(ana, "dir", "kinds"),
        await upload(ana, "x", "kinds/dir/f.txt"),
        await ana.client.delete(f"{URL}/%2e"),
    ):
        assert response.status_code == 400
        assert isinstance(response.json(), str)
    assert await listing(ana, "kinds/dir") == [("f.txt", "kinds/dir/f.txt", "5", "file")]


async def test_large_content(ana: Person) -> None:
    async def large() -> AsyncIterator[bytes]:
        for number in range(5):
            yield bytes([number]) * 1024 * 1024

    assert (await upload(ana, "big", "stream", large())).status_code == 200
    down = await ana.client.get(f"{URL}/stream/big")
    assert down.headers["Content-Length"] == str(5 * 1024 * 1024)
    assert down.content[-1:] == b"\x04"


async def test_new_content_is_there_at_once_or_not_at_all(make_database: MakeDatabase) -> None:
    async with running_api(await make_database("controller"), served=True) as api:
        await api.create(APP)
        await make_volume(api, APP)
        ana = await api.person("ana")
        await upload(ana, "f.txt", "", b"old")
        assert api.address is not None
        reader, writer = await asyncio.open_connection(api.address.host, api.address.port)
        headers = {
            "Host": "drycc.test",
            "Authorization": f"token {ana.token}",
            "Content-Type": "filer/octet-stream",
            "Content-Disposition": disposition("f.txt", ""),
            "Content-Length": "6",
            "Expect": "100-continue",
        }
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        writer.write(f"POST {URL}/ HTTP/1.1\r\n{lines}\r\n".encode())
        assert b"100" in await reader.readline()  # the handler has asked for the content
        writer.write(b"new")
        await writer.drain()
        assert (await ana.client.get(f"{URL}/f.txt")).content == b"old"
        writer.close()
        await writer.wait_closed()
        assert (await ana.client.get(f"{URL}/f.txt")).content == b"old"
        assert (await upload(ana, "f.txt", "", b"newer")).status_code == 200
        assert (await ana.client.get(f"{URL}/f.txt")).content == b"newer"


async def test_who_may(api: Api, ana: Person, bo: Person) -> None:
    await upload(ana, "f.txt", "rights")
    viewer, changer = await api.grant(APP, "files-viewer", "view"), await api.grant(APP, "files-changer", "change")
    deleter = await api.grant(APP, "files-deleter", "delete")
    file = f"{URL}/rights/f.txt"
    assert [(await person.client.get(file)).status_code for person in (bo, viewer, changer)] == [404, 200, 403]
    assert [(await upload(person, "f", "rights")).status_code for person in (bo, viewer, changer)] == [404, 403, 200]
    found = [(await person.client.delete(file)).status_code for person in (bo, viewer, changer, deleter)]
    assert found == [404, 403, 403, 200]


async def test_changes_leave_a_trace(api: Api, ana: Person) -> None:
    await upload(ana, "f.txt", "trace", b"content of the file")
    await ana.client.delete(f"{URL}/trace/f.txt")
    async with api.context.database.session() as session:
        query = select(AuditRow).where(AuditRow.app == APP, AuditRow.target == "data:trace/f.txt")
        entries = (await session.scalars(query.order_by(AuditRow.uuid))).all()
    assert [(entry.action, entry.actor) for entry in entries] == [
        ("volume.file_written", "ana"),
        ("volume.file_deleted", "ana"),
    ]


async def test_unknown_volumes(ana: Person) -> None:
    for method in ("GET", "POST"):
        response = await ana.client.request(method, f"/v2/apps/{APP}/volumes/none/client/")
        assert (response.status_code, response.json()) == (404, "No Volume matches the given query.")


async def test_a_volume_that_is_being_made_is_waited_for(make_database: MakeDatabase) -> None:
    async with running_api(await make_database("controller"), run_worker=False) as api:
        await api.create(APP)
        await make_volume(api, APP)
        ana = await api.person("ana")
        waiting = asyncio.create_task(ana.client.get(f"{URL}/"))
        await asyncio.sleep(0)
        await api.engine.apply(AppSpec(APP, volumes=(VolumeSpec("data", "csi", 5),)))
        response = await waiting
        assert (response.status_code, response.json()) == (200, {"results": [], "count": 0})


async def test_files_go_with_their_volume(api: Api, ana: Person) -> None:
    await api.create("files-gone")
    await make_volume(api, "files-gone")
    url = "/v2/apps/files-gone/volumes/data/client/"
    headers = {"Content-Type": "filer/octet-stream", "Content-Disposition": disposition("f.txt", "")}
    assert (await ana.client.post(url, content=b"1", headers=headers)).status_code == 200
    assert (await ana.client.delete("/v2/apps/files-gone/volumes/data/")).status_code == 204

    async def is_gone() -> bool:
        spec = api.engine.spec("files-gone")
        return spec is not None and not spec.volumes

    await eventually(is_gone)
    await make_volume(api, "files-gone")
    assert (await ana.client.get(url)).json()["count"] == 0


async def test_the_operator_says_how_large(make_database: MakeDatabase) -> None:
    async with running_api(await make_database("controller"), max_upload_bytes=10) as api:
        await api.create(APP)
        await make_volume(api, APP)
        ana = await api.person("ana")
        assert (await upload(ana, "f", "", b"x" * 10)).status_code == 200

        async def unannounced() -> AsyncIterator[bytes]:
            yield b"x" * 6
            yield b"x" * 6

        for content in (b"x" * 11, unannounced()):
            refused = await upload(ana, "g", "", content)
            assert (refused.status_code, refused.json()) == (413, {"detail": "the file is larger than 10 bytes"})
        assert [entry[0] for entry in await listing(ana, "")] == ["f"]

"""Source archives in a directory and on S3: complete or not there, whatever happens to the stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from builder.domain.errors import ArchiveNotFoundError, ArchiveTooLargeError
from builder.storage.archives import READ_BYTES
from integration.builder_storage.places import (
    A_FEW_PARTS,
    SHA,
    UNLIMITED,
    Place,
    pieces,
    pieces_until,
    random_bytes,
    whole,
)
from support.s3_server import BUILD_SECONDS

pytestmark = pytest.mark.timeout(BUILD_SECONDS)


@pytest.mark.parametrize("size", [1, A_FEW_PARTS])
async def test_what_was_stored_is_read_back(place: Place, size: int) -> None:
    content, build = random_bytes(size), uuid4()

    stored = await place.archives.put("shop", build, SHA, pieces(content), max_bytes=size)

    assert stored.key == f"source/shop/{build}-{SHA}.tar.gz"
    assert stored.size == size
    assert place.stored() == [stored.key]
    assert (await place.archives.open(stored.key)).size == size
    assert await whole(place.archives, stored.key) == content


@pytest.mark.parametrize("offset", [1, READ_BYTES, A_FEW_PARTS - 1, A_FEW_PARTS, A_FEW_PARTS + 1])
async def test_reading_goes_on_where_it_broke_off(place: Place, offset: int) -> None:
    content = random_bytes(A_FEW_PARTS)
    stored = await place.archives.put("shop", uuid4(), SHA, pieces(content), max_bytes=UNLIMITED)
    assert await whole(place.archives, stored.key, offset=offset) == content[offset:]


async def test_storing_again_replaces(place: Place) -> None:
    build = uuid4()
    for content in (b"first", b"second"):
        stored = await place.archives.put("shop", build, SHA, pieces(content), max_bytes=10)
        assert await whole(place.archives, stored.key) == content
    assert place.stored() == [stored.key]


async def test_several_are_stored_at_the_same_time(place: Place) -> None:
    contents = [random_bytes(A_FEW_PARTS) for _ in range(4)]
    stored = await asyncio.gather(
        *(place.archives.put("shop", uuid4(), SHA, pieces(each), max_bytes=UNLIMITED) for each in contents)
    )
    assert [await whole(place.archives, each.key) for each in stored] == contents


class BrokenError(Exception):
    """What happens to a stream."""


async def _breaking(content: bytes) -> AsyncIterator[bytes]:
    async for piece in pieces(content):
        yield piece
    raise BrokenError


async def test_a_broken_stream_leaves_nothing(place: Place) -> None:
    with pytest.raises(BrokenError):
        await place.archives.put("shop", uuid4(), SHA, _breaking(random_bytes(A_FEW_PARTS)), max_bytes=UNLIMITED)
    assert (place.stored(), place.unfinished()) == ([], [])


async def test_a_broken_stream_leaves_the_earlier_archive(place: Place) -> None:
    build = uuid4()
    stored = await place.archives.put("shop", build, SHA, pieces(b"whole"), max_bytes=10)
    with pytest.raises(BrokenError):
        await place.archives.put("shop", build, SHA, _breaking(random_bytes(A_FEW_PARTS)), max_bytes=UNLIMITED)
    assert await whole(place.archives, stored.key) == b"whole"


async def test_a_cancelled_upload_leaves_nothing(place: Place) -> None:
    sent = asyncio.Event()
    stream = pieces_until(random_bytes(A_FEW_PARTS), sent.set)
    storing = asyncio.create_task(place.archives.put("shop", uuid4(), SHA, stream, max_bytes=UNLIMITED))
    await sent.wait()
    assert place.unfinished()
    storing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await storing
    assert (place.stored(), place.unfinished()) == ([], [])


async def test_too_much_leaves_nothing(place: Place) -> None:
    with pytest.raises(ArchiveTooLargeError, match="larger than 1 MiB"):
        await place.archives.put("shop", uuid4(), SHA, pieces(random_bytes(A_FEW_PARTS)), max_bytes=1024 * 1024)
    assert (place.stored(), place.unfinished()) == ([], [])


async def test_apps_are_listed_and_removed_by_themselves(place: Place) -> None:
    builds = [uuid4() for _ in range(3)]
    for app, build in (("shop", builds[0]), ("shop", builds[1]), ("shop-2", builds[2])):
        await place.archives.put(app, build, SHA, pieces(b"content"), max_bytes=10)

    listed = await place.archives.list("shop")
    assert {each.build_id for each in listed} == set(builds[:2])
    assert {(each.sha, each.size) for each in listed} == {(SHA, 7)}

    assert await place.archives.remove_app("shop") == 2
    assert await place.archives.list("shop") == []
    assert [each.build_id for each in await place.archives.list("shop-2")] == [builds[2]]
    assert await place.archives.remove_app("shop") == 0


async def test_removing_what_is_gone_is_fine(place: Place) -> None:
    stored = await place.archives.put("shop", uuid4(), SHA, pieces(b"content"), max_bytes=10)
    await place.archives.remove(stored.key)
    await place.archives.remove(stored.key)
    with pytest.raises(ArchiveNotFoundError, match="there is no source archive"):
        await place.archives.open(stored.key)
    assert place.stored() == []


async def test_an_archive_may_be_removed_while_it_is_read(place: Place) -> None:
    stored = await place.archives.put("shop", uuid4(), SHA, pieces(random_bytes(A_FEW_PARTS)), max_bytes=UNLIMITED)
    reader = aiter(await place.archives.open(stored.key))
    await anext(reader)
    await place.archives.remove(stored.key)
    with pytest.raises(ArchiveNotFoundError):
        await anext(reader)


async def test_two_archives_are_never_mixed_by_a_reader(place: Place) -> None:
    build = uuid4()
    stored = await place.archives.put("shop", build, SHA, pieces(random_bytes(A_FEW_PARTS)), max_bytes=UNLIMITED)
    reader = aiter(await place.archives.open(stored.key))
    await anext(reader)
    await place.archives.put("shop", build, SHA, pieces(random_bytes(A_FEW_PARTS)), max_bytes=UNLIMITED)
    with pytest.raises(ArchiveNotFoundError):
        await anext(reader)


@pytest.mark.parametrize("app", ["", "..", "../x", "a/b", "Shop"])
async def test_no_app_reaches_outside_of_its_folder(place: Place, app: str) -> None:
    with pytest.raises(ValueError, match="not the name of an app"):
        await place.archives.put(app, uuid4(), SHA, pieces(b"x"), max_bytes=10)
    with pytest.raises(ValueError, match="not the name of an app"):
        await place.archives.remove_app(app)
    with pytest.raises(ValueError, match="not the key of a source archive"):
        await place.archives.remove(f"source/{app}/x")


async def test_weakness_13_an_archive_is_named_by_the_complete_commit(place: Place) -> None:
    with pytest.raises(ValueError, match="not a complete commit id"):
        await place.archives.put("shop", uuid4(), SHA[:8], pieces(b"x"), max_bytes=10)


async def test_storage_that_works_passes_the_check(place: Place) -> None:
    await place.archives.check()

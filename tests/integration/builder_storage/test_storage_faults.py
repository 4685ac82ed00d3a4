"""Storage that is away, killed, full, silent or of another opinion. Errors tell why, and no secret."""

from __future__ import annotations

import asyncio
import os
import subprocess
import threading
import traceback
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from builder.domain.errors import StorageUnavailableError
from builder.storage.archives import Archives
from builder.storage.config import StorageConfig
from integration.builder_storage.places import (
    A_FEW_PARTS,
    BUCKET,
    SHA,
    UNLIMITED,
    in_directory,
    on_s3,
    pieces,
    pieces_until,
    random_bytes,
    s3_config,
    whole,
)
from support.certificates import make_pair
from support.s3_server import ACCESS_KEY, BUILD_SECONDS, SECRET_KEY, S3Server, running_s3
from support.tcp_proxy import TcpProxy
from support.tools import free_port, require_root, require_tool

pytestmark = pytest.mark.timeout(BUILD_SECONDS)
KEY = f"source/shop/{uuid4()}-{SHA}.tar.gz"


async def _each_failure(archives: Archives) -> list[StorageUnavailableError]:
    """What every operation says."""
    told = []
    for doing in (
        archives.check(),
        archives.put("shop", uuid4(), SHA, pieces(b"content"), max_bytes=10),
        archives.open(KEY),
        archives.list("shop"),
        archives.remove(KEY),
        archives.remove_app("shop"),
    ):
        with pytest.raises(StorageUnavailableError) as caught:
            await doing
        told.append(caught.value)
    return told


def _everything_told(errors: list[StorageUnavailableError]) -> str:
    return "\n".join("".join(traceback.format_exception(each)) + repr(each.facts) for each in errors)


async def test_a_server_that_is_away(tmp_path: Path) -> None:
    endpoint = f"http://127.0.0.1:{free_port()}"
    errors = await _each_failure(Archives(s3_config(endpoint)))
    assert {each.words for each in errors} == {"Connection refused"}
    assert all(each.detail.endswith(f"(storage s3://{BUCKET}/builds at {endpoint})") for each in errors)


async def test_an_upload_waits_for_a_server_that_comes_back(own_s3: S3Server) -> None:
    place, content = on_s3(own_s3, patience=timedelta(seconds=60)), random_bytes(A_FEW_PARTS)
    own_s3.kill()
    threading.Timer(1, own_s3.start).start()
    stored = await place.archives.put("shop", uuid4(), SHA, pieces(content), max_bytes=UNLIMITED)
    assert await whole(place.archives, stored.key) == content


async def test_an_upload_outlives_a_server_that_is_killed_and_comes_back(own_s3: S3Server) -> None:
    place, content = on_s3(own_s3, patience=timedelta(seconds=60)), random_bytes(2 * A_FEW_PARTS)

    async def interrupted() -> AsyncIterator[bytes]:
        async for piece in pieces(content[:A_FEW_PARTS]):
            yield piece
        own_s3.kill()
        threading.Timer(1, own_s3.start).start()
        async for piece in pieces(content[A_FEW_PARTS:]):
            yield piece

    stored = await place.archives.put("shop", uuid4(), SHA, interrupted(), max_bytes=UNLIMITED)
    assert await whole(place.archives, stored.key) == content


async def test_a_server_killed_in_the_middle_of_an_upload(own_s3: S3Server) -> None:
    place, content = on_s3(own_s3), random_bytes(2 * A_FEW_PARTS)

    async def interrupted() -> AsyncIterator[bytes]:
        async for piece in pieces(content[:A_FEW_PARTS]):
            yield piece
        own_s3.kill()
        async for piece in pieces(content[A_FEW_PARTS:]):
            yield piece

    with pytest.raises(StorageUnavailableError, match=r"Connection refused|reset"):
        await place.archives.put("shop", uuid4(), SHA, interrupted(), max_bytes=UNLIMITED)
    own_s3.start()
    assert await place.archives.list("shop") == []
    assert place.stored() == []


async def test_a_cancelled_upload_does_not_wait_long_for_a_server_that_is_away(own_s3: S3Server) -> None:
    place, sent = on_s3(own_s3), asyncio.Event()
    stream = pieces_until(random_bytes(A_FEW_PARTS), sent.set)
    storing = asyncio.create_task(place.archives.put("shop", uuid4(), SHA, stream, max_bytes=UNLIMITED))
    await sent.wait()
    own_s3.kill()
    storing.cancel()
    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(30):
            await storing
    own_s3.start()
    assert await place.archives.list("shop") == []


async def test_reading_outlives_a_server_that_is_killed_and_comes_back(own_s3: S3Server) -> None:
    place, content = on_s3(own_s3, patience=timedelta(seconds=60)), random_bytes(A_FEW_PARTS)
    stored = await place.archives.put("shop", uuid4(), SHA, pieces(content), max_bytes=UNLIMITED)
    reader = aiter(await place.archives.open(stored.key))
    read = [await anext(reader)]
    own_s3.kill()
    threading.Timer(1, own_s3.start).start()
    read += [data async for data in reader]
    assert b"".join(read) == content


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"secret_key": SECRET_KEY[::-1]}, "SignatureDoesNotMatch"),
        ({"access_key": "somebody-else"}, "XAdminUserNotFound"),
    ],
)
async def test_wrong_credentials_are_told_without_them(s3_server: S3Server, wrong: dict[str, str], words: str) -> None:
    place = on_s3(s3_server, **wrong)
    errors = await _each_failure(place.archives)
    told = _everything_told(errors)
    assert all(words in each.words for each in errors)
    for secret in (SECRET_KEY, SECRET_KEY[::-1], ACCESS_KEY, "somebody-else", "AWS4-HMAC", "Signature="):
        assert secret not in told
    assert place.stored() == []


async def test_the_provider_s_own_credentials_are_taken(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    await on_s3(s3_server, access_key=None, secret_key=None).archives.check()


async def test_a_bucket_that_is_not_there(s3_server: S3Server) -> None:
    errors = await _each_failure(Archives(s3_config(s3_server.endpoint, bucket="elsewhere")))
    assert {each.words for each in errors} == {"it answered 404 NoSuchBucket: The specified bucket does not exist."}


async def test_a_silent_server_is_given_up(s3_server: S3Server) -> None:
    proxy = TcpProxy("127.0.0.1", s3_server.port)
    await proxy.open()
    proxy.hold()
    config = s3_config(
        f"http://127.0.0.1:{proxy.port}",
        request_timeout=timedelta(seconds=0.5),
        patience=timedelta(seconds=1),
    )
    try:
        async with asyncio.timeout(60):
            errors = await _each_failure(Archives(config))
        assert {each.words for each in errors} == {"it did not answer in time"}
    finally:
        proxy.release()
        await proxy.cut()


async def test_a_broken_line_is_mended(s3_server: S3Server) -> None:
    proxy = TcpProxy("127.0.0.1", s3_server.port)
    await proxy.open()
    archives = Archives(s3_config(f"http://127.0.0.1:{proxy.port}", patience=timedelta(seconds=60)))
    content = random_bytes(2 * A_FEW_PARTS)
    try:

        async def interrupted() -> AsyncIterator[bytes]:
            async for piece in pieces(content[:A_FEW_PARTS]):
                yield piece
            await proxy.cut()
            await proxy.open()
            async for piece in pieces(content[A_FEW_PARTS:]):
                yield piece

        stored = await archives.put("shop", uuid4(), SHA, interrupted(), max_bytes=UNLIMITED)
        assert await whole(archives, stored.key) == content
        await archives.remove(stored.key)
    finally:
        await proxy.cut()


async def test_a_certificate_of_an_own_authority(tmp_path: Path) -> None:
    pair = make_pair("localhost")
    with running_s3(tmp_path / "s3", BUCKET, pair=pair) as server:
        endpoint = f"https://localhost:{server.port}"
        trusted = s3_config(endpoint, authority=pair.certificate.encode(), region="us-east-1")
        stored = await Archives(trusted).put("shop", uuid4(), SHA, pieces(b"content"), max_bytes=10)
        assert await whole(Archives(trusted), stored.key) == b"content"

        with pytest.raises(StorageUnavailableError, match="its certificate is not trusted"):
            await Archives(s3_config(endpoint, region="us-east-1")).check()


@contextmanager
def _small_disk(directory: Path) -> Iterator[None]:
    require_root()
    directory.mkdir()
    subprocess.run([require_tool("mount"), "-t", "tmpfs", "-o", "size=12m", "tests", directory], check=True)
    try:
        yield
    finally:
        subprocess.run([require_tool("umount"), directory], check=True)


async def test_a_full_disk(tmp_path: Path) -> None:
    with _small_disk(tmp_path / "storage"):
        place = in_directory(tmp_path / "storage")
        with pytest.raises(StorageUnavailableError, match="No space left on device"):
            await place.archives.put("shop", uuid4(), SHA, pieces(random_bytes(A_FEW_PARTS)), max_bytes=UNLIMITED)
        assert (place.stored(), place.unfinished()) == ([], [])
        stored = await place.archives.put("shop", uuid4(), SHA, pieces(b"content"), max_bytes=10)
        assert await whole(place.archives, stored.key) == b"content"


async def test_a_directory_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageUnavailableError, match=r"Not a directory|File exists"):
        Archives(StorageConfig((tmp_path / "file" / "below").as_uri()))


async def test_a_directory_that_went_away(tmp_path: Path) -> None:
    place = in_directory(tmp_path / "storage")
    (tmp_path / "storage").rename(tmp_path / "elsewhere")
    with pytest.raises(StorageUnavailableError, match="No such directory"):
        await place.archives.check()


async def test_what_a_killed_builder_left_goes_with_the_app(tmp_path: Path) -> None:
    place = in_directory(tmp_path / "storage")
    stored = await place.archives.put("shop", uuid4(), SHA, pieces(b"content"), max_bytes=10)
    left = tmp_path / "storage" / f"{stored.key}#1"
    left.write_bytes(os.urandom(10))
    assert len(await place.archives.list("shop")) == 1
    assert await place.archives.remove_app("shop") == 1
    assert not left.parent.exists()

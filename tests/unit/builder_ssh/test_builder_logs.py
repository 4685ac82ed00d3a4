"""Stored logs and their readers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import pytest

from builder.services.logs import BuildLogs


async def read(logs: BuildLogs, build_id: object, *, offset: int = 0, follow: bool = False) -> bytes:
    return b"".join([part async for part in logs.read("shop", build_id, offset=offset, follow=follow)])  # type: ignore[arg-type]


async def test_a_follower_gets_everything_from_its_offset_on(tmp_path: Path) -> None:
    logs = BuildLogs(tmp_path, max_bytes=1000)
    build_id = uuid4()
    log = logs.create("shop", build_id)
    await log.write("one ")
    following = asyncio.create_task(read(logs, build_id, offset=2, follow=True))
    await log.write("two\0 ")
    log.conclude("three")
    logs.finish(build_id)

    assert await following == b"e two three"
    assert await read(logs, build_id) == b"one two three"
    assert await read(logs, build_id, offset=4, follow=True) == b"two three"


async def test_a_log_goes_on_where_an_earlier_process_was(tmp_path: Path) -> None:
    build_id = uuid4()
    first = BuildLogs(tmp_path, max_bytes=20).create("shop", build_id)
    assert first.position == ""
    await first.write("one\n", position="build 1")
    await first.write("two\n")  # and the process is gone
    logs = BuildLogs(tmp_path, max_bytes=20)
    second = logs.create("shop", build_id)
    assert second.position == "build 1"
    await second.write("three\n", position="build 3")
    assert second.position == "build 3"
    await second.write("beyond the limit\n")
    logs.finish(build_id)
    text = (await read(logs, build_id)).decode()
    assert text.startswith("one\ntwo\nthree\n")
    assert "cut off" in text


async def test_lines_that_were_written_and_not_noted_are_there_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_id = uuid4()
    first = BuildLogs(tmp_path, max_bytes=1000).create("shop", build_id)
    first.conclude("our own\n")
    for number in (1, 2, 3):
        with monkeypatch.context() as killed:
            if number != 2:  # killed between the line and its note
                killed.setattr(Path, "replace", _killed_at(1 if number == 1 else 0))
            with suppress(_KilledError):
                await first.write(f"{number}\n", position=f"build {number}")
        if number != 2:
            first = BuildLogs(tmp_path, max_bytes=1000).create("shop", build_id)
            assert first.position == ("" if number == 1 else "build 2")
            first.conclude(f"anew {number}\n")
            if number == 1:
                await first.write("1\n", position="build 1")
    logs = BuildLogs(tmp_path, max_bytes=1000)
    assert await read(logs, build_id) == b"our own\nanew 1\n1\n2\nanew 3\n"


async def test_a_note_of_an_earlier_version_takes_nothing_back(tmp_path: Path) -> None:
    build_id = uuid4()
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / f"{build_id}.log").write_text("one\n")
    note = tmp_path / "shop" / f"{build_id}.position"
    note.write_text("build 1")
    logs = BuildLogs(tmp_path, max_bytes=1000)
    log = logs.create("shop", build_id)
    assert log.position == "build 1"
    await log.write("two\n", position="build 2")
    await logs.forget_position("shop", build_id)
    log.conclude("three\n")
    assert not note.exists()
    logs.finish(build_id)
    await logs.forget_position("shop", build_id)
    assert await read(logs, build_id) == b"one\ntwo\nthree\n"


class _KilledError(Exception):
    """The process ends here."""


def _killed_at(number: int) -> Callable[[Path, Path], Path]:
    """A `Path.replace` that works so many times."""
    left = iter(range(number))

    def replace(path: Path, target: Path) -> Path:
        if next(left, None) is None:
            raise _KilledError
        return path.rename(target)

    return replace


async def test_a_log_that_is_too_long_is_cut_off_but_has_its_last_words(tmp_path: Path) -> None:
    logs = BuildLogs(tmp_path, max_bytes=100)
    build_id = uuid4()
    log = logs.create("shop", build_id)
    for _ in range(50):
        await log.write("0123456789")
    log.conclude("Done")
    logs.finish(build_id)

    text = (await read(logs, build_id)).decode()

    assert text.count("cut off") == 1
    assert text.startswith("0123456789" * 10 + "\n!")
    assert text.endswith("Done")


async def test_there_is_nothing_to_read_where_there_is_no_log(tmp_path: Path) -> None:
    logs = BuildLogs(tmp_path, max_bytes=100)

    assert await read(logs, uuid4(), follow=True) == b""
    await logs.remove("shop")


async def test_a_removed_app_leaves_no_logs(tmp_path: Path) -> None:
    logs = BuildLogs(tmp_path, max_bytes=100)
    await logs.append_line("shop", uuid4(), "x\n")
    await logs.remove("shop")

    assert not (tmp_path / "shop").exists()

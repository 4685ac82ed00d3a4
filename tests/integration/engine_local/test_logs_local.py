"""Output of apps: kept, merged, followed, held back."""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta
from pathlib import Path

import pytest

from shared.errors import NotFoundError
from shared.testing.wait import eventually
from support import local_apps as apps
from support.local_engine import APP, Bench, running_bench

LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z shop\[(web|worker)\.[0-9a-f]{10}\]: .+")


async def test_lines_of_all_instances_are_merged_in_order(bench: Bench) -> None:
    web, worker = bench.process(apps.GOOD), bench.process(apps.WORKER, "worker", replicas=2)
    await bench.apply(web, worker)
    await bench.settled(web)
    await bench.settled(worker)
    lines = (await bench.log()).splitlines()
    assert len(lines) == 3
    assert all(LINE.fullmatch(line) for line in lines)
    assert lines == sorted(lines)
    assert (await bench.log(lines=2)).splitlines() == lines[1:]


async def test_lines_of_one_instance_are_as_it_wrote_them(bench: Bench) -> None:
    spec = bench.process(apps.CRASH, "worker")
    await bench.apply(spec)
    await bench.failed("worker")
    name = (await bench.engine.observe(APP)).instances[0].name
    assert (await bench.log(instance=name, lines=2)) == "about to fail\nTraceback: no such table\n"
    for unknown in ("shop-web-none", "../../etc/passwd"):
        with pytest.raises(NotFoundError):
            await bench.log(instance=unknown)
    with pytest.raises(NotFoundError):
        await bench.log(app="../shop")


async def test_partial_long_and_many_lines(bench: Bench) -> None:
    spec = bench.process(apps.TALKS, "worker")
    await bench.apply(spec)
    name = (await bench.settled(spec)).instances[0].name

    async def ended() -> list[str] | None:
        lines = (await bench.log(instance=name)).splitlines()
        return lines if lines[-1:] == ["the end"] else None

    lines = await eventually(ended)
    assert lines is not None
    assert lines[:2] == ["a partial line", " that goes on"]
    assert "".join(lines[2:-1]) == "y" * 1_000_000
    assert max(map(len, lines)) == 16 * 1024


async def test_following_shows_what_comes_and_ends_with_the_instance(bench: Bench) -> None:
    spec = bench.process(apps.WORKER, "worker")
    await bench.apply(spec)
    name = (await bench.settled(spec)).instances[0].name
    whole, one = _follow(bench, None), _follow(bench, name)
    await eventually(lambda: b"working" in whole.text and b"working" in one.text)
    await bench.engine.write_app_log(APP, "release v3 was made")
    await eventually(lambda: whole.text.endswith(b" shop[controller]: release v3 was made\n"))
    assert whole.text.count(b"working") == 1
    await bench.engine.stop_instance(APP, name)
    await one.task
    assert one.text == b"working as v1\n"
    await eventually(lambda: whole.text.count(b"working as v1") == 2)
    await bench.engine.close()
    await whole.task


class _follow:  # noqa: N801 - reads like the function that it stands for
    def __init__(self, bench: Bench, instance: str | None) -> None:
        self.text = b""
        self.task = asyncio.create_task(self._read(bench, instance))

    async def _read(self, bench: Bench, instance: str | None) -> None:
        async for piece in bench.engine.logs(APP, instance=instance, lines=10, follow=True):
            self.text += piece


async def test_a_flood_is_held_back_and_turned_over(tmp_path: Path) -> None:
    limits = {"log_max_bytes": 200_000, "log_backups": 2, "log_bytes_per_second": 2_000_000}
    async with running_bench(tmp_path, **limits) as bench:
        spec = bench.process(apps.FLOOD, "worker")
        good = bench.process(apps.GOOD)
        await bench.apply(spec, good)
        name = (await bench.settled(spec)).instances[0].name
        directory = bench.config.logs / APP
        await eventually((directory / f"{name}.log.2").exists)
        # The platform goes on with its other work meanwhile.
        await bench.settled(good)
        sizes = [path.stat().st_size for path in directory.glob(f"{name}.log*")]
        assert len(sizes) <= 3
        assert max(sizes) < 300_000
        assert len((await bench.log(instance=name, lines=5)).splitlines()) == 5


async def test_logs_outlive_instances_but_not_all_of_them(tmp_path: Path) -> None:
    async with running_bench(tmp_path, kept_instances=1) as bench:
        names = []
        for number in range(4):
            spec = bench.process(apps.WORKER, "worker", env={"NAME": f"v{number}"}, grace_period=timedelta(0))
            await bench.apply(spec)
            observation = await bench.settled(spec)
            names += [i.name for i in observation.instances if i.fingerprint == spec.fingerprint]
            await eventually(lambda: _alone(bench))
        text = await bench.log()
        assert [f"working as v{number}" in text for number in range(4)] == [False, True, True, True]
        assert not (bench.config.logs / APP / f"{names[0]}.log").exists()


async def _alone(bench: Bench) -> bool:
    return len((await bench.engine.observe(APP)).instances) == 1

"""Which logs stay."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

from builder.services.logs import BuildLogs

IDS = [UUID(int=number) for number in range(6)]


async def test_the_newest_and_the_named_logs_stay_and_notes_only_of_builds_under_way(tmp_path: Path) -> None:
    logs = BuildLogs(tmp_path, max_bytes=1000)
    for build_id in IDS:
        await logs.create("shop", build_id).write("a line\n", position="10")
    for build_id in IDS[:-1]:
        logs.finish(build_id)

    await logs.retain("shop", {IDS[0]}, newest=2, under_way={IDS[2]})

    stay = (IDS[0], IDS[2], IDS[4], IDS[5])
    names = [f"{one}.log" for one in stay] + [f"{one}.position" for one in (IDS[2], IDS[5])]
    assert sorted(path.name for path in (tmp_path / "shop").iterdir()) == sorted(names)
    assert logs.apps() == ["shop"]


async def test_an_app_without_logs_has_none_to_remove(tmp_path: Path) -> None:
    logs = BuildLogs(tmp_path / "nowhere", max_bytes=1000)
    await logs.retain("shop", set(), newest=1, under_way=set())
    assert logs.apps() == []

"""Which workspaces and caches stay, and that an app's name cannot lead elsewhere."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest

from builder.runner.local.disk import usage
from shared.errors import InvalidInputError
from shared.testing.wait import eventually
from support.build_workbench import Workbench, output_of
from support.builds import project

FILES = {"Procfile": "web: python -V", "requirements.txt": ""}


async def test_the_newest_and_the_named_builds_stay_with_their_caches(bench: Workbench) -> None:
    bench.restart(builds_kept=2)
    for number in range(5):
        # The first two builds share one environment, the third has its own, the last two share a third one.
        await bench.push(FILES | {"requirements.txt": f"# {[0, 0, 1, 2, 2][number]}\n"})
    first, *others = bench.build_ids
    assert len(bench.cached("venv")) == 3
    await bench.runner.discard("shop", {first, uuid4()})
    assert sorted(path.name for path in bench.workspaces.iterdir()) == sorted(map(str, (first, *others[-2:])))
    assert len(bench.cached("venv")) == 2
    assert output_of(bench.workspaces / str(first), "python -V").startswith("Python 3.")
    assert output_of(bench.workspace, "python -V").startswith("Python 3.")


async def test_nothing_of_a_deleted_app_stays(bench: Workbench) -> None:
    await bench.push(FILES)
    await bench.runner.discard("shop", None)
    assert list(bench.config.workspaces.iterdir()) == []
    assert list(bench.config.caches.iterdir()) == []
    await bench.runner.discard("shop", None)


async def test_trees_that_a_build_made_read_only_are_removed(bench: Workbench) -> None:
    await bench.push(
        project("import os\nos.makedirs('made/deep')\nos.chmod('made/deep', 0o500)\nos.chmod('made', 0o500)")
    )
    await bench.runner.discard("shop", None)
    assert not bench.workspaces.exists()


async def test_a_very_deep_tree_that_a_crash_left_breaks_no_build(bench: Workbench) -> None:
    left = bench.workspaces / f".partial-{uuid4()}"
    left.mkdir(parents=True)
    dig = "import os\nfor _ in range(1500): os.mkdir('a'); os.chdir('a')"
    await asyncio.to_thread(subprocess.run, [sys.executable, "-c", dig], cwd=left, check=True)
    assert usage(left) >= 0
    await bench.push(FILES)
    assert bench.leftovers() == []


@pytest.mark.parametrize("app", ["..", "../x", "", "a/b", "/etc", "A"])
async def test_names_that_lead_elsewhere_are_refused(bench: Workbench, app: str) -> None:
    with pytest.raises(InvalidInputError):
        await bench.runner.discard(app, None)


async def test_removal_waits_for_the_running_build(bench: Workbench, tmp_path: Path) -> None:
    marker, go_on = tmp_path / "marker", tmp_path / "go-on"
    bench.variables |= {"MARKER": str(marker), "GO_ON": str(go_on)}
    step = (
        "import os, pathlib, time\npathlib.Path(os.environ['MARKER']).touch()\n"
        "while not os.path.exists(os.environ['GO_ON']): time.sleep(0.01)\n"
    )
    build = asyncio.create_task(bench.push(project(step)))
    await eventually(marker.exists, timeout=60)
    removal = asyncio.create_task(bench.runner.discard("shop", set()))
    go_on.touch()
    await asyncio.gather(build, removal)
    assert bench.workspace.exists()
    assert len(bench.cached("venv")) == 1


async def test_the_same_build_again_replaces_its_workspace(bench: Workbench) -> None:
    await bench.push(FILES)
    again = bench.build_ids[-1]
    await bench.push({"Procfile": "web: sh -c true"}, build_id=again)
    assert [path.name for path in bench.workspaces.iterdir()] == [str(again)]
    assert not (bench.workspace / "source" / "requirements.txt").exists()

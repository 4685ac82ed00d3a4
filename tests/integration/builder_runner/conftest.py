"""The workbench of this folder's tests; see `support.build_workbench`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from builder.runner.local import LocalRunnerConfig
from support.build_workbench import Workbench
from support.builds import MARK, PLATFORM_SECRET
from support.tools import require_tool


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    """A workbench whose platform has a secret in its environment."""
    require_tool("git")
    host = dict(os.environ) | {"BUILDER_CLIENT_SECRET": PLATFORM_SECRET, "AWS_SECRET_ACCESS_KEY": PLATFORM_SECRET}
    return Workbench(
        tmp_path,
        LocalRunnerConfig(
            workspaces=tmp_path / "workspaces",
            caches=tmp_path / "caches",
            process_mark=MARK,
            host_environment=host,
            disk_check_seconds=0.05,
        ),
    )

"""What the local engine must know about this machine and its home directory."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

MARK_VARIABLE = "WORKFLOW_HOME_ID"
"""In the environment of every process of one platform; the keeper and the engine find strays by it."""

INSTANCE_VARIABLE = "WORKFLOW_INSTANCE"
"""In the environment of every process of one instance or one-off: its name."""

MEBIBYTE = 1024 * 1024


@dataclass(frozen=True)
class LocalEngineConfig:
    """Where the engine finds and puts things.

    `mark` is the home's id. `run_dir` holds short-lived files. `edge_dir` holds the files by which the edge finds the
    instances; without it there is no edge: processes run, nothing routes to them. A route whose host has no dot stands
    for `<host>.<app_domain>`.
    """

    mark: str
    workspaces: Path
    logs: Path
    run_dir: Path
    edge_dir: Path | None = None
    app_domain: str = "localhost"
    log_max_bytes: int = 10 * MEBIBYTE
    log_backups: int = 3
    log_bytes_per_second: int = 4 * MEBIBYTE
    kept_instances: int = 20
    start_deadline: timedelta = timedelta(seconds=60)
    settle_time: timedelta = timedelta(seconds=1)
    drain_deadline: timedelta = timedelta(seconds=5)
    close_grace: timedelta = timedelta(seconds=1.8)
    backoff_base: timedelta = timedelta(milliseconds=500)
    backoff_cap: timedelta = timedelta(seconds=60)

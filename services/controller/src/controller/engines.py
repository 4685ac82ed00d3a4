"""Picks the engine that the settings name."""

from __future__ import annotations

from typing import get_args

from controller.engine.memory import MemoryEngine
from controller.engine.port import Engine, Feature
from controller.settings import Settings


def make_engine(settings: Settings) -> Engine:
    """The engine of this installation, not started yet."""
    if settings.engine == "memory":
        return MemoryEngine(features=frozenset(get_args(Feature)))
    return _local(settings)


def _local(settings: Settings) -> Engine:
    """The engine that runs processes of this machine.

    Raises:
        ValueError: something that it needs is not set; `Settings` refuses that before.
    """
    # Loaded only where it is used: what it needs of the machine and of libraries, the other engines do not.
    from controller.engine.local import LocalEngine, LocalEngineConfig  # noqa: PLC0415

    mark, workspaces, logs, run_dir = settings.process_mark, settings.workspaces, settings.logs, settings.run_dir
    if mark is None or workspaces is None or logs is None or run_dir is None:
        raise ValueError("the local engine needs process_mark, workspaces, logs and run_dir")
    config = LocalEngineConfig(
        mark=mark,
        workspaces=workspaces,
        logs=logs,
        run_dir=run_dir,
        edge_dir=settings.edge_dir,
        app_domain=settings.app_domain or LocalEngineConfig.app_domain,
    )
    return LocalEngine(config)

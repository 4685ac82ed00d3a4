"""Picks the engine that the settings name."""

from __future__ import annotations

from controller.engine.memory import MemoryEngine
from controller.engine.port import Engine
from controller.settings import Settings


def make_engine(settings: Settings) -> Engine:
    """The engine of this installation, not started yet."""
    return MemoryEngine() if settings.engine == "memory" else _local(settings)


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
    defaults = LocalEngineConfig(mark=mark, workspaces=workspaces, logs=logs, run_dir=run_dir)
    config = LocalEngineConfig(
        mark=mark,
        workspaces=workspaces,
        logs=logs,
        run_dir=run_dir,
        caddy_admin_socket=settings.caddy_admin_socket,
        edge_host=settings.edge_host,
        edge_port=settings.edge_port or defaults.edge_port,
        app_domain=settings.app_domain or defaults.app_domain,
    )
    return LocalEngine(config)

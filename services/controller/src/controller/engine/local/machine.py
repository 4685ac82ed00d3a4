"""What all instances of one engine share."""

from __future__ import annotations

from dataclasses import dataclass

from controller.engine.local.census import Census
from controller.engine.local.config import LocalEngineConfig
from controller.engine.local.containers import ContainerTools
from controller.engine.local.limits import MemoryLimits
from controller.engine.local.logs import LogStore
from controller.engine.local.ports import Ports


@dataclass(frozen=True)
class Machine:
    """The engine's means on this machine."""

    config: LocalEngineConfig
    ports: Ports
    census: Census
    limits: MemoryLimits
    logs: LogStore
    containers: ContainerTools

    @classmethod
    def of(cls, config: LocalEngineConfig) -> Machine:
        """Everything fresh, for one engine."""
        return cls(
            config,
            Ports(),
            Census(config.mark),
            MemoryLimits(config.mark),
            LogStore(config),
            ContainerTools(config.mark),
        )

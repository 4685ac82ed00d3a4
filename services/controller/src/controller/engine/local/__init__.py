"""The engine that runs apps as processes of this machine, with Caddy as the edge."""

from controller.engine.local.config import LocalEngineConfig
from controller.engine.local.engine import LocalEngine

__all__ = ["LocalEngine", "LocalEngineConfig"]

"""Builds on this machine: directories with their dependencies, as the local engine starts them."""

from builder.runner.local.config import LocalRunnerConfig
from builder.runner.local.runner import LocalRunner

__all__ = ["LocalRunner", "LocalRunnerConfig"]

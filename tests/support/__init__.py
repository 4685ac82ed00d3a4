"""Fixtures and helpers that tests of several packages share: `from support import eventually, free_port`."""

from shared.testing.clock import FakeClock
from shared.testing.wait import eventually
from support.http import client_for
from support.tools import free_port, require_root, require_tool, unavailable

__all__ = ["FakeClock", "client_for", "eventually", "free_port", "require_root", "require_tool", "unavailable"]

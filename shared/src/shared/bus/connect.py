"""Chooses the bus by its URL."""

from __future__ import annotations

from urllib.parse import urlsplit

from shared.bus.memory import InProcessBus
from shared.bus.port import Bus
from shared.settings import SettingsError


def connect_bus(url: str) -> Bus:
    """The bus at `url`: `memory://` or `amqp://user:password@host/vhost` (also `amqps`). Connects at first use.

    Raises:
        SettingsError: the scheme is neither.
    """
    scheme = urlsplit(url).scheme
    if scheme == "memory":
        return InProcessBus()
    if scheme in ("amqp", "amqps"):
        # Standalone starts without the AMQP client: it takes longer to import than a database to open.
        from shared.bus.rabbit import RabbitBus  # noqa: PLC0415

        return RabbitBus(url)
    raise SettingsError(f"bus_url: the scheme {scheme!r} is unknown; use memory:// or amqp://")

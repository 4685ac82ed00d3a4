"""The event bus: one port, RabbitMQ for clusters, in process for standalone."""

from shared.bus.connect import connect_bus
from shared.bus.memory import InProcessBus
from shared.bus.port import Bus, Handler, NotDeliveredError, matches

__all__ = ["Bus", "Handler", "InProcessBus", "NotDeliveredError", "connect_bus", "matches"]

"""What every HTTP service has: request ids, access log, health, metrics, problem documents; and how it is served."""

from shared.web.app import Check, create_service_app
from shared.web.server import ServerAddress, serve, serving

__all__ = ["Check", "ServerAddress", "create_service_app", "serve", "serving"]

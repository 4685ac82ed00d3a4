#!/opt/workflow/bin/python
"""Exit status 0 when the service of this container is ready, 1 when it is not: the image's HEALTHCHECK."""

from __future__ import annotations

import http.client
import sys

PORT = 8000
DEADLINE_SECONDS = 4.0


def is_ready() -> bool:
    """Whether /readiness answers 200 in time."""
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=DEADLINE_SECONDS)
    try:
        connection.request("GET", "/readiness")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


sys.exit(0 if is_ready() else 1)

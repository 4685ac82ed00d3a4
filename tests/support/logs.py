"""What is logged while a test runs."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from shared.logging import configure_logging


@contextmanager
def captured_log(service: str, *, level: str = "INFO") -> Iterator[io.StringIO]:
    """All lines of JSON from that level on, of every library, during the block; afterwards logging is as before."""
    output = io.StringIO()
    root = logging.getLogger()
    before, old_level = list(root.handlers), root.level
    configure_logging(service=service, level=level, fmt="json", stream=output)
    try:
        yield output
    finally:
        root.handlers[:] = before
        root.setLevel(old_level)

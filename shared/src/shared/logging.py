"""Structured logs: one JSON object (or one coloured line) per event on stderr, in UTC, with secrets redacted.

Importing this module sets up structlog's chain, which redacts; output begins with `configure_logging`. Records of the
standard library (uvicorn, SQLAlchemy, aio-pika) pass through the same redaction.
"""

from __future__ import annotations

import json
import logging
import sys
from typing import Any, TextIO

import structlog
from structlog.contextvars import bind_contextvars, clear_contextvars, get_contextvars, merge_contextvars
from structlog.typing import EventDict, Processor, WrappedLogger

from shared.redaction import redact

BoundLogger = structlog.stdlib.BoundLogger
_PLUMBING = frozenset({"_record", "_from_structlog", "level", "timestamp", "logger"})
# What libraries tell us below these levels we log ourselves, or it may hold credentials.
_QUIET = dict.fromkeys(("alembic", "asyncssh", "httpcore", "httpx", "sqlalchemy", "uvicorn"), logging.WARNING) | {
    "aio_pika": logging.ERROR,
    "aiormq": logging.CRITICAL,
}


def _redact_event(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    return {key: value if key in _PLUMBING else redact(value, key=key) for key, value in event.items()}


def _chain() -> list[Processor]:
    return [
        merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        structlog.processors.UnicodeDecoder(),
        _redact_event,
    ]


structlog.configure(
    processors=[
        structlog.stdlib.filter_by_level,
        structlog.stdlib.add_logger_name,
        *_chain(),
        structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
    ],
    logger_factory=structlog.stdlib.LoggerFactory(),
    wrapper_class=BoundLogger,
    cache_logger_on_first_use=True,
)


class _OurHandler(logging.StreamHandler[TextIO]):
    """Marks the handler that `configure_logging` owns and may replace."""


def configure_logging(*, service: str, level: str, fmt: str, stream: TextIO | None = None) -> None:
    """Send every log record of this process to `stream` (stderr unless given).

    May be called again; the last call wins. `service` is the value for records that carry none of their own: requests
    and messages bind the name of the service that handles them.

    Raises:
        ValueError: `level` is no level name or `fmt` is neither "json" nor "console".
    """
    if fmt not in ("json", "console"):
        raise ValueError(f"log format {fmt!r} is unknown: use json or console")
    handler = _OurHandler(stream or sys.stderr)
    handler.setFormatter(_formatter(service, fmt))
    root = logging.getLogger()
    root.setLevel(level.upper())
    for old in [each for each in root.handlers if isinstance(each, _OurHandler)]:
        root.removeHandler(old)
    root.addHandler(handler)
    for name, quiet in _QUIET.items():
        logging.getLogger(name).setLevel(max(quiet, root.level))


def _formatter(service: str, fmt: str) -> logging.Formatter:
    def add_service(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event.setdefault("service", service)
        return event

    renderer: Processor = (
        structlog.processors.JSONRenderer(serializer=_dump)
        if fmt == "json"
        else structlog.dev.ConsoleRenderer(colors=False)
    )
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.add_logger_name, *_chain()],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, add_service, renderer],
    )


def _dump(value: object, **_options: object) -> str:
    return json.dumps(value, default=str, ensure_ascii=False)


def get_logger(name: str | None = None) -> BoundLogger:
    """A logger for module `name`; cheap, may be called at import."""
    return structlog.stdlib.get_logger(name) if name else structlog.stdlib.get_logger()


def bind_context(**facts: Any) -> None:
    """Add facts to every record of this task (and of the tasks that it starts from now on)."""
    bind_contextvars(**facts)


def clear_context() -> None:
    """Forget the facts that were bound in this task."""
    clear_contextvars()


def current_request_id() -> str | None:
    """The id of the request or message that this task works for, when there is one."""
    value = get_contextvars().get("request_id")
    return value if isinstance(value, str) else None

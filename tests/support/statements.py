"""The SQL statements of one piece of work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from sqlalchemy import event
from sqlalchemy.engine import Engine

_heard: ContextVar[list[str] | None] = ContextVar("heard", default=None)


@contextmanager
def heard_statements() -> Iterator[list[str]]:
    """What is executed in the block by this task and by those that it starts; not what goes on beside it. Statements
    that begin and end transactions are not among them."""
    heard: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        if _heard.get() is heard:
            heard.append(statement)

    before = _heard.set(heard)
    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield heard
    finally:
        event.remove(Engine, "before_cursor_execute", note)
        _heard.reset(before)

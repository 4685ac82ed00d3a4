"""Where the work at hand came from; set once per request or message, read by every unit of work made in it."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final

from controller.domain.audit import Origin

_BACKGROUND: Final = Origin()
CURRENT_ORIGIN: Final[ContextVar[Origin]] = ContextVar("origin", default=_BACKGROUND)

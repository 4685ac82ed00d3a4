"""The two list envelopes: real pages with links, and whole lists that only look like pages."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Final
from urllib.parse import parse_qsl, urlencode

from fastapi import Depends, Query, Request
from pydantic import WithJsonSchema
from starlette.responses import JSONResponse, Response

from controller.api.transport import ORIGINAL_PATH

DEFAULT_LIMIT: Final = 100
_MOST: Final = 2**31 - 1


@dataclass(frozen=True)
class Window:
    """Which part of a list is wanted, and how to link to its neighbours."""

    limit: int
    offset: int
    url: str
    query: tuple[tuple[str, str], ...]

    def answer(self, results: Iterable[object], *, total: int) -> Response:
        """A page with its links."""
        following = self.offset + self.limit
        body = {
            "count": total,
            "next": self._link(following) if following < total else None,
            "previous": self._link(max(0, self.offset - self.limit)) if self.offset > 0 else None,
            "results": list(results),
        }
        return JSONResponse(body)

    def _link(self, offset: int) -> str:
        query = dict(self.query) | {"limit": str(self.limit), "offset": str(offset)}
        if offset == 0:
            del query["offset"]
        return f"{self.url}?{urlencode(sorted(query.items()))}"


Limit = Annotated[
    str, WithJsonSchema({"type": "integer", "minimum": 1, "default": DEFAULT_LIMIT}), Query(description="How many.")
]
Offset = Annotated[
    str, WithJsonSchema({"type": "integer", "minimum": 0, "default": 0}), Query(description="How many to skip.")
]


async def window(request: Request, limit: Limit = "", offset: Offset = "") -> Window:
    """`limit` and `offset` of the query; what makes no sense means the default (clients send 0 and -1)."""
    size, skipped = _number(limit), _number(offset)
    path = getattr(request.state, ORIGINAL_PATH, request.url.path)
    url = str(request.url.replace(path=path, query=""))
    query = parse_qsl(request.url.query, keep_blank_values=True)
    return Window(size or DEFAULT_LIMIT, skipped, url.removesuffix("?"), tuple(query))


def listed(results: Iterable[object]) -> Response:
    """A whole list."""
    items = list(results)
    return JSONResponse({"results": items, "count": len(items)})


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        return 0
    return min(int(text[:20]), _MOST)


Paging = Annotated[Window, Depends(window)]

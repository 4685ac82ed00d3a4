"""Entity tags of objects that have a new UUID with every change (RFC 9110 sections 8.8.3 and 13.1)."""

from __future__ import annotations

import re
from typing import Annotated, Final
from uuid import UUID

from fastapi import Depends, Request

from controller.domain.preconditions import ANY_VERSION, IfMatch
from shared.errors import InvalidInputError

ETAG: Final = {"ETag": "The version, for If-Match and If-None-Match."}
IF_MATCH: Final = {"If-Match": "Change it only if it is still the version of this ETag."}
IF_NONE_MATCH: Final = {"If-None-Match": "Answer 304 if it is still the version of this ETag."}
_TAG: Final = re.compile(r'\s*(?P<weak>W/)?"(?P<tag>[\x21\x23-\x7e\x80-\xff]*)"\s*(?:,|$)')


def etag_of(version: UUID) -> dict[str, str]:
    """The header that names the version of an object."""
    return {"ETag": f'"{version}"'}


def is_known(request: Request, version: UUID | str) -> bool:
    """Whether the caller has this version already (`If-None-Match`)."""
    header = request.headers.get("if-none-match", "")
    if header.strip() == "*":
        return True
    return any(found["tag"] == str(version) for found in _TAG.finditer(header))


async def _if_match(request: Request) -> IfMatch:
    """The versions in `If-Match`. Weak tags match nothing.

    Raises:
        InvalidInputError: the header is malformed.
    """
    headers = request.headers.getlist("if-match")
    header = ", ".join(headers)
    if not headers or header.strip() == "*":
        return ANY_VERSION
    tags, position = set(), 0
    while position == 0 or position < len(header):
        found = _TAG.match(header, position)
        if found is None:
            raise InvalidInputError('If-Match must be * or entity tags in quotes, e.g. If-Match: "1f0e...", as in ETag')
        if not found["weak"]:
            tags.add(found["tag"])
        position = found.end()
    return IfMatch(frozenset(tags))


OnlyIf = Annotated[IfMatch, Depends(_if_match)]

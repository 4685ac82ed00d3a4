"""Request bodies: JSON objects, or nothing, which means the empty object. What no column can hold is refused here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from fastapi import Depends, Request

from controller.api.compat import BodyTooLargeError, MediaTypeError
from controller.domain.errors import NON_FIELD, InvalidFieldsError
from controller.domain.json_text import parse_json
from shared.errors import InvalidInputError

_NAMES = {list: "list", str: "str", int: "int", float: "float", bool: "bool", type(None): "NoneType"}


async def read_object(request: Request) -> Mapping[str, object]:
    """The JSON object in the body of `request`.

    Raises:
        MediaTypeError: there is a body and it is not JSON.
        InvalidInputError: it is no JSON; the parser's message says where.
        InvalidFieldsError: it is JSON but no object.
        BodyTooLargeError: it is larger than the operator allows.
    """
    value = await read_value(request)
    if not isinstance(value, dict):
        name = _NAMES.get(type(value), type(value).__name__)
        raise InvalidFieldsError.of(NON_FIELD, f"Invalid data. Expected a dictionary, but got {name}.")
    return value


async def read_value(request: Request) -> object:
    """The JSON in the body of `request`, whatever it is.

    Raises:
        MediaTypeError, InvalidInputError, BodyTooLargeError: as for `read_object`.
    """
    raw = await read_raw(request)
    if not raw.strip():
        return {}
    if not is_json(request):
        raise MediaTypeError(request.headers["content-type"])
    return parse(raw)


def is_json(request: Request) -> bool:
    """Whether the body is said to be JSON; without a word about it, it is."""
    media_type = request.headers.get("content-type", "application/json")
    return media_type.partition(";")[0].strip().lower() == "application/json"


async def read_raw(request: Request) -> bytes:
    """The body of `request`, as often as it is asked for.

    Raises:
        BodyTooLargeError: it is larger than the operator allows.
    """
    known: bytes | None = getattr(request.state, "raw_body", None)
    if known is not None:
        return known
    limit = request.app.state.context.settings.max_body_bytes
    chunks = bytearray()
    async for chunk in request.stream():
        chunks += chunk
        if len(chunks) > limit:
            raise BodyTooLargeError(f"the request body is larger than {limit} bytes")
    request.state.raw_body = bytes(chunks)
    return bytes(chunks)


def parse(raw: bytes) -> object:
    """The JSON value that these bytes are.

    Raises:
        InvalidInputError: they are none, or hold what no column can; the parser's message says where.
    """
    try:
        return parse_json(raw.decode("utf-8"))
    except ValueError as error:  # UnicodeDecodeError is one, too
        raise InvalidInputError(f"JSON parse error - {error}") from None


Body = Annotated[Mapping[str, object], Depends(read_object)]
AnyBody = Annotated[object, Depends(read_value)]

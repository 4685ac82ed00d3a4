"""Request bodies: JSON objects, or nothing, which means the empty object. What no column can hold is refused here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, NoReturn

from fastapi import Depends, Request

from controller.api.compat import BodyTooLargeError, MediaTypeError
from controller.domain.errors import NON_FIELD, InvalidFieldsError
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
    raw = await _read(request, limit=request.app.state.context.settings.max_body_bytes)
    if not raw.strip():
        return {}
    media_type = request.headers.get("content-type", "application/json")
    if media_type.partition(";")[0].strip().lower() != "application/json":
        raise MediaTypeError(media_type)
    value = _parse(raw)
    if not isinstance(value, dict):
        name = _NAMES.get(type(value), type(value).__name__)
        raise InvalidFieldsError.of(NON_FIELD, f"Invalid data. Expected a dictionary, but got {name}.")
    return value


async def _read(request: Request, *, limit: int) -> bytes:
    chunks = bytearray()
    async for chunk in request.stream():
        chunks += chunk
        if len(chunks) > limit:
            raise BodyTooLargeError(f"the request body is larger than {limit} bytes")
    return bytes(chunks)


def _parse(raw: bytes) -> object:
    try:
        value = json.loads(raw.decode("utf-8"), parse_constant=_refuse_constant)
        if b"\\u" in raw or b"\0" in raw:
            _check_storable(value)
    except RecursionError:
        raise InvalidInputError("JSON parse error - nested too deeply") from None
    except ValueError as error:  # JSONDecodeError and UnicodeDecodeError
        raise InvalidInputError(f"JSON parse error - {error}") from None
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"Out of range float values are not JSON compliant: {name}")


def _check_storable(value: Any) -> None:
    """PostgreSQL stores neither U+0000 nor halves of surrogate pairs."""
    if isinstance(value, str):
        if "\0" in value:
            raise ValueError("Null characters are not allowed.")
        value.encode("utf-8")
    elif isinstance(value, dict):
        for key, item in value.items():
            _check_storable(key)
            _check_storable(item)
    elif isinstance(value, list):
        for item in value:
            _check_storable(item)


Body = Annotated[Mapping[str, object], Depends(read_object)]

"""JSON as Go's encoding/json writes and reads it: values go into dataclasses that stand for the program's structs.

A struct names the keys of an answer by its fields. Go leaves absent keys and nulls at zero; a `Reader` remembers which
keys were absent, as a server has to send those that the client shows (cli.md 8 and 11), unless they are `MayLack`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Final, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from client.model.failures import DecodeError

T = TypeVar("T")
_MAY_LACK: Final = "servers may leave the key out"
MayLack = Annotated[T, _MAY_LACK]
_INT64: Final = range(-(2**63), 2**63)
_HTML: Final = {ord(char): f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"}
_STARTS: Final = frozenset('{["-0123456789tfn')


class Real(float):
    """A number with a fraction or an exponent, with the text that it was read from."""

    text: str

    def __new__(cls, text: str) -> Real:
        """Read `text`."""
        made = super().__new__(cls, text)
        made.text = text
        return made


def encode(value: object) -> bytes:
    """`value` as `json.Marshal` writes it: compact, and `<`, `>`, `&` escaped. Maps have to come sorted."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).translate(_HTML).encode()


def parse(raw: bytes) -> object:
    """The first JSON value of `raw`.

    Raises:
        DecodeError: there is none.
    """
    text = raw.decode("utf-8", "replace").lstrip(" \t\r\n")
    if not text:
        raise DecodeError("EOF")
    if text[0] not in _STARTS:
        raise DecodeError(f"invalid character '{text[0]}' looking for beginning of value")
    try:
        value, _ = json.JSONDecoder(parse_float=Real, parse_constant=_refuse).raw_decode(text)
    except json.JSONDecodeError as error:
        if error.pos >= len(text):
            raise DecodeError("unexpected EOF") from None
        raise DecodeError(f"invalid character '{text[error.pos]}' after top-level value") from None
    return value


def through_interface(value: object) -> object:
    """`value` after it was read into `interface{}` and written again, as elements of lists are: 1.0 becomes 1."""
    if isinstance(value, dict):
        return {name: through_interface(item) for name, item in value.items()}
    if isinstance(value, list):
        return [through_interface(item) for item in value]
    if isinstance(value, Real) and value.is_integer() and abs(value) < 1e21:
        return int(value)
    return value


@dataclass(frozen=True)
class _Place:
    """Where in the answer a value stands, for error texts."""

    struct: str = ""
    path: tuple[str, ...] = ()

    def into(self, struct: str, name: str) -> _Place:
        return _Place(struct, (*self.path, name))

    def __str__(self) -> str:
        return f"Go struct field {self.struct}.{'.'.join(self.path)}" if self.path else "Go value"


class Reader:
    """Reads values into structs. `absent` has `Struct.key` for each key that should have been there."""

    def __init__(self) -> None:
        self.absent: list[str] = []

    def read(self, value: object, kind: type[T]) -> T:
        """`value` as a `kind`: a struct, or lists and maps of them.

        Raises:
            DecodeError: a value has the wrong type.
        """
        return cast(T, self._value(value, kind, _Place()))

    def _value(self, value: object, hint: Any, place: _Place) -> object:
        if hasattr(hint, "unmarshal"):  # a type that reads JSON in its own way is asked for null as well
            return hint.unmarshal(value)
        inner = _pointed(hint)
        if inner is not None:
            return None if value is None else self._value(value, inner, place)
        if hint is object:
            return value
        if value is None:
            return zero(hint)
        if is_dataclass(hint):
            return self._struct(value, hint, place)
        return self._plain(value, hint, place)

    def _plain(self, value: object, hint: Any, place: _Place) -> object:
        origin = get_origin(hint)
        if origin is list and isinstance(value, list):
            (item,) = get_args(hint)
            return [self._value(each, item, place) for each in value]
        if origin is dict and isinstance(value, dict):
            _, item = get_args(hint)
            return {name: self._value(each, item, place) for name, each in value.items()}
        is_plain = type(value) is hint and (hint is not int or value in _INT64)
        if origin is None and hint in (str, int, bool) and is_plain:
            return value
        shown = _kind(value)
        if hint is int and shown == "number":
            shown = f"number {value.text if isinstance(value, Real) else value}"
        raise DecodeError(f"json: cannot unmarshal {shown} into {place} of type {_go_name(hint)}")

    def _struct(self, value: object, hint: Any, place: _Place) -> object:
        if not isinstance(value, dict):
            raise DecodeError(f"json: cannot unmarshal {_kind(value)} into {place} of type {_go_name(hint)}")
        hints, given = _hints(hint), {}
        # Go takes a key in any case when there is none that is equal.
        folded = {name.casefold(): name for name in reversed(value)}
        for name, (kind, may_lack) in hints.items():
            found = name if name in value else folded.get(name.casefold())
            if found is not None:
                given[name] = self._value(value[found], kind, place.into(hint.__name__, name))
                continue
            given[name] = zero(kind)
            if not may_lack:
                self.absent.append(f"{hint.__name__}.{name}")
        return hint(**given)


@cache
def _hints(struct: Any) -> Mapping[str, tuple[Any, bool]]:
    """For each field of a struct its type and whether it may be absent."""
    hints = get_type_hints(struct, include_extras=True)
    found = {}
    for each in fields(struct):
        hint = hints[each.name]
        may_lack = get_origin(hint) is Annotated
        found[each.name] = (get_args(hint)[0] if may_lack else hint, may_lack)
    return found


def zero(hint: Any) -> Any:
    """What Go leaves in a variable of this type."""
    if hasattr(hint, "unmarshal"):
        return hint()
    if hint is object or _pointed(hint) is not None:
        return None
    if is_dataclass(hint):
        return cast(Any, hint)(**{name: zero(kind) for name, (kind, _) in _hints(cast(Any, hint)).items()})
    return (get_origin(hint) or hint)()


def _pointed(hint: Any) -> Any:
    """What a pointer (`X | None`) points to; None for anything else."""
    if get_origin(hint) not in (Union, UnionType):
        return None
    (inner,) = (each for each in get_args(hint) if each is not NoneType)
    return inner


def _kind(value: object) -> str:
    kinds = {dict: "object", list: "array", str: "string", bool: "bool", NoneType: "null"}
    return kinds.get(type(value), "number")


def _go_name(hint: Any) -> str:
    origin = get_origin(hint)
    if origin is list:
        return "[]" + _go_name(get_args(hint)[0])
    if origin is dict:
        return "map[string]" + _go_name(get_args(hint)[1])
    if _pointed(hint) is not None:
        return _go_name(_pointed(hint))
    if is_dataclass(hint):
        return f"api.{cast(Any, hint).__name__}"
    return {str: "string", int: "int", bool: "bool", object: "interface {}"}.get(hint, str(hint))


def _refuse(constant: str) -> object:
    raise DecodeError(f"invalid character '{constant[0]}' looking for beginning of value")

"""Amounts of resources as the API server writes them, so that what we want and what is there can be compared.

The rules are those of apimachinery's resource.Quantity: `0.5Gi` is `512Mi`, `1000m` is `1`, `1500` is `1500`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import ROUND_CEILING, Context, Decimal
from typing import Final

_QUANTITY: Final = re.compile(
    r"(?P<number>[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))(?P<suffix>[eE][+-]?[0-9]+|[KMGTPE]i|[numkMGTPE]?)"
)
_DECIMAL: Final = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_SUFFIXES: Final = {exponent: suffix for suffix, exponent in _DECIMAL.items()}
_BINARY: Final = ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")
_SMALLEST, _LARGEST = -9, 18
_EXACT: Final = Context(prec=80)


def canonical(quantity: str) -> str:
    """The quantity in its one form; what is no quantity stays as it is, for the API server to refuse in its words."""
    found = _QUANTITY.fullmatch(quantity.strip())
    if found is None:
        return quantity
    value, suffix = amount_of(quantity), found["suffix"]
    if suffix in _BINARY[1:] and abs(value) >= 1024 and value == value.to_integral_value():
        return _binary(value)
    return _decimal(value, exponential=suffix[:1] in ("e", "E") and len(suffix) > 1)


def amount_of(quantity: str) -> Decimal:
    """The quantity as a number; 0 for what is none."""
    found = _QUANTITY.fullmatch(quantity.strip())
    if found is None:
        return Decimal(0)
    number, suffix = Decimal(found["number"]), found["suffix"]
    if suffix in _BINARY[1:]:
        return _EXACT.multiply(number, Decimal(1024 ** _BINARY.index(suffix)))
    if suffix[:1] in ("e", "E") and len(suffix) > 1:
        return _EXACT.scaleb(number, int(suffix[1:]))
    return _EXACT.scaleb(number, _DECIMAL[suffix])


def canonical_all(quantities: Mapping[str, object]) -> dict[str, str]:
    """Every amount of resources in its one form, by name of the resource."""
    return {str(name): canonical(str(amount)) for name, amount in sorted(quantities.items())}


def _binary(value: Decimal) -> str:
    amount, power = int(value), 0
    while amount % 1024 == 0 and power < len(_BINARY) - 1:
        amount, power = amount // 1024, power + 1
    return f"{amount}{_BINARY[power]}"


def _decimal(value: Decimal, *, exponential: bool = False) -> str:
    """Without fraction, with the largest suffix for that; what is finer than a billionth is rounded up."""
    amount = int(_EXACT.scaleb(value, -_SMALLEST).to_integral_value(rounding=ROUND_CEILING))
    exponent = _SMALLEST
    while amount and amount % 1000 == 0 and exponent < _LARGEST:
        amount, exponent = amount // 1000, exponent + 3
    if not amount:
        return "0"
    if exponential:
        return f"{amount}e{exponent}" if exponent else str(amount)
    return f"{amount}{_SUFFIXES[exponent]}"

"""The JSON that the API answers with and takes, as types: presenters make them, the OpenAPI document is made of them.

What clients need of each object is in controller-api.md 3 and cli.md 11; integers and texts are not interchangeable.
"""

from __future__ import annotations

from typing import Annotated, Generic, NotRequired, TypeAlias, TypeVar

from pydantic import Field
from typing_extensions import TypedDict

Item = TypeVar("Item")

Timestamp = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")]
"""UTC, whole seconds."""


class Detail(TypedDict):
    """What is wrong, in one sentence."""

    detail: str


FieldErrors: TypeAlias = dict[str, list[str]]
BadRequest: TypeAlias = Detail | FieldErrors | list[str] | str
Forbidden: TypeAlias = Detail | str
Missing: TypeAlias = str
Unprocessable: TypeAlias = Detail | FieldErrors


class Problem(TypedDict):
    """RFC 9457, for clients that accept `application/problem+json`. `code` is stable; `instance` is the request's id,
    `field` the part of the request that is wrong. There may be more members, by code."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    instance: NotRequired[str]
    field: NotRequired[str]


class Created(TypedDict):
    """What every stored object has."""

    uuid: str
    created: Timestamp
    updated: Timestamp


class Page(TypedDict, Generic[Item]):
    """One page of a list, with absolute links to its neighbours."""

    count: int
    next: str | None
    previous: str | None
    results: list[Item]


class Listing(TypedDict, Generic[Item]):
    """A whole list."""

    results: list[Item]
    count: int


class AppDocument(Created):
    """An app; `structure` is process type to wanted count."""

    id: str
    owner: str
    structure: dict[str, int]


class TransferRequest(TypedDict, total=False):
    """Who is to own the app; without a name nothing happens."""

    owner: str


class AppRequest(TypedDict, total=False):
    """A new app; without a name one is made up."""

    id: str | None

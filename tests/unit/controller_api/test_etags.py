"""Versions in `If-Match` and `If-None-Match`."""

from __future__ import annotations

from uuid import UUID

import pytest
from starlette.requests import Request

from controller.api.etags import _if_match, etag_of, is_known
from controller.domain.preconditions import ANY_VERSION, PreconditionFailedError
from shared.errors import InvalidInputError

VERSION = UUID("019b8f0c-3c1e-7a52-9f0b-5f3b1c7f2d11")
OTHER = UUID("019b8f0c-3c1e-7a52-9f0b-5f3b1c7f2d12")


def request(*headers: tuple[str, str]) -> Request:
    """A request with these headers."""
    return Request({"type": "http", "headers": [(name.encode(), value.encode()) for name, value in headers]})


def test_the_tag_is_the_uuid_in_quotes() -> None:
    assert etag_of(VERSION) == {"ETag": f'"{VERSION}"'}


@pytest.mark.parametrize("header", [f'"{VERSION}"', f'W/"{VERSION}"', f'"x", "{VERSION}"', "*"])
def test_a_version_that_is_known(header: str) -> None:
    assert is_known(request(("if-none-match", header)), VERSION)


@pytest.mark.parametrize("header", [f'"{OTHER}"', str(VERSION), "", '""'])
def test_a_version_that_is_not_known(header: str) -> None:
    assert not is_known(request(("if-none-match", header)), VERSION)
    assert not is_known(request(), VERSION)


@pytest.mark.parametrize("headers", [(), (("if-match", "*"),)])
async def test_any_version_will_do(headers: tuple[tuple[str, str], ...]) -> None:
    assert await _if_match(request(*headers)) == ANY_VERSION
    ANY_VERSION.check(VERSION)


@pytest.mark.parametrize("value", [f'"{VERSION}"', f'"a" , "{VERSION}"', f'W/"{OTHER}","{VERSION}"'])
async def test_a_change_of_this_version(value: str) -> None:
    (await _if_match(request(("if-match", value)))).check(VERSION)


@pytest.mark.parametrize("value", [f'"{OTHER}"', f'W/"{VERSION}"', '""'])
async def test_a_change_of_another_version(value: str) -> None:
    with pytest.raises(PreconditionFailedError, match="read it again"):
        (await _if_match(request(("if-match", value)))).check(VERSION)


@pytest.mark.parametrize("value", ["", " ", str(VERSION), '"open', "w/x", '"a" "b"', ",", '"a",,'])
async def test_a_malformed_header_is_refused(value: str) -> None:
    with pytest.raises(InvalidInputError, match="If-Match must be"):
        await _if_match(request(("if-match", value)))

"""Requests in the form that Authlib reads, and its answers in the form that our API sends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from authlib.common.urls import add_params_to_uri
from authlib.oauth2.rfc6749 import InvalidRequestError, OAuth2Payload, OAuth2Request

# Authlib refuses http:// URIs and reads nothing else from them: TLS is the edge's business and the issuer's scheme.
_PLACEHOLDER: Final = "https://passport.invalid"
_MAY_REPEAT: Final = frozenset({"audience", "resource"})  # RFC 8707 section 2


class ParsedPayload(OAuth2Payload):  # type: ignore[misc]
    """The parameters of a request, each with all its values."""

    def __init__(self, parameters: Sequence[tuple[str, str]]) -> None:
        self._lists: dict[str, list[str]] = {}
        for name, value in parameters:
            self._lists.setdefault(name, []).append(value)
        # RFC 6749 section 3.1: a parameter without a value is as if it were not there.
        self._data = {name: values[0] for name, values in self._lists.items() if values[0]}

    @property
    def data(self) -> dict[str, str]:
        return self._data

    @property
    def datalist(self) -> dict[str, list[str]]:
        return self._lists


class ParsedRequest(OAuth2Request):  # type: ignore[misc]
    """A request whose body was read. `authenticated_at`: when the person at the browser gave a password.

    `address` is where the person is, as far as known: it is what failed logins are counted for.
    """

    def __init__(
        self,
        method: str,
        path: str,
        *,
        parameters: Sequence[tuple[str, str]],
        headers: Mapping[str, str],
        address: str | None = None,
        authenticated_at: datetime | None = None,
    ) -> None:
        super().__init__(method, _PLACEHOLDER + path, headers=headers)
        self.payload = ParsedPayload(parameters)
        self.address = address
        self.authenticated_at = authenticated_at

    @property
    def args(self) -> dict[str, str]:
        return self.payload.data

    @property
    def form(self) -> dict[str, str]:
        return self.payload.data

    @property
    def audiences(self) -> tuple[str, ...]:
        """The APIs that the token shall be for, by `audience` or `resource` (RFC 8707)."""
        lists = self.payload.datalist
        return tuple(value for name in sorted(_MAY_REPEAT) for value in lists.get(name, ()) if value)

    def check_no_repetition(self) -> None:
        """RFC 6749 section 3.2: no parameter more than once.

        Raises:
            InvalidRequestError: one is.
        """
        if any(len(values) > 1 and name not in _MAY_REPEAT for name, values in self.payload.datalist.items()):
            raise InvalidRequestError("A parameter was sent more than once.")


@dataclass
class OAuthResult:
    """An answer, to be sent once its transaction has ended.

    `is_error`: the request was refused, be it by sending the browser back with an error.
    """

    status: int
    body: Mapping[str, object] | str
    headers: dict[str, str] = field(default_factory=dict)
    is_error: bool = False

    @property
    def location(self) -> str | None:
        """Where the browser is sent, if it is."""
        return self.headers.get("Location")

    def with_issuer(self, issuer: str) -> OAuthResult:
        """The same with `iss`, which every authorization response has (RFC 9207 section 2)."""
        if self.location is None:
            return self
        location = add_params_to_uri(self.location, [("iss", issuer)])
        return replace(self, headers=self.headers | {"Location": location})

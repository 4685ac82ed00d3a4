"""Token authentication of registries (the distribution project's specification), as a client of theirs sees it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final
from urllib.parse import urlsplit

import httpx

_PARAMETER: Final = re.compile(r'(\w+)="([^"]*)"')


class NoTokenError(Exception):
    """No token was had; the text says why."""


async def fetch_token(
    client: httpx.AsyncClient,
    challenge: str,
    *,
    scopes: Sequence[str],
    account: httpx.BasicAuth | None,
    may_be_plain: Callable[[str], bool],
) -> str:
    """A token from whom the registry names in its `WWW-Authenticate`, for these scopes and the one that it names.

    `may_be_plain` says of a `host[:port]` whether secrets may be sent there over plain HTTP.

    Raises:
        NoTokenError: it names nobody, or there is no token for us.
        httpx.HTTPError: who gives tokens does not answer.
    """
    scheme, _, rest = challenge.partition(" ")
    facts = dict(_PARAMETER.findall(rest))
    if scheme.lower() != "bearer" or "realm" not in facts:
        raise NoTokenError("it does not say who gives its tokens")
    realm = urlsplit(facts["realm"])
    if realm.scheme != "https" and not may_be_plain(realm.netloc):
        raise NoTokenError("its tokens would be asked for over plain HTTP")
    wanted = [scope for scope in dict.fromkeys((*scopes, facts.get("scope", ""))) if scope]
    query = {"service": facts.get("service", ""), "scope": wanted}
    response = await client.get(facts["realm"], params=query, auth=account)
    if response.status_code != httpx.codes.OK:
        raise NoTokenError(f"{response.status_code} from who gives its tokens")
    try:
        answer = response.json()
        token = answer.get("token") or answer.get("access_token")
    except (ValueError, AttributeError):
        token = None
    if not isinstance(token, str) or not token:
        raise NoTokenError("who gives its tokens gave none")
    return token

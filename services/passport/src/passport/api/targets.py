"""Where a form may lead beyond us."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

from passport.api.oauth import AUTHORIZE
from passport.context import Context


async def form_targets(context: Context, target: str) -> tuple[str, ...]:
    """The redirect URIs of the client that asked for a login, when `target` is its request; else none."""
    parts = urlsplit(target)
    client_ids = parse_qs(parts.query).get("client_id", [])
    if parts.path.rstrip("/") != AUTHORIZE.rstrip("/") or len(client_ids) != 1:
        return ()
    client = await context.provider.find_client(client_ids[0])
    return client.redirect_uris if client else ()

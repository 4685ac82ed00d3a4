"""OAuth clients."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from passport.domain.clients import Client
from passport.schema import ClientRow


class Clients:
    """Clients within the transaction of `session`."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def find(self, client_id: str) -> Client | None:
        """The client of that id."""
        if "\x00" in client_id:  # which PostgreSQL cannot compare with
            return None
        row = await self._session.get(ClientRow, client_id)
        return None if row is None else to_client(row)

    async def put(self, clients: Sequence[Client], now: datetime) -> None:
        """Store `clients`, replacing those of the same id; others stay."""
        if not clients:
            return
        # Always in the same order, so that two processes that start together do not deadlock.
        rows = [_values(client, now) for client in sorted(clients, key=lambda each: each.client_id)]
        statement = insert(ClientRow).values(rows)
        kept = {"client_id", "created_at"}
        changes = {column.name: column for column in statement.excluded if column.name not in kept}
        await self._session.execute(statement.on_conflict_do_update(index_elements=["client_id"], set_=changes))


def to_client(row: ClientRow) -> Client:
    """The client in a row."""
    return Client(
        client_id=row.client_id,
        secret_digest=row.secret_digest,
        name=row.name,
        redirect_uris=tuple(row.redirect_uris),
        grants=frozenset(row.grants),
        scopes=tuple(row.scopes),
        audiences=tuple(row.audiences),
        skip_consent=row.skip_consent,
        legacy_claims=row.legacy_claims,
    )


def _values(client: Client, now: datetime) -> dict[str, object]:
    return {
        "client_id": client.client_id,
        "secret_digest": client.secret_digest,
        "name": client.name,
        "redirect_uris": list(client.redirect_uris),
        "grants": sorted(client.grants),
        "scopes": list(client.scopes),
        "audiences": list(client.audiences),
        "skip_consent": client.skip_consent,
        "legacy_claims": client.legacy_claims,
        "created_at": now,
        "updated_at": now,
    }

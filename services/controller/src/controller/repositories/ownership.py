"""SQL of who owns what an app is made of."""

from __future__ import annotations

from typing import Final

from sqlalchemy import update

from controller.domain.apps import Actor, App
from controller.schema.apps import AppSettingsRow, BuildRow, ConfigRow, ReleaseRow
from controller.schema.domains import CertificateRow, DomainRow, TlsRow
from controller.schema.ingress import GatewayRow, RouteRow, ServiceRow
from controller.schema.jobs import JobRow
from controller.schema.storage import ResourceRow, VolumeRow
from shared.db import DbSession

OWNED: Final = (
    AppSettingsRow, BuildRow, CertificateRow, ConfigRow, DomainRow, GatewayRow, JobRow, ReleaseRow, ResourceRow,
    RouteRow, ServiceRow, TlsRow, VolumeRow,
)  # fmt: skip
"""Every table of an app whose rows have an owner."""


class OwnershipRepository:
    """Owners of the parts of apps."""

    def __init__(self, session: DbSession) -> None:
        self._session = session

    async def hand_over(self, app: App, to: Actor) -> None:
        """Give what the app's owner has made of it to another person; what others have made stays theirs."""
        for row in OWNED:
            mine = update(row).where(row.app_uuid == app.uuid, row.owner_id == app.owner.id)
            await self._session.execute(mine.values(owner_id=to.id))

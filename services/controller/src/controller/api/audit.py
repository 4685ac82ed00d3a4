"""The audit trail: of an app for who is in charge of it, of the whole platform for superusers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated, Final
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import JSONResponse, Response

from controller.api import present_audit as present
from controller.api.deps import Who, Work
from controller.api.documents_audit import AuditPage
from controller.api.openapi import doc
from controller.api.transport import ORIGINAL_PATH
from controller.api.units import UnitRoute
from controller.api.words import searchable
from controller.domain.audit import AuditFilter
from controller.domain.errors import InvalidFieldsError
from controller.services.access import Access, Action, PlatformAction, require_platform
from controller.services.audit import AuditTrail
from controller.uow import Uow

DEFAULT_LIMIT: Final = 100
MOST: Final = 1000
router = APIRouter(prefix="/v2", route_class=UnitRoute)


@dataclass(frozen=True)
class Window:
    """Which entries a request asks for, and where it was sent."""

    wanted: AuditFilter
    url: str

    def of(self, app: str | None, *, since: datetime | None = None) -> Window:
        """The same, of one app only."""
        return replace(self, wanted=replace(self.wanted, app=app, since=since))

    async def answer(self, uow: Uow) -> Response:
        """The entries, and the address of those before them."""
        # One more than is shown tells whether there are others.
        found = await AuditTrail(uow).list(replace(self.wanted, limit=self.wanted.limit + 1))
        shown = found[: self.wanted.limit]
        following = self._link(shown[-1].uuid) if len(found) > len(shown) else None
        page: AuditPage = {"count": len(shown), "next": following, "results": [present.entry(each) for each in shown]}
        return JSONResponse(page)

    def _link(self, before: UUID) -> str:
        wanted = self.wanted
        given = {"actor": wanted.actor, "action": wanted.action, "app": wanted.app if wanted.since is None else None}
        query = {name: value for name, value in given.items() if value is not None}
        return f"{self.url}?{urlencode({**query, 'limit': self.wanted.limit, 'before': before})}"


Limit = Annotated[str, Query(description=f"How many, {MOST} at most; {DEFAULT_LIMIT} unless given.")]
Actor = Annotated[str | None, Query(description="What this user did only.")]
ActionName = Annotated[str | None, Query(alias="action", description="This action only, e.g. `config.changed`.")]
Before = Annotated[str | None, Query(description="Entries before the one of this `uuid` only.")]


async def window(
    request: Request, *, limit: Limit = "", actor: Actor = None, action: ActionName = None, before: Before = None
) -> Window:
    """What the query asks for.

    Raises:
        InvalidFieldsError: `before` is no UUID.
    """
    try:
        last = None if before is None else UUID(before)
    except ValueError:
        raise InvalidFieldsError.of("before", "Must be a valid UUID.") from None
    size = int(limit) if limit.isascii() and limit.isdigit() and len(limit) < 10 else 0
    wanted = AuditFilter(
        actor=_plain(actor), action=_plain(action), before=last, limit=min(size, MOST) or DEFAULT_LIMIT
    )
    path = getattr(request.state, ORIGINAL_PATH, request.url.path)
    return Window(wanted, str(request.url.replace(path=path, query="")).removesuffix("?"))


Asked = Annotated[Window, Depends(window)]


@router.get("/apps/{app_id:app}/audit", **doc(AuditPage, errors=(400, 404)))
async def list_app_audit(app_id: str, who: Who, uow: Work, asked: Asked) -> Response:
    """Who did what to the app, newest first. For its owner and superusers."""
    app = await Access(uow).app(app_id, who, Action.AUDIT)
    # An app that had this name before is none of the owner's business.
    return await asked.of(app.name, since=app.created).answer(uow)


@router.get("/audit", **doc(AuditPage, errors=(400,)))
async def list_audit(
    who: Who, uow: Work, asked: Asked, app: Annotated[str | None, Query(description="Of this app only.")] = None
) -> Response:
    """Who did what on the platform, newest first, apps that are gone included. For superusers."""
    require_platform(who, PlatformAction.AUDIT)
    return await asked.of(_plain(app)).answer(uow)


def _plain(text: str | None) -> str | None:
    """A word of the query as the database takes it; an empty one is none."""
    return searchable(text) or None if text is not None else None

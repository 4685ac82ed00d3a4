"""The JSON API for whoever is signed in."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import JSONResponse, Response

from passport.api.deps import ContextDep, PersonDep, both
from passport.api.registration import can_register
from passport.domain.claims import account_fields

router = APIRouter()


@both(router, "/user/info", "GET")
async def info(person: PersonDep) -> Response:
    """Who is asking. 403 rather than 401, with this sentence: the compatible pages look for both."""
    if person is None:
        return JSONResponse({"detail": "Authentication credentials were not provided."}, status_code=403)
    return JSONResponse(account_fields(person))


@both(router, "/settings", "GET")
async def settings(context: ContextDep) -> Response:
    """What the sign-in pages may offer; there are no legal texts."""
    return JSONResponse({"legal": False, "registration_enabled": await can_register(context)})

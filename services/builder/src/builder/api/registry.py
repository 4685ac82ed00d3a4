"""Tokens for a registry that leaves to us who may do what (distribution's token authentication specification)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel

from builder.api.deps import Login, TokenServer
from builder.services.registry_tokens import LIFETIME

router = APIRouter(prefix="/registry")
MAX_SCOPES = 50


class TokenOut(BaseModel):
    """A token under both names that clients look for; `expires_in` is seconds."""

    token: str
    access_token: str
    expires_in: int
    issued_at: datetime


@router.get("/token")
async def get_token(
    access: TokenServer,
    login: Login,
    response: Response,
    scope: Annotated[list[Annotated[str, Query(max_length=2048)]], Query(max_length=MAX_SCOPES)] = [],  # noqa: B006 - FastAPI copies it
    service: Annotated[str | None, Query(max_length=255)] = None,
) -> TokenOut:
    """A token with as much of each `scope` as the account may have. What else clients send changes nothing."""
    token = await access.token(*login, service=service, scopes=scope)
    response.headers["Cache-Control"] = "no-store"
    return TokenOut(
        token=token.text,
        access_token=token.text,
        expires_in=int(LIFETIME.total_seconds()),
        issued_at=token.issued_at.replace(microsecond=0),
    )

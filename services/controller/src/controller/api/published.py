"""This document."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from controller.api.etags import ETAG, IF_NONE_MATCH, is_known
from controller.api.openapi import doc, document

router = APIRouter(prefix="/v2")


@router.get(
    "/openapi.json",
    **doc(dict[str, Any], guard="anyone", also={304: None}, headers=ETAG, request_headers=IF_NONE_MATCH),
)
async def read_openapi(request: Request) -> Response:
    """The description of this API. Anybody may read it: it holds no secrets."""
    content, version = _published(request)
    headers = {"ETag": f'"{version}"', "Cache-Control": "public, max-age=300"}
    if is_known(request, version):
        return Response(status_code=304, headers=headers)
    return Response(content, media_type="application/json", headers=headers)


def _published(request: Request) -> tuple[bytes, str]:
    """The document as bytes, made at the first request, and its version."""
    state = request.app.state
    if not hasattr(state, "openapi"):
        content = json.dumps(document(request.app), ensure_ascii=False, separators=(",", ":")).encode()
        state.openapi = (content, hashlib.sha256(content).hexdigest()[:32])
    published: tuple[bytes, str] = state.openapi
    return published

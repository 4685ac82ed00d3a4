"""The files in a volume. Content is streamed both ways; no transaction is open meanwhile.

What goes wrong with a file is told as a bare text (controller-api.md 1.6 and 3.22).
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Annotated, Final
from urllib.parse import unquote_plus

from fastapi import APIRouter, Query, Request
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response, StreamingResponse

from controller.api import present_storage
from controller.api.compat import BareTextError, BodyTooLargeError, MediaTypeError
from controller.api.deps import Ctx, Who
from controller.api.documents import Listing
from controller.api.documents_storage import FileDocument
from controller.api.openapi import doc
from controller.api.paging import listed
from controller.context import Context
from controller.domain.accounts import Account
from controller.domain.file_paths import base_name, clean_path
from controller.engine.port import FileStore
from controller.services.access import Access, Action
from controller.services.volumes import Volumes, open_files
from shared.errors import InvalidInputError

router = APIRouter(prefix="/v2/apps/{app_id:app}/volumes/{name:name}/client")

MEDIA_TYPE: Final = "filer/octet-stream"
_CONTENT: Final = "application/octet-stream"
_MISSING: Final = "Missing {0}. Request should include a Content-Disposition header with a {0} parameter."
_PARAMETER: Final = re.compile(
    r';\s*(?P<name>filename|filepath)(?P<extended>\*?)\s*=\s*(?:"(?P<quoted>[^"]*)"|(?P<plain>[^;]*))', re.IGNORECASE
)
Directory = Annotated[str, Query(description="A directory from the root of the volume, or a file.")]


@router.get("", **doc(Listing[FileDocument], errors=(400,)))
async def list_files(app_id: str, name: str, who: Who, ctx: Ctx, path: Directory = "") -> Response:
    """What a directory holds; a file's own path gives that file."""
    store = await _store(ctx, who, Action.VIEW, app_id, name)
    with _told_barely():
        return listed(map(present_storage.file, await store.list(clean_path(path))))


@router.get("/{path:file}", **doc(bytes, media_type=_CONTENT, errors=(400,)))
async def download_file(app_id: str, name: str, path: str, who: Who, ctx: Ctx) -> Response:
    """The content of a file."""
    store = await _store(ctx, who, Action.VIEW, app_id, name)
    with _told_barely():
        size, content = await store.read(clean_path(path))
    return StreamingResponse(content, media_type=_CONTENT, headers={"Content-Length": str(size)})


@router.post(
    "",
    **doc(
        str,
        body=bytes,
        body_media_type=MEDIA_TYPE,
        request_headers={
            "Content-Disposition": "`attachment;filename*=utf-8''<name>;filepath*=utf-8''<directory>`, both escaped as "
            "in a query; only the last part of the name counts."
        },
    ),
)
async def upload_file(app_id: str, name: str, who: Who, ctx: Ctx, request: Request) -> Response:
    """Make or replace a file; the answer is its path. It has its new content at once or not at all."""
    store = await _store(ctx, who, Action.CHANGE, app_id, name)
    media_type = request.headers.get("content-type", "")
    if media_type.partition(";")[0].strip().lower() != MEDIA_TYPE:
        raise MediaTypeError(media_type)
    target = _target(request.headers.get("content-disposition", ""))
    limit = ctx.settings.max_upload_bytes
    _refuse_large(int(request.headers.get("content-length", "0")), limit)
    with _told_barely():
        await store.write(target, _limited(request.stream(), limit))
    await _note(ctx, who, app_id, name, path=target, verb="written")
    return JSONResponse(target)


@router.delete("/{path:file}", **doc(errors=(400,)))
async def delete_file(app_id: str, name: str, path: str, who: Who, ctx: Ctx) -> Response:
    """Remove a file, or a directory with all that is in it. Clients insist on the status 200."""
    store = await _store(ctx, who, Action.DELETE, app_id, name)
    with _told_barely():
        target = clean_path(path)
        await store.delete(target)
    await _note(ctx, who, app_id, name, path=target, verb="deleted")
    return Response(status_code=200)


async def _store(ctx: Context, who: Account, action: Action, app: str, volume: str) -> FileStore:
    async with ctx.unit_of_work.reading() as uow:
        await Access(uow).app(app, who, action)
        await Volumes(uow).get(app, volume)
    return await open_files(ctx.engine, ctx.clock, app, volume)


async def _note(ctx: Context, who: Account, app: str, volume: str, *, path: str, verb: str) -> None:
    async with ctx.unit_of_work() as uow:
        await Volumes(uow).note_files(app, volume, path=path, verb=verb, actor=who)


def _target(disposition: str) -> str:
    """The path of the file that a Content-Disposition header names.

    Raises:
        InvalidInputError: it names no file, or no directory.
        BareTextError: the directory is not one of the volume.
    """
    parts = {found["name"].lower(): _decoded(found) for found in _PARAMETER.finditer(disposition)}
    name = base_name(parts.get("filename", ""))
    for parameter, present in (("filename", bool(name)), ("filepath", "filepath" in parts)):
        if not present:
            raise InvalidInputError(_MISSING.format(parameter))
    with _told_barely():
        return clean_path(f"{parts['filepath']}/{name}")


def _decoded(found: re.Match[str]) -> str:
    text = found["quoted"] if found["quoted"] is not None else found["plain"].strip()
    if not found["extended"]:
        return text
    try:
        return unquote_plus(text.split("'", 2)[-1], errors="strict")
    except UnicodeDecodeError:
        raise BareTextError(f"the {found['name']} in Content-Disposition must be UTF-8") from None


async def _limited(content: AsyncIterator[bytes], limit: int | None) -> AsyncIterator[bytes]:
    received = 0
    try:
        async for chunk in content:
            received += len(chunk)
            _refuse_large(received, limit)
            yield chunk
    except ClientDisconnect:
        raise InvalidInputError("the upload ended before the file was complete") from None


def _refuse_large(size: int, limit: int | None) -> None:
    if limit is not None and size > limit:
        raise BodyTooLargeError(f"the file is larger than {limit} bytes")


@contextmanager
def _told_barely() -> Iterator[None]:
    try:
        yield
    except InvalidInputError as error:
        raise BareTextError(error.detail) from None

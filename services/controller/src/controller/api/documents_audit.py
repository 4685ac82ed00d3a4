"""The audit trail and the requests of the billing manager: the JSON of it, as types."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from controller.api.documents import Timestamp
from controller.domain.blocks import MAX_REMARK

Facts = dict[str, object]


class AuditDocument(TypedDict):
    """One act: `actor` did `action` (`<object>.<verb>`) to `target` in `app`. `before` and `after` hold what changed,
    with secrets shown as `***`. `source` says by which way it came: api, builder, manager, command or worker."""

    uuid: str
    at: Timestamp
    app: str | None
    actor: str
    action: str
    target: str
    source: str
    address: str | None
    request_id: str | None
    before: Facts | None
    after: Facts | None


class AuditPage(TypedDict):
    """Entries, newest first; `next` is the address of the ones before them, null after the oldest."""

    count: int
    next: str | None
    results: list[AuditDocument]


class BlockRequest(TypedDict, total=False):
    """Why somebody is blocked; people see it where they are refused."""

    remark: Annotated[str | None, Field(max_length=MAX_REMARK)]

"""The CloudEvents 1.0 envelope (JSON, structured mode) and the base of our event models."""

from __future__ import annotations

import re
from abc import abstractmethod
from datetime import UTC, datetime
from typing import Any, ClassVar, Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, JsonValue, ValidationError
from structlog.contextvars import get_contextvars

from shared.db.types import uuid7
from shared.errors import InvalidInputError

TYPE_PREFIX: Final = "workflow."
CONTENT_TYPE: Final = "application/cloudevents+json"
_TYPE: Final = re.compile(r"^workflow\.(?P<type>[a-z_]+(?:\.[a-z_]+)+)\.v(?P<version>[1-9][0-9]*)$")
_registry: dict[tuple[str, int], type[Event]] = {}


class UnknownEventError(InvalidInputError):
    """An envelope that this version cannot read: its type, its version or its data is not one that we know."""

    code = "unknown-event"
    title = "The event cannot be read"


class Event(BaseModel):
    """A fact, in the past tense, as flat JSON values. A version may gain fields; unknown ones are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    type: ClassVar[str]
    schema_version: ClassVar[int] = 1  # the major version in the CloudEvents type; data has a `version` of its own

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        if "type" in cls.__dict__:
            _registry[cls.type, cls.schema_version] = cls

    @abstractmethod
    def subject(self) -> str:
        """The resource that this is about, `apps/shop`; order is kept among events of one subject."""
        raise NotImplementedError


def registered_events() -> tuple[type[Event], ...]:
    """Every event class that was imported, by type and version."""
    return tuple(_registry[key] for key in sorted(_registry))


class Envelope(BaseModel):
    """One event on its way. `traceparent` and `requestid` lead back to the request that caused it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    specversion: Literal["1.0"] = "1.0"
    id: str = Field(min_length=1, max_length=64)
    source: str
    type: str = Field(pattern=_TYPE.pattern)
    subject: str
    time: AwareDatetime
    datacontenttype: Literal["application/json"] = "application/json"
    traceparent: str | None = None
    requestid: str | None = None
    data: dict[str, JsonValue]

    @classmethod
    def wrap(cls, event: Event, *, source: str) -> Envelope:
        """An envelope with a new id and the present time. `source` is a URI reference: `/services/controller`."""
        bound = get_contextvars()
        return cls(
            id=str(uuid7()),
            source=source,
            type=f"{TYPE_PREFIX}{event.type}.v{event.schema_version}",
            subject=event.subject(),
            time=datetime.now(UTC),
            traceparent=bound.get("traceparent"),
            requestid=bound.get("request_id"),
            data=event.model_dump(mode="json"),
        )

    def unwrap(self) -> Event:
        """The event inside.

        Raises:
            UnknownEventError: no class is registered for the type and version, or the data does not fit it.
        """
        model = _registry.get(self._key())
        if model is None:
            raise UnknownEventError(f"no event is known as {self.type}")
        try:
            return model.model_validate(self.data)
        except ValidationError as exc:
            fields = ", ".join(".".join(str(part) for part in error["loc"]) for error in exc.errors())
            raise UnknownEventError(f"{self.type} {self.id} has unusable data in: {fields}") from None

    @property
    def routing_key(self) -> str:
        """The type without prefix and version: `release.deployed`."""
        return self._key()[0]

    def to_bytes(self) -> bytes:
        """The JSON form, without members that are not set."""
        return self.model_dump_json(exclude_none=True).encode()

    @classmethod
    def from_bytes(cls, body: bytes) -> Envelope:
        """The envelope in `body`.

        Raises:
            UnknownEventError: it is no CloudEvent of ours.
        """
        try:
            return cls.model_validate_json(body)
        except ValidationError as exc:
            fields = ", ".join(".".join(str(part) for part in error["loc"]) or "body" for error in exc.errors())
            raise UnknownEventError(f"not a CloudEvent of this suite: {fields}") from None

    def _key(self) -> tuple[str, int]:
        match = _TYPE.match(self.type)
        if match is None:
            raise UnknownEventError(f"{self.type} is not a type of this suite")
        return match["type"], int(match["version"])

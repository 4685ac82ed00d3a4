"""Tables of an app's network: services, gateways and the routes between them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, Identity, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from controller.schema.apps import Audited
from controller.schema.base import Base


def numbered() -> Mapped[int]:
    """The integer key of an object that the API knows by number."""
    return mapped_column(BigInteger, Identity(), primary_key=True)


def app_key() -> Mapped[UUID]:
    """The app that a row belongs to and goes with."""
    return mapped_column(ForeignKey("apps.uuid", ondelete="CASCADE"))


def owner_key() -> Mapped[int]:
    """Who made the row."""
    return mapped_column(BigInteger, ForeignKey("users.id"))


class ServiceRow(Audited, Base):
    """What of a process type can be reached inside: `ports` is a list of {port, protocol, target_port}."""

    __tablename__ = "services"
    __table_args__ = (UniqueConstraint("app_uuid", "ptype"),)
    id: Mapped[int] = numbered()
    app_uuid: Mapped[UUID] = app_key()
    owner_id: Mapped[int] = owner_key()
    ptype: Mapped[str] = mapped_column(Text)
    ports: Mapped[list[Any]]


class GatewayRow(Audited, Base):
    """Where requests come in: `ports` is a list of {port, protocol}; listeners are computed from it and the domains."""

    __tablename__ = "gateways"
    __table_args__ = (UniqueConstraint("app_uuid", "name"),)
    id: Mapped[int] = numbered()
    app_uuid: Mapped[UUID] = app_key()
    owner_id: Mapped[int] = owner_key()
    name: Mapped[str] = mapped_column(Text)
    ports: Mapped[list[Any]]


class RouteRow(Audited, Base):
    """From gateways (`parent_refs`, a list of {name, port}) to services (the backends in `rules`)."""

    __tablename__ = "routes"
    __table_args__ = (UniqueConstraint("app_uuid", "name"),)
    id: Mapped[int] = numbered()
    app_uuid: Mapped[UUID] = app_key()
    owner_id: Mapped[int] = owner_key()
    kind: Mapped[str] = mapped_column(Text)
    name: Mapped[str] = mapped_column(Text)
    rules: Mapped[list[Any]]
    routable: Mapped[bool]
    parent_refs: Mapped[list[Any]]

"""Alembic's entry: runs the scripts in `versions` on the controller's tables."""

from controller.schema import (  # noqa: F401  (declares the tables)
    accounts,
    apps,
    audit,
    domains,
    ingress,
    jobs,
    measurements,
    storage,
)
from controller.schema.base import Base
from shared.db import run_migrations

run_migrations(Base.metadata)

"""Alembic's entry point."""

from passport.schema import Base
from shared.db import run_migrations

run_migrations(Base.metadata)

"""Alembic's entry point."""

from builder.schema.tables import metadata
from shared.db import run_migrations

run_migrations(metadata)

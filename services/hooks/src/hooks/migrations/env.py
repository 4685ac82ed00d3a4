"""Alembic's entry point."""

from hooks.schema import metadata
from shared.db import run_migrations

run_migrations(metadata)

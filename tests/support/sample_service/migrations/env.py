"""Alembic's entry point."""

from shared.db import run_migrations
from support.sample_service import metadata

run_migrations(metadata)

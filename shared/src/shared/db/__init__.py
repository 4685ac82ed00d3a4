"""PostgreSQL: engine and sessions, notifications, advisory locks, migrations, column types."""

from shared.db.database import Database, DatabaseAwayError, is_database_away, notify
from shared.db.deferred import DbSession
from shared.db.migrations import MigrationError, migrate, run_migrations
from shared.db.types import NAMING_CONVENTION, UtcDateTime, uuid7

__all__ = [
    "NAMING_CONVENTION",
    "Database",
    "DatabaseAwayError",
    "DbSession",
    "MigrationError",
    "UtcDateTime",
    "is_database_away",
    "migrate",
    "notify",
    "run_migrations",
    "uuid7",
]

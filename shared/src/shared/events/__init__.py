"""Every event that one service publishes and another may consume. Importing the package registers them all."""

from shared.events.apps import AppCreated, AppDeleted
from shared.events.audit import AuditRecorded
from shared.events.base import Envelope, Event, UnknownEventError, registered_events
from shared.events.builds import BuildCancelled, BuildFailed, BuildRequested, BuildStarted, BuildSucceeded
from shared.events.releases import (
    ReleaseCreated,
    ReleaseDeployed,
    ReleaseFailed,
    ReleaseProgress,
    ReleaseRejected,
)
from shared.events.users import UserChanged

__all__ = [
    "AppCreated",
    "AppDeleted",
    "AuditRecorded",
    "BuildCancelled",
    "BuildFailed",
    "BuildRequested",
    "BuildStarted",
    "BuildSucceeded",
    "Envelope",
    "Event",
    "ReleaseCreated",
    "ReleaseDeployed",
    "ReleaseFailed",
    "ReleaseProgress",
    "ReleaseRejected",
    "UnknownEventError",
    "UserChanged",
    "registered_events",
]

"""A delivery: one deploy hook of one release, to be sent to one receiver until that receiver has taken it."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from urllib.parse import urlencode, urlsplit
from uuid import UUID

FIRST_DELAY = timedelta(seconds=10)
LONGEST_DELAY = timedelta(hours=1)


class DeliveryState(StrEnum):
    """Where a delivery stands; only PENDING ones are sent."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


@dataclass(frozen=True)
class ReleaseFacts:
    """What a deploy hook says about a release; `sha` is empty for a release without a build."""

    app: str
    version: int
    summary: str
    sha: str
    user: str

    def query(self) -> str:
        """The form-encoded query, keys sorted: receivers compute the signature over exactly this text.

        Source of the names and of the order: the deploy hooks of the Drycc Workflow controller.
        """
        return urlencode(
            {
                "app": self.app,
                "release": f"v{self.version}",
                "release_summary": self.summary,
                "sha": self.sha,
                "user": self.user,
            }
        )


@dataclass(frozen=True)
class Target:
    """A configured receiver. Its URL may hold a token, so rows and logs know it by `digest` and `label` only."""

    url: str

    @property
    def digest(self) -> str:
        """SHA-256 of the URL, hexadecimal: the name under which deliveries refer to this receiver."""
        return hashlib.sha256(self.url.encode()).hexdigest()

    @property
    def label(self) -> str:
        """The URL as people may see it: scheme, host and port; path, query and user name are left out."""
        parts = urlsplit(self.url)
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        port = f":{parts.port}" if parts.port else ""
        rest = "/..." if parts.path.strip("/") or parts.query else ""
        return f"{parts.scheme}://{host}{port}{rest}"

    def complete(self, facts: ReleaseFacts) -> str:
        """The complete URL of a hook, which is also what the signatures cover."""
        joint = "&" if urlsplit(self.url).query else "?"
        return f"{self.url}{joint}{facts.query()}"


@dataclass(frozen=True)
class Delivery:
    """One delivery as stored. Times are UTC; `leased_until` is set while a sender is at work on it."""

    id: UUID
    event_id: str
    target: str
    url: str
    facts: ReleaseFacts
    state: DeliveryState
    attempts: int
    next_attempt_at: datetime
    give_up_at: datetime
    leased_until: datetime | None
    response_status: int | None
    last_error: str | None
    created_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True)
class Outcome:
    """What came of one attempt: the answer's status, or what went wrong before there was one.

    `is_final` says that another attempt cannot end better.
    """

    status: int | None
    error: str | None
    is_final: bool = False

    @property
    def is_delivered(self) -> bool:
        """Whether the receiver took the hook: it answered 2xx."""
        return self.error is None


def backoff(attempt: int) -> timedelta:
    """Delay after failed attempt number `attempt` (1-based): 10 s, doubled each time, at most an hour.

    Half of it is jitter, so that a receiver that comes back is not met by all of its deliveries at once.
    """
    longest = min(FIRST_DELAY * (1 << min(attempt - 1, 16)), LONGEST_DELAY)
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load; nothing secret depends on it

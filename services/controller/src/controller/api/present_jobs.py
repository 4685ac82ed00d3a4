"""One-off commands as the JSON that clients know."""

from __future__ import annotations

from controller.api.documents_jobs import JobDocument
from controller.api.present import instant, timestamp
from controller.domain.jobs import Job


def job(value: Job) -> JobDocument:
    """A one-off. Its command may hold secrets: only who may view the app, its config included, gets this."""
    return {
        "uuid": str(value.uuid),
        "name": value.name,
        "app": value.app,
        "owner": value.owner,
        "ptype": value.ptype,
        "release": f"v{value.release}",
        "command": list(value.command.words),
        "shell": value.is_shell,
        "volumes": {mount.volume: mount.path for mount in value.mounts},
        "timeout": int(value.timeout.total_seconds()),
        "state": value.state,
        "exit_code": value.exit_code,
        "reason": value.reason,
        "log": list(value.log),
        "hint": value.hint,
        "started": timestamp(value.started_at),
        "finished": timestamp(value.finished_at),
        "expires": timestamp(value.expires_at),
        "created": instant(value.created),
        "updated": instant(value.updated),
    }

"""Entries of the audit trail as JSON."""

from __future__ import annotations

from controller.api import documents_audit
from controller.api.present import instant
from controller.domain.audit import AuditEntry


def entry(value: AuditEntry) -> documents_audit.AuditDocument:
    """One entry."""
    return {
        "uuid": str(value.uuid),
        "at": instant(value.at),
        "app": value.app,
        "actor": value.actor,
        "action": value.action,
        "target": value.target,
        "source": value.origin.source,
        "address": value.origin.address,
        "request_id": value.origin.request_id,
        "before": None if value.before is None else dict(value.before),
        "after": None if value.after is None else dict(value.after),
    }

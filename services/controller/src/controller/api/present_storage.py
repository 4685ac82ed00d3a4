"""Limit plans, volumes and their files, and resources as the JSON that clients know."""

from __future__ import annotations

from typing import cast

from controller.api.documents_storage import (
    CpuDocument,
    FileDocument,
    MemoryDocument,
    PlanDocument,
    PlanFeatures,
    ResourceDetails,
    ResourceDocument,
    ServiceClassDocument,
    ServicePlanDocument,
    SpecDocument,
    SpecFeatures,
    VolumeDocument,
)
from controller.api.present import instant
from controller.domain.plans import LimitPlan, LimitSpec
from controller.domain.resources import PlanOffer, Resource, ServiceOffer, as_texts
from controller.domain.spec_storage import FileEntry
from controller.domain.volumes import Volume


def spec(value: LimitSpec) -> SpecDocument:
    """A spec; keywords and priority are the platform's own affair."""
    return {
        "id": value.id,
        "cpu": cast("CpuDocument", dict(value.cpu)),
        "memory": cast("MemoryDocument", dict(value.memory)),
        "features": cast("SpecFeatures", dict(value.features)),
        "disabled": value.disabled,
    }


def plan(value: LimitPlan) -> PlanDocument:
    """A plan with its spec."""
    return {
        "id": value.id,
        "spec": spec(value.spec),
        "cpu": value.cpu,
        "memory": value.memory,
        "features": cast("PlanFeatures", dict(value.features)),
        "disabled": value.disabled,
    }


def volume(value: Volume) -> VolumeDocument:
    """A volume. Keys in its parameters are in it: only who may view the app gets this."""
    return {
        "uuid": str(value.uuid),
        "app": value.app,
        "owner": value.owner,
        "path": dict(value.path),
        "parameters": dict(value.parameters),
        "created": instant(value.created),
        "updated": instant(value.updated),
        "name": value.name,
        "size": value.size,
        "type": value.type,
    }


def file(value: FileEntry) -> FileDocument:
    """A file or a directory; clients want nothing but texts."""
    return {
        "name": value.name,
        "path": value.path,
        "size": str(value.size),
        "type": "dir" if value.is_dir else "file",
        "timestamp": value.modified,
    }


def service(value: ServiceOffer) -> ServiceClassDocument:
    """A class of resources."""
    return {"id": value.id, "name": value.name, "updateable": value.updateable}


def service_plan(value: PlanOffer) -> ServicePlanDocument:
    """A plan of a class."""
    return {"id": value.id, "name": value.name, "description": value.description}


def resource(value: Resource) -> ResourceDocument:
    """A resource. What connects to it is in it: only who may view the app gets this."""
    return {
        "uuid": str(value.uuid),
        "app": value.app,
        "owner": value.owner,
        "name": value.name,
        "plan": value.plan,
        "data": as_texts(value.data),
        "options": as_texts(value.options),
        "created": instant(value.created),
        "updated": instant(value.updated),
        "status": value.status,
        "binding": value.binding,
    }


def resource_details(value: Resource, message: str | None) -> ResourceDetails:
    """A resource with its broker's last word."""
    return {**resource(value), "message": message}

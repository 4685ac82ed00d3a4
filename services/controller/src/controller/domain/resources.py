"""Resources: instances of what a service broker offers, bound or not (controller-api.md 3.23 and 4.24).

`ResourceBroker` is the port to the broker. States are words of people's screens: `status` is Provisioning, Ready,
Updating, Deprovisioning or ProvisionFailed; `binding` is None, Binding, Ready or Unbinding.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import ClassVar, Final, Protocol
from uuid import UUID

from controller.domain.errors import InvalidFieldsError
from controller.domain.fields import FieldChecker
from controller.domain.volumes import check_object_name
from shared.errors import ConflictError, InvalidInputError, NotFoundError, SuiteError

PROVISIONING: Final = "Provisioning"
READY: Final = "Ready"
UPDATING: Final = "Updating"
DEPROVISIONING: Final = "Deprovisioning"
PROVISION_FAILED: Final = "ProvisionFailed"
BINDING: Final = "Binding"
UNBINDING: Final = "Unbinding"
LOST_MESSAGE: Final = "the service broker does not know this resource: destroy it and create it again"
_MOST_OF_A_PLAN: Final = 128
_MOST_OPTIONS: Final = 1024 * 1024
"""Characters of all options as JSON; a cluster takes no objects of more than 1.5 MB."""
_RAW_VALUES: Final = "rawValues"


class BrokerUnavailableError(SuiteError):
    """There is no service broker, or it cannot be reached now."""

    code: ClassVar[str] = "broker-unavailable"
    status: ClassVar[int] = 503
    title: ClassVar[str] = "No service broker"


class ResourceExistsError(ConflictError):
    """The broker has a resource of that name already."""

    code: ClassVar[str] = "resource-exists"

    def __init__(self, name: str) -> None:
        super().__init__(f"Resource {name} already exists in this namespace", name=name)


class ResourceBusyError(ConflictError):
    """It is being bound or unbound this moment."""

    code: ClassVar[str] = "resource-busy"

    def __init__(self, name: str, binding: str) -> None:
        super().__init__(f"Resource {name} is {binding.lower()}", name=name)


class UnknownActionError(NotFoundError):
    """Neither bind nor unbind; told as a thing that is not there (controller-api.md 3.23)."""

    code: ClassVar[str] = "unknown-action"

    def __init__(self) -> None:
        super().__init__("unknown action")


@dataclass(frozen=True)
class Resource:
    """A resource of an app. `plan` is `<class>:<plan>`; `data` is what connects to it, once it is bound."""

    uuid: UUID
    app: str
    owner: str
    name: str
    plan: str
    created: datetime
    updated: datetime
    status: str | None = None
    binding: str | None = None
    data: Mapping[str, object] = field(default_factory=dict, repr=False)
    options: Mapping[str, object] = field(default_factory=dict, repr=False)

    @property
    def service(self) -> str:
        """The class that it is of."""
        return self.plan.partition(":")[0]


@dataclass(frozen=True)
class ServiceOffer:
    """A class of resources; `updateable`: an instance can get another plan."""

    id: str
    name: str
    updateable: bool


@dataclass(frozen=True)
class PlanOffer:
    """A size of a class."""

    id: str
    name: str
    description: str


@dataclass(frozen=True)
class ResourceState:
    """A resource as its broker sees it; `message` is the broker's last word on it."""

    status: str
    binding: str | None = None
    data: Mapping[str, object] = field(default_factory=dict, repr=False)
    message: str | None = None


class ResourceBroker(Protocol):
    """Whatever makes resources. They are known to it by their `uuid`.

    Every call has a deadline of the adapter's own and is idempotent: repeated, it finds its work done or under way. All
    raise BrokerUnavailableError, or another error of the suite with the broker's words.
    """

    async def services(self) -> Sequence[ServiceOffer]:
        """What is offered."""

    async def plans(self, service: str) -> Sequence[PlanOffer]:
        """The sizes of one class; none for one that is not offered."""

    async def provision(self, resource: Resource) -> ResourceState:
        """Begin to make it.

        Raises:
            ResourceExistsError: another one of that name is there.
        """

    async def update(self, resource: Resource) -> ResourceState:
        """Begin to give it the plan and the options that it has in `resource`."""

    async def deprovision(self, uuid: UUID) -> None:
        """Remove it with its binding; an unknown one is gone already."""

    async def bind(self, uuid: UUID) -> ResourceState:
        """Begin to make what connects to it."""

    async def unbind(self, uuid: UUID) -> ResourceState:
        """Take that away again; nothing to do without it."""

    async def observe(self, uuid: UUID) -> ResourceState | None:
        """How it stands; None for one that the broker does not know."""


@dataclass(frozen=True)
class ResourceRequest:
    """A resource that somebody wants, checked as far as can be without the broker."""

    name: str
    plan: str
    options: Mapping[str, object] = field(default_factory=dict, repr=False)

    @property
    def service(self) -> str:
        """The class."""
        return self.plan.partition(":")[0]


def check_resource(body: Mapping[str, object]) -> ResourceRequest:
    """The resource that a request asks for.

    Raises:
        InvalidFieldsError: all that is wrong with its fields.
    """
    check = FieldChecker(body)
    name = check_object_name(check)
    plan = check.text("plan", required=True, most=_MOST_OF_A_PLAN)
    service, colon, size = plan.partition(":")
    if plan and not (colon and service and size):
        check.fail("plan", "plan must be <service>:<plan>, as `drycc resources plans <service>` lists them")
    options = _options(check, body)
    check.finish()
    _refuse_long(options)
    return ResourceRequest(name, plan, options)


def check_offered(plan: str, offers: Sequence[PlanOffer]) -> None:
    """Refuse what the broker does not offer.

    Raises:
        InvalidFieldsError: it is not among the plans of its class.
    """
    service, _, size = plan.partition(":")
    names = [offer.name for offer in offers]
    if size not in names:
        reason = f"{service} has: {', '.join(names)}" if names else f"no service is called {service}"
        raise InvalidFieldsError.of("plan", f"the plan {plan} is not offered, {reason}")


def changed_resource(resource: Resource, body: Mapping[str, object]) -> Resource:
    """The resource with the plan and the options of a request; an option that is null goes.

    Raises:
        InvalidInputError: it would be of another class (no plan counts as that), or is being made.
        InvalidFieldsError: the request is malformed.
    """
    check = FieldChecker(body)
    plan = check.text("plan", most=_MOST_OF_A_PLAN, null=True)
    options = _options(check, body)
    check.finish()
    if plan.partition(":")[0] != resource.service:
        raise InvalidInputError("the resource instance cann't changed")
    if resource.status == PROVISIONING:
        raise InvalidInputError("this resource instance is in progress")
    merged = {key: value for key, value in {**resource.options, **options}.items() if value is not None}
    _refuse_long(merged)
    return replace(resource, plan=plan, options=merged)


def check_action(body: Mapping[str, object]) -> bool:
    """Whether a request binds; otherwise it unbinds.

    Raises:
        UnknownActionError: it does neither.
    """
    action = body.get("bind_action")
    if action not in ("bind", "unbind"):
        raise UnknownActionError
    return action == "bind"


def refuse_bind(resource: Resource) -> None:
    """Bind only what is ready and not bound.

    Raises:
        InvalidInputError: it is not ready, or bound.
        ResourceBusyError: it is being bound or unbound.
    """
    if resource.status != READY:
        raise InvalidInputError("the resource instance is not ready")
    if resource.binding == READY:
        raise InvalidInputError("the resource instance is binding")
    if resource.binding is not None:
        raise ResourceBusyError(resource.name, resource.binding)


def refuse_unbind(resource: Resource) -> None:
    """Unbind only what is bound, or was about to be.

    Raises:
        InvalidInputError: it is not.
    """
    if resource.binding is None:
        raise InvalidInputError("the resource instance is not binding")


def refuse_delete(resource: Resource) -> None:
    """Keep what is in use or being made.

    Raises:
        InvalidInputError: it is.
    """
    if resource.binding is not None:
        raise InvalidInputError("the resource instance is still binding")
    if resource.status == PROVISIONING:
        raise InvalidInputError("the resource instance is provisioning")


def observed(resource: Resource, state: ResourceState | None) -> Resource:
    """The resource as its broker sees it. What was begun here and has not reached the broker yet stays as it is."""
    if resource.status == DEPROVISIONING:
        return resource
    if state is None:
        return replace(resource, status=PROVISION_FAILED, binding=None, data={})
    if resource.binding == BINDING and state.binding is None:
        return replace(resource, status=state.status)
    return replace(resource, status=state.status, binding=state.binding, data=state.data)


def as_texts(values: Mapping[str, object]) -> dict[str, str]:
    """Options or data as clients take them: texts; what is nested as JSON."""
    return {key: _text(value) for key, value in values.items()}


def _text(value: object) -> str:
    if value is None:
        return ""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, Mapping | list) else str(value)


def _options(check: FieldChecker, body: Mapping[str, object]) -> Mapping[str, object]:
    options = body.get("options")
    if options is None:
        return {}
    if not isinstance(options, Mapping):
        # The value stays out of the message: options may hold passwords.
        check.fail("options", f"Expected a dictionary, but got {type(options).__name__}.")
        return {}
    if not _is_base64(options.get(_RAW_VALUES)):
        check.fail("options", f"{_RAW_VALUES} must be a file in base64")
    return options


def _refuse_long(options: Mapping[str, object]) -> None:
    if len(json.dumps(options, ensure_ascii=False)) > _MOST_OPTIONS:
        problem = f"Ensure all options have no more than {_MOST_OPTIONS} characters of JSON."
        raise InvalidFieldsError.of("options", problem)


def _is_base64(raw: object) -> bool:
    try:
        return raw is None or bool(base64.b64decode(str(raw), validate=True))
    except (binascii.Error, ValueError):
        return False

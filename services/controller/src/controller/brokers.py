"""Adapters of the port to the service broker (`domain.resources.ResourceBroker`): none, and one in this process."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, NoReturn
from uuid import UUID, uuid5

from controller.domain.resources import (
    BINDING,
    PROVISIONING,
    READY,
    UPDATING,
    BrokerUnavailableError,
    PlanOffer,
    Resource,
    ResourceBroker,
    ResourceExistsError,
    ResourceState,
    ServiceOffer,
)
from shared.errors import SuiteError

NO_BROKER: Final = (
    "this platform has no service broker yet: run the service elsewhere and give its address to the app with "
    "`drycc config set`"
)
_IDS: Final = UUID("3b0c3f0e-6f0f-4f5e-9d7c-6d0a9f3c4a11")
_OFFERS: Final[Mapping[str, Mapping[str, str]]] = {
    "mysql": {"standard-10": "10 GiB of storage", "standard-50": "50 GiB of storage"},
    "postgres": {"standard-10": "10 GiB of storage", "standard-50": "50 GiB of storage"},
    "redis": {"standard-128": "128 MiB of memory", "standard-1024": "1024 MiB of memory"},
}
_PORTS: Final[Mapping[str, int]] = {"mysql": 3306, "postgres": 5432, "redis": 6379}


def make_broker(kind: Literal["none", "memory"]) -> ResourceBroker:
    """The broker of this installation."""
    return MemoryBroker() if kind == "memory" else NoBroker()


class NoBroker:
    """There is no broker: nothing can be had, and whatever rows say, there is nothing to look at or to remove."""

    async def services(self) -> Sequence[ServiceOffer]:
        """Refused, as everything that needs a broker."""
        _refuse()

    async def plans(self, service: str) -> Sequence[PlanOffer]:
        """Refused."""
        _refuse(service)

    async def provision(self, resource: Resource) -> ResourceState:
        """Refused."""
        _refuse(resource)

    async def update(self, resource: Resource) -> ResourceState:
        """Refused."""
        _refuse(resource)

    async def deprovision(self, uuid: UUID) -> None:
        """Nothing to do."""

    async def bind(self, uuid: UUID) -> ResourceState:
        """Refused."""
        _refuse(uuid)

    async def unbind(self, uuid: UUID) -> ResourceState:
        """Refused."""
        _refuse(uuid)

    async def observe(self, uuid: UUID) -> ResourceState | None:
        """It is not known."""
        del uuid
        return None


@dataclass
class _Instance:
    resource: Resource
    state: ResourceState


class MemoryBroker:
    """Makes resources that are credentials for nothing, at once unless it is held; for the memory engine, which runs
    nothing either. It forgets everything when the process ends."""

    def __init__(self) -> None:
        self._instances: dict[UUID, _Instance] = {}
        self._held = False
        self._away: SuiteError | None = None
        self._refusal: SuiteError | None = None

    # --- the script ---

    def hold(self) -> None:
        """From now on work begins but does not end."""
        self._held = True

    def let_go(self) -> None:
        """End what was begun, and go on as usual."""
        self._held = False
        for instance in self._instances.values():
            self._finish(instance)

    def go_away(self, error: SuiteError | None) -> None:
        """From now on every call fails like this; None: no more."""
        self._away = error

    def refuse(self, error: SuiteError | None) -> None:
        """From now on whatever changes something fails like this, questions do not; None: no more."""
        self._refusal = error

    def forget(self, uuid: UUID) -> None:
        """Lose an instance."""
        self._instances.pop(uuid, None)

    def options_of(self, uuid: UUID) -> Mapping[str, object]:
        """What an instance was made with."""
        return self._instances[uuid].resource.options

    # --- the port ---

    async def services(self) -> Sequence[ServiceOffer]:
        """See `ResourceBroker.services`."""
        self._answer()
        return [ServiceOffer(_id(name), name, updateable=True) for name in _OFFERS]

    async def plans(self, service: str) -> Sequence[PlanOffer]:
        """See `ResourceBroker.plans`."""
        self._answer()
        offers = _OFFERS.get(service, {})
        return [PlanOffer(_id(f"{service}:{name}"), name, text) for name, text in offers.items()]

    async def provision(self, resource: Resource) -> ResourceState:
        """See `ResourceBroker.provision`."""
        self._obey()
        for known in self._instances.values():
            same_place = (known.resource.app, known.resource.name) == (resource.app, resource.name)
            if same_place and known.resource.uuid != resource.uuid:
                raise ResourceExistsError(resource.name)
        instance = self._instances.setdefault(resource.uuid, _Instance(resource, ResourceState(PROVISIONING)))
        return self._finish(instance)

    async def update(self, resource: Resource) -> ResourceState:
        """See `ResourceBroker.update`."""
        instance = self._instance(resource.uuid)
        instance.resource = resource
        instance.state = replace(instance.state, status=UPDATING)
        return self._finish(instance)

    async def deprovision(self, uuid: UUID) -> None:
        """See `ResourceBroker.deprovision`."""
        self._obey()
        self._instances.pop(uuid, None)

    async def bind(self, uuid: UUID) -> ResourceState:
        """See `ResourceBroker.bind`."""
        instance = self._instance(uuid)
        if instance.state.binding is None:
            instance.state = replace(instance.state, binding=BINDING)
        return self._finish(instance)

    async def unbind(self, uuid: UUID) -> ResourceState:
        """See `ResourceBroker.unbind`."""
        instance = self._instance(uuid)
        instance.state = replace(instance.state, binding=None, data={})
        return self._finish(instance)

    async def observe(self, uuid: UUID) -> ResourceState | None:
        """See `ResourceBroker.observe`."""
        self._answer()
        instance = self._instances.get(uuid)
        return None if instance is None else instance.state

    def _answer(self) -> None:
        if self._away is not None:
            raise self._away

    def _obey(self) -> None:
        self._answer()
        if self._refusal is not None:
            raise self._refusal

    def _instance(self, uuid: UUID) -> _Instance:
        self._obey()
        instance = self._instances.get(uuid)
        if instance is None:
            raise BrokerUnavailableError("the service broker does not know this resource")
        return instance

    def _finish(self, instance: _Instance) -> ResourceState:
        """Take the instance to where it was going, unless everything is held."""
        if self._held:
            return instance.state
        state = replace(instance.state, status=READY, message=f"{instance.resource.plan} is ready")
        if state.binding == BINDING:
            state = replace(state, binding=READY, data=_credentials(instance.resource))
        instance.state = state
        return state


def _refuse(*_: object) -> NoReturn:
    raise BrokerUnavailableError(NO_BROKER)


def _id(name: str) -> str:
    return str(uuid5(_IDS, name))


def _credentials(resource: Resource) -> dict[str, object]:
    return {
        "HOST": f"{resource.name}.{resource.app}.invalid",
        "PORT": _PORTS[resource.service],
        "USERNAME": resource.app,
        "PASSWORD": secrets.token_urlsafe(24),
    }

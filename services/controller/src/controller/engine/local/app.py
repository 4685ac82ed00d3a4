"""One app on this machine: its process groups and its routes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from controller.domain.spec import AppObservation, AppSpec, Failure, InstanceState
from controller.engine.local.edge import Edge
from controller.engine.local.group import ProcessGroup
from controller.engine.local.instance import Instance
from controller.engine.local.machine import Machine


class LocalApp:
    """Holds a group for each process type that should be there, or still is."""

    def __init__(self, machine: Machine, edge: Edge, name: str, *, changed: Callable[[], None]) -> None:
        self._machine = machine
        self._edge = edge
        self._name = name
        self._changed = changed
        self._told: AppObservation | None = None
        self._groups: dict[str, ProcessGroup] = {}

    @property
    def groups(self) -> list[ProcessGroup]:
        """All groups, those on their way out included."""
        return list(self._groups.values())

    async def apply(self, spec: AppSpec) -> None:
        """From now on, work towards this; its routes are set when this returns.

        Raises:
            NotSupportedError: the edge cannot route such a host.
        """
        for process in spec.processes:
            if group := self._groups.get(process.ptype):
                group.want(process)
            else:
                self._groups[process.ptype] = ProcessGroup(
                    self._machine, self._name, process, publish=self._publish, changed=self.look
                )
        wanted = {process.ptype for process in spec.processes}
        for ptype, group in self._groups.items():
            if ptype not in wanted:
                group.remove()
        # Last, because nothing may come between the check of the caller and the changes above.
        await self._edge.set_routes(self._name, {route.host: route.ptype for route in spec.routes})
        self.look()

    def look(self) -> None:
        """Tell those who watch when there is something new to see; an apply that changes nothing is nothing new."""
        now = self.observe([])
        if now != self._told:
            self._told = now
            self._changed()

    def observe(self, jobs: list[InstanceState]) -> AppObservation:
        """What is there now."""
        states = [group.state for group in self._groups.values() if not group.is_removed]
        instances = [instance for group in self._groups.values() for instance in group.instances]
        return AppObservation(self._name, tuple(states), (*instances, *jobs))

    async def explain(self, ptype: str) -> Failure | None:
        """Why the newest instance of that type is not ready."""
        group = self._groups.get(ptype)
        return None if group is None else await group.explain()

    def find(self, name: str) -> tuple[ProcessGroup, Instance] | None:
        """The instance of that name and its group."""
        for group in self._groups.values():
            if instance := group.find(name):
                return group, instance
        return None

    async def remove(self) -> None:
        """Take routes and processes away; returns when they are gone."""
        for group in self._groups.values():
            group.remove()
        await self._edge.set_routes(self._name, {})
        await asyncio.gather(*(group.wait_gone() for group in self._groups.values()))
        await asyncio.gather(*(group.halt() for group in self._groups.values()))
        self._groups.clear()
        await self._edge.remove(self._name)

    async def _publish(self, group: ProcessGroup) -> tuple[str, ...]:
        return await self._edge.publish(self._name, group.state.ptype, group.addresses)

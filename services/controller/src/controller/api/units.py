"""A class of routes that opens the unit of work which their endpoints take as `deps.Work`."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from starlette.responses import Response

from controller.api.deps import begun_work, context_of, require_person, unit_of_work, use_work

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class UnitRoute(APIRoute):
    """Routes whose endpoints do their work in one transaction, or in none where that changes nothing: for a GET.

    It is committed before the first byte of the answer, so that a 2xx is never taken back.
    """

    def get_route_handler(self) -> Handler:
        """The handler of FastAPI, in a unit of work where the endpoint asks for one."""
        handle = super().get_route_handler()
        asks_who = _asks_for(require_person, self.dependant)

        async def handle_in_unit(request: Request) -> Response:
            if begun_work(request) is not None:
                return await handle(request)
            if asks_who:
                await require_person(request)  # first, for it takes a connection of its own, and gives it back
            units = context_of(request).unit_of_work
            async with units.reading() if request.method == "GET" else units() as uow:
                use_work(request, uow)
                return await handle(request)

        return handle_in_unit if is_done_in_one_transaction(self.dependant) else handle


def is_done_in_one_transaction(dependant: Dependant) -> bool:
    """Whether an endpoint works in `deps.Work`."""
    return _asks_for(unit_of_work, dependant)


def _asks_for(dependency: Callable[..., Any], dependant: Dependant) -> bool:
    return dependant.call is dependency or any(_asks_for(dependency, each) for each in dependant.dependencies)

"""The client of the API server, for the kinds that apps are made of."""

from __future__ import annotations

from controller.engine.kubernetes.kinds import KINDS, Kind
from controller.engine.kubernetes.names import FIELD_MANAGER
from shared.kubernetes import client as general
from shared.kubernetes.calls import DEADLINE_SECONDS
from shared.kubernetes.transport import Access


class Client(general.Client[Kind]):
    """See `shared.kubernetes.client.Client`."""

    def __init__(self, access: Access, *, deadline: float = DEADLINE_SECONDS) -> None:
        super().__init__(access, KINDS, manager=FIELD_MANAGER, deadline=deadline)

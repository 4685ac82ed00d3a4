"""What holds for every command against the suite, and which commands have been there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from client.commands import TREE
from client.model.api import API_VERSION
from client.model.http import Exchange
from client.model.session import Outcome

_REDIRECTING: Final = "/v2/auth/login/"


@dataclass
class Record:
    """Commands that were answered by the suite, or that ended well without asking it."""

    commands: set[str] = field(default_factory=set)

    def add(self, outcome: Outcome) -> None:
        """Remember a command that got further than its own checks."""
        if outcome.status == 0 or outcome.exchanges:
            self.commands |= {outcome.command, TREE.shortcuts.get(outcome.command, outcome.command)}


def check_wire(outcome: Outcome) -> None:
    """What every answer of a controller owes the client (cli.md 5, 11 and 13)."""
    assert not outcome.absent, f"{outcome.command}: keys that the client shows are missing: {outcome.absent}"
    for exchange in outcome.exchanges:
        _check_exchange(exchange)


def _check_exchange(exchange: Exchange) -> None:
    response = exchange.response
    where = f"{exchange.method} {exchange.target}: {response.status}"
    assert response.headers.get("drycc_api_version") == API_VERSION, f"{where} has no or a wrong version"
    assert response.status < 300 or response.status >= 400 or exchange.target == _REDIRECTING, f"{where} redirects"
    assert response.status != 500, f"{where}: {response.body!r}"

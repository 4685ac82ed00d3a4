"""Makes the fixtures of `support` available to every test."""

import signal

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

from support.fixtures import (  # noqa: F401  pytest finds fixtures by name in this module
    make_database,
    make_module_database,
    postgres,
    rabbitmq,
    rabbitmq_url,
    template_databases,
)

# A shell starts what runs in the background with SIGINT ignored, and children inherit that: no Ctrl-C of a test would
# reach the git that it starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


class _WholeFiles(LoadFileScheduling):  # type: ignore[misc]  # xdist has no types
    """Gives each process whole files of tests, and those of the client together: the last of them looks back at all."""

    def _split_scope(self, nodeid: str) -> str:
        client = "tests/client/"
        return client if nodeid.startswith(client) else str(super()._split_scope(nodeid))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> _WholeFiles:
    """How the tests are given out when several processes run them."""
    return _WholeFiles(config, log)

"""Options of `workflow up` that later starts remember: nothing is kept of a call that is refused."""

from pathlib import Path

import pytest

from standalone.errors import AlreadyRunningError, StandaloneError
from standalone.home import Home
from standalone.runner import configure


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path / "home")
    configure(made, port=18001, ssh_port=18002, bind=None)
    return made


def test_a_running_platform_keeps_its_ports(home: Home) -> None:
    with home.locked(), pytest.raises(AlreadyRunningError):
        configure(home, port=18003, ssh_port=None, bind=None)
    assert home.load().http_port == 18001


def test_both_ports_must_differ(home: Home) -> None:
    with pytest.raises(StandaloneError, match="--port and --ssh-port are both 18002"):
        configure(home, port=18002, ssh_port=None, bind=None)
    assert home.load().http_port == 18001


@pytest.mark.parametrize("bind", ["localhost", "::", "", "256.0.0.1"])
def test_the_address_to_listen_on_is_an_address(home: Home, bind: str) -> None:
    with pytest.raises(StandaloneError, match="--bind takes an IPv4 address"):
        configure(home, port=None, ssh_port=None, bind=bind)
    assert home.load().bind == "127.0.0.1"

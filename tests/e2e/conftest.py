"""One platform for all end-to-end tests, started and stopped by the `workflow` command like a user's."""

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.live import Live, User, workflow
from standalone.home import Home
from standalone.processes import marked
from support import require_tool


def free_ports() -> tuple[int, int]:
    """Two ports that nobody uses now."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        return one.getsockname()[1], two.getsockname()[1]


def _programs_without_containers(directory: Path) -> Path:
    """Every program of this machine but the container tools, so that their absence can be tested anywhere."""
    for folder in os.environ["PATH"].split(os.pathsep):
        for program in Path(folder).iterdir() if Path(folder).is_dir() else ():
            link = directory / program.name
            if program.name not in {"docker", "podman", "buildah"} and not link.is_symlink():
                link.symlink_to(program)
    return directory


@pytest.fixture(scope="session", autouse=True)
def programs() -> None:
    """What every push needs."""
    require_tool("git")
    require_tool("ssh")
    require_tool("ssh-keygen")


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A directory with a path short enough for unix sockets."""
    path = Path(tempfile.mkdtemp(prefix="wf-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A running platform; after the last test nothing of it may be left."""
    path = Path(tempfile.mkdtemp(prefix="wf-"))
    http_port, ssh_port = free_ports()
    home = Home(path)
    tools = _programs_without_containers(tmp_path_factory.mktemp("programs"))
    ports = ("--port", str(http_port), "--ssh-port", str(ssh_port))
    done = workflow(path, "up", "--detach", *ports, env={"PATH": str(tools)})
    log = home.platform_log.read_text()[-5000:] if home.platform_log.exists() else ""
    assert done.returncode == 0, done.stdout + done.stderr + log
    config = home.load()
    platform = Live(home, config, tmp_path_factory.mktemp("live"))
    yield platform
    for user in platform.users.values():
        user.http.close()
    done = workflow(path, "down")
    assert done.returncode == 0, done.stderr
    assert marked(config.home_id) == []
    shutil.rmtree(path)


@pytest.fixture(scope="session")
def admin(live: Live) -> User:
    """The administrator, with a key."""
    return live.make_user(live.config.admin_username, live.config.admin_password)

"""Which container tool is chosen: stand-ins for the tools answer as the real ones do on machines of all kinds."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from shared.containers import ToolFinder, ask

NO_DAEMON = 'echo "Cannot connect to the Docker daemon" >&2; exit 1'
WORKS = "exit 0"
DENIED = 'if [ "$1" = run ]; then echo "Error: OCI permission denied" >&2; exit 126; fi'
PODMAN_RUNS = '[ "$1" != run ] || exit 127'
BUILDAH_RUNS = 'if [ "$1" = run ]; then echo "fork/exec /none: no such file or directory" >&2; exit 1; fi'
BUILDAH_DENIED = 'if [ "$1" = run ]; then echo "unshare: operation not permitted" >&2; exit 1; fi'


class Machine:
    """A directory of programs and what they were asked for."""

    def __init__(self, base: Path) -> None:
        self.programs = base
        self.calls = base / "calls"
        self.finder = ToolFinder(lambda: {"PATH": str(base)})

    def install(self, name: str, script: str) -> None:
        """A program that writes down its first word."""
        program = self.programs / name
        program.write_text(f'#!/bin/sh\necho "{name} $1" >> {self.calls}\n{script}\n')
        program.chmod(0o755)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.mark.parametrize(
    ("tools", "chosen"),
    [
        ({}, None),
        ({"docker": WORKS, "podman": PODMAN_RUNS}, "docker"),
        ({"docker": NO_DAEMON, "podman": PODMAN_RUNS, "buildah": BUILDAH_RUNS}, "podman"),
        ({"docker": NO_DAEMON, "podman": DENIED, "buildah": BUILDAH_RUNS}, "buildah"),
        ({"docker": NO_DAEMON, "podman": DENIED, "buildah": BUILDAH_DENIED}, None),
        ({"podman": "exit 125"}, None),
    ],
)
async def test_the_first_that_builds_and_runs(machine: Machine, tools: dict[str, str], chosen: str | None) -> None:
    for name, script in tools.items():
        machine.install(name, script)
    found = await machine.finder.find()
    assert found == ((chosen, str(machine.programs / chosen)) if chosen else None)


async def test_the_check_is_made_once_and_leaves_nothing(machine: Machine) -> None:
    machine.install("buildah", BUILDAH_RUNS)
    for _ in range(3):
        assert await machine.finder.path_of("buildah")
    assert machine.calls.read_text().splitlines() == [f"buildah {word}" for word in ("info", "from", "run", "rm")]
    assert await machine.finder.path_of("rm") is None


async def test_an_answer_has_a_deadline() -> None:
    answer = await ask(("sh", "-c", "echo late >&2; sleep 600"), environment=os.environ, deadline_seconds=0.2)
    assert (answer.status, answer.reason) == (124, "no answer within 0.2 s")
    answer = await ask(("sh", "-c", "echo 'Error: too bad' >&2; exit 3"), environment=os.environ)
    assert (answer.status, answer.reason) == (3, "too bad")
    assert (await ask(("/nonexistent",), environment={})).status == 127

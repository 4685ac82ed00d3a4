"""Buildah as a tool that runs images: a working container of the image, and the app in it by `buildah run`.

Buildah's chroot isolation gives the app the image's files and user and nothing more: processes, network and control
groups are the machine's, so the engine's own means (marks, memory limit) hold for them.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil

from controller.engine.local.census import alive, send
from controller.engine.local.config import INSTANCE_VARIABLE, MARK_VARIABLE
from controller.engine.local.launch import Launch, LaunchError
from shared.containers import CHROOT, Answer, ask

_PULL_SECONDS = 300.0
_CALL_SECONDS = 20.0
_POLL_SECONDS = 0.05
_LAST_SECONDS = 1.0


@dataclass(frozen=True)
class Buildah:
    """Runs images with buildah at `path`. Working containers are named `workflow-<mark>-<instance>`."""

    path: str
    mark: str
    environment: Callable[[Launch], Mapping[str, str]]
    name: str = "buildah"
    limits_memory: bool = False

    @property
    def prefix(self) -> str:
        """What the names of all working containers of this home begin with."""
        return f"workflow-{self.mark}-"

    async def prepare(
        self,
        launch: Launch,
        *,
        name: str,
        memory_bytes: int | None,  # noqa: ARG002 - the engine limits what runs in here itself
        env_file: Path,  # noqa: ARG002 - buildah reads no such file
    ) -> tuple[tuple[str, ...], Mapping[str, str]]:
        """Make the working container and put the environment into its stored configuration.

        `buildah run` takes values from its command line only, which every user of the machine can read.

        Raises:
            LaunchError: `image-not-found`, or `process-crashed` for an image without a command.
        """
        container = self.prefix + name
        # What was built here is in no registry: asking for it would take a while to fail.
        pull = "--pull-never" if (launch.image or "").startswith("localhost/") else "--pull=false"
        made = await self._ask("from", "--quiet", pull, "--name", container, launch.image or "", seconds=_PULL_SECONDS)
        if made.status != 0:
            raise _not_found(launch.image or "", made)
        facts = _object(await self._ask("inspect", container))
        image = _mapping(_mapping(facts, "OCIv1"), "config")
        command = command_of(image, launch)
        record = await self._record(str(facts.get("ContainerID")))
        await asyncio.to_thread(_store_environment, record, launch.env)
        options = (*CHROOT, "--network", "host")
        return (self.path, "run", *options, container, "--", *command), self.environment(launch)

    async def stop(self, name: str, *, leader: int, grace: timedelta) -> None:
        """Signal the app and not the tool: buildah's own end is at once the end of all in the container."""
        inside = await asyncio.to_thread(_marked, name, self.mark, leader)
        if not inside:
            return
        send(inside, signal.SIGTERM)
        try:
            async with asyncio.timeout(grace.total_seconds()):
                await _ended(inside)
        except TimeoutError:
            send(inside | await asyncio.to_thread(_marked, name, self.mark, leader), signal.SIGKILL)
        # Time for the tool to unmount and to leave in order.
        try:
            async with asyncio.timeout(_LAST_SECONDS):
                await _ended({leader})
        except TimeoutError:
            return

    async def clear(self, name: str) -> None:
        """Remove the working container."""
        await self._ask("rm", self.prefix + name)

    async def remove_marked(self) -> None:
        """Remove every working container with this home's prefix."""
        listing = await self._ask("containers", "--noheading", "--format", "{{.ContainerName}}")
        if names := [name for name in listing.output.split() if name.startswith(self.prefix)]:
            await self._ask("rm", *names)

    def exec_command(
        self,
        name: str,
        command: Sequence[str],
        *,
        tty: bool,
        stdin: bool,  # noqa: ARG002 - buildah always passes it on
    ) -> tuple[str, ...]:
        """The command line of a second process in the same working container, with the app's environment."""
        options = [*CHROOT, "--network", "host", *(["--terminal"] if tty else [])]
        return (self.path, "run", *options, self.prefix + name, "--", *command)

    async def _record(self, container_id: str) -> Path:
        """The file in which buildah keeps the configuration of a working container, mode 0600."""
        store = _mapping(_object(await self._ask("info")), "store")
        directory = Path(str(store.get("GraphRoot")), f"{store.get('GraphDriverName')}-containers", container_id)
        return directory / "userdata" / "buildah.json"

    async def _ask(self, *arguments: str, seconds: float = _CALL_SECONDS) -> Answer:
        return await ask((self.path, *arguments), environment=os.environ, deadline_seconds=seconds)


def command_of(image: Mapping[str, Any], launch: Launch) -> tuple[str, ...]:
    """What to run: the launch's words after its entry point or else the image's, or all that the image says.

    Raises:
        LaunchError: nobody says what to run.
    """
    if launch.entrypoint is not None:
        return (launch.entrypoint, *launch.argv)
    words = (*(image.get("Entrypoint") or ()), *(launch.argv or image.get("Cmd") or ()))
    if not words:
        raise LaunchError(
            "process-crashed",
            "the image names no command to run",
            "Add CMD or ENTRYPOINT to the Dockerfile, or a Procfile with a line for this process type, and push again.",
        )
    return tuple(str(word) for word in words)


def _store_environment(record: Path, env: Mapping[str, str]) -> None:
    """Write the app's variables over the image's own, as `buildah config --env` would.

    Raises:
        LaunchError: the file is not as we know it.
    """
    try:
        facts = json.loads(record.read_text())
        config = facts["ociv1"]["config"]
        own = dict(entry.split("=", 1) for entry in config.get("Env") or () if "=" in entry)
        config["Env"] = [f"{name}={value}" for name, value in (own | dict(env)).items()]
        record.write_text(json.dumps(facts))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as exc:
        raise _unusable(f"{record}: {type(exc).__name__}") from exc


def _object(answer: Answer) -> Mapping[str, Any]:
    try:
        facts = json.loads(answer.output) if answer.status == 0 else None
    except ValueError:
        facts = None
    if not isinstance(facts, dict):
        raise _unusable(answer.reason)
    return facts


def _mapping(facts: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = facts.get(name)
    return value if isinstance(value, dict) else {}


def _marked(instance: str, mark: str, leader: int) -> set[int]:
    """Processes in the container: buildah starts them with the environment that was stored for them."""
    found = set()
    for process in psutil.process_iter():
        try:
            env = process.environ()
        except (psutil.Error, OSError):
            continue
        if env.get(INSTANCE_VARIABLE) == instance and env.get(MARK_VARIABLE) == mark:
            found.add(process.pid)
    return found - {leader}


async def _ended(pids: set[int]) -> None:
    while alive(pids):  # noqa: ASYNC110 - nobody tells us of the end of other processes' children
        await asyncio.sleep(_POLL_SECONDS)


def _not_found(image: str, answer: Answer) -> LaunchError:
    return LaunchError(
        "image-not-found",
        f"buildah cannot start from the image {image}: {answer.reason}",
        "Push the app again to build it; for an image of a registry check its name and `buildah login`.",
    )


def _unusable(why: str) -> LaunchError:
    return LaunchError(
        "container-tool-missing",
        f"this version of buildah does not keep working containers as expected ({why})",
        "Install podman or docker, or a buildah of your distribution, and push again.",
    )

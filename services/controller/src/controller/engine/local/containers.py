"""Container tools as the engine uses them: what all have in common, docker and podman, and which of them to use."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Protocol

from controller.engine.local.buildah import Buildah
from controller.engine.local.config import INSTANCE_VARIABLE, MARK_VARIABLE
from controller.engine.local.launch import Launch, LaunchError
from shared.containers import TOOLS, ToolFinder, ask

LABEL = "workflow.home"
_CALL_SECONDS = 20.0

# Variables that steer the tool itself; an app's value for such a one goes through a file, not the environment.
_STEERING = (
    *("PATH", "HOME", "TMPDIR", "LD_", "XDG_", "REGISTRY_AUTH_FILE"),
    *("DOCKER_", "CONTAINER", "PODMAN", "BUILDAH", "STORAGE_"),
)


class ContainerTool(Protocol):
    """A container tool that works; `name` of an instance in these methods is the engine's name for it."""

    @property
    def name(self) -> str:
        """`docker`, `podman` or `buildah`."""

    @property
    def limits_memory(self) -> bool:
        """Whether it is told the memory limit; the engine sets one itself otherwise."""

    async def prepare(
        self, launch: Launch, *, name: str, memory_bytes: int | None, env_file: Path
    ) -> tuple[tuple[str, ...], Mapping[str, str]]:
        """Make all ready for one start; the command line that runs the container in the foreground, its environment.

        No value of a variable is on the command line.

        Raises:
            LaunchError: the image is not there, or says of no command.
        """

    async def stop(self, name: str, *, leader: int, grace: timedelta) -> None:
        """SIGTERM for the app, and SIGKILL after `grace`. `leader` is the process of the tool."""

    async def clear(self, name: str) -> None:
        """Remove what was made for one start, when its processes have ended; safe where there is nothing."""

    async def remove_marked(self) -> None:
        """Remove everything that was made for this home."""

    def exec_command(self, name: str, command: Sequence[str], *, tty: bool, stdin: bool) -> tuple[str, ...]:
        """The command line that starts something beside the app."""


@dataclass(frozen=True)
class DockerLike:
    """Docker, or Podman with the same command line. `mark` is the home's, and the label of its containers."""

    name: str
    path: str
    mark: str
    limits_memory: bool = True

    async def prepare(
        self, launch: Launch, *, name: str, memory_bytes: int | None, env_file: Path
    ) -> tuple[tuple[str, ...], Mapping[str, str]]:
        """Values go through the environment of the tool, those that would steer it through the file."""
        await asyncio.to_thread(env_file.write_text, env_file_text(launch.env))
        values = {variable: value for variable, value in launch.env.items() if not is_steering(variable)}
        command = self.run_command(launch, name=name, memory_bytes=memory_bytes, env_file=env_file)
        return command, values | tool_environment(launch)

    def run_command(self, launch: Launch, *, name: str, memory_bytes: int | None, env_file: Path) -> tuple[str, ...]:
        """The command line that runs the container in the foreground."""
        options = ["run", "--rm", "--name", name, "--label", f"{LABEL}={self.mark}", "--network", "host"]
        if memory_bytes is not None:
            options += ["--memory", str(memory_bytes)]
        for variable in sorted(launch.env):
            if not is_steering(variable):
                options += ["--env", variable]
        options += ["--env-file", str(env_file)]
        if launch.entrypoint is not None:
            options += ["--entrypoint", launch.entrypoint]
        return (self.path, *options, launch.image or "", *launch.argv)

    async def stop(
        self,
        name: str,
        *,
        leader: int,  # noqa: ARG002 - the tool knows the container by its name
        grace: timedelta,
    ) -> None:
        """The tool does it, and returns when the container has ended."""
        seconds = max(1, round(grace.total_seconds()))
        await self._call("stop", "-t", str(seconds), name, deadline_seconds=seconds + _CALL_SECONDS)

    async def clear(self, name: str) -> None:
        """Remove the container."""
        await self._call("rm", "-f", name)

    async def remove_marked(self) -> None:
        """Remove every container with the label of this home."""
        listing = await self._call("ps", "-aq", "--filter", f"label={LABEL}={self.mark}")
        if names := listing.split():
            # Podman's `rm -f` alone would first ask politely for ten seconds.
            await self._call("kill", *names)
            await self._call("rm", "-f", *names)

    def exec_command(self, name: str, command: Sequence[str], *, tty: bool, stdin: bool) -> tuple[str, ...]:
        """The command line that joins the running container."""
        options = [flag for flag, on in (("-t", tty), ("-i", stdin)) if on]
        return (self.path, "exec", *options, name, *command)

    async def _call(self, *arguments: str, deadline_seconds: float = _CALL_SECONDS) -> str:
        answer = await ask((self.path, *arguments), environment=os.environ, deadline_seconds=deadline_seconds)
        return answer.output if answer.status == 0 else ""


class ContainerTools:
    """The container tools of one engine; `mark` is the home's id."""

    def __init__(self, mark: str) -> None:
        self._mark = mark
        self._finder = ToolFinder(lambda: os.environ)
        self._used: dict[str, ContainerTool] = {}

    async def choose(self, launch: Launch) -> ContainerTool:
        """The tool that built the image, because tools do not see each other's images; else the first that works.

        Raises:
            LaunchError: `container-tool-missing`.
        """
        if launch.tool is not None:
            path = await self._finder.path_of(launch.tool)
            found = (launch.tool, path) if path else None
        else:
            found = await self._finder.find()
        if found is None:
            raise _missing(launch.tool)
        return self._used.setdefault(found[0], _tool(*found, self._mark))

    async def remove_used(self) -> None:
        """Remove what the tools in use have made for this home."""
        for tool in list(self._used.values()):
            await tool.remove_marked()

    async def remove_all(self) -> None:
        """Remove what any installed tool has made for this home, in an earlier run of the platform too."""
        for name in TOOLS:
            if path := await asyncio.to_thread(shutil.which, name):
                await _tool(name, path, self._mark).remove_marked()


def is_installed() -> bool:
    """Whether any tool is on the PATH; it may still not work."""
    return any(shutil.which(name) for name in TOOLS)


def is_steering(variable: str) -> bool:
    """Whether the tool itself would heed this variable."""
    return variable.upper().startswith(_STEERING)


def tool_environment(launch: Launch) -> dict[str, str]:
    """Environment of the tool itself: what steers it, of the platform's own, and the marks, to find the process by."""
    steering = {name: value for name, value in os.environ.items() if is_steering(name)}
    return steering | {name: launch.env[name] for name in (MARK_VARIABLE, INSTANCE_VARIABLE) if name in launch.env}


def env_file_text(env: Mapping[str, str]) -> str:
    """The steering variables in the tools' file format, which knows no line breaks: those values are left out."""
    kept = {name: value for name, value in env.items() if is_steering(name) and "\n" not in value}
    return "".join(f"{name}={value}\n" for name, value in sorted(kept.items()))


def _tool(name: str, path: str, mark: str) -> ContainerTool:
    if name == "buildah":
        return Buildah(path, mark, tool_environment)
    return DockerLike(name, path, mark)


def _missing(tool: str | None) -> LaunchError:
    if tool is not None:
        return LaunchError(
            "container-tool-missing",
            f"this app's image was built with {tool}, which does not work on this machine now",
            f"Get {tool} to work (check with `{tool} info`), or push the app again to build it with another tool.",
        )
    return LaunchError(
        "container-tool-missing",
        "this app is a container image, and none of docker, podman and buildah works on this machine",
        "Install podman or docker (check with `docker info`), or push an app with a Procfile, which needs none.",
    )

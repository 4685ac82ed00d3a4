"""Dockerfile apps: images built by a container tool of this machine."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from builder.domain.dryccfile import dockerfiles
from builder.domain.variables import app_variables
from builder.runner.local.context import BuildContext
from builder.runner.local.environment import tool_environment
from builder.runner.local.probe import answer_of
from builder.runner.local.workspace import LAUNCH_FILE, Launch
from builder.runner.port import BuildFailedError
from shared.containers import CHROOT, TOOLS, ToolFinder

REPOSITORY = "localhost/workflow"
_TOOL_FLAGS = {"docker": ("--progress", "plain"), "buildah": CHROOT}
_CONTINUED = re.compile(r"\\[ \t]*\r?\n")
_ARG = re.compile(r"^[ \t]*ARG[ \t]+(?P<names>.+)$", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True)
class ContainerTool:
    """A container tool that works: its name and where it is."""

    name: str
    path: Path


@dataclass(frozen=True)
class Image:
    """One image to build: its tag, its Dockerfile in the tree, and the arguments that the tree gives."""

    tag: str
    dockerfile: str
    arguments: Mapping[str, str]


class ContainerBuilder:
    """Builds images with the first of docker, podman and buildah that works."""

    def __init__(self, host: Mapping[str, str]) -> None:
        self._environment = tool_environment(host)
        self._finder = ToolFinder(lambda: self._environment)

    async def find(self) -> ContainerTool:
        """The first tool that can both build and run, by the rule that the engine chooses by.

        Raises:
            BuildFailedError: container-tool-missing.
        """
        if found := await self._finder.find():
            return ContainerTool(found[0], Path(found[1]))
        raise BuildFailedError(
            "container-tool-missing",
            "this app is built from a Dockerfile, and none of docker, podman and buildah works on this machine; "
            "an app with a Procfile needs none",
            hint="install podman, or remove the Dockerfile, or run `drycc config set DRYCC_STACK=buildpack`",
        )

    async def build(self, context: BuildContext) -> Launch:
        """Build the app's image and those of the process types that have one of their own.

        Raises:
            BuildFailedError: container-tool-missing, or a build failed.
        """
        tool = await self.find()
        await context.steps.heading(f"Dockerfile app detected (building with {tool.name})")
        main = f"{REPOSITORY}/{context.spec.app}:{context.spec.build_id}"
        images = _images(context, main)
        common = context.plan.arguments
        for image in images:
            await context.steps.heading(f"Building {image.dockerfile}...")
            await self._build(context, tool, image, common)
        for image in images:
            if image.tag != main:
                await asyncio.to_thread(_write_sibling, context, image, tool)
        return Launch("container", image=main, tool=tool.name)

    async def remove(self, launches: Iterable[Launch]) -> None:
        """Remove images of workspaces that are gone; an image that is in use or gone already stays as it is."""
        for launch in launches:
            path = shutil.which(launch.tool, path=self._environment["PATH"]) if launch.tool in TOOLS else None
            if path and launch.image and launch.image.startswith(f"{REPOSITORY}/"):
                await answer_of([path, "rmi", launch.image], environment=self._environment)

    async def _build(self, context: BuildContext, tool: ContainerTool, image: Image, common: Mapping[str, str]) -> None:
        values = await _argument_values(context, image, common)
        flags = [part for name in values for part in ("--build-arg", name)]
        flags += _TOOL_FLAGS.get(tool.name, ())
        await context.steps.run(
            f"building {image.dockerfile}",
            [tool.path, "build", "--file", image.dockerfile, "--tag", image.tag, *flags, "."],
            cwd=context.workspace.source,
            # Values reach the tool through its environment: command lines can be read by every user of the machine.
            environment=self._environment | values,
            hint=f"try `{tool.name} build -f {image.dockerfile} .` on your machine",
        )


def _images(context: BuildContext, main: str) -> list[Image]:
    """Images as the compatible API names them: the plain tag for web, `<tag>-<ptype>` for the others."""
    images = {
        (main if ptype == "web" else f"{main}-{ptype}"): (path, arguments)
        for ptype, (path, arguments) in dockerfiles(context.plan.dryccfile).items()
    }
    if main not in images and context.plan.dockerfile:
        images[main] = ("Dockerfile", {})
    return [Image(tag, path, arguments) for tag, (path, arguments) in images.items()]


async def _argument_values(context: BuildContext, image: Image, common: Mapping[str, str]) -> dict[str, str]:
    """Values for the ARGs that the Dockerfile declares: of the pipeline, of `.build-arg`, else the app's variables.

    Only declared names are given, because arguments become part of the image's history.
    """
    text = await context.read_text(image.dockerfile) or ""
    offered = app_variables(context.spec.config.group("global") | dict(common) | dict(image.arguments))
    lines = _CONTINUED.sub(" ", text)
    declared = [word.partition("=")[0] for match in _ARG.finditer(lines) for word in match["names"].split()]
    return {name: offered[name] for name in declared if name in offered}


def _write_sibling(context: BuildContext, image: Image, tool: ContainerTool) -> None:
    """Give a process type's own image a workspace, because the engine finds images through workspaces."""
    final = context.workspace.final
    directory = final.with_name(f"{final.name}{image.tag.rpartition(str(context.spec.build_id))[2]}")
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    source = directory / "source"
    if not os.path.lexists(source):
        source.symlink_to(Path("..", final.name, "source"))
    launch = Launch("container", image=image.tag, tool=tool.name)
    (directory / LAUNCH_FILE).write_text(launch.to_json())

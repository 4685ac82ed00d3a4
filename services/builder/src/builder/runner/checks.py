"""Early checks: all that can be wrong with a push before anything is built, found in the pushed tree alone."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Final, cast

from builder.domain.build_arguments import FILE as BUILD_ARGUMENTS
from builder.domain.build_arguments import BuildArgumentsError, parse_build_arguments
from builder.domain.builders import DESCRIPTOR, FILES, BuilderImageError, Wish, is_asked, wish_of
from builder.domain.detect import (
    BUILDPACK,
    CONTAINER,
    PYTHON_FILES,
    STATIC_ROOTS,
    Detected,
    NoProcfileError,
    NothingRecognisedError,
    detect,
    node_procfile,
    python_example,
)
from builder.domain.dryccfile import DryccfileError, dockerfiles
from builder.domain.procfile import ProcfileError, parse_procfile
from builder.runner.documents import read_dryccfile
from builder.runner.port import BuildFailedError, BuildFailureCode, BuildSpec, ChosenBuilder, Plan, Tree

PROCFILE, DOCKERFILE, CLEAR_CACHE = "Procfile", "Dockerfile", ".clear-cache"
Choose = Callable[[Wish], Awaitable[ChosenBuilder | None]]
"""What becomes of the builder image that an app asks for; None is the platform's own."""

_ERRORS: Final = (
    ProcfileError,
    DryccfileError,
    NothingRecognisedError,
    NoProcfileError,
    BuilderImageError,
    BuildArgumentsError,
)
_FROM = re.compile(r"^[ \t]*FROM[ \t]+\S", re.IGNORECASE | re.MULTILINE)


async def make_plan(tree: Tree, spec: BuildSpec, *, static_start: str, choose: Choose | None = None) -> Plan:
    """Read Procfile, `.drycc` and what tells the stack. `static_start` is how the runner starts a site of plain files.

    `choose` says what a wish for a builder image comes to; a runner without it has no use for such images.

    Raises:
        BuildFailedError: no-procfile, bad-procfile, bad-dryccfile, bad-builder, nothing-recognised, or build-failed
            for build arguments; in one line.
    """
    try:
        return await _plan(tree, spec, static_start, choose)
    except _ERRORS as exc:
        raise BuildFailedError(cast(BuildFailureCode, exc.code), exc.detail) from exc


async def _plan(tree: Tree, spec: BuildSpec, static_start: str, choose: Choose | None) -> Plan:
    names = await tree.list()
    procfile = await _read_procfile(tree) if PROCFILE in names else None
    dryccfile = await read_dryccfile(tree) if ".drycc/" in names else {}
    public = await tree.list(STATIC_ROOTS[0]) if f"{STATIC_ROOTS[0]}/" in names else []
    images = dockerfiles(dryccfile)
    uses_builder = not _is_container(names, spec, images)
    wish = await _read_wish(tree, names) if uses_builder and choose is not None else None
    builder = await choose(wish) if wish is not None and choose is not None else None
    detected = detect(
        names, asked=spec.stack, image_builds=list(images), public=public, has_builder=builder is not None
    )
    dockerfile = ""
    if detected.stack == CONTAINER:
        dockerfile = await _read_dockerfiles(tree, names, images)
    if procfile is None and "pipeline" not in dryccfile:
        procfile = await _default_procfile(tree, names, detected, static_start)
    return Plan(
        detected.stack,
        detected.kind,
        procfile or {},
        dryccfile,
        dockerfile,
        builder=builder,
        arguments=parse_build_arguments(await tree.read(BUILD_ARGUMENTS)) if BUILD_ARGUMENTS in names else {},
        is_fresh=CLEAR_CACHE in names,
        notes=_notes(names, detected, wish, builder, is_ignored=choose is None),
    )


def _is_container(names: list[str], spec: BuildSpec, images: object) -> bool:
    """Whether no buildpack has a part in it, or the wish for one is refused by `detect`."""
    return bool(images) or spec.stack == CONTAINER or (DOCKERFILE in names and spec.stack != BUILDPACK)


async def _read_wish(tree: Tree, names: list[str]) -> Wish | None:
    if not is_asked(names):
        return None
    return wish_of({name: await tree.read(name) for name in (*FILES, DESCRIPTOR) if name in names})


def _notes(
    names: list[str], detected: Detected, wish: Wish | None, builder: ChosenBuilder | None, *, is_ignored: bool
) -> tuple[str, ...]:
    """What is said of builder images before the build. project.toml is often there for other reasons."""
    if wish is not None and builder is not None:
        return (f"Building with {builder.name}, as {wish.file} asks",)
    found = [name for name in (*FILES, DESCRIPTOR) if name in names]
    if detected.stack == CONTAINER:
        return tuple(f"{name} is ignored: this app is built from a Dockerfile" for name in found if name != DESCRIPTOR)
    if is_ignored:
        return tuple(f"{name} is ignored: apps are built on this machine, without builder images" for name in found)
    return ()


async def _read_procfile(tree: Tree) -> dict[str, str]:
    content = await tree.read(PROCFILE)
    if content is None:
        raise ProcfileError("Procfile is not a regular file of at most 1 MiB")
    return parse_procfile(content)


async def _read_dockerfiles(tree: Tree, names: list[str], images: dict[str, tuple[str, dict[str, str]]]) -> str:
    for ptype, (path, _) in images.items():
        if await tree.read(path) is None:
            raise DryccfileError(
                f".drycc: the pipeline of `{ptype}` is built from {path}, which is not in the repository"
            )
    if DOCKERFILE not in names:
        return ""
    text = (await tree.read(DOCKERFILE) or b"").decode(errors="replace")
    if _FROM.search(text) is None:
        raise NothingRecognisedError("Dockerfile has no FROM line, so there is nothing to build from")
    if "\0" in text:
        raise NothingRecognisedError("Dockerfile holds NUL bytes, which no text does; remove them")
    return text


async def _default_procfile(tree: Tree, names: list[str], detected: Detected, static_start: str) -> dict[str, str]:
    if detected.kind == "node":
        return node_procfile(await tree.read("package.json") or b"" if "package.json" in names else b"{}")
    if detected.kind == "static":
        return {"web": static_start}
    if detected.kind == "python":
        dependencies = [await tree.read(name) for name in PYTHON_FILES if name in names]
        text = b"\n".join(content for content in dependencies if content).decode(errors="replace")
        raise NoProcfileError(
            "there is no Procfile to say how the app is started; add one with a line such as "
            f"`{python_example(names, text)}`"
        )
    return {}

"""Early checks: all that can be wrong with a push before anything is built, found in the pushed tree alone."""

from __future__ import annotations

import re
from typing import cast

from builder.domain.detect import (
    CONTAINER,
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
from builder.runner.port import BuildFailedError, BuildFailureCode, BuildSpec, Plan, Tree

PROCFILE, DOCKERFILE = "Procfile", "Dockerfile"
_FROM = re.compile(r"^[ \t]*FROM[ \t]+\S", re.IGNORECASE | re.MULTILINE)


async def make_plan(tree: Tree, spec: BuildSpec, *, static_start: str) -> Plan:
    """Read Procfile, `.drycc` and what tells the stack. `static_start` is how the runner starts a site of plain files.

    Raises:
        BuildFailedError: no-procfile, bad-procfile, bad-dryccfile or nothing-recognised, in one line.
    """
    try:
        return await _plan(tree, spec, static_start)
    except (ProcfileError, DryccfileError, NothingRecognisedError, NoProcfileError) as exc:
        raise BuildFailedError(cast(BuildFailureCode, exc.code), exc.detail) from exc


async def _plan(tree: Tree, spec: BuildSpec, static_start: str) -> Plan:
    names = await tree.list()
    procfile = await _read_procfile(tree) if PROCFILE in names else None
    dryccfile = await read_dryccfile(tree) if ".drycc/" in names else {}
    public = await tree.list(STATIC_ROOTS[0]) if f"{STATIC_ROOTS[0]}/" in names else []
    images = dockerfiles(dryccfile)
    detected = detect(names, asked=spec.stack, image_builds=list(images), public=public)
    dockerfile = ""
    if detected.stack == CONTAINER:
        dockerfile = await _read_dockerfiles(tree, names, images)
    if procfile is None and "pipeline" not in dryccfile:
        procfile = await _default_procfile(tree, names, detected, static_start)
    return Plan(detected.stack, detected.kind, procfile or {}, dryccfile, dockerfile)


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
    return text


async def _default_procfile(tree: Tree, names: list[str], detected: Detected, static_start: str) -> dict[str, str]:
    if detected.kind == "node":
        return node_procfile(await tree.read("package.json") or b"")
    if detected.kind == "static":
        return {"web": static_start}
    if detected.kind == "python":
        dependencies = [await tree.read(name) for name in ("requirements.txt", "pyproject.toml") if name in names]
        text = b"\n".join(content for content in dependencies if content).decode(errors="replace")
        raise NoProcfileError(
            "there is no Procfile to say how the app is started; add one with a line such as "
            f"`{python_example(names, text)}`"
        )
    return {}

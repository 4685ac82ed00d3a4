"""Node.js apps: packages by npm, shared between builds where the packages do not depend on the tree, then `build`."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from builder.files import remove_tree
from builder.runner.local.config import LocalRunnerConfig
from builder.runner.local.context import BuildContext, cache_key, is_complete
from builder.runner.local.probe import answer_of, modified
from builder.runner.local.workspace import COMPLETE, Launch
from builder.runner.port import BuildFailedError

PACKAGE = "package.json"
LOCKS = ("npm-shrinkwrap.json", "package-lock.json")
MODULES = "node_modules"
_VERSION_FILES = (".node-version", ".nvmrc")
# npm runs these on `npm ci` of the project itself, and they may need the whole tree (docs.npmjs.com, "scripts").
_INSTALL_SCRIPTS = ("preinstall", "install", "postinstall", "prepublish", "preprepare", "prepare", "postprepare")
_DEPENDENCY_TABLES = ("dependencies", "devDependencies", "optionalDependencies")
_OPTIONS = ("--no-audit", "--no-fund", "--no-update-notifier", "--no-progress", "--include=dev")


@dataclass(frozen=True)
class Node:
    """The Node.js of this machine."""

    node: Path
    npm: Path
    version: str

    @property
    def major(self) -> str:
        """`20` of 20.11.1."""
        return self.version.partition(".")[0]


class NodeBuilder:
    """Builds Node.js apps with the node and npm on the PATH of the host."""

    def __init__(self, config: LocalRunnerConfig) -> None:
        self._host = config.host_environment
        self._known: dict[tuple[Path, float | None], str] = {}

    async def find(self) -> Node:
        """Node.js and npm as they are installed.

        Raises:
            BuildFailedError: one of them is missing or does not run.
        """
        search = self._host.get("PATH", os.defpath)
        node, npm = shutil.which("node", path=search), shutil.which("npm", path=search)
        version = await self._version(Path(node)) if node else None
        if node is None or npm is None or version is None:
            raise BuildFailedError(
                "build-failed",
                "this is a Node.js app, and `node` and `npm` are not both on the PATH of Workflow",
                hint="install them (Debian, Ubuntu: the packages nodejs and npm), then push again",
            )
        return Node(Path(node), Path(npm), version)

    async def build(self, context: BuildContext) -> Launch:
        """Install the packages, run the `build` script if there is one.

        Raises:
            BuildFailedError: no Node.js, another version asked for, unusable package.json, or npm failed.
        """
        node = await self.find()
        await context.steps.heading(f"Node.js app detected (Node.js {node.version})")
        await _check_version(context, node)
        package = _parsed(await context.read_text(PACKAGE) or "{}")
        await _install_packages(context, node, package)
        if "build" in _table(package, "scripts"):
            await context.steps.heading("Running the build script...")
            await _npm(context, node, "the build script", ["run", "build"], cwd=context.workspace.source)
        return Launch("node", (context.workspace.final_source / MODULES / ".bin",))

    async def _version(self, node: Path) -> str | None:
        key = (node, modified(node))
        if key not in self._known:
            environment = {name: value for name, value in self._host.items() if name in ("PATH", "HOME")}
            answer = await answer_of([str(node), "--version"], environment=environment)
            if answer is None:
                return None
            self._known[key] = answer.removeprefix("v")
        return self._known[key]


async def _check_version(context: BuildContext, node: Node) -> None:
    for name in _VERSION_FILES:
        match = re.match(r"\s*v?(\d+)", await context.read_text(name) or "")
        if match and match[1] != node.major:
            raise BuildFailedError(
                "build-failed",
                f"{name} asks for Node.js {match[1]}; this machine has {node.version}",
                hint=f"change {name}, or install that version so that `node` on the PATH of Workflow is it",
            )


async def _install_packages(context: BuildContext, node: Node, package: dict[str, object]) -> None:
    locks = {name: text for name in LOCKS if (text := await context.read_text(name)) is not None}
    if not locks and not _needs_install(package):
        await context.steps.heading("No packages to install")
        return
    for name in ("yarn.lock", "pnpm-lock.yaml"):
        if not locks and await context.read(name) is not None:
            await context.steps.heading(f"{name} is not read; to pin versions, commit package-lock.json")
    command = "ci" if locks else "install"
    modules = context.workspace.source / MODULES
    if _depends_on_tree(package, locks) or await asyncio.to_thread(os.path.lexists, modules):
        await context.steps.heading(f"Installing packages with npm {command}...")
        if modules.is_symlink():
            await asyncio.to_thread(modules.unlink)
        await _npm(context, node, "installing packages", [command, *_OPTIONS], cwd=context.workspace.source)
        return
    cache = await _cached(context, node, command, locks)
    await asyncio.to_thread(modules.symlink_to, cache / MODULES)


async def _cached(context: BuildContext, node: Node, command: str, locks: dict[str, str]) -> Path:
    inputs = {PACKAGE: await context.read_text(PACKAGE) or ""} | locks
    if (settings := await context.read_text(".npmrc")) is not None:
        inputs[".npmrc"] = settings
    facts = {"node": [str(node.node), node.major], "files": inputs, "options": context.package_options("NPM_CONFIG_")}
    facts |= context.fresh
    cache = context.caches / f"node-{cache_key(facts)}"
    if is_complete(cache):
        await context.steps.heading("Packages unchanged, using the cached node_modules")
        return cache
    await context.steps.heading(f"Installing packages with npm {command}...")
    await context.new_cache(cache)
    await asyncio.to_thread(_write_files, cache, inputs)
    await _npm(context, node, "installing packages", [command, *_OPTIONS], cwd=cache)
    await asyncio.to_thread(_finish, cache, inputs)
    return cache


def _write_files(cache: Path, files: dict[str, str]) -> None:
    cache.mkdir(parents=True, mode=0o700)
    for name, text in files.items():
        (cache / name).write_text(text)


def _finish(cache: Path, files: dict[str, str]) -> None:
    """Leave node_modules only: .npmrc may hold a token, and package.json would make the cache look like a project."""
    (cache / MODULES).mkdir(exist_ok=True)
    for name in {*files, *LOCKS}:
        remove_tree(cache / name)
    (cache / COMPLETE).touch()


async def _npm(context: BuildContext, node: Node, title: str, arguments: list[str], *, cwd: Path) -> None:
    cache = context.caches / "npm"
    await context.disk.add(cache)
    await context.steps.run(
        title,
        [node.npm, *arguments],
        cwd=cwd,
        extra={"npm_config_cache": str(cache)},
        hint="try the same with npm in a fresh clone on your machine",
    )


def _needs_install(package: dict[str, object]) -> bool:
    return any(_table(package, name) for name in _DEPENDENCY_TABLES) or _depends_on_tree(package, {})


def _depends_on_tree(package: dict[str, object], locks: dict[str, str]) -> bool:
    """Whether the packages cannot be installed apart from the source: workspaces, local packages, install scripts."""
    links = ("file:", "link:", "workspace:", ".", "/", "~")
    return (
        "workspaces" in package
        or any(name in _table(package, "scripts") for name in _INSTALL_SCRIPTS)
        or any(str(value).startswith(links) for name in _DEPENDENCY_TABLES for value in _table(package, name).values())
        or any('"link": true' in text or '"resolved": "file:' in text for text in locks.values())
    )


def _table(package: dict[str, object], name: str) -> dict[str, object]:
    value = package.get(name)
    return value if isinstance(value, dict) else {}


def _parsed(text: str) -> dict[str, object]:
    try:
        package = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise BuildFailedError("build-failed", f"{PACKAGE} is not valid JSON: {exc}") from exc
    if not isinstance(package, dict):
        raise BuildFailedError("build-failed", f"{PACKAGE} is not a JSON object")
    return package

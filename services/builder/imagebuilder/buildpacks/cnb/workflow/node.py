"""Node.js apps: packages by npm in a layer, kept while package.json and the lock stay the same; then `build`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from workflow.common import Layers, check_version, fail, heading, key_of, read, run, wanted_version

PACKAGE, MODULES = "package.json", "node_modules"
LOCKS = ("npm-shrinkwrap.json", "package-lock.json")
_OPTIONS = ("--no-audit", "--no-fund", "--no-update-notifier", "--no-progress")
_INSTALL_SCRIPTS = {"preinstall", "install", "postinstall", "prepublish", "preprepare", "prepare", "postprepare"}
_TABLES = ("dependencies", "devDependencies", "optionalDependencies")
# What the app runs with, and what building it needs besides.
_RUN, _ALL, _CACHE = "modules", "modules-all", "npm"
_HINT = "try the same with `npm ci` in a fresh clone on your machine"


def build() -> None:
    """Install the packages, run the `build` script, say how the app starts."""
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip("v\n")
    heading(f"Node.js app detected (Node.js {version})")
    check_version("Node.js", version, wanted_version(".node-version", ".nvmrc"), numbers=1)
    package = _package()
    scripts = _table(package, "scripts")
    layers = Layers()
    if read("Procfile") is None:
        if "start" not in scripts:
            message = (
                "there is no Procfile and package.json has no `start` script, so nothing says how the app is started"
            )
            fail("no-procfile", message, "add one of them, such as a Procfile with the line `web: node server.js`")
        layers.processes({"web": "npm start"})
    if read(PACKAGE) is None:
        heading("No packages to install")
        layers.path(_RUN).mkdir(exist_ok=True)
        layers.keep(_RUN, "none", launch=True, cache=False)
        layers.launch_env(_RUN, {"NODE_ENV.default": "production"})
    else:
        _packages(layers, version, package, has_build="build" in scripts)


def _packages(layers: Layers, version: str, package: dict[str, Any], *, has_build: bool) -> None:
    inputs = {name: text for name in (PACKAGE, *LOCKS, ".npmrc") if (text := read(name)) is not None}
    if _needs_tree(package) or os.path.lexists(MODULES):
        _install_in_place(layers, inputs)
        if has_build:
            _run_build()
        run("npm prune", ["npm", "prune", "--omit=dev", "--ignore-scripts", *_OPTIONS])
        target = Path(MODULES)
        layers.path(_RUN).mkdir(exist_ok=True)
        layers.keep(_RUN, "in the tree", launch=True, cache=False)
    else:
        options = {name: value for name, value in os.environ.items() if name.lower().startswith("npm_config_")}
        key = key_of([version.partition(".")[0], inputs, options])
        full = _ALL if has_build and _table(package, "devDependencies") else _RUN
        if all(layers.is_restored(name, key) for name in {full, _RUN}):
            heading("Packages unchanged, using the cached node_modules")
        else:
            _install(layers, full, inputs)
        for name in {full, _RUN}:
            layers.keep(name, key, launch=name == _RUN)
        if layers.path(_CACHE).is_dir():
            layers.keep(_CACHE, "npm")
        if has_build:
            _link(layers.path(full))
            _run_build()
        _link(layers.path(_RUN))
        target = layers.path(_RUN) / MODULES
    binaries = str(Path(target, ".bin").absolute())
    layers.launch_env(_RUN, {"NODE_ENV.default": "production", "PATH.prepend": binaries, "PATH.delim": ":"})


def _install(layers: Layers, full: str, inputs: dict[str, str]) -> None:
    folder, lean = layers.path(full), layers.path(_RUN)
    for path in {folder, lean}:
        shutil.rmtree(path, ignore_errors=True)
    folder.mkdir()
    for name, text in inputs.items():
        (folder / name).write_text(text)
    _npm_install(layers, inputs, ("--include=dev",) if full == _ALL else ("--omit=dev",), folder)
    if lean != folder:
        shutil.copytree(folder, lean, symlinks=True)
        run("npm prune", ["npm", "prune", "--omit=dev", "--ignore-scripts", *_OPTIONS, "--prefix", lean])
    # .npmrc may hold a token, and package.json would make the layer look like a project.
    for path in {folder, lean}:
        (path / MODULES).mkdir(exist_ok=True)
        for name in {*inputs, *LOCKS}:
            (path / name).unlink(missing_ok=True)


def _install_in_place(layers: Layers, inputs: dict[str, str]) -> None:
    modules = Path(MODULES)
    if modules.is_symlink():
        modules.unlink()
    _npm_install(layers, inputs, ("--include=dev",), Path())
    layers.keep(_CACHE, "npm")


def _npm_install(layers: Layers, inputs: dict[str, str], which: tuple[str, ...], folder: Path) -> None:
    verb = "ci" if any(name in inputs for name in LOCKS) else "install"
    heading(f"Installing packages with npm {verb}")
    cache = layers.path(_CACHE)
    cache.mkdir(exist_ok=True)
    command: list[str | Path] = [
        "npm",
        verb,
        *which,
        *_OPTIONS,
        "--prefer-offline",
        "--cache",
        cache,
        "--prefix",
        folder,
    ]
    run(f"npm {verb}", command, hint=_HINT)
    layers.keep(_CACHE, "npm")


def _run_build() -> None:
    heading("Running the build script")
    run("the build script", ["npm", "run", "build", *_OPTIONS])


def _link(layer: Path) -> None:
    modules = Path(MODULES)
    modules.unlink(missing_ok=True)
    modules.symlink_to(layer / MODULES)


def _needs_tree(package: dict[str, Any]) -> bool:
    """Whether installing runs scripts of the project itself or takes packages out of its tree."""
    tables = [value for name in _TABLES for value in _table(package, name).values()]
    local = any(str(value).startswith(("file:", "link:", "./", "../", "workspace:")) for value in tables)
    return local or "workspaces" in package or bool(_INSTALL_SCRIPTS & _table(package, "scripts").keys())


def _package() -> dict[str, Any]:
    try:
        package = json.loads(read(PACKAGE) or "{}")
    except (ValueError, RecursionError) as error:
        fail("build-failed", f"package.json is not valid JSON: {error}")
    if not isinstance(package, dict):
        fail("build-failed", "package.json is no JSON object")
    return package


def _table(package: dict[str, Any], name: str) -> dict[str, Any]:
    table = package.get(name)
    return table if isinstance(table, dict) else {}

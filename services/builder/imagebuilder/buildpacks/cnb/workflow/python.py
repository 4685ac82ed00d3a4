"""Python apps: a virtual environment in a layer, kept from build to build while what it is made of stays the same."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

from workflow.common import Layers, check_version, fail, heading, key_of, read, run, tree_key, wanted_version

REQUIREMENTS, PROJECT, SETUP = "requirements.txt", "pyproject.toml", "setup.py"
_VENV, _CACHE = "venv", "pip"
_INCLUDE = re.compile(r"(?:-r|-c|--requirement|--constraint)[ =]?\s*(\S+)")
_PIP = ("-m", "pip", "--disable-pip-version-check", "--no-input")
_HINT = "try the same with `pip install` in a fresh virtual environment on your machine"
_MAINS = ("app.py", "main.py", "server.py", "wsgi.py", "asgi.py")


@dataclass(frozen=True)
class Dependencies:
    """Arguments of `pip install`, and the facts that decide whether an earlier environment will do."""

    arguments: tuple[str, ...]
    facts: object


def build() -> None:
    """Make or keep the environment, compile the app, say how it starts."""
    version = platform.python_version()
    heading(f"Python app detected (Python {version})")
    check_version("Python", version, wanted_version(".python-version", "runtime.txt"), numbers=2)
    if read("Procfile") is None:
        fail("no-procfile", "there is no Procfile, so nothing says how the app is started", f"add one: {_example()}")
    layers = Layers()
    _environment(layers, version, dependencies())
    layers.launch_env(_VENV, {"VIRTUAL_ENV.override": str(layers.path(_VENV)), "PYTHONUNBUFFERED.default": "1"})
    _compile(Path())


def dependencies() -> Dependencies:
    """requirements.txt wins; else pyproject.toml or setup.py; else there are none."""
    if read(REQUIREMENTS) is not None:
        files: dict[str, str] = {}
        uses_tree = _collect(REQUIREMENTS, files)
        return Dependencies(("-r", REQUIREMENTS), [files, tree_key() if uses_tree else ""])
    content = read(PROJECT)
    if content is None:
        return Dependencies((".",), tree_key()) if read(SETUP) is not None else Dependencies((), "")
    try:
        table = tomllib.loads(content)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        fail("build-failed", f"{PROJECT} is not valid TOML: {error}")
    project = table.get("project", {})
    if not isinstance(project, dict):
        fail("build-failed", f"{PROJECT}: `project` is a table: write [project]")
    listed = project.get("dependencies")
    # A project without a build backend is not a package: only its dependencies count.
    if "build-system" not in table and read(SETUP) is None:
        if not isinstance(listed or [], list) or not all(isinstance(item, str) for item in listed or []):
            fail("build-failed", f"{PROJECT}: project.dependencies is a list of strings")
        return Dependencies(tuple(listed or ()), listed or [])
    return Dependencies((".",), tree_key())


def _collect(name: str, files: dict[str, str]) -> bool:
    """Read that file of requirements and what it includes; whether one of them names something in the tree."""
    content = read(name)
    if name in files or content is None:
        return False
    files[name], uses_tree = content, False
    for raw in content.splitlines():
        line = re.sub(r"(^|\s)#.*", "", raw).strip()
        if include := _INCLUDE.match(line):
            uses_tree |= _collect(os.path.normpath(Path(name).parent / include[1]), files)
        elif line.startswith((".", "/", "-e", "--editable", "-f", "--find-links")) or "file:" in line:
            uses_tree = True
    return uses_tree


def _environment(layers: Layers, version: str, needed: Dependencies) -> None:
    options = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    key = key_of([version, needed.facts, options])
    venv = layers.path(_VENV)
    if layers.is_restored(_VENV, key):
        heading("Dependencies unchanged, using the cached environment")
        layers.keep(_VENV, key, launch=True)
        if layers.path(_CACHE).is_dir():
            layers.keep(_CACHE, version)
        return
    shutil.rmtree(venv, ignore_errors=True)
    run("creating the virtual environment", [sys.executable, "-I", "-m", "venv", "--without-pip", venv])
    if not needed.arguments:
        heading("No dependencies to install")
    else:
        heading("Installing dependencies with pip")
        cache = layers.path(_CACHE)
        cache.mkdir(exist_ok=True)
        pip: list[str | Path] = [sys.executable, "-I", *_PIP, "--python", venv / "bin" / "python"]
        install = ["install", "--no-compile", "--progress-bar", "off", "--no-warn-script-location", *needed.arguments]
        run("pip install", [*pip, *install], hint=_HINT, extra={"PIP_CACHE_DIR": str(cache)})
        layers.keep(_CACHE, version)
    _compile(venv / "lib")
    layers.keep(_VENV, key, launch=True)


def _compile(folder: Path) -> None:
    """Bytecode that names no time: the files of an image have none, so Python would take it for stale.

    A file that does not compile is often a template: whether it matters shows when it is imported.
    """
    options = ("-q", "-q", "-j", "2", "--invalidation-mode", "unchecked-hash")
    subprocess.run([sys.executable, "-I", "-m", "compileall", *options, str(folder)], check=False, capture_output=True)


def _example() -> str:
    main = next((name for name in _MAINS if read(name) is not None), "app.py")
    listed = (read(REQUIREMENTS) or read(PROJECT) or "").lower()
    module = main.removesuffix(".py")
    return f"`web: gunicorn {module}:app --bind 0.0.0.0:$PORT`" if "gunicorn" in listed else f"`web: python {main}`"

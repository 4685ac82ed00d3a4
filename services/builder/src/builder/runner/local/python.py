"""Python apps: one virtual environment for each set of dependencies, shared by the builds that need the same."""

from __future__ import annotations

import asyncio
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from builder.runner.local.context import BuildContext, cache_key, is_complete
from builder.runner.local.interpreters import Interpreter, Interpreters
from builder.runner.local.requirements import read_requirements
from builder.runner.local.workspace import COMPLETE, Launch
from builder.runner.port import BuildFailedError

REQUIREMENTS, PROJECT, SETUP = "requirements.txt", "pyproject.toml", "setup.py"
_PIP_OPTIONS = ("--disable-pip-version-check", "--no-input")
_INSTALL_OPTIONS = ("--progress-bar", "off", "--no-warn-script-location")
_LOCK_FILES = ("uv.lock", "poetry.lock", "pdm.lock", "pylock.toml")
_HINT = "try the same with `pip install` in a fresh virtual environment on your machine"


@dataclass(frozen=True)
class Dependencies:
    """What pip installs into the shared environment, and what identifies it.

    `arguments` follow `pip install`; `listed` becomes a requirements file when dependencies come from pyproject.toml.
    `installs_project` asks for the project itself, beside the shared environment.
    """

    title: str
    facts: dict[str, object] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()
    listed: tuple[str, ...] = ()
    installs_project: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to install into the environment."""
        return not self.arguments and not self.listed


class PythonBuilder:
    """Builds Python apps with the interpreters of this machine."""

    def __init__(self, interpreters: Interpreters) -> None:
        self._interpreters = interpreters

    async def build(self, context: BuildContext) -> Launch:
        """Make or reuse the environment of the app's dependencies.

        Raises:
            BuildFailedError: no such Python, unusable dependency files, or pip failed.
        """
        python, note = await self._interpreters.choose(context.read)
        await context.steps.heading(f"Python app detected (Python {python.version})")
        if note:
            await context.steps.heading(note)
        if await context.read("package.json") is not None:
            await context.steps.heading("package.json is there too; what it asks for is not installed")
        dependencies = await read_dependencies(context)
        venv = await _environment(context, python, dependencies)
        path, env = [venv / "bin"], {"VIRTUAL_ENV": str(venv), "PYTHONUNBUFFERED": "1"}
        if dependencies.installs_project:
            await _install_project(context, python, venv)
            site = context.workspace.final / "site"
            path.insert(0, site / "bin")
            env["PYTHONPATH"] = str(site)
        return Launch("python", tuple(path), env)


async def read_dependencies(context: BuildContext) -> Dependencies:
    """requirements.txt wins; else pyproject.toml; else setup.py; else there are none.

    Raises:
        BuildFailedError: a file cannot be used.
    """
    if await context.read(REQUIREMENTS) is not None:
        requirements = await read_requirements(REQUIREMENTS, context.read)
        facts: dict[str, object] = {"files": requirements.files}
        if requirements.uses_tree:
            facts["sha"] = context.spec.sha
        return Dependencies("requirements", facts, arguments=("-r", REQUIREMENTS))
    text, setup = await context.read_text(PROJECT), await context.read_text(SETUP)
    if text is not None:
        return await _project_dependencies(context, text, setup)
    return Dependencies("requirements") if setup is None else _project(context, setup)


def _project(context: BuildContext, text: str) -> Dependencies:
    """Only the build backend knows the dependencies, so the environment belongs to this commit alone."""
    return Dependencies("project", {"project": text, "sha": context.spec.sha}, arguments=(".",))


async def _project_dependencies(context: BuildContext, text: str, setup: str | None) -> Dependencies:
    try:
        content = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as exc:
        raise BuildFailedError("build-failed", f"{PROJECT} is not valid TOML: {exc}") from exc
    locks = [name for name in _LOCK_FILES if await context.read(name) is not None]
    if locks:
        await context.steps.heading(f"{locks[0]} is not read; to pin versions, export it to {REQUIREMENTS}")
    # Without a word about it, pip builds a project that has a setup.py with setuptools (PEP 517).
    project, has_build_system = content.get("project"), "build-system" in content or setup is not None
    if project is not None and not isinstance(project, dict):
        raise BuildFailedError("build-failed", f"{PROJECT}: `project` is a table: write [project]")
    if project is None or "dependencies" in _words(project.get("dynamic")):
        return _project(context, text + (setup or "")) if has_build_system else Dependencies("dependencies")
    listed = project.get("dependencies", [])
    if not isinstance(listed, list) or not all(isinstance(item, str) and "\n" not in item for item in listed):
        raise BuildFailedError("build-failed", f"{PROJECT}: project.dependencies is a list of strings")
    # A project without a build backend is not a package (uv and pip tools read it so): only its dependencies count.
    return Dependencies(
        "dependencies", {"dependencies": listed}, listed=tuple(listed), installs_project=has_build_system
    )


def _words(value: object) -> list[object]:
    return value if isinstance(value, list) else []


async def _environment(context: BuildContext, python: Interpreter, dependencies: Dependencies) -> Path:
    facts = dependencies.facts | {
        "python": [str(python.path), python.version],
        "options": context.package_options("PIP_"),
        **context.fresh,
    }
    venv = context.caches / f"venv-{cache_key(facts)}"
    if is_complete(venv) and (venv / "bin" / "python").exists():
        title = dependencies.title.capitalize()
        await context.steps.heading(f"{title} unchanged, using the cached environment")
        return venv
    await context.new_cache(venv)
    await _create(context, python, venv)
    if dependencies.is_empty:
        await context.steps.heading("No dependencies to install")
    else:
        await context.steps.heading(f"Installing {dependencies.title}...")
        await _install(context, python, venv, dependencies)
    await asyncio.to_thread((venv / COMPLETE).touch)
    return venv


async def _create(context: BuildContext, python: Interpreter, venv: Path) -> None:
    # Putting pip into each environment takes seconds; the interpreter's own pip can install from outside.
    without_pip = ("--without-pip",) if python.has_pip else ()
    await context.steps.run(
        "creating the virtual environment",
        [python.path, "-I", "-m", "venv", *without_pip, venv],
        cwd=context.workspace.partial,
        hint="on Debian and Ubuntu install the package python3-venv",
    )


async def _install(context: BuildContext, python: Interpreter, venv: Path, dependencies: Dependencies) -> None:
    arguments = list(dependencies.arguments)
    if dependencies.listed:
        listing = context.workspace.scratch("tmp") / "dependencies.txt"
        await asyncio.to_thread(listing.write_text, "\n".join(dependencies.listed) + "\n")
        arguments += ["-r", str(listing)]
    await _pip(context, python, venv, f"installing {dependencies.title}", arguments)


async def _install_project(context: BuildContext, python: Interpreter, venv: Path) -> None:
    """Install the project itself into the workspace: the environment is shared with other commits."""
    await context.steps.heading("Installing the project...")
    target = context.workspace.partial / "site"
    await _pip(context, python, venv, "installing the project", ["--quiet", "--no-deps", "--target", str(target), "."])


async def _pip(context: BuildContext, python: Interpreter, venv: Path, title: str, arguments: list[str]) -> None:
    cache = context.caches / "pip"
    await context.disk.add(cache)
    environment_python = venv / "bin" / "python"
    program: list[str | Path] = [environment_python, "-I", "-m", "pip"]
    if python.has_pip:
        program = [python.path, "-I", "-m", "pip", "--python", environment_python]
    await context.steps.run(
        title,
        [*program, *_PIP_OPTIONS, "install", *_INSTALL_OPTIONS, *arguments],
        cwd=context.workspace.source,
        extra={"PIP_CACHE_DIR": str(cache), "PIP_REQUIRE_VIRTUALENV": "0"}
        | ({"PIP_NO_CACHE_DIR": "1"} if context.fresh else {}),
        hint=_HINT,
    )

"""Which Python an app gets: the version it asks for, if this machine has it, else the platform's own."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from builder.runner.local.probe import answer_of, modified
from builder.runner.port import BuildFailedError

VERSION_FILES = (".python-version", "runtime.txt")
_WANTED = re.compile(r"(?:c?python-?)?(?P<numbers>\d+(?:\.\d+){0,2})(?P<rest>.*)", re.IGNORECASE | re.DOTALL)
_PROGRAM = re.compile(r"python3\.\d+")
# `pip --python` came with pip 22.3.
_PIP_WITH_PYTHON_OPTION = (22, 3)
_QUESTION = """
import json, sys
try:
    from importlib.metadata import version
    pip = version("pip")
except Exception:
    pip = ""
print(json.dumps({"path": sys.executable, "version": "%d.%d.%d" % sys.version_info[:3], "pip": pip}))
"""


@dataclass(frozen=True)
class Interpreter:
    """A Python that runs: its real path, `3.11.7`, and whether its pip can install into other environments."""

    path: Path
    version: str
    has_pip: bool


class Interpreters:
    """Finds interpreters on the PATH of the host; answers are remembered until a program changes."""

    def __init__(self, default: Path, host: Mapping[str, str]) -> None:
        self._default = default
        self._search = [Path(part) for part in host.get("PATH", os.defpath).split(os.pathsep) if part]
        # Version managers put small programs on the PATH that need to know where their versions are.
        self._environment = {
            name: value for name, value in host.items() if name in ("PATH", "HOME") or name.startswith("PYENV_")
        }
        self._known: dict[tuple[Path, float], Interpreter | None] = {}

    async def choose(self, read: Callable[[str], Awaitable[bytes | None]]) -> tuple[Interpreter, str]:
        """The interpreter for a tree, and a note for the pusher when it is not exactly what was asked for.

        Raises:
            BuildFailedError: the version asked for cannot be understood or is not on this machine.
        """
        for name in VERSION_FILES:
            wanted = _first_line(await read(name) or b"")
            if wanted:
                return await self._find(wanted, name)
        return await self._default_interpreter(), ""

    async def _find(self, wanted: str, name: str) -> tuple[Interpreter, str]:
        match = _WANTED.fullmatch(wanted)
        if match is None or match["rest"]:
            raise BuildFailedError(
                "build-failed", f"{name} says `{wanted[:40]}`, which is no Python version; write one such as `3.11`"
            )
        parts = match["numbers"].split(".")
        default = await self._default_interpreter()
        if default.version.split(".")[: len(parts)] == parts:
            return default, ""
        found = await self._on_path(f"python{'.'.join(parts[:2])}") if len(parts) > 1 else None
        if found is None and default.version.split(".")[:2] == parts[:2]:
            found = default
        if found is None or found.version.split(".")[: len(parts[:2])] != parts[:2]:
            raise await self._missing(wanted, name)
        exact = found.version == ".".join(parts) or len(parts) < 3
        return found, "" if exact else f"{name} asks for Python {'.'.join(parts)}; using {found.version}"

    async def _default_interpreter(self) -> Interpreter:
        found = await self._probe(self._default)
        if found is None:
            raise BuildFailedError("build-failed", f"the platform's Python, {self._default}, does not run")
        return found

    async def _on_path(self, program: str) -> Interpreter | None:
        for directory in self._search:
            found = await self._probe(directory / program)
            if found is not None:
                return found
        return None

    async def _probe(self, program: Path) -> Interpreter | None:
        changed = modified(program)
        if changed is None:
            return None
        key = (program, changed)
        if key not in self._known:
            self._known[key] = await self._ask(program)
        return self._known[key]

    async def _ask(self, program: Path) -> Interpreter | None:
        answer = await answer_of([str(program), "-I", "-c", _QUESTION], environment=self._environment)
        if answer is None:
            return None
        facts = json.loads(answer)
        pip = tuple(int(part) for part in re.findall(r"\d+", facts["pip"])[:2])
        return Interpreter(Path(facts["path"]), facts["version"], has_pip=pip >= _PIP_WITH_PYTHON_OPTION)

    async def _missing(self, wanted: str, name: str) -> BuildFailedError:
        names = sorted(await asyncio.to_thread(self._programs))
        there = [found.version for program in names if (found := await self._on_path(program))]
        default = (await self._default_interpreter()).version
        versions = ", ".join(dict.fromkeys([f"{default} (default)", *(item for item in there if item != default)]))
        return BuildFailedError(
            "build-failed",
            f"{name} asks for Python {wanted}, which is not installed here; there is {versions}",
            hint=f"change {name}, or install that version so that `python{wanted}` is on the PATH of Workflow",
        )

    def _programs(self) -> set[str]:
        found: set[str] = set()
        for directory in self._search:
            if directory.is_dir():
                found |= {entry.name for entry in directory.iterdir() if _PROGRAM.fullmatch(entry.name)}
        return found


def _first_line(content: bytes) -> str:
    lines = (line.strip() for line in content.decode(errors="replace").splitlines())
    return next((line for line in lines if line and not line.startswith("#")), "")

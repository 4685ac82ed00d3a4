"""Files and words of the buildpack interface (buildpack API 0.10), as our buildpacks need them.

Buildpacks speak to the pusher on stdout: headings, then the words of the tools that they run.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

NOT_DETECTED = 100
FAILED = 1
# Kubernetes gives the last words of a container to whoever watches its pod.
TERMINATION_LOG = Path(os.environ.get("WORKFLOW_TERMINATION_LOG", "/dev/termination-log"))

_PROCFILE_LINE = re.compile(r"(?P<name>[a-z0-9]+(?:-[a-z0-9]+)*)[ \t]*:[ \t]*(?P<command>\S.*)")


def heading(text: str) -> None:
    """Tell the pusher what happens now."""
    print(f"---> {text}", flush=True)


def fail(code: str, message: str, hint: str = "") -> NoReturn:
    """End the build with a reason, for the pusher and as JSON for the builder (codes of `runner/port.py`)."""
    print(f"---> Error: {message}", flush=True)
    if hint:
        print(f"     {hint}", flush=True)
    with suppress(OSError):
        TERMINATION_LOG.write_text(json.dumps({"error": {"code": code, "message": message, "hint": hint}}))
    sys.exit(FAILED)


def detected(is_fit: bool) -> NoReturn:
    """End of `bin/detect`."""
    sys.exit(0 if is_fit else NOT_DETECTED)


def read(name: str) -> str | None:
    """Text of a file of the app; None without a regular file of that name."""
    path = Path(name)
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else None


def wanted_version(*names: str) -> tuple[str, str] | None:
    """The first of those files that asks for something: (name of the file, what it says)."""
    for name in names:
        lines = (line.strip() for line in (read(name) or "").splitlines())
        if wanted := next((line for line in lines if line and not line.startswith("#")), ""):
            return name, wanted[:40]
    return None


def check_version(language: str, there: str, wanted: tuple[str, str] | None, *, numbers: int) -> None:
    """End the build unless the version that is there begins with the first `numbers` numbers that were asked for.

    The others may differ: Debian's packages move them.
    """
    if wanted is None:
        return
    name, text = wanted
    match = re.fullmatch(r"[A-Za-z.]*-?(\d+(?:\.\d+){0,2})(?:\.x)?", text)
    if match is None:
        fail("build-failed", f"{name} says `{text}`, which is no version of {language}", f"write one such as `{there}`")
    parts = match[1].split(".")[:numbers]
    if there.split(".")[: len(parts)] != parts:
        fail(
            "build-failed",
            f"{name} asks for {language} {match[1]}, which this builder does not have; it has {there}",
            f"change {name}, use a Dockerfile, or name a builder image with that version in .packbuilder",
        )


def run(title: str, command: Sequence[str | Path], *, hint: str = "", extra: Mapping[str, str] | None = None) -> None:
    """Run a tool whose words go to the pusher as they come; end the build when it fails."""
    environment = {**os.environ, "NO_COLOR": "1", "TERM": "dumb", **(extra or {})}
    code = subprocess.run(
        [str(word) for word in command], env=environment, stdin=subprocess.DEVNULL, check=False
    ).returncode
    if code:
        fail(
            "build-failed", f"{title} failed ({Path(command[0]).name} ended with {code}); its own words are above", hint
        )


def key_of(facts: object) -> str:
    """A short name for what a layer is made of."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


def tree_key(ignored: Iterable[str] = (".git", "node_modules", "__pycache__")) -> str:
    """A short name for all files of the app."""
    skip, digest = set(ignored), hashlib.sha256()
    for folder, folders, files in os.walk("."):
        folders[:] = sorted(name for name in folders if name not in skip)
        for name in sorted(files):
            path = Path(folder, name)
            content = str(path.readlink()).encode() if path.is_symlink() else path.read_bytes()
            digest.update(f"{path} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:32]


class Layers:
    """The layers of this buildpack, below $CNB_LAYERS_DIR."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._root = Path(environment["CNB_LAYERS_DIR"])

    def path(self, name: str) -> Path:
        """Where the layer of that name stands."""
        return self._root / name

    def is_restored(self, name: str, key: str) -> bool:
        """Whether an earlier build left that layer, made of the same."""
        file = self._root / f"{name}.toml"
        if not file.is_file() or not self.path(name).is_dir():
            return False
        metadata: dict[str, Any] = tomllib.loads(file.read_text()).get("metadata", {})
        return metadata.get("key") == key

    def keep(self, name: str, key: str, *, launch: bool = False, cache: bool = True) -> None:
        """Declare the layer: part of the image (`launch`), there again in the next build (`cache`)."""
        flags = "".join(f"{flag} = {str(value).lower()}\n" for flag, value in (("launch", launch), ("cache", cache)))
        (self._root / f"{name}.toml").write_text(f"[types]\nbuild = false\n{flags}\n[metadata]\nkey = {text(key)}\n")

    def launch_env(self, name: str, values: Mapping[str, str]) -> None:
        """Variables of the running app: `NAME.default`, `NAME.override`, `NAME.prepend` and so on."""
        folder = self.path(name) / "env.launch"
        folder.mkdir(parents=True, exist_ok=True)
        for file, value in values.items():
            (folder / file).write_text(value)

    def processes(self, lines: Mapping[str, str]) -> None:
        """Each process type is a line for bash; `web` is what the image starts unless told otherwise."""
        blocks = (
            f'[[processes]]\ntype = {text(ptype)}\ncommand = ["bash", "-c"]\nargs = [{text(line)}]\n'
            f"default = {str(ptype == 'web').lower()}\n"
            for ptype, line in lines.items()
        )
        (self._root / "launch.toml").write_text("\n".join(blocks))


def text(value: str) -> str:
    """A TOML string; JSON's escapes are all TOML's."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def procfile(content: str) -> dict[str, str]:
    """Process type -> shell line. The builder has complained about a malformed file long before.

    Raises:
        ValueError: with the line's number.
    """
    processes: dict[str, str] = {}
    for number, raw in enumerate(content.removeprefix("\ufeff").replace("\r\n", "\n").split("\n"), start=1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        match = _PROCFILE_LINE.fullmatch(line)
        if match is None or match["name"] in processes:
            raise ValueError(f"Procfile line {number}: write each process once, as `name: command`")
        processes[match["name"]] = _unquoted(match["command"])
    if not processes:
        raise ValueError("Procfile names no process; write a line such as `web: ./server`")
    return processes


def _unquoted(value: str) -> str:
    if re.fullmatch(r"'(?:[^']|'')*'", value):
        return value[1:-1].replace("''", "'")
    if re.fullmatch(r'"(?:[^"\\]|\\["\\])*"', value):
        return re.sub(r'\\(["\\])', r"\1", value[1:-1])
    return value

"""From a process spec and a workspace to a command line, an environment and a directory.

The contract of `launch.json` stands in docs/design.md, section 5.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from controller.domain.builds import WORKSPACE_PREFIX
from controller.domain.spec import ProcessSpec
from controller.engine.local.config import INSTANCE_VARIABLE, MARK_VARIABLE, LocalEngineConfig
from controller.engine.shell import SHELL, shell_line

# All that an app sees of the platform's own environment: how to find programs, texts, times and certificates.
_INHERITED = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR")
_REFERENCE = re.compile(r"workspace/(?P<app>[a-z0-9][a-z0-9-]*):(?P<build>[A-Za-z0-9][A-Za-z0-9_.-]*)")


class LaunchError(Exception):
    """This process cannot be started; `code` is a failure code of the engine port."""

    def __init__(self, code: str, message: str, hint: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint


@dataclass(frozen=True)
class Launch:
    """How to start one process.

    `env` is complete. For a container, `image` is set: `argv` are the image's arguments (`entrypoint` replaces the
    image's own) and `env` is what the app should see in there; `cwd` is of no use then. `tool` is what
    built the image, where that is known.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(repr=False)
    cwd: Path
    image: str | None = None
    entrypoint: str | None = None
    tool: str | None = None


def prepare(config: LocalEngineConfig, spec: ProcessSpec, *, instance: str, port: int) -> Launch:
    """Read the workspace and make the launch of one instance. Reads files: call it in a thread.

    Raises:
        LaunchError: `image-not-found` or `process-crashed` (nothing to run).
    """
    own = {
        "PORT": str(port),
        MARK_VARIABLE: config.mark,
        INSTANCE_VARIABLE: instance,
    }
    if not spec.image.startswith(WORKSPACE_PREFIX):
        return _container(spec, spec.image, {**spec.env, **own})
    directory, facts = _workspace(config, spec.image)
    if facts.get("stack") == "container":
        tool = _text(facts, "tool") if "tool" in facts else None
        return _container(spec, _text(facts, "image"), {**spec.env, **own}, tool)
    source = directory / str(facts.get("workdir") or "source")
    if not source.is_dir():
        raise _not_found(spec.image, f"{source.name} is missing in it")
    return Launch(_command_line(spec), _environment(spec, facts, source, own), source)


def environment_keys(spec: ProcessSpec) -> str:
    """Names of the config variables, for logs: never the values."""
    return ", ".join(sorted(spec.env))


def _command_line(spec: ProcessSpec) -> tuple[str, ...]:
    if spec.shell is not None:
        return (SHELL, "-c", shell_line(spec.shell))
    if argv := (*spec.command, *spec.args):
        return argv
    raise LaunchError(
        "process-crashed",
        f"there is no command for the process type {spec.ptype}",
        f"Add a line `{spec.ptype}: <command>` to the Procfile and push again.",
    )


def _container(spec: ProcessSpec, image: str, env: dict[str, str], tool: str | None = None) -> Launch:
    if spec.shell is not None:
        argv: Sequence[str] = ("-c", spec.shell)
        return Launch(tuple(argv), env, Path("/"), image=image, entrypoint=SHELL, tool=tool)
    entrypoint = spec.command[0] if spec.command else None
    return Launch((*spec.command[1:], *spec.args), env, Path("/"), image=image, entrypoint=entrypoint, tool=tool)


def _environment(
    spec: ProcessSpec, facts: Mapping[str, object], source: Path, own: Mapping[str, str]
) -> dict[str, str]:
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    inherited.setdefault("PATH", os.defpath)
    inherited.setdefault("LANG", "C.UTF-8")
    built = _mapping(facts, "env")
    env = {"HOME": str(source), **inherited, **built, **spec.env, **own}
    # Output reaches the log at once; Python buffers what it writes to a pipe otherwise.
    env.setdefault("PYTHONUNBUFFERED", "1")
    env["PATH"] = os.pathsep.join((*_strings(facts, "path"), env["PATH"]))
    return env


def _workspace(config: LocalEngineConfig, image: str) -> tuple[Path, Mapping[str, object]]:
    match = _REFERENCE.fullmatch(image)
    if match is None:
        raise _not_found(image, "it is not of the form workspace/<app>:<build>")
    directory = config.workspaces / match["app"] / match["build"]
    try:
        facts = json.loads((directory / "launch.json").read_text())
    except FileNotFoundError as exc:
        raise _not_found(image, f"there is no {directory / 'launch.json'}") from exc
    except (OSError, ValueError) as exc:
        raise _not_found(image, f"its launch.json cannot be read ({exc})") from exc
    if not isinstance(facts, dict) or facts.get("version") != 1:
        raise _not_found(image, "its launch.json is of an unknown version")
    return directory, facts


def _not_found(image: str, why: str) -> LaunchError:
    return LaunchError(
        "image-not-found",
        f"the build {image} is not on this machine: {why}",
        "Push the app again to build it, or roll back to a release whose build is still kept.",
    )


def _text(facts: Mapping[str, object], name: str) -> str:
    value = facts.get(name)
    if not isinstance(value, str) or not value:
        raise LaunchError("image-not-found", f"launch.json lacks `{name}`", "Push the app again to build it.")
    return value


def _strings(facts: Mapping[str, object], name: str) -> tuple[str, ...]:
    value = facts.get(name, [])
    return tuple(str(item) for item in value) if isinstance(value, list) else ()


def _mapping(facts: Mapping[str, object], name: str) -> dict[str, str]:
    value = facts.get(name, {})
    return {str(key): str(item) for key, item in value.items()} if isinstance(value, dict) else {}

"""One-off commands: checked and made here, started by `start_job` when no transaction is open."""

from __future__ import annotations

import re
import secrets
import shlex
import string
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Final

from controller.domain.apps import Actor
from controller.domain.builds import start_of
from controller.domain.errors import InvalidValueError
from controller.domain.names import RUN, ptype_problem
from controller.domain.releases import Build
from controller.domain.render import render_process
from controller.domain.spec import JobSpec, ProcessSpec
from controller.engine.port import Engine, NotSupportedError
from controller.services.base import AppService
from shared.errors import InvalidInputError, SuiteError, UnavailableError
from shared.logging import get_logger

_DEFAULT_SECONDS: Final = 3600
_MOST_SECONDS: Final = 10**8
_MOUNT_PATH: Final = re.compile(r"/(\w+[\w-]*/?)+")
_SUFFIX: Final = string.ascii_lowercase + string.digits

log = get_logger(__name__)


class Jobs(AppService):
    """One-off commands of apps."""

    async def prepare(self, app: str, body: Mapping[str, object], *, actor: Actor) -> JobSpec:
        """The one-off that a request asks for (`command`, `ptype`, `timeout`, `expires`, `volumes`). Reads only.

        It runs in the image of `ptype` with the environment and the limits of `run`, in the latest usable release.

        Raises:
            InvalidInputError: no command, no build, or a number that is none.
            InvalidValueError: volumes are malformed; NotSupportedError: the engine has no volumes.
        """
        command = str(body.get("command") or "").strip()
        if not command:
            raise InvalidInputError("command is a required field, or it can be defined in Procfile")
        timeout, expires = _seconds(body, "timeout"), _seconds(body, "expires")
        self._check_volumes(body.get("volumes") or {})
        found = await self._apps.get(app)
        bundle = await self._usable(found)
        if bundle.build is None:
            raise InvalidInputError("no build available, please deploy a release")
        name = f"{app}-run-{''.join(secrets.choice(_SUFFIX) for _ in range(5))}"
        process = render_process(app, bundle, bundle.build, RUN, self._uow.policy)
        ptype = str(body.get("ptype") or RUN)
        started = _with_command(process, bundle.build, ptype, command)
        self._uow.engine.check(started)
        most = self._uow.policy.max_job_ttl
        ttl = min(timedelta(seconds=expires), most) if expires else most
        log.info("job_prepared", app=app, job=name, actor=actor.username)
        return JobSpec(app, name, started, timeout=timedelta(seconds=timeout), ttl=ttl)

    def _check_volumes(self, volumes: object) -> None:
        if not isinstance(volumes, Mapping):
            raise InvalidValueError("volumes must be an object: volume name to mount path")
        for volume, path in volumes.items():
            if (problem := ptype_problem(volume)) is not None:
                raise InvalidValueError(problem)
            if not isinstance(path, str) or not _MOUNT_PATH.fullmatch(path):
                raise InvalidValueError("Volume path format: /path")
        if volumes and "volumes" not in self._uow.engine.features:
            raise NotSupportedError("this engine has no volumes: run the command without them")


async def start_job(engine: Engine, job: JobSpec) -> None:
    """Start a prepared one-off.

    Raises:
        UnavailableError: the engine could not; the text names the job.
        NotSupportedError: the engine cannot run such a thing.
    """
    try:
        await engine.run(job)
    except NotSupportedError:
        raise
    except SuiteError as error:
        raise UnavailableError(f"{job.name} (run): {error.detail}") from error


def _with_command(process: ProcessSpec, build: Build, ptype: str, command: str) -> ProcessSpec:
    start = start_of(build, ptype)
    bare = replace(process, image=start.image, readiness=None, liveness=None, must_listen=False)
    if _has_shell(build):
        return replace(bare, command=(), args=(), shell=command)
    return replace(bare, command=start.command, args=_words(command), shell=None)


def _has_shell(build: Build) -> bool:
    """Whether its process types are lines for a shell (a pushed app without a Dockerfile or pipeline)."""
    return bool(build.sha) and not build.dockerfile and not build.dryccfile


def _words(command: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(command))
    except ValueError:
        return tuple(command.split())


def _seconds(body: Mapping[str, object], field: str) -> int:
    value = body.get(field)
    if value is None:
        return _DEFAULT_SECONDS
    text = str(value)
    if isinstance(value, bool) or not (text.isascii() and text.isdigit()) or int(text) > _MOST_SECONDS:
        raise InvalidInputError(f"{field} must be a number of seconds, not {text[:40]!r}")
    return int(text)

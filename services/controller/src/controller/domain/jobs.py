"""One-off commands as values: what may be asked for, and what becomes of one as the engine tells about it."""

from __future__ import annotations

import secrets
import shlex
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from controller.domain.builds import ptypes_of, start_of
from controller.domain.errors import InvalidValueError
from controller.domain.names import RUN, ptype_problem
from controller.domain.releases import Build
from controller.domain.shown import brief
from controller.domain.spec import JobPhase, JobSpec, JobState, ProcessSpec
from controller.domain.spec_storage import Mount
from controller.domain.volumes import mount_path
from shared.errors import InvalidInputError, SuiteError

NO_COMMAND: Final = "command is a required field, or it can be defined in Procfile"
NO_BUILD: Final = "no build available, please deploy a release"
STOPPED: Final = "stopped"
LOST: Final = "lost"
KEPT_LINES: Final = 20
"""How many of the last lines of output a job remembers."""

_DEFAULT_SECONDS: Final = 3600
_MOST_SECONDS: Final = 10**8
_MOST_CHARACTERS: Final = 2000
_SUFFIX: Final = string.ascii_lowercase + string.digits
_HINTS: Final[Mapping[str, str]] = {
    "command-not-found": "Check the spelling, and that the build installs the program.",
    "admission-denied": "The rules of the cluster forbid it: change what they name, or ask the operator.",
    "config-error": "The platform made its settings: run it again, and tell the operator when it stays like this.",
    "container-tool-missing": "Install docker, podman or buildah on the machine that runs the platform.",
    "deadline-exceeded": "Give it more time: `drycc apps run --timeout SECONDS`.",
    "evicted": "It was taken off its machine. Run it again if it may run twice.",
    "image-denied": "Give the credentials of the image's registry: `drycc registry set username=... password=...`.",
    "image-invalid": "Correct the name of the image and deploy again.",
    "image-not-found": "Push the app again to build it.",
    LOST: "Look at what it has done before you run it again: nobody saw how it ended.",
    "mount-failed": "`drycc volumes list` shows the volumes; the operator can see why the storage does not come.",
    "node-lost": "Its machine was lost. Run it again if it may run twice.",
    "out-of-memory": "Choose a larger plan: `drycc limits plans`, `drycc limits set run=PLAN`.",
    "platform-stopped": "The platform was stopped while it ran. Run it again if it may run twice.",
    "quota-exceeded": "The app may use no more: scale down, choose smaller plans, or ask for a higher quota.",
    "unschedulable": "No machine has room: choose a smaller plan with `drycc limits set run=PLAN`.",
    "process-crashed": "`drycc ps logs {name} -a {app}` shows all of its output.",
}


@dataclass(frozen=True)
class Command:
    """What to run: a line (`words` has one text) that a shell reads or that is split like one would, or arguments
    that are passed as they are."""

    words: tuple[str, ...]
    is_line: bool

    @property
    def shown(self) -> str:
        """The first word, for the audit trail: what follows may hold secrets, and so may an assignment."""
        first = next(iter(_split(self.words[0])), "")
        return "***" if "=" in first else first[:100]


@dataclass(frozen=True)
class JobRequest:
    """What somebody asks for, checked. `volumes` maps names to mount paths."""

    command: Command = field(repr=False)
    ptype: str
    timeout: timedelta
    expires: timedelta | None
    volumes: Mapping[str, str]


@dataclass(frozen=True)
class Job:
    """A one-off. It is stored before the engine hears of it and stays until `expires_at`, also where the engine has
    forgotten it. `timeout` is how long it may run, `ttl` how long it is kept after its end. `is_shell`: the command is
    a line for a shell. `log` has the last lines of its output, or why it could not be started (yet)."""

    uuid: UUID
    app: str
    owner: str
    name: str
    ptype: str
    release: int
    command: Command = field(repr=False)
    is_shell: bool
    mounts: tuple[Mount, ...]
    timeout: timedelta
    ttl: timedelta
    state: JobPhase
    created: datetime
    updated: datetime
    stop_requested: bool = False
    exit_code: int | None = None
    reason: str | None = None
    log: tuple[str, ...] = ()
    started_at: datetime | None = None
    finished_at: datetime | None = None
    expires_at: datetime | None = None

    @property
    def is_finished(self) -> bool:
        """It has ended, well or not."""
        return self.state in ("down", "crashed")

    @property
    def hint(self) -> str:
        """What to do about how it ended; empty when nothing is."""
        return _HINTS.get(self.reason or "", "").format(name=self.name, app=self.app)

    def seen(self, state: JobState, *, now: datetime) -> Job:
        """The job as the engine tells of it."""
        known = replace(
            self,
            state=state.state,
            exit_code=state.exit_code,
            reason=STOPPED if state.state == "crashed" and self.stop_requested else state.reason,
            log=_tail(state.log),
            started_at=state.started_at or self.started_at or (now if state.state == "up" else None),
        )
        if not state.finished:
            return known
        finished_at = state.ended_at or now
        return replace(known, finished_at=finished_at, expires_at=finished_at + self.ttl)

    def stopped(self, *, now: datetime) -> Job:
        """It was stopped before the engine was told of it."""
        return self._ended(STOPPED, "stopped before its start", now=now)

    def refused(self, error: SuiteError, *, now: datetime) -> Job:
        """The engine will never run it."""
        return self._ended(error.code, error.detail, now=now)

    def postponed(self, error: SuiteError) -> Job:
        """The engine could not be asked now; it is asked again."""
        return replace(self, log=_tail((f"not started yet, it is tried again: {error.detail}",)))

    def lost(self, *, now: datetime) -> Job:
        """It was started, and the engine knows nothing of it any more."""
        ended = self._ended(LOST, "the engine does not know this command any more", now=now)
        return replace(ended, log=_tail((*self.log, *ended.log)))

    def _ended(self, reason: str, text: str, *, now: datetime) -> Job:
        return replace(
            self,
            state="crashed",
            reason=reason,
            log=_tail((text,)),
            finished_at=now,
            expires_at=now + self.ttl,
        )


def check_request(body: Mapping[str, object]) -> JobRequest:
    """The one-off in a request (`command`, `ptype`, `timeout`, `expires`, `volumes`; controller-api.md 4.12).

    Raises:
        InvalidInputError: there is no command, or a number is none.
        InvalidValueError: the volumes are malformed.
    """
    command = _command(body.get("command"))
    ptype = body.get("ptype") or RUN
    if not isinstance(ptype, str):
        raise InvalidInputError("ptype must be the name of a process type")
    timeout, expires = _seconds(body, "timeout") or _DEFAULT_SECONDS, _seconds(body, "expires")
    return JobRequest(
        command=command,
        ptype=ptype,
        timeout=timedelta(seconds=timeout),
        expires=timedelta(seconds=expires) if expires else None,
        volumes=_volumes(body.get("volumes") or {}),
    )


def check_ptype(build: Build, ptype: str) -> None:
    """Refuse a process type whose image is to be used and which the build does not have.

    Raises:
        InvalidInputError: it has no such type; the text names those that it has.
    """
    known = ptypes_of(build)
    if ptype != RUN and ptype not in known:
        raise InvalidInputError(
            f"process type {brief(ptype)} is not included in procfile, which has: {', '.join(known)}",
            known=", ".join(known),
        )


def check_count(unfinished: int, *, most: int) -> None:
    """Refuse one more one-off than an app may have under way.

    Raises:
        InvalidInputError: it has that many; the text says what to do.
    """
    if unfinished >= most:
        raise InvalidInputError(
            f"{unfinished} one-off commands of this app have not ended, and it may have {most}: wait, or stop some "
            "with DELETE .../jobs/<name> (GET .../jobs lists them)"
        )


def job_name(app: str) -> str:
    """A name for a new one-off: `<app>-run-<5 random letters or digits>`."""
    return f"{app}-run-{''.join(secrets.choice(_SUFFIX) for _ in range(5))}"


def has_shell(build: Build) -> bool:
    """Whether its process types are lines for a shell: a pushed app without a Dockerfile or pipeline."""
    return bool(build.sha) and not build.dockerfile and not build.dryccfile


def job_process(job: Job, process: ProcessSpec, build: Build) -> ProcessSpec:
    """`process` (the type `run`, whose environment and limits count) with the job's command, in its type's image."""
    start = start_of(build, job.ptype)
    bare = replace(
        process, image=start.image, readiness=None, liveness=None, must_listen=False, replicas=1, mounts=job.mounts
    )
    if job.is_shell:
        return replace(bare, command=(), args=(), shell=job.command.words[0])
    args = _split(job.command.words[0]) if job.command.is_line else job.command.words
    return replace(bare, command=start.command, args=args, shell=None)


def job_spec(job: Job, process: ProcessSpec) -> JobSpec:
    """What the engine is told."""
    return JobSpec(job.app, job.name, process, timeout=job.timeout, ttl=job.ttl)


def _command(raw: object) -> Command:
    if isinstance(raw, list):
        if not all(isinstance(word, str) for word in raw):
            raise InvalidInputError("command must be a text, or a list of texts")
        if any(word.strip() for word in raw[:1]):
            return Command(tuple(raw), is_line=False)
        raise InvalidInputError(NO_COMMAND)
    if raw is not None and not isinstance(raw, str):
        raise InvalidInputError("command must be a text, or a list of texts")
    line = (raw or "").strip()
    if not line:
        raise InvalidInputError(NO_COMMAND)
    return Command((line,), is_line=True)


def _split(line: str) -> tuple[str, ...]:
    try:
        words = tuple(shlex.split(line))
    except ValueError:
        words = ()
    return words or tuple(line.split())


def _volumes(raw: object) -> dict[str, str]:
    if not isinstance(raw, Mapping):
        raise InvalidValueError("volumes must be an object: volume name to mount path")
    volumes = {}
    for volume, path in raw.items():
        if (problem := ptype_problem(volume)) is not None:
            raise InvalidValueError(problem)
        volumes[volume] = mount_path(path)
    return volumes


def _seconds(body: Mapping[str, object], name: str) -> int:
    """A number of seconds; 0 where the default counts."""
    value = body.get(name)
    if value is None:
        return _DEFAULT_SECONDS
    text = str(value)
    is_number = text.isascii() and text.isdigit() and len(text) < 10 and not isinstance(value, bool)
    if not is_number or int(text) > _MOST_SECONDS:
        raise InvalidInputError(f"{name} must be a number of seconds, not {text[:40]!r}")
    return int(text)


def _tail(lines: Sequence[str]) -> tuple[str, ...]:
    """The last lines as a column holds them: none too long, and without U+0000, which PostgreSQL refuses in texts."""
    return tuple(line[:_MOST_CHARACTERS].replace("\0", "\N{REPLACEMENT CHARACTER}") for line in lines[-KEPT_LINES:])

"""Why an instance did not come up, in words for the person who deployed it. Pure: facts in, `Failure` out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from controller.domain.spec import Failure
from controller.engine.exits import crash_hint, describe_exit
from controller.engine.local.launch import LaunchError
from controller.engine.local.probes import Verdict

_NOT_EXECUTABLE, _NOT_FOUND = 126, 127


@dataclass(frozen=True)
class Facts:
    """What is known about an attempt to start. `exit_status` is negative for a signal, as subprocesses report it."""

    ptype: str
    command: str
    port: int
    log: tuple[str, ...]
    memory_bytes: int | None = None
    ran_out_of_memory: bool = False
    listens_on: frozenset[int] = frozenset()


def of_launch(facts: Facts, error: LaunchError) -> Failure:
    """The process could not even be started."""
    return Failure(error.code, facts.ptype, error.message, facts.log, error.hint)


def of_exit(facts: Facts, exit_status: int) -> Failure:
    """The process ended before it was ready."""
    if facts.ran_out_of_memory:
        return _out_of_memory(facts)
    if exit_status == 0:
        return Failure(
            "process-exited",
            facts.ptype,
            f"the {facts.ptype} process ended at once, without an error (exit code 0)",
            facts.log,
            "A process type must keep running in the foreground: no `&`, no daemon mode. "
            "For a command that ends by design use `drycc run`.",
        )
    if exit_status in (_NOT_EXECUTABLE, _NOT_FOUND):
        return _not_found(facts, exit_status)
    return Failure(
        "process-crashed",
        facts.ptype,
        f"the {facts.ptype} process ended with {describe_exit(exit_status)} before it was ready",
        facts.log,
        crash_hint(facts.log, exit_status),
    )


def of_deadline(facts: Facts, deadline: timedelta, *, must_listen: bool, verdict: Verdict | None) -> Failure:
    """The process runs, but it was not ready in time."""
    seconds = f"{deadline.total_seconds():.0f} s"
    if facts.ran_out_of_memory:
        return _out_of_memory(facts)
    if verdict is not None and verdict.status is not None:
        return Failure(
            "readiness-refused",
            facts.ptype,
            f"the readiness check was refused for {seconds}: {verdict.reason}",
            facts.log,
            "Let the app answer that path with 200 to 399 when it is ready, or change it: `drycc healthchecks info`.",
        )
    if must_listen and facts.port not in facts.listens_on:
        return _wrong_port(facts) if facts.listens_on else _never_listened(facts, seconds)
    reason = f": {verdict.reason}" if verdict is not None and verdict.reason else ""
    return Failure(
        "deadline-exceeded",
        facts.ptype,
        f"the {facts.ptype} process was not ready after {seconds}{reason}",
        facts.log,
        "See its output with `drycc apps logs`; a slow start needs a startup probe: `drycc healthchecks set`.",
    )


def _not_found(facts: Facts, exit_status: int) -> Failure:
    what = "cannot be executed" if exit_status == _NOT_EXECUTABLE else "was not found"
    return Failure(
        "command-not-found",
        facts.ptype,
        f"a program of the {facts.ptype} command {what} (exit code {exit_status}): {facts.command}",
        facts.log,
        "Check the spelling in the Procfile, that requirements.txt or package.json installs the program, and for a "
        "script of your own that it is executable (`git update-index --chmod=+x FILE`).",
    )


def _out_of_memory(facts: Facts) -> Failure:
    limit = f" of {facts.memory_bytes // (1024 * 1024)} MiB" if facts.memory_bytes is not None else ""
    return Failure(
        "out-of-memory",
        facts.ptype,
        f"the {facts.ptype} process needed more memory than its limit{limit} and was ended",
        facts.log,
        f"Choose a larger plan (`drycc limits plans`, `drycc limits set {facts.ptype}=PLAN`), or run fewer workers.",
    )


def _never_listened(facts: Facts, seconds: str) -> Failure:
    return Failure(
        "never-listened",
        facts.ptype,
        f"the {facts.ptype} process runs but did not listen on any port in {seconds}; expected $PORT ({facts.port})",
        facts.log,
        "Let the app listen on the port in the environment variable PORT. A process that serves no requests belongs "
        "under another name than `web`, for instance `worker`.",
    )


def _wrong_port(facts: Facts) -> Failure:
    return Failure(
        "wrong-port",
        facts.ptype,
        f"the {facts.ptype} process {listening_text(facts.listens_on, facts.port)}",
        facts.log,
        "Read the port from the environment variable PORT instead of writing it into the program or the Procfile, "
        "for instance `--port $PORT`.",
    )


def listening_text(ports: frozenset[int], expected: int) -> str:
    """`listens on 5000, expected $PORT (23456)`."""
    return f"listens on {', '.join(str(port) for port in sorted(ports))}, expected $PORT ({expected})"

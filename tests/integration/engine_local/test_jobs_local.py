"""One-offs and exec sessions."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from controller.domain.spec import JobSpec
from controller.engine.local import LocalEngine
from controller.engine.local.exec import LocalExecSession
from shared.errors import NotFoundError
from shared.testing.wait import eventually
from support import local_apps as apps
from support.local_engine import APP, Bench


def job(bench: Bench, shell: str, *, name: str = "shop-run-ab12c", seconds: float = 30, script: str = "") -> JobSpec:
    process = bench.process(script, "run", shell=shell, must_listen=False, grace_period=timedelta(seconds=0.3))
    return JobSpec(APP, name, process, timedelta(seconds=seconds))


@pytest.mark.parametrize(
    ("shell", "state", "code", "reason"),
    [
        ("echo hello", "down", 0, None),
        ("echo oops >&2; exit 4", "crashed", 4, "process-crashed"),
        ("no-such-program", "crashed", 127, "command-not-found"),
        ("kill -9 $$", "crashed", 137, "process-crashed"),
    ],
)
async def test_the_outcome_of_a_one_off(bench: Bench, shell: str, state: str, code: int, reason: str | None) -> None:
    spec = job(bench, shell)
    await bench.engine.run(spec)
    done = await bench.finished(spec)
    assert (done.state, done.exit_code, done.reason) == (state, code, reason)


async def test_its_output_is_kept_and_it_runs_once(bench: Bench) -> None:
    spec = job(bench, "echo hello >> ran; echo hello")
    await bench.engine.run(spec)
    await bench.engine.run(spec)
    done = await bench.finished(spec)
    await bench.engine.run(spec)
    assert done.log == ("hello",)
    assert await bench.log(instance=spec.name) == "hello\n"
    assert " shop[run.ab12c]: hello\n" in await bench.log()
    ran = bench.config.workspaces / APP / spec.process.image.split(":")[1] / "source" / "ran"
    assert ran.read_text() == "hello\n"
    (seen,) = (await bench.engine.observe(APP)).instances
    assert (seen.name, seen.ptype, seen.state, seen.ready, seen.exit_code) == (spec.name, "run", "down", False, 0)


async def test_one_that_takes_too_long_is_killed(bench: Bench) -> None:
    spec = job(bench, "python app.py", seconds=0.5, script=apps.IGNORES_SIGTERM)
    await bench.engine.run(spec)
    done = await bench.finished(spec)
    assert (done.state, done.reason) == ("crashed", "deadline-exceeded")
    assert done.log[-1] == "killed: it ran longer than 0.5 s"
    assert bench.processes() == []


async def test_its_outcome_is_known_after_a_restart_of_the_platform(bench: Bench) -> None:
    ended = job(bench, "exit 3", name="shop-run-ended")
    cut_off = job(bench, "sleep 600", name="shop-run-cutof")
    await bench.engine.run(ended)
    await bench.engine.run(cut_off)
    done = await bench.finished(ended)
    await eventually(lambda: _state(bench.engine, cut_off.name, "up"))
    later = LocalEngine(bench.config)
    assert await later.job(APP, ended.name) == done
    known = await later.job(APP, cut_off.name)
    assert known is not None
    assert (known.state, known.reason, known.log) == (
        "crashed",
        "platform-stopped",
        ("ended when the platform stopped",),
    )
    assert await later.job(APP, "shop-run-other") is None
    assert await later.job(APP, "../x") is None


async def _state(engine: LocalEngine, name: str, state: str) -> bool:
    found = await engine.job(APP, name)
    return found is not None and found.state == state


async def test_a_finished_one_is_forgotten_in_time(bench: Bench) -> None:
    spec = replace(job(bench, "true"), ttl=timedelta(0))
    await bench.engine.run(spec)
    await bench.finished(spec)
    assert (await bench.engine.observe(APP)).instances == ()


async def test_a_stopped_one_off_stays_stopped(bench: Bench) -> None:
    spec = job(bench, "sleep 600")
    await bench.engine.run(spec)
    await eventually(lambda: _state(bench.engine, spec.name, "up"))
    await bench.engine.stop_instance(APP, spec.name)
    done = await bench.finished(spec)
    assert (done.state, done.exit_code, done.reason) == ("crashed", 143, "stopped")


async def test_stopping_one_ends_all_of_it(bench: Bench) -> None:
    spec = job(bench, "echo begun; trap '' TERM; sleep 600 & wait")
    await bench.engine.run(spec)
    await eventually(lambda: _state(bench.engine, spec.name, "up"))
    await bench.engine.stop_job(APP, spec.name)
    await bench.engine.stop_job(APP, "shop-run-none")
    done = await bench.finished(spec)
    assert (done.state, done.reason, done.log[-1]) == ("crashed", "stopped", "stopped before its end")
    assert bench.processes() == []
    await bench.engine.stop_job(APP, spec.name)
    assert await bench.engine.job(APP, spec.name) == done


async def test_its_times_are_told(bench: Bench) -> None:
    before = datetime.now(UTC)
    spec = job(bench, "true")
    await bench.engine.run(spec)
    done = await bench.finished(spec)
    assert done.started_at is not None
    assert done.ended_at is not None
    assert before <= done.started_at <= done.ended_at <= datetime.now(UTC)


async def test_arguments_reach_it_as_they_are(bench: Bench) -> None:
    spec = job(bench, "")
    words = ("printf", "%s|", "a  b", "$HOME", "")
    spec = replace(spec, process=replace(spec.process, shell=None, args=words))
    await bench.engine.run(spec)
    await bench.finished(spec)
    assert await bench.log(instance=spec.name) == "a  b|$HOME||\n"


async def read_all(session: LocalExecSession) -> dict[int, bytes]:
    output: dict[int, bytes] = {1: b"", 2: b""}
    while (piece := await session.read()) is not None:
        output[piece[0]] += piece[1]
    assert await session.read() is None
    return output


async def running_worker(bench: Bench) -> str:
    spec = bench.process(apps.WORKER, "worker", env={"COLOUR": "red"})
    await bench.apply(spec)
    return (await bench.settled(spec)).instances[0].name


async def test_exec_with_pipes(bench: Bench) -> None:
    name = await running_worker(bench)
    command = ["sh", "-c", "read line; echo got $line $COLOUR; echo bad >&2; exit 5"]
    session = await bench.engine.exec(APP, name, command=command, tty=False, stdin=True)
    await session.write(b"this\n")
    assert await read_all(session) == {1: b"got this red\n", 2: b"bad\n"}
    assert await session.wait() == 5
    await session.close()


async def test_exec_without_stdin_sees_its_end(bench: Bench) -> None:
    name = await running_worker(bench)
    session = await bench.engine.exec(APP, name, command=["cat"], tty=False, stdin=False)
    await session.write(b"ignored")
    assert await read_all(session) == {1: b"", 2: b""}
    assert await session.wait() == 0


@pytest.fixture
def heeding_sigint() -> Iterator[None]:
    """A test run in the background ignores SIGINT, and children would inherit that (uvloop's would not)."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeding_sigint")
async def test_exec_with_a_terminal(bench: Bench) -> None:
    name = await running_worker(bench)
    ready = "import time; print('ready', flush=True); time.sleep(600)"
    script = f'tty; stty size; read x; stty size; exec python -c "{ready}"'
    session = await bench.engine.exec(APP, name, command=["sh", "-c", script], tty=True, stdin=True)
    seen = b""

    async def until(text: bytes) -> None:
        nonlocal seen
        while text not in seen:
            piece = await session.read()
            assert piece is not None, seen
            assert piece[0] == 1
            seen += piece[1]

    await until(b"24 80")
    assert b"/dev/" in seen
    await session.resize(height=50, width=132)
    await session.write(b"\n")
    await until(b"50 132")
    await until(b"ready")
    # Ctrl-C reaches the foreground job, as it does only where the terminal is the controlling one.
    await session.write(b"\x03")
    await read_all(session)
    assert await session.wait() == 130
    await session.resize(height=10, width=10)
    await session.close()


async def test_much_output_goes_through_unharmed(bench: Bench) -> None:
    name = await running_worker(bench)
    command = ["python", "-c", "import sys; sys.stdout.write('z' * 3_000_000)"]
    session = await bench.engine.exec(APP, name, command=command, tty=False, stdin=False)
    assert len((await read_all(session))[1]) == 3_000_000


async def test_a_closed_session_leaves_nothing(bench: Bench) -> None:
    name = await running_worker(bench)
    before = len(bench.processes())
    session = await bench.engine.exec(APP, name, command=["sleep", "600"], tty=True, stdin=True)
    await session.close()
    await session.close()
    assert await session.read() is None
    assert len(bench.processes()) == before


async def test_exec_needs_a_running_instance(bench: Bench) -> None:
    with pytest.raises(NotFoundError):
        await bench.engine.exec(APP, "shop-web-none", command=["true"], tty=False, stdin=False)


async def test_exec_of_an_unknown_command(bench: Bench) -> None:
    name = await running_worker(bench)
    session = await bench.engine.exec(APP, name, command=["no-such-program"], tty=False, stdin=False)
    output = await read_all(session)
    assert b"not found" in output[2]
    assert await session.wait() == 127

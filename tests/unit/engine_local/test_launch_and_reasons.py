"""Command lines, environments, reasons, and the small rules around them."""

from __future__ import annotations

import json
import signal
import socket
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from controller.domain.spec import Probe, ProcessSpec
from controller.engine.local import diagnose
from controller.engine.local.buildah import command_of
from controller.engine.local.cgroups import V1, V2, MemoryGroup
from controller.engine.local.config import LocalEngineConfig
from controller.engine.local.containers import DockerLike, env_file_text
from controller.engine.local.instance import backoff, exit_code
from controller.engine.local.jobs import read_record
from controller.engine.local.launch import LaunchError, prepare
from controller.engine.local.ports import Ports, is_free
from controller.engine.local.probes import Target, Verdict, readiness_of
from controller.engine.shell import shell_line
from support.local_engine import make_bench


def spec(**changes: object) -> ProcessSpec:
    facts: dict[str, object] = {
        "ptype": "web",
        "replicas": 1,
        "release": 2,
        "image": "workspace/shop:b1",
        "stack": "python",
    }
    return ProcessSpec(**(facts | changes))  # type: ignore[arg-type]


def config(tmp_path: Path, **launch: object) -> LocalEngineConfig:
    directory = tmp_path / "workspaces" / "shop" / "b1"
    (directory / "source").mkdir(parents=True)
    (directory / "launch.json").write_text(json.dumps({"version": 1, "stack": "python"} | launch))
    return make_bench(tmp_path).config


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("gunicorn app:app --bind 0.0.0.0:$PORT", "exec gunicorn app:app --bind 0.0.0.0:$PORT"),
        ("  ./serve --name 'my app'  ", "exec ./serve --name 'my app'"),
        ("cd web && python app.py", "cd web && python app.py"),
        ("cd web", "cd web"),
        ("DEBUG=1 python app.py", "DEBUG=1 python app.py"),
        ("python app.py > out", "python app.py > out"),
        ("if true; then x; fi", "if true; then x; fi"),
        ("exec python app.py", "exec python app.py"),
        ("", ""),
    ],
)
def test_a_shell_is_spared_where_it_does_nothing(line: str, expected: str) -> None:
    assert shell_line(line) == expected


def test_the_environment_of_an_instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin")
    monkeypatch.setenv("DATABASE_PASSWORD", "ours")
    settings = config(tmp_path, path=["/cache/bin"], env={"VIRTUAL_ENV": "/cache"})
    env = {"PORT": "5000", "WORKFLOW_HOME_ID": "mine", "COLOUR": "red"}
    launch = prepare(settings, spec(shell="./run", env=env), instance="shop-web-1", port=23456)
    assert launch.argv == ("/bin/sh", "-c", "exec ./run")
    assert launch.cwd == settings.workspaces / "shop" / "b1" / "source"
    assert launch.env["PATH"] == "/cache/bin:/usr/bin"
    assert launch.env["PORT"] == "23456"
    assert launch.env["WORKFLOW_HOME_ID"] == settings.mark
    assert launch.env["WORKFLOW_INSTANCE"] == "shop-web-1"
    assert launch.env["VIRTUAL_ENV"] == "/cache"
    assert launch.env["HOME"] == str(launch.cwd)
    assert "DATABASE_PASSWORD" not in launch.env
    assert "red" not in repr(launch)


def test_command_and_args_need_no_shell(tmp_path: Path) -> None:
    launch = prepare(config(tmp_path), spec(command=("a", "b"), args=("c d",)), instance="x", port=1)
    assert launch.argv == ("a", "b", "c d")


@pytest.mark.parametrize("text", ["{", "[]", '{"version": 2}'])
def test_a_launch_file_that_makes_no_sense(tmp_path: Path, text: str) -> None:
    settings = config(tmp_path)
    (settings.workspaces / "shop" / "b1" / "launch.json").write_text(text)
    with pytest.raises(LaunchError) as caught:
        prepare(settings, spec(shell="x"), instance="x", port=1)
    assert caught.value.code == "image-not-found"


def test_a_type_without_a_command(tmp_path: Path) -> None:
    with pytest.raises(LaunchError, match="no command for the process type web"):
        prepare(config(tmp_path), spec(), instance="x", port=1)


def test_a_container_is_told_no_value_on_its_command_line(tmp_path: Path) -> None:
    settings = config(tmp_path, stack="container", image="localhost/workflow/shop:b1")
    env = {"SECRET": "hunter2", "PATH": "/opt/bin", "DOCKER_HOST": "tcp://x", "MANY": "a\nb"}
    launch = prepare(settings, spec(shell="run it", env=env), instance="shop-web-1", port=7)
    tool = DockerLike("podman", "/usr/bin/podman", "m")
    line = tool.run_command(launch, name="shop-web-1", memory_bytes=1000, env_file=tmp_path / "env")
    text = " ".join(line)
    assert "hunter2" not in text
    assert "/opt/bin" not in text
    assert "--env SECRET" in text
    assert "--env MANY" in text
    assert "--env PATH" not in text
    assert line[-5:] == ("--entrypoint", "/bin/sh", "localhost/workflow/shop:b1", "-c", "run it")
    assert env_file_text(launch.env) == "DOCKER_HOST=tcp://x\nPATH=/opt/bin\n"


IMAGE = {"Entrypoint": ["/init", "--"], "Cmd": ["serve"]}


@pytest.mark.parametrize(
    ("image", "changes", "command"),
    [
        (IMAGE, {}, ("/init", "--", "serve")),
        (IMAGE, {"args": ("work",)}, ("/init", "--", "work")),
        (IMAGE, {"command": ("/bin/job",), "args": ("x",)}, ("/bin/job", "x")),
        (IMAGE, {"shell": "a && b"}, ("/bin/sh", "-c", "a && b")),
        ({"Entrypoint": None, "Cmd": ["serve"]}, {}, ("serve",)),
        ({}, {"args": ("work",)}, ("work",)),
    ],
)
def test_what_buildah_is_told_to_run(
    tmp_path: Path, image: dict[str, Any], changes: dict[str, Any], command: tuple[str, ...]
) -> None:
    settings = config(tmp_path, stack="container", image="localhost/workflow/shop:b1", tool="buildah")
    launch = prepare(settings, spec(**changes), instance="shop-web-1", port=7)
    assert launch.tool == "buildah"
    assert command_of(image, launch) == command


def test_an_image_without_any_command(tmp_path: Path) -> None:
    settings = config(tmp_path, stack="container", image="localhost/workflow/shop:b1")
    with pytest.raises(LaunchError, match="names no command"):
        command_of({}, prepare(settings, spec(), instance="x", port=7))


FACTS = diagnose.Facts(ptype="web", command="python app.py", port=23456, log=("last words",), memory_bytes=64 << 20)


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (0, "process-exited", "exit code 0"),
        (127, "command-not-found", "was not found"),
        (126, "command-not-found", "cannot be executed"),
        (3, "process-crashed", "exit code 3"),
        (-signal.SIGSEGV, "process-crashed", "signal SIGSEGV"),
        (137, "process-crashed", "signal SIGKILL"),
    ],
)
def test_reasons_of_an_early_end(status: int, code: str, words: str) -> None:
    failure = diagnose.of_exit(FACTS, status)
    assert failure.code == code
    assert words in failure.message
    assert failure.log == ("last words",)
    assert failure.hint


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("OSError: [Errno 98] Address already in use", "environment variable PORT"),
        ("ModuleNotFoundError: No module named 'flask'", "requirements.txt"),
        ("Error: Cannot find module 'express'", "package.json"),
    ],
)
def test_hints_for_common_crashes(line: str, words: str) -> None:
    facts = diagnose.Facts(ptype="web", command="x", port=1, log=(line,))
    assert words in diagnose.of_exit(facts, 1).hint


def test_reasons_of_a_missed_deadline() -> None:
    def reason(facts: diagnose.Facts, verdict: Verdict | None = None, *, must_listen: bool = True) -> tuple[str, str]:
        failure = diagnose.of_deadline(facts, timedelta(seconds=60), must_listen=must_listen, verdict=verdict)
        return failure.code, failure.message

    elsewhere = diagnose.Facts(ptype="web", command="x", port=23456, log=(), listens_on=frozenset({5000}))
    right = diagnose.Facts(ptype="web", command="x", port=23456, log=(), listens_on=frozenset({23456}))
    assert reason(elsewhere) == ("wrong-port", "the web process listens on 5000, expected $PORT (23456)")
    assert reason(FACTS)[0] == "never-listened"
    assert reason(right, Verdict(False, "GET / answered 500", status=500))[0] == "readiness-refused"
    assert reason(right, Verdict(False, "no answer in 1 s"))[0] == "deadline-exceeded"
    assert reason(FACTS, must_listen=False)[0] == "deadline-exceeded"


def test_backoff_doubles_to_its_cap() -> None:
    base, cap = timedelta(seconds=0.5), timedelta(seconds=60)
    for attempt in range(1, 40):
        ceiling = min(base * 2 ** (attempt - 1), cap)
        assert timedelta(0) <= backoff(attempt, base=base, cap=cap) <= ceiling


def test_exit_codes_as_shells_show_them() -> None:
    assert [exit_code(status) for status in (None, 0, 3, -15)] == [None, 0, 3, 143]


def test_ports_are_free_and_lent_once() -> None:
    ports = Ports()
    lent = {ports.lend() for _ in range(50)}
    assert len(lent) == 50
    assert all(20000 <= port <= 32000 for port in lent)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert not is_free(listener.getsockname()[1])


def test_what_a_probe_port_means_here() -> None:
    async def run(command: object, seconds: float) -> int:
        return 0

    web, other = Target(23456, 5000, run, only_port=True), Target(23456, 5000, run)
    assert [web.port_of(Probe("tcp", port)) for port in (None, 5000, 8080)] == [23456] * 3
    assert [other.port_of(Probe("tcp", port)) for port in (None, 5000, 8080)] == [23456, 23456, 8080]


def test_which_probe_decides_about_readiness() -> None:
    probe = Probe("http", 5000)
    assert readiness_of(spec(readiness=probe, must_listen=True)) == probe
    assert readiness_of(spec(must_listen=True)) == Probe("tcp")
    assert readiness_of(spec()) is None


@pytest.mark.parametrize("dialect", [V1, V2])
def test_the_files_of_a_memory_group(tmp_path: Path, dialect: object) -> None:
    assert dialect in (V1, V2)
    kind = V1 if dialect is V1 else V2
    group = MemoryGroup(tmp_path / "group", kind)
    group.path.mkdir()
    (group.path / kind.swap).write_text("")
    (group.path / kind.events).write_text("low 0\noom_kill 2\n")
    group.members_file.write_text("17\n18\n")
    group.limit(1000)
    assert (group.path / kind.limit).read_text() == "1000"
    assert (group.path / kind.swap).read_text() == ("1000" if kind is V1 else "0")
    assert group.kills() == 2
    assert group.pids() == {17, 18}
    assert not group.remove()


def test_a_record_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    for text in ("", "[]", '{"name": "x", "state": "odd", "exit_code": 1, "reason": null, "log": []}'):
        path.write_text(text)
        assert read_record(path) is None

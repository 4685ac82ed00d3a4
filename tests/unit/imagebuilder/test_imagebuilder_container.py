"""The container stack around buildah. In its place is a program that does as its build's Dockerfile says."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from imagebuilder import container
from imagebuilder.__main__ import main, reported
from imagebuilder.request import Inputs
from imagebuilder.result import BuildFailed
from support.build_source import TOKEN, archive, served

DIGEST = "sha256:" + "1" * 64
# Writes down how it was called; says and does what the Dockerfile of its build says after `say` and `exit`.
STAND_IN = f"""\
#!{sys.executable}
import os, pathlib, sys, time
calls = pathlib.Path(os.environ["HOME"]).parent / "calls"
with calls.open("a") as file:
    file.write(" ".join(sys.argv[1:]) + "\\n")
options = dict(word[2:].split("=", 1) for word in sys.argv[2:] if word.startswith("--") and "=" in word)
if sys.argv[1] == "info":
    storage = pathlib.Path(os.environ["CONTAINERS_STORAGE_CONF"]).read_text()
    sys.exit("overlay" in storage and "no-overlay" in sys.argv[0])
if sys.argv[1] == "push":
    pathlib.Path(options["digestfile"]).write_text("{DIGEST}")
    sys.exit(0)
for line in pathlib.Path(options["file"]).read_text().splitlines():
    word, _, rest = line.partition(" ")
    if word == "say":
        print(rest, flush=True)
    elif word == "wait":
        time.sleep(float(rest))
    elif word == "nocache" and "cache-to" in options:
        sys.exit("Error: failed pushing cache to [x]: denied")
    elif word == "exit":
        sys.exit(int(rest))
"""


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    programs = tmp_path / "programs"
    install(programs)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    return tmp_path / "work"


def install(programs: Path) -> None:
    programs.mkdir()
    (programs / "buildah").write_text(STAND_IN)
    (programs / "buildah").chmod(0o755)


def told(tmp_path: Path, url: str, **facts: Any) -> Inputs:
    directory = tmp_path / "build"
    (directory / "config").mkdir(parents=True)
    request = {
        "build_id": "1",
        "app": "shop",
        "number": 7,
        "sha": "a" * 40,
        "stack": "container",
        "source_url": url,
        "image": "r:5000/shop/shop:1",
        "cache_image": "r:5000/shop/cache:container",
        "dockerfiles": [{"ptype": "web", "path": "Dockerfile", "image": "r:5000/shop/shop:1", "args": {}}],
    }
    (directory / "request.json").write_text(json.dumps(request | facts))
    (directory / "token").write_text(TOKEN)
    return Inputs(directory)


def built(tmp_path: Path, work: Path, files: dict[str, str], **facts: Any) -> dict[str, Any]:
    with served(archive(files)) as url:
        result: dict[str, Any] = json.loads(container.build(told(tmp_path, url, **facts), work))
    return result


def calls(work: Path, kind: str) -> list[str]:
    return [line for line in (work / "calls").read_text().splitlines() if line.startswith(f"{kind} ")]


def test_every_process_type_is_built_before_anything_is_pushed(tmp_path: Path, work: Path) -> None:
    dockerfiles = [
        {
            "ptype": "web",
            "path": "Dockerfile",
            "image": "r:5000/shop/shop:1",
            "args": {"A": "own value", "B": "2", "C": "3"},
        },
        {"ptype": "worker", "path": "w/Dockerfile", "image": "r:5000/shop/shop:1-worker", "args": {"A": "a b"}},
    ]
    files = {"Dockerfile": "ARG A \\\r\n    B\r\n", "w/Dockerfile": "arg A=1\n"}
    result = built(tmp_path, work, files, dockerfiles=dockerfiles)
    assert result == {"images": {"web": f"r:5000/shop/shop@{DIGEST}", "worker": f"r:5000/shop/shop@{DIGEST}"}}
    kinds = [line.partition(" ")[0] for line in (work / "calls").read_text().splitlines()]
    assert kinds == ["info", "build", "build", "push", "push"]
    web, worker = calls(work, "build")
    assert "--build-arg=A=own value --build-arg=B=2 --label" in web
    assert "--build-arg=A=a b --label" in worker


def test_output_is_plain_and_at_once(tmp_path: Path, work: Path, capfd: pytest.CaptureFixture[str]) -> None:
    built(tmp_path, work, {"Dockerfile": "say \x1b[31mred\x1b[0m\nsay " + "x" * 9000 + "\n"})
    lines = capfd.readouterr().out.splitlines()
    assert "     red" in lines
    assert max(len(line) for line in lines) <= 8 * 1024 + 5


def test_only_the_cache_failing_is_no_failure(tmp_path: Path, work: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert built(tmp_path, work, {"Dockerfile": "nocache\n"})["images"]
    with_cache, without = calls(work, "build")
    assert "--cache-to" in with_cache
    assert "--cache-to" not in without
    assert "building without it" in capfd.readouterr().out


def test_without_a_cache_none_is_used(tmp_path: Path, work: Path) -> None:
    built(tmp_path, work, {"Dockerfile": ""}, cache_image=None)
    assert "--cache" not in calls(work, "build")[0]


def test_a_node_without_overlay_is_built_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    programs = tmp_path / "no-overlay"
    install(programs)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    work = tmp_path / "work"
    built(tmp_path, work, {"Dockerfile": ""})
    assert 'driver = "vfs"' in (work / "storage.conf").read_text()
    assert "no overlay" in capfd.readouterr().out


def test_a_failed_build_pushes_nothing(tmp_path: Path, work: Path) -> None:
    with pytest.raises(BuildFailed, match="Dockerfile"):
        built(tmp_path, work, {"Dockerfile": "exit 3\n"})
    assert calls(work, "push") == []


@pytest.mark.parametrize("files", [{"other": ""}, {"Dockerfile": "x" * (1024**2 + 1)}])
def test_a_dockerfile_that_is_not_there_is_told(tmp_path: Path, work: Path, files: dict[str, str]) -> None:
    with pytest.raises(BuildFailed, match="Dockerfile is not a file"):
        built(tmp_path, work, files)


def test_more_images_than_can_be_reported_are_refused_before_they_are_built(tmp_path: Path, work: Path) -> None:
    dockerfiles = [{"ptype": f"t{n}", "path": "Dockerfile", "image": f"r:5000/a/b:{n}", "args": {}} for n in range(60)]
    with pytest.raises(BuildFailed, match="60 images"):
        built(tmp_path, work, {"Dockerfile": ""}, dockerfiles=dockerfiles)
    assert not work.exists()


def test_a_step_reports_its_failure_and_its_defects(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def fails() -> bytes:
        raise BuildFailed("disk-full", "no room", "make some")

    def breaks() -> bytes:
        raise KeyError("x")

    report = tmp_path / "report"
    before = signal.getsignal(signal.SIGTERM)
    try:
        assert reported(fails, report) == 1
        assert json.loads(report.read_bytes())["error"] == {
            "code": "disk-full",
            "message": "no room",
            "hint": "make some",
        }
        assert reported(breaks, report) == 1
        assert json.loads(report.read_bytes())["error"]["code"] == "internal"
        assert reported(lambda: b"done", report) == 0
        assert report.read_bytes() == b"done"
    finally:
        signal.signal(signal.SIGTERM, before)
    assert "Traceback" in capfd.readouterr().err


def test_a_step_that_does_not_exist_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["nothing"]) == 2
    assert "usage" in capfd.readouterr().err


def test_a_build_that_is_told_to_end_takes_buildah_with_it(tmp_path: Path, work: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from imagebuilder.__main__ import reported; "
        "from imagebuilder import container; from imagebuilder.request import Inputs; "
        f"sys.exit(reported(lambda: container.build(Inputs(Path({str(tmp_path / 'build')!r})), Path({str(work)!r})), "
        f"Path({str(tmp_path / 'report')!r})))"
    )
    with served(archive({"Dockerfile": "say waiting\nwait 60\n"})) as url:
        told(tmp_path, url)
        environment = {**os.environ, "PYTHONPATH": ":".join(sys.path)}
        process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, env=environment, text=True)
        assert process.stdout is not None
        with process, contextlib.closing(process.stdout) as output:
            assert any("waiting" in line for line in output)
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 1
    assert json.loads((tmp_path / "report").read_bytes())["error"]["code"] == "cancelled"
    assert not _running(str(work / "source"))


def _running(argument: str) -> bool:
    """Whether a process still has that argument; a moment passes until the kernel has ended the killed ones."""
    end = time.monotonic() + 5
    while time.monotonic() < end:
        found = [path for path in Path("/proc").glob("[0-9]*/cmdline") if _mentions(path, argument)]
        if not found:
            return False
    return True


def _mentions(path: Path, argument: str) -> bool:
    with contextlib.suppress(OSError):
        return argument.encode() in path.read_bytes().split(b"\0")
    return False

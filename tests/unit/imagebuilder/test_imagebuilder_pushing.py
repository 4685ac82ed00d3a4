"""A push that finds nobody at home is made again. In buildah's place is a program that says what a test lets it say."""

from __future__ import annotations

import json
import os
import sys
from collections import deque
from pathlib import Path

import pytest

from imagebuilder import container, failures
from imagebuilder.output import Finished
from imagebuilder.request import Inputs
from imagebuilder.result import BuildFailed
from support.build_source import TOKEN, archive, served

IMAGE = "r:5000/shop/shop:1"
# Fails as often as `complaints` next to it has lines, and says one each time.
STAND_IN = f"""\
#!{sys.executable}
import pathlib, sys
complaints = pathlib.Path(__file__).with_name("complaints")
if sys.argv[1] == "push":
    lines = complaints.read_text().splitlines()
    complaints.write_text("\\n".join(lines[1:]))
    if lines:
        sys.exit(f"Error: {{lines[0]}}")
    (file,) = [word.partition("=")[2] for word in sys.argv if word.startswith("--digestfile=")]
    pathlib.Path(file).write_text("sha256:" + "1" * 64)
"""


def push(directory: Path, monkeypatch: pytest.MonkeyPatch, complaints: list[str]) -> bytes:
    programs, told = directory / "programs", directory / "build"
    programs.mkdir()
    (programs / "buildah").write_text(STAND_IN)
    (programs / "buildah").chmod(0o755)
    (programs / "complaints").write_text("\n".join(complaints))
    (told / "config").mkdir(parents=True)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setattr(container, "PUSH_PAUSES", (0, 0, 0))
    request = {"build_id": "1", "app": "shop", "number": 1, "sha": "a" * 40, "stack": "container", "image": IMAGE}
    dockerfiles = [{"ptype": "web", "path": "Dockerfile", "image": IMAGE, "args": {}}]
    (told / "token").write_text(TOKEN)
    with served(archive({"Dockerfile": "FROM scratch\n"})) as url:
        facts = {"source_url": url, "cache_image": "", "dockerfiles": dockerfiles}
        (told / "request.json").write_text(json.dumps(request | facts))
        return container.build(Inputs(told), directory / "work")


def test_a_registry_or_token_server_that_comes_back_is_pushed_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    refused = 'Get "http://builder:8092/registry/token": dial tcp 10.0.0.1:8092: connect: connection refused'
    away = "Requesting bearer token: invalid status code from registry 503 (Service Unavailable)"
    assert b"sha256:1111" in push(tmp_path, monkeypatch, [refused, away])
    assert capfd.readouterr().out.count("The registry does not answer: pushing again") == 2


def test_one_that_stays_away_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BuildFailed, match="cannot be reached"):
        push(tmp_path, monkeypatch, ["dial tcp 10.0.0.1:5000: connect: connection refused"] * 9)


def test_a_refusal_is_told_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(BuildFailed, match="does not let this build push"):
        push(tmp_path, monkeypatch, ["unable to retrieve auth token: unauthorized: that build has ended"])
    assert "again" not in capfd.readouterr().out


def test_success_and_signals_need_no_other_try() -> None:
    assert not failures.may_heal(Finished(0, deque(["EOF"])))
    assert not failures.may_heal(Finished(-9, deque(["Error: EOF"])))

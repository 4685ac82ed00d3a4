"""Our own steps around a buildpack build: what buildpacks are told, and what the builder is told in the end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from imagebuilder import buildpack


def test_configuration_becomes_files_for_buildpacks(tmp_path: Path) -> None:
    config, platform = tmp_path / "config", tmp_path / "platform"
    (config / "..data").mkdir(parents=True)
    platform.mkdir()
    values = {"TOKEN": "a b\n$x", "PIP_INDEX_URL": "z"}
    for name, value in values.items():
        (config / name).write_text(value)
    buildpack.write_platform(config, platform)
    assert {file.name: file.read_text() for file in (platform / "env").iterdir()} == values


def test_an_app_without_configuration_has_an_empty_environment(tmp_path: Path) -> None:
    buildpack.write_platform(tmp_path / "none", tmp_path)
    assert list((tmp_path / "env").iterdir()) == []


def test_the_result_is_pinned_to_the_digest(tmp_path: Path) -> None:
    request, report = tmp_path / "request.json", tmp_path / "report.toml"
    request.write_text(json.dumps({"image": "registry.example:5000/shop/shop:git-0123456789ab-7"}))
    report.write_text(f'[image]\ntags = ["x"]\ndigest = "sha256:{"ab" * 32}"\n')
    assert buildpack.finish(request, report) == {
        "images": {"web": f"registry.example:5000/shop/shop@sha256:{'ab' * 32}"}
    }


def test_a_report_without_a_digest_is_refused(tmp_path: Path) -> None:
    request, report = tmp_path / "request.json", tmp_path / "report.toml"
    request.write_text(json.dumps({"image": "registry.example/shop/shop:1"}))
    report.write_text("")
    with pytest.raises(ValueError, match="told no digest"):
        buildpack.finish(request, report)

"""Our own steps around a buildpack build: what buildpacks are told, and what the builder is told in the end."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

_FILE = Path(__file__).parents[3] / "services/builder/imagebuilder/src/imagebuilder/buildpack.py"


@pytest.fixture(scope="module")
def steps() -> ModuleType:
    """The module as its file; its package is installed in the image only."""
    spec = importlib.util.spec_from_file_location("imagebuilder_buildpack_steps", _FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_configuration_becomes_files_for_buildpacks(steps: ModuleType, tmp_path: Path) -> None:
    config, platform = tmp_path / "config", tmp_path / "platform"
    (config / "..data").mkdir(parents=True)
    platform.mkdir()
    values = {"TOKEN": "a b\n$x", "PATH": "/x", "LD_PRELOAD": "y", "pip_target": "/", "PIP_INDEX_URL": "z", "a-b": "1"}
    for name, value in values.items():
        (config / name).write_text(value)
    assert steps.write_platform(config, platform) == ["LD_PRELOAD", "PATH", "a-b", "pip_target"]
    assert {file.name: file.read_text() for file in (platform / "env").iterdir()} == {
        "TOKEN": "a b\n$x",
        "PIP_INDEX_URL": "z",
    }


def test_an_app_without_configuration_has_an_empty_environment(steps: ModuleType, tmp_path: Path) -> None:
    assert steps.write_platform(tmp_path / "none", tmp_path) == []
    assert list((tmp_path / "env").iterdir()) == []


def test_the_result_is_pinned_to_the_digest(steps: ModuleType, tmp_path: Path) -> None:
    request, report = tmp_path / "request.json", tmp_path / "report.toml"
    request.write_text(json.dumps({"image": "registry.example:5000/shop/shop:git-0123456789ab-7"}))
    report.write_text(f'[image]\ntags = ["x"]\ndigest = "sha256:{"ab" * 32}"\n')
    assert steps.finish(request, report) == {"images": {"web": f"registry.example:5000/shop/shop@sha256:{'ab' * 32}"}}


def test_a_report_without_a_digest_is_refused(steps: ModuleType, tmp_path: Path) -> None:
    request, report = tmp_path / "request.json", tmp_path / "report.toml"
    request.write_text(json.dumps({"image": "registry.example/shop/shop:1"}))
    report.write_text("")
    with pytest.raises(ValueError, match="told no digest"):
        steps.finish(request, report)

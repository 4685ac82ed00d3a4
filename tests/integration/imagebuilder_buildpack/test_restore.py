"""A cache that cannot be used is no reason for a build to fail, whatever is wrong with it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.registry_images import TestedRegistry
from support.registry_server import registry_server
from support.tools import free_port

RESTORER = Path(__file__).parents[3] / "services/builder/imagebuilder/buildpacks/cnb/lifecycle/restorer"
LABEL = "io.buildpacks.lifecycle.cache.metadata"
PACKAGES: dict[str, Any] = {"sha": "sha256:0", "cache": True, "data": {"python": "3.11"}}


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestedRegistry]:
    with registry_server(tmp_path_factory.mktemp("registry"), port=free_port()) as host:
        yield TestedRegistry(host)


@pytest.mark.parametrize(
    "buildpacks",
    [
        [{"key": "workflow/python", "layers": {"packages": PACKAGES}}],
        [{"key": "workflow/python", "layers": {"packages": {"cache": True}}}],
        [{"key": "workflow/python", "layers": {"packages": "all"}}],
        [{"layers": {"packages": PACKAGES}}],
        ["workflow/python"],
        "all",
    ],
    ids=["a layer that is no archive", "no digest", "a word for facts", "no name", "words", "a word"],
)
def test_a_cache_that_cannot_be_read_is_left_out(registry: TestedRegistry, tmp_path: Path, buildpacks: object) -> None:
    labels = {LABEL: json.dumps({"buildpacks": buildpacks})}
    registry.push("shop/cache", "buildpack", labels=labels)
    layers = tmp_path / "layers"
    layers.mkdir()
    (layers / "group.toml").write_text('[[group]]\nid = "workflow/python"\nversion = "1"\n')

    options = [f"-layers={layers}", f"-group={layers}/group.toml", f"-analyzed={layers}/analyzed.toml"]
    options += [f"-cache-image={registry.host}/shop/cache:buildpack", f"-insecure-registry={registry.host}"]
    environment = {**os.environ, "WORKFLOW_TERMINATION_LOG": str(tmp_path / "termination-log")}
    done = subprocess.run([RESTORER, *options], capture_output=True, text=True, env=environment, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "---> Starting without the cache: " in done.stdout
    assert not list(layers.rglob("packages*"))

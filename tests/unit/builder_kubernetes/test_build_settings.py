"""What of the settings for builds in a cluster is told before the cluster is asked for anything."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from builder.runners import running_runner
from builder.settings import Settings
from shared.settings import SettingsError, load_settings


def settings_of(path: Path, **changes: object) -> Settings:
    directories = {name: path / name for name in ("repos", "build_logs", "workspaces", "caches", "host_key_dir")}
    images = {name: f"r.example.org/team/{name}:1" for name in ("imagebuilder_image", "builder_image", "run_image")}
    given: dict[str, object] = {
        **{"issuer": "https://example.org", "client_secret": "x", "run_dir": path, "runner": "kubernetes"},
        **{"registry": "r.example.org", "source_token_key": SecretStr("k" * 32), **directories, **images},
    }
    return load_settings(Settings, **{**given, **changes})


async def told_of(settings: Settings) -> str:
    with pytest.raises(SettingsError) as caught:
        async with running_runner(settings):
            pass
    assert "\n" not in caught.value.detail
    return caught.value.detail


@pytest.mark.parametrize("name", ["imagebuilder_image", "builder_image", "run_image"])
async def test_images_of_the_platform_are_not_where_an_app_could_push(tmp_path: Path, name: str) -> None:
    for image in (
        "r.example.org/team/tools:1",
        f"r.example.org/team/tools@sha256:{'0' * 64}",
        "r.example.org/team/x.cache",
    ):
        told = await told_of(settings_of(tmp_path, registry_organization="team", **{name: image}))
        assert told.startswith(f"BUILDER_{name.upper()}: r.example.org/team/")
        assert "r.example.org/team/workflow_images" in told


async def test_where_no_app_can_push_they_are(tmp_path: Path) -> None:
    """What is missing next is said instead."""
    for organization, image in (
        ("team", "r.example.org/team/workflow_tools:1"),
        ("team", "r.example.org/team/base/tools:1"),
        ("team", "elsewhere.example.org/team/tools:1"),
        ("team", "r.example.org/tools/tools:1"),
        ("", "r.example.org/team/tools:1"),
    ):
        told = await told_of(settings_of(tmp_path, registry_organization=organization, imagebuilder_image=image))
        assert told.startswith("BUILDER_STORAGE_URL: is required")

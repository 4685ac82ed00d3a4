"""The early checks and the buildpacks of our builder image recognise the same (builder.md 13.6)."""

from __future__ import annotations

import os
import subprocess
import tomllib
from pathlib import Path

import pytest

from builder.domain.detect import NothingRecognisedError, detect

CNB = Path(__file__).parents[3] / "services/builder/imagebuilder/buildpacks/cnb"
TREES: tuple[tuple[str, ...], ...] = (
    ("requirements.txt",),
    ("pyproject.toml", "package.json"),
    ("setup.py",),
    ("setup.py", "package.json", "Procfile"),
    ("setup.py", "index.html"),
    (".python-version",),
    (".python-version", "package.json"),
    (".python-version", "requirements.txt", "package.json"),
    (".python-version", ".node-version"),
    (".node-version",),
    (".node-version", "Procfile"),
    (".node-version", "setup.py"),
    ("package.json", ".node-version", "index.html"),
    ("Procfile",),
    ("Procfile", "index.html", "go.mod"),
    ("index.html",),
    ("public/index.html",),
    ("public/other.html", "index.html"),
    ("public/other.html",),
    ("README",),
    ("go.mod",),
    ("Gemfile", "index.html"),
    (),
)


def detected_by_buildpacks(root: Path, files: tuple[str, ...]) -> str | None:
    """The language of the group that the detector of the builder image chooses."""
    app, layers, platform = root / "app", root / "layers", root / "platform"
    for folder in (app, layers, platform):
        folder.mkdir()
    for name in files:
        path = app / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("{}" if name == "package.json" else "")
    group = layers / "group.toml"
    places = [f"-app={app}", f"-layers={layers}", f"-platform={platform}", f"-plan={layers}/plan.toml"]
    image = [f"-order={CNB}/order.toml", f"-buildpacks={CNB}/buildpacks"]
    done = subprocess.run(
        [str(CNB / "lifecycle/detector"), f"-group={group}", *places, *image],
        env={**os.environ, "WORKFLOW_TERMINATION_LOG": str(root / "termination-log")},
        capture_output=True,
        check=False,
    )
    assert done.returncode in (0, 20), done.stderr
    if done.returncode == 20:
        return None
    return str(tomllib.loads(group.read_text())["group"][0]["id"]).removeprefix("workflow/")


def detected_early(files: tuple[str, ...]) -> str | None:
    names = [name for name in files if "/" not in name] + sorted({"public/" for name in files if "/" in name})
    public = [name.removeprefix("public/") for name in files if name.startswith("public/")]
    try:
        return detect(names, asked=None, public=public).kind
    except NothingRecognisedError:
        return None


@pytest.mark.parametrize("files", TREES, ids=lambda files: " ".join(files) or "nothing")
def test_both_recognise_the_same(tmp_path: Path, files: tuple[str, ...]) -> None:
    assert detected_early(files) == detected_by_buildpacks(tmp_path, files)

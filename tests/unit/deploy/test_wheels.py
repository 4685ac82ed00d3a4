"""Wheels hold every file of their sources: migrations, templates, samples and type markers besides the modules."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PROJECTS = [ROOT / "shared", *sorted(ROOT.glob("services/[a-z]*")), ROOT / "standalone"]
BUILD = "import setuptools.build_meta, sys; setuptools.build_meta.build_wheel(sys.argv[1])"
NOT_SOURCE = shutil.ignore_patterns("__pycache__", "*.egg-info", ".*_cache")


@pytest.mark.parametrize("project", PROJECTS, ids=lambda project: project.name)
def test_a_wheel_holds_all_sources(project: Path, tmp_path: Path) -> None:
    copy = tmp_path / "project"
    source = shutil.copytree(project / "src", copy / "src", ignore=NOT_SOURCE)
    shutil.copy(project / "pyproject.toml", copy)
    sources = {str(path.relative_to(source)) for path in source.rglob("*") if path.is_file()}
    built = subprocess.run(
        [sys.executable, "-c", BUILD, tmp_path], cwd=copy, capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert {name for name in archive.namelist() if ".dist-info/" not in name} == sources
    assert f"{project.name}/py.typed" in sources

"""The import contracts of pyproject.toml, where the linter cannot see by itself that they are complete."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import grimp

ROOT = Path(__file__).parents[3]
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]


def test_every_library_that_we_import_is_forbidden_in_some_domain() -> None:
    graph = grimp.build_graph(*CONTRACTS["root_packages"], include_external_packages=True, cache_dir=None)
    foreign = {name.partition(".")[0] for name in graph.modules} - set(CONTRACTS["root_packages"])
    contracts = [each for each in CONTRACTS["contracts"] if "domain" in each["name"]]
    forbidden = {name for contract in contracts for name in contract["forbidden_modules"]}
    assert foreign - sys.stdlib_module_names <= forbidden


def test_every_service_has_its_layers() -> None:
    layered = {name for each in CONTRACTS["contracts"] if each["type"] == "layers" for name in each["containers"]}
    assert layered == {path.name for path in (ROOT / "services").iterdir() if (path / "pyproject.toml").exists()}

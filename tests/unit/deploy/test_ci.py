"""The CI script brings every tool that a test asks for."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
# Brought by `make test` itself, or by whoever names a cluster to `make test-cluster`.
ELSEWHERE = {"rabbitmq-server", "kubectl", "pebble"}


def test_every_tool_that_a_test_requires_is_installed() -> None:
    texts = [file.read_text() for file in (ROOT / "tests").rglob("*.py")]
    required = {name for text in texts for name in re.findall(r'require_tool\("([\w-]+)"\)', text)}
    brought = set(re.findall(r"(?:need|command -v) ([\w-]+)", (ROOT / ".ci/run").read_text()))
    assert required
    assert required <= brought | ELSEWHERE

"""A cluster as a person sees it: through kubectl."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import pytest

from support.tools import require_tool, unavailable

T = TypeVar("T")
SECONDS = 60


class Kubectl:
    """Runs kubectl on the cluster of $KUBECONFIG."""

    def __init__(self) -> None:
        if not os.environ.get("KUBECONFIG"):
            pytest.skip("KUBECONFIG is not set: it names the cluster to test with")
        self._program = require_tool("kubectl")
        try:
            self("get", "--raw", "/readyz")
        except (AssertionError, subprocess.TimeoutExpired) as error:
            unavailable(f"the cluster of KUBECONFIG does not answer: {error}")

    def __call__(self, *arguments: str, stdin: str | None = None) -> str:
        """What that command prints; AssertionError with its complaint when it fails."""
        done = subprocess.run(
            [self._program, *arguments], input=stdin, capture_output=True, text=True, timeout=SECONDS, check=False
        )
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr.strip()}"
        return done.stdout

    def apply(self, manifests: Iterable[Mapping[str, Any]], *options: str) -> str:
        """Apply objects on the server's side."""
        items = {"apiVersion": "v1", "kind": "List", "items": list(manifests)}
        command = ("apply", "--server-side", "--field-manager=workflow-controller", *options, "-f", "-")
        return self(*command, stdin=json.dumps(items))

    def get(self, *arguments: str) -> Any:
        """Objects as the API gives them."""
        return json.loads(self("get", *arguments, "-o", "json"))


def eventually(ask: Callable[[], T], *, seconds: float = SECONDS) -> T:
    """The answer as soon as asking raises nothing; what it raised last when the time is over."""
    end = time.monotonic() + seconds
    while True:
        try:
            return ask()
        except (AssertionError, OSError) as error:
            if time.monotonic() > end:
                raise AssertionError(f"not within {seconds} s: {error}") from error
            time.sleep(0.2)

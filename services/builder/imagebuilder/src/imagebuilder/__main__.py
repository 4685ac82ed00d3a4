"""`python3 -m imagebuilder <step>`: `container`, `source [DIRECTORY]`, or `buildpack <step>`."""

from __future__ import annotations

import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Final

from imagebuilder import container, namespace
from imagebuilder.output import heading
from imagebuilder.request import Inputs
from imagebuilder.result import TERMINATION_LOG, BuildFailed, failure
from imagebuilder.source import fetch

_USAGE: Final = "usage: imagebuilder container | source [DIRECTORY] | buildpack STEP"
_WORKSPACE: Final = "/workspace"


def main(arguments: Sequence[str]) -> int:
    """Run one step; its exit code: 0, 1 after a failure that is reported, 2 for a step that does not exist."""
    match arguments:
        case ["container"]:
            return reported(lambda: _container(arguments))
        case ["source", *directory] if len(directory) <= 1:
            return reported(lambda: _fetch(Inputs(), Path(*directory or [_WORKSPACE])))
        case ["buildpack", step]:
            from imagebuilder import buildpack  # noqa: PLC0415  # the other stack is not needed for the rest

            return buildpack.main(step)
        case _:
            print(_USAGE, file=sys.stderr)
            return 2


def reported(step: Callable[[], bytes | None], termination_log: Path = TERMINATION_LOG) -> int:
    """Run a step and leave its result, if it has one, or its failure where the builder reads it; the exit code."""
    signal.signal(signal.SIGTERM, _cancel)
    try:
        result = step()
    except BuildFailed as error:
        code, result = 1, failure(error)
        heading(f"Build failed: {error.message}")
    except Exception as error:
        traceback.print_exc()
        code, result = 1, failure(BuildFailed("internal", f"the image builder failed: {type(error).__name__}: {error}"))
    else:
        code = 0
    if result is not None:
        termination_log.write_bytes(result)
    return code


def _container(arguments: Sequence[str]) -> bytes:
    namespace.enter(arguments)
    return container.build(Inputs())


def _fetch(inputs: Inputs, directory: Path) -> None:
    request = inputs.request()
    heading("Fetching the source...")
    fetch(request.source_url, inputs.token(), directory, max_bytes=request.source_max_bytes)


def _cancel(_signal: int, _frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise BuildFailed("cancelled", "the build was cancelled")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

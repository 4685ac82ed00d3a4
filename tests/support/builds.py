"""What tests of builds need: files to push, a log to read, a tree in memory."""

from __future__ import annotations

import io
import tarfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

Files = Mapping[str, str | bytes | Path]
"""File name -> content; a path makes a symbolic link."""

PLATFORM_SECRET = "s3cret-of-the-platform"
MARK = "test-home"
SAMPLES = Path(__file__).parents[2] / "standalone" / "src" / "standalone" / "samples"


class ListLog:
    """A build log that remembers what was written."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.position = ""

    async def write(self, text: str, *, position: str | None = None) -> None:
        """See `builder.runner.port.Log`."""
        self.lines.append(text)
        if position is not None:
            self.position = position

    @property
    def text(self) -> str:
        """All that was written."""
        return "".join(self.lines)

    @property
    def headings(self) -> list[str]:
        """The lines that begin with `---> `, without that."""
        return [line.removeprefix("---> ") for line in self.text.splitlines() if line.startswith("---> ")]


class MemoryTree:
    """The Tree of a commit that exists in memory only, for checks that read but do not extract."""

    def __init__(self, files: Mapping[str, str | bytes]) -> None:
        self._files = {name: text.encode() if isinstance(text, str) else text for name, text in files.items()}

    async def read(self, path: str) -> bytes | None:
        """See `builder.runner.port.Tree`."""
        return self._files.get(path)

    async def list(self, directory: str = "") -> list[str]:
        """See `builder.runner.port.Tree`."""
        prefix = f"{directory}/" if directory else ""
        below = [name.removeprefix(prefix) for name in self._files if name.startswith(prefix)]
        return sorted({f"{first}/" if rest else first for first, _, rest in (name.partition("/") for name in below)})

    async def extract(self, destination: Path, *, max_bytes: int) -> int:
        """Not for trees in memory: builds are tested with real repositories."""
        raise NotImplementedError(f"cannot extract to {destination} within {max_bytes} bytes")

    @asynccontextmanager
    async def archive(self) -> AsyncIterator[AsyncIterator[bytes]]:
        """See `builder.runner.port.Tree`."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as tar:
            for name, content in self._files.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))

        async def chunks() -> AsyncIterator[bytes]:
            yield packed.getvalue()

        yield chunks()


def sample(name: str) -> dict[str, bytes]:
    """The files of a bundled sample."""
    root = SAMPLES / name
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


# A build backend (PEP 517) that lives in the tree: pip runs `step.py` of it and needs no network.
_BACKEND = """\
import runpy, zipfile

def build_wheel(directory, config_settings=None, metadata_directory=None):
    runpy.run_path("step.py", run_name="__main__")
    info = "demo-1.0.dist-info"
    files = {
        "demo.py": open("demo.py").read(),
        f"{info}/METADATA": "Metadata-Version: 2.1\\nName: demo\\nVersion: 1.0\\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\\nGenerator: demo\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
        f"{info}/entry_points.txt": "[console_scripts]\\ndemo = demo:main\\n",
    }
    with zipfile.ZipFile(f"{directory}/demo-1.0-py3-none-any.whl", "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)
        wheel.writestr(f"{info}/RECORD", "".join(f"{name},,\\n" for name in (*files, f"{info}/RECORD")))
    return "demo-1.0-py3-none-any.whl"
"""


def project(step: str = "", *, says: str = "first") -> dict[str, str]:
    """A Python project whose installation runs the program text `step`; its command `demo` prints `says`."""
    return {
        "pyproject.toml": (
            '[project]\nname = "demo"\nversion = "1.0"\ndependencies = []\n'
            '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        ),
        "backend.py": _BACKEND,
        "step.py": step,
        "demo.py": f"def main():\n    print({says!r})\n",
        "Procfile": "web: demo\n",
    }

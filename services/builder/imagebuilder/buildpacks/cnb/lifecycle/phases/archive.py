"""Layers as archives: the same files give the same bytes, whenever and wherever they were written."""

from __future__ import annotations

import gzip
import hashlib
import io
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

# 1980-01-01, the time that images made by buildpacks carry (platform interface, "exporter").
_TIME = 315532801
_FAST = 3
_ROOT = (0, 0)


@dataclass(frozen=True)
class Blob:
    """A compressed layer in a file: digest of that, digest of the archive inside, bytes."""

    file: Path
    digest: str
    diff_id: str
    size: int


class _Hashing(io.RawIOBase):
    """Hands bytes on and counts and hashes them."""

    def __init__(self, target: io.BufferedIOBase | gzip.GzipFile) -> None:
        self._target = target
        self.sha256 = hashlib.sha256()
        self.size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: object, /) -> int:
        content = bytes(data)  # type: ignore[call-overload]  # whatever a buffer hands over
        self.sha256.update(content)
        self.size += len(content)
        self._target.write(content)
        return len(content)


class LayerWriter:
    """Writes one layer: `with LayerWriter(file) as layer: layer.tree(...)`, then `layer.blob()`."""

    def __init__(self, file: Path) -> None:
        self._path = file

    def __enter__(self) -> LayerWriter:
        self._file = self._path.open("wb")
        self._outer = _Hashing(self._file)
        self._gzip = gzip.GzipFile(filename="", mode="wb", compresslevel=_FAST, fileobj=self._outer, mtime=0)
        self._inner = _Hashing(self._gzip)
        self._tar = tarfile.open(fileobj=self._inner, mode="w|", format=tarfile.PAX_FORMAT, bufsize=1024 * 1024)
        self._parents: set[Path] = set()
        return self

    def __exit__(self, *_: object) -> None:
        self._tar.close()
        self._gzip.close()
        self._file.close()

    def blob(self) -> Blob:
        """What was written; call it after the end."""
        outer, inner = self._outer, self._inner
        return Blob(self._path, f"sha256:{outer.sha256.hexdigest()}", f"sha256:{inner.sha256.hexdigest()}", outer.size)

    def tree(self, path: Path, *, owner: tuple[int, int]) -> None:
        """A directory with all in it, under its own absolute path; links stay links. `owner` is user and group."""

        def normal(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
            if not (entry.isfile() or entry.isdir() or entry.issym() or entry.islnk()):
                return None  # sockets, pipes and devices are no part of an image
            return _normal(entry, owner)

        self._above(path)
        self._tar.add(path, arcname=str(path).lstrip("/"), filter=normal)

    def file(self, path: Path, content: bytes, *, mode: int = 0o644) -> None:
        """A file of root."""
        self._above(path)
        entry = tarfile.TarInfo(str(path).lstrip("/"))
        entry.size, entry.mode = len(content), mode
        self._tar.addfile(_normal(entry, _ROOT), io.BytesIO(content))

    def _above(self, path: Path) -> None:
        for folder in reversed(path.parents[:-1]):
            if folder not in self._parents:
                self._parents.add(folder)
                entry = tarfile.TarInfo(str(folder).lstrip("/"))
                entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                self._tar.addfile(_normal(entry, _ROOT))


def _normal(entry: tarfile.TarInfo, owner: tuple[int, int]) -> tarfile.TarInfo:
    entry.uid, entry.gid = owner
    entry.uname = entry.gname = ""
    entry.mtime = _TIME
    entry.pax_headers = {}
    return entry


def unpack(archive: Path, path: Path) -> None:
    """Unpack the directory `path` out of a layer, and nothing else of it. GNU tar lets no link lead elsewhere.

    Raises:
        OSError: it could not be done.
    """
    member = str(path).lstrip("/")
    command = ["tar", "--extract", "--gzip", "--file", str(archive), "--directory", "/", "--no-same-owner"]
    command += ["--no-overwrite-dir", member]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"tar: {done.stderr.strip()[:300]}")

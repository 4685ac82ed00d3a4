"""The files that tell Caddy, request by request, where the instances of a process type are."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path

NOWHERE = "none"
"""In the first slot of a type without a ready instance."""

# Divisible by 1, 2, 3, 4 and 6, so that equal shares fall on the usual numbers of replicas.
_SLOTS = 12


def slots_for(replicas: int) -> int:
    """How many slots so many replicas need."""
    count = _SLOTS
    while count < replicas:
        count *= 2
    return count


class SlotFiles:
    """`<directory>/<app>.<ptype>/<slot>`, each holding one `host:port`; the addresses in turn fill all slots."""

    def __init__(self, directory: Path) -> None:
        self._lock = threading.Lock()
        self._directory = directory
        self._written: dict[Path, str] = {}

    def placeholder(self, app: str, ptype: str, slot: int) -> str:
        """What Caddy replaces by the address in that slot."""
        return f"{{file.{self._path(app, ptype) / str(slot)}}}"

    def reset(self) -> None:
        """Forget everything that an earlier run left."""
        with self._lock:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory.mkdir(parents=True, mode=0o700)
            self._written.clear()

    def ensure(self, places: Iterable[tuple[str, str, int]]) -> None:
        """Each type has at least so many slots; new ones repeat the first."""
        with self._lock:
            for app, ptype, slots in places:
                directory = self._path(app, ptype)
                first = self._written.get(directory / "0", NOWHERE)
                for path in (directory / str(slot) for slot in range(slots)):
                    if path not in self._written:
                        self._put(path, first)

    def write(self, app: str, ptype: str, addresses: Sequence[str], slots: int) -> None:
        """Fill the slots; a request sees a slot's old address or its new one, never a part."""
        with self._lock:
            for slot in range(slots):
                address = addresses[slot % len(addresses)] if addresses else NOWHERE
                self._put(self._path(app, ptype) / str(slot), address)

    def remove(self, app: str) -> None:
        """Forget an app."""
        with self._lock:
            for directory in self._directory.glob(f"{app}.*"):
                shutil.rmtree(directory, ignore_errors=True)
            self._written = {p: text for p, text in self._written.items() if p.parent.name.split(".")[0] != app}

    def _path(self, app: str, ptype: str) -> Path:
        return self._directory / f"{app}.{ptype}"

    def _put(self, path: Path, text: str) -> None:
        if self._written.get(path) == text:
            return
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = path.with_name(f".{path.name}")
        fresh.write_text(text)
        fresh.replace(path)
        self._written[path] = text

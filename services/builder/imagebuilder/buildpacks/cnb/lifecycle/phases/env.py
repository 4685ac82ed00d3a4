"""Variables that layers add, by the rules of the buildpack interface ("Environment")."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from phases.files import is_folder, read_bytes

_BUILD_PATHS = {"bin": ("PATH",), "lib": ("LD_LIBRARY_PATH", "LIBRARY_PATH"), "include": ("CPATH",)}
_LAUNCH_PATHS = {"bin": ("PATH",), "lib": ("LD_LIBRARY_PATH",)}


def with_layer(before: Mapping[str, str], layer: Path, *, launch: bool) -> dict[str, str]:
    """Those variables changed by the layer, for the running app or for later buildpacks."""
    after = dict(before)
    for folder, names in (_LAUNCH_PATHS if launch else _BUILD_PATHS).items():
        if is_folder(layer / folder):
            for name in names:
                after[name] = ":".join(part for part in (str(layer / folder), after.get(name, "")) if part)
    for folder in ("env", "env.launch" if launch else "env.build"):
        if is_folder(layer / folder):
            _apply(after, layer / folder)
    return after


def _apply(values: dict[str, str], folder: Path) -> None:
    files = {
        path.name: (read_bytes(path) or b"").decode(errors="replace")
        for path in sorted(folder.iterdir())
        if path.is_file()
    }
    for file, value in files.items():
        name, _, action = file.partition(".")
        old, delimiter = values.get(name), files.get(f"{name}.delim", "")
        if action in ("", "override"):
            values[name] = value
        elif action == "default":
            values.setdefault(name, value)
        elif action == "append":
            values[name] = value if not old else f"{old}{delimiter}{value}"
        elif action == "prepend":
            values[name] = value if not old else f"{value}{delimiter}{old}"

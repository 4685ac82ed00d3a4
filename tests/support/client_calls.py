"""Every call of the API server's client in a package, read from its source, and the verbs that such a call needs."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Final

from shared.kubernetes.kinds import Kind
from shared.kubernetes.rights import Resource

Call = tuple[str, str, str]
"""Where a method of the client is called: module, function, method."""

VERBS: Final[Mapping[str, tuple[str, ...]]] = {
    "get": ("get",),
    "list": ("list",),
    "pages": ("list",),
    "watch": ("watch",),
    "apply": ("create", "patch"),
    "create": ("create",),
    "patch": ("patch",),
    "delete": ("delete",),
}
SUBRESOURCES: Final[Mapping[str, tuple[Resource, tuple[str, ...]]]] = {
    "pod_logs": (("", "pods/log"), ("get",)),
    "websocket": (("", "pods/exec"), ("get", "create")),
}
_NO_RIGHT_NEEDED: Final = ("open", "close", "discover", "served", "calls")


def calls(package: Path, kinds: ModuleType) -> Iterator[tuple[str, str, str, Kind | None]]:
    """Module, function and method of each call, and the kind where that is a constant of `kinds`."""
    for path in sorted(package.glob("*.py")):
        for function in ast.walk(ast.parse(path.read_text())):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                yield from ((path.stem, function.name, *call) for call in _calls_in(function, kinds))


def _calls_in(function: ast.AST, kinds: ModuleType) -> Iterator[tuple[str, Kind | None]]:
    for node in ast.walk(function):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        owner, method = node.func.value, node.func.attr
        called = owner.attr if isinstance(owner, ast.Attribute) else owner.id if isinstance(owner, ast.Name) else ""
        if called.lstrip("_") != "client" or method in _NO_RIGHT_NEEDED:
            continue
        assert method in VERBS or method in SUBRESOURCES, f"client.{method} is new: which rights does it need?"
        first = node.args[0] if node.args else None
        constant = getattr(kinds, first.id, None) if isinstance(first, ast.Name) else None
        yield method, constant if isinstance(constant, Kind) else None

"""Reads `.drycc`: YAML with line numbers, and the config groups."""

from __future__ import annotations

import re
from collections.abc import Hashable

import yaml

from builder.domain.dryccfile import (
    DIRECTORY,
    Document,
    DryccfileError,
    join_dryccfile,
    parse_group,
)
from builder.runner.port import Tree

MAX_BYTES = 256 * 1024
# Aliases can make a small file a huge value; no honest pipeline comes near these.
MAX_NODES, MAX_DEPTH = 10_000, 30
# YAML's escapes can make these; neither an environment nor the database takes them.
_UNFIT = re.compile("[\\0\ud800-\udfff]")


async def read_dryccfile(tree: Tree) -> dict[str, object]:
    """`.drycc/*.yaml`, `.drycc/*.yml` and `.drycc/config/*` as one checked value; `{}` when there is none.

    Raises:
        DryccfileError: with file and line.
    """
    names = await tree.list(DIRECTORY)
    documents = [
        parse_document(name, await _content(tree, f"{DIRECTORY}/{name}"))
        for name in sorted(names)
        if name.endswith((".yaml", ".yml"))
    ]
    groups: dict[str, dict[str, str]] = {}
    if "config/" in names:
        for name in await tree.list(f"{DIRECTORY}/config"):
            if not name.endswith("/"):
                groups[name] = parse_group(name, await _content(tree, f"{DIRECTORY}/config/{name}"))
    return join_dryccfile(documents, groups)


async def _content(tree: Tree, path: str) -> bytes:
    content = await tree.read(path)
    if content is None or len(content) > MAX_BYTES:
        raise DryccfileError(f"{path}: not a regular file of at most {MAX_BYTES // 1024} KiB")
    return content


def parse_document(name: str, content: bytes) -> Document:
    """One YAML document as plain values that know their lines.

    Raises:
        DryccfileError: not UTF-8, not YAML, more than one document, a key twice, or absurdly large.
    """
    where = f"{DIRECTORY}/{name}"
    loader: yaml.SafeLoader | None = None
    try:
        loader = yaml.SafeLoader(content.decode("utf-8-sig"))
        node = loader.get_single_node()
        reader = _Reader(where, loader)
        return Document(name, reader.value(node, ()) if node else None, reader.lines)
    except UnicodeDecodeError as exc:
        raise DryccfileError(f"{where}: not valid UTF-8; save the file as UTF-8") from exc
    except yaml.MarkedYAMLError as exc:
        line = exc.problem_mark.line + 1 if exc.problem_mark else 1
        expected = exc.context if exc.context and exc.context.startswith("expected") else ""
        problem = ", ".join(part for part in (expected, exc.problem or exc.context) if part)
        raise DryccfileError(f"{where} line {line}: not valid YAML: {problem}") from exc
    except (yaml.YAMLError, ValueError, RecursionError) as exc:
        raise DryccfileError(f"{where}: not valid YAML: {str(exc).splitlines()[0]}") from exc
    finally:
        if loader is not None:
            loader.dispose()


class _Reader:
    def __init__(self, where: str, loader: yaml.SafeLoader) -> None:
        self.lines: dict[tuple[str | int, ...], int] = {}
        self._where = where
        self._loader = loader
        self._nodes = 0

    def value(self, node: yaml.Node, path: tuple[str | int, ...]) -> object:
        self.lines.setdefault(path, node.start_mark.line + 1)
        self._nodes += 1
        if self._nodes > MAX_NODES or len(path) > MAX_DEPTH:
            raise DryccfileError(f"{self._where} line {node.start_mark.line + 1}: too many or too deep values")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
        value: object = self._loader.construct_object(node, deep=True)
        if isinstance(value, str) and _UNFIT.search(value):
            raise DryccfileError(f"{self._where} line {node.start_mark.line + 1}: NUL and surrogates fit into no text")
        return value

    def _refuse_duplicates(self, node: yaml.MappingNode) -> None:
        """Before merge keys are resolved, after which a name may rightly occur twice."""
        seen: set[str] = set()
        for key, _ in node.value:
            name = str(key.value)
            if name in seen:
                line = key.start_mark.line + 1
                raise DryccfileError(f"{self._where} line {line}: {name!r} occurs twice; keep one of them")
            seen.add(name)

    def _mapping(self, node: yaml.MappingNode, path: tuple[str | int, ...]) -> dict[Hashable, object]:
        self._refuse_duplicates(node)
        self._loader.flatten_mapping(node)
        result: dict[Hashable, object] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise DryccfileError(f"{self._where} line {line}: a name is a plain word")
            key = self._loader.construct_object(key_node)
            self.lines[(*path, key)] = line
            result[key] = self.value(value_node, (*path, key))
        return result

"""What a requirements file depends on: the files that it includes, and whether it installs parts of the tree itself."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field

from builder.runner.port import BuildFailedError

MAX_FILES = 50
_INCLUDE = re.compile(r"(?:-[rc]\s*|--(?:requirement|constraint)(?:\s+|=))(?P<path>[^\s=].*)")
_EDITABLE = re.compile(r"(?:-e|--editable)(?:\s+|=)(?P<target>\S.*)")
_FIND_LINKS = re.compile(r"(?:-f|--find-links)(?:\s+|=)(?P<target>\S.*)")
_REMOTE = re.compile(r"(?:[a-z][a-z0-9+.-]*:)?//|(?:git|hg|svn|bzr)\+", re.IGNORECASE)
_LOCAL = re.compile(r"\.{0,2}/|\.{1,2}(?:\[|$)|file:|[^\s@]+\s*@\s*file:|[^\s:]+/|[^\s:]+\.(?:whl|zip|tar\.gz)(?:\s|$)")


@dataclass
class Requirements:
    """`files`: each file that pip will read and its text; `uses_tree`: whether pip installs parts of the tree."""

    files: dict[str, str] = field(default_factory=dict)
    uses_tree: bool = False


async def read_requirements(name: str, read: Callable[[str], Awaitable[bytes | None]]) -> Requirements:
    """Follow the includes of a requirements file.

    Raises:
        BuildFailedError: an included file is missing or outside, or a part of the tree is installed as editable.
    """
    found = Requirements()
    waiting = [(name, "the repository")]
    while waiting:
        path, included_by = waiting.pop()
        if path in found.files:
            continue
        content = await read(path)
        if content is None or len(found.files) >= MAX_FILES:
            raise BuildFailedError("build-failed", f"{included_by} includes {path}, which is not in the repository")
        found.files[path] = content.decode(errors="replace")
        for number, line in _logical_lines(found.files[path]):
            where = f"{path} line {number}"
            if include := _INCLUDE.fullmatch(line):
                if not _REMOTE.match(include["path"]):
                    waiting.append(
                        (posixpath.normpath(posixpath.join(posixpath.dirname(path), include["path"])), where)
                    )
            else:
                found.uses_tree |= _installs_tree(line, where)
    return found


def _installs_tree(line: str, where: str) -> bool:
    if editable := _EDITABLE.fullmatch(line):
        target = editable["target"]
        if _REMOTE.match(target):
            return False
        # The workspace gets its name when it is complete, so a path into it cannot be kept in the environment.
        raise BuildFailedError(
            "build-failed", f"{where}: `-e {target}` cannot be deployed; write `{target}` without -e"
        )
    if links := _FIND_LINKS.fullmatch(line):
        return not _REMOTE.match(links["target"])
    return not line.startswith("-") and not _REMOTE.match(line) and _LOCAL.match(line) is not None


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines as pip sees them: joined at trailing backslashes, without comments, with the number of their first line."""
    pending, start = "", 0
    for number, line in enumerate(text.splitlines(), start=1):
        start = start if pending else number
        if line.endswith("\\"):
            pending += line[:-1] + " "
            continue
        joined = re.sub(r"(^|\s)#.*$", "", pending + line).strip()
        pending = ""
        if joined:
            yield start, joined
    if pending.strip():
        yield start, pending.strip()

"""Lines of a Procfile, as every engine hands them to a shell."""

from __future__ import annotations

import re

SHELL = "/bin/sh"

# POSIX shell: operators (2.3), reserved words (2.4), special builtins (2.14), and builtins that are no programs.
_OPERATORS = frozenset(";&|<>()`\n!{}#")
_BUILTIN = re.compile(
    r"\.|:|\[\[|alias|bg|break|case|cd|command|continue|do|eval|exec|exit|export|fc|fg|for|getopts|hash|if|jobs|local|"
    r"read|readonly|return|set|shift|source|times|trap|type|ulimit|umask|unalias|unset|until|wait|while"
)


def shell_line(line: str) -> str:
    """The line with `exec` before it where that changes nothing but to spare a shell that waits for its child.

    Lines with operators, assignments, groups, or a builtin for a command are left as they are.
    """
    first = line.split(maxsplit=1)[0] if line.strip() else ""
    is_plain = not set(line) & _OPERATORS and "=" not in first and not _BUILTIN.fullmatch(first)
    return f"exec {line.strip()}" if first and is_plain else line

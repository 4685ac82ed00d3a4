"""Where the commands register."""

from __future__ import annotations

from typing import Final

from client.model.tree import Tree

TREE: Final = Tree()

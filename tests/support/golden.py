"""Golden files: what a renderer made when somebody last looked at it. WRITE_GOLDEN=1 writes them anew."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml


def check_golden(path: Path, documents: Iterable[Mapping[str, Any]]) -> None:
    """Compare the documents with the file, to the byte, or write it."""
    text = yaml.safe_dump_all([dict(document) for document in documents], sort_keys=False, width=120)
    if os.environ.get("WRITE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert path.is_file(), f"{path.name} is missing: run the tests once with WRITE_GOLDEN=1 and look at it"
    assert text == path.read_text(encoding="utf-8"), (
        f"{path.name} differs: WRITE_GOLDEN=1 writes it, git diff shows how"
    )

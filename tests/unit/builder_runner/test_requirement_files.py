"""Which files a set of requirements consists of, and when the tree itself is a part of it."""

from __future__ import annotations

import pytest

from builder.runner.local.requirements import read_requirements
from builder.runner.port import BuildFailedError
from support.builds import MemoryTree


async def test_included_files_are_followed() -> None:
    tree = MemoryTree(
        {
            "requirements.txt": "-r req/base.txt  # base\n--constraint=constraints.txt\nbottle\n",
            "req/base.txt": "-r more.txt\nwaitress \\\n  >= 1\n-r ../requirements.txt\n",
            "req/more.txt": "",
            "constraints.txt": "",
        }
    )
    found = await read_requirements("requirements.txt", tree.read)
    assert sorted(found.files) == ["constraints.txt", "req/base.txt", "req/more.txt", "requirements.txt"]
    assert not found.uses_tree


@pytest.mark.parametrize(
    ("line", "uses_tree"),
    [
        (".", True),
        (".[extra]", True),
        ("./lib", True),
        ("lib/thing", True),
        ("file:lib", True),
        ("thing @ file:///x", True),
        ("wheels/x.whl", True),
        ("x-1.0-py3-none-any.whl", True),
        ("--find-links wheels", True),
        ("--find-links https://example.com/", False),
        ("bottle[x]>=1.0; python_version < '4'", False),
        ("thing @ https://example.com/thing.whl", False),
        ("https://example.com/thing.whl", False),
        ("git+https://example.com/thing.git@main", False),
        ("-e git+https://example.com/thing.git#egg=thing", False),
        ("--index-url https://example.com/simple", False),
        ("# ./lib", False),
    ],
)
async def test_parts_of_the_tree_are_recognised(line: str, uses_tree: bool) -> None:
    found = await read_requirements("requirements.txt", MemoryTree({"requirements.txt": line}).read)
    assert found.uses_tree is uses_tree


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bottle\n-e .", "requirements.txt line 2: `-e .` cannot be deployed; write `.` without -e"),
        ("-r base.txt", "requirements.txt line 1 includes base.txt, which is not in the repository"),
        ("-r ../../etc/passwd", "requirements.txt line 1 includes ../../etc/passwd, which is not in the repository"),
    ],
)
async def test_what_cannot_work_is_refused(text: str, message: str) -> None:
    with pytest.raises(BuildFailedError) as caught:
        await read_requirements("requirements.txt", MemoryTree({"requirements.txt": text}).read)
    assert caught.value.message == message

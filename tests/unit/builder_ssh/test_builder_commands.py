"""Reading SSH command lines."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.domain.commands import GitCommand, Ping, parse_command
from builder.domain.errors import RepositoryNameError, UnknownCommandError


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("ping", Ping()),
        ("git-receive-pack '/shop.git'", GitCommand("git-receive-pack", "shop")),
        ("git-receive-pack 'shop.git'", GitCommand("git-receive-pack", "shop")),
        ("git-upload-pack '/a-1'", GitCommand("git-upload-pack", "a-1")),
        ("git receive-pack '/shop.git/'", GitCommand("git-receive-pack", "shop")),
        ('git upload-pack "x.git"', GitCommand("git-upload-pack", "x")),
    ],
)
def test_commands_that_git_sends(line: str, expected: object) -> None:
    assert parse_command(line) == expected


@pytest.mark.parametrize("line", ["", "ls", "ping x", "git-shell", "git status", "'", "git-upload-archive '/a.git'"])
def test_other_commands_are_unknown(line: str) -> None:
    with pytest.raises(UnknownCommandError):
        parse_command(line)


@pytest.mark.parametrize(
    "path",
    ["", "/", "..", "../x", "a/b", "Shop", "1a", "-a", "a-", "a b", "a" * 64, "a.git.git", "a\nb", "$(id)", "a_b"],
)
def test_paths_that_name_no_app_are_refused(path: str) -> None:
    with pytest.raises(RepositoryNameError):
        parse_command(f"git-receive-pack '{path}'")


def test_a_command_without_its_path_is_refused() -> None:
    with pytest.raises(RepositoryNameError, match="No repo given"):
        parse_command("git-receive-pack")


@given(st.text())
def test_any_text_gives_a_command_or_one_of_our_errors(text: str) -> None:
    for line in (text, f"git-receive-pack '{text}'", f"git-upload-pack {text}"):
        try:
            command = parse_command(line)
        except (UnknownCommandError, RepositoryNameError):
            continue
        assert isinstance(command, Ping) or "/" not in command.app

"""Repositories on disk, and reading what is in them."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from pathlib import Path

import pytest

from builder.git import repository as repository_module
from builder.git.environment import GitEnvironment
from builder.git.objects import parse_tree
from builder.git.repository import Repositories
from builder.git.tree import open_commit, quarantine_of
from builder.runner.port import BuildFailedError
from support import require_tool


@pytest.fixture
def environment(tmp_path: Path) -> GitEnvironment:
    return GitEnvironment(hooks_dir=tmp_path, hook_socket=tmp_path / "s", max_push_bytes=100, mark="m")


def git(path: Path, *arguments: str, content: str = "") -> str:
    identity = {f"GIT_{who}_{what}": "x" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    command = [str(require_tool("git")), "-C", str(path), *arguments]
    environment = {"PATH": os.environ["PATH"], "HOME": str(path), **identity}
    return subprocess.run(
        command, input=content, check=True, capture_output=True, text=True, env=environment
    ).stdout.strip()


def test_a_new_repository_is_one_for_git(tmp_path: Path) -> None:
    repositories = Repositories(tmp_path)
    path = repositories.ensure("shop")

    assert repositories.ensure("shop") == path
    assert git(path, "rev-parse", "--is-bare-repository") == "true"
    assert git(path, "symbolic-ref", "HEAD") == "refs/heads/main"
    assert git(path, "fsck") == ""


def test_removal_and_leftovers(tmp_path: Path) -> None:
    repositories = Repositories(tmp_path)
    repositories.ensure("shop")
    repositories.remove("shop")
    repositories.remove("shop")
    (tmp_path / ".shop-half").mkdir()
    repositories.sweep()

    assert list(tmp_path.iterdir()) == []


def test_what_git_left_when_it_was_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repository_module, "_ORPHAN_SECONDS", 0.2)
    repositories = Repositories(tmp_path)
    path = repositories.ensure("shop")
    kept = git(path, "hash-object", "-w", "--stdin", content="kept")
    before = sorted(path.rglob("*"))
    (path / "objects" / "tmp_objdir-incoming-x1" / "pack").mkdir(parents=True)
    (path / "refs" / "heads" / "team").mkdir()
    names = ["objects/tmp_objdir-incoming-x1/pack/tmp_pack_1", "refs/heads/main.lock", "refs/heads/team/a.lock"]
    for name in (*names, "packed-refs.lock", "objects/pack/tmp_pack_2", "HEAD.lock"):
        (path / name).write_text("")
    repositories.sweep()

    (path / "refs" / "heads" / "team").rmdir()
    assert sorted(path.rglob("*")) == before
    git(path, "cat-file", "-e", kept)
    started = time.monotonic()
    repositories.sweep()
    assert time.monotonic() - started < 0.2  # nothing to wait for


def test_git_that_outlived_its_builder_may_end_by_itself(tmp_path: Path) -> None:
    path = Repositories(tmp_path).ensure("shop")
    lock = path / "refs" / "heads" / "main.lock"
    lock.write_text("")
    ending = threading.Timer(0.2, lambda: lock.rename(path / "refs" / "heads" / "main"))
    ending.start()
    Repositories(tmp_path).sweep()
    ending.join()

    assert (path / "refs" / "heads" / "main").exists()


async def test_a_tree_that_breaks_off_between_two_files_is_not_taken_for_whole(
    tmp_path: Path, environment: GitEnvironment
) -> None:
    path = Repositories(tmp_path).ensure("shop")
    # With two headers before its own one, the first file fills the first block that `git archive` writes.
    first = git(path, "hash-object", "-w", "--stdin", content="x" * (10240 - 3 * 512))
    lost = git(path, "hash-object", "-w", "--stdin", content="lost")
    tree = git(path, "mktree", content=f"100644 blob {first}\ta\n100644 blob {lost}\tb\n")
    commit = git(path, "commit-tree", "-m", "x", tree)
    (path / "objects" / lost[:2] / lost[2:]).unlink()
    target = tmp_path / "target"
    target.mkdir()

    async with open_commit(commit, environment.quarantined(path, None)) as opened:
        with pytest.raises(BuildFailedError, match="git could not read"):
            await opened.extract(target, max_bytes=10**6)


def test_repositories_with_very_deep_refs_are_removed(tmp_path: Path) -> None:
    repositories = Repositories(tmp_path)
    path = repositories.ensure("shop")
    commit = git(path, "commit-tree", "-m", "x", git(path, "mktree"))
    for name in ("shop", "left"):
        repository = repositories.ensure(name)
        git(repository, "fetch", "-q", str(path), f"+{commit}:refs/heads/" + "a/" * 1500 + "a")
    repositories.path("left").rename(tmp_path / ".left-gone-x")
    repositories.remove("shop")
    repositories.sweep()

    assert list(tmp_path.iterdir()) == []
    repositories.adopt_head("shop")


def test_head_follows_the_branch_that_exists_also_when_packed(tmp_path: Path) -> None:
    repositories = Repositories(tmp_path)
    path = repositories.ensure("shop")
    tree = git(path, "mktree")
    commit = git(path, "commit-tree", tree, "-m", "x")
    git(path, "update-ref", "refs/heads/master", commit)
    git(path, "pack-refs", "--all")
    repositories.adopt_head("shop")

    assert git(path, "symbolic-ref", "HEAD") == "refs/heads/master"
    git(path, "update-ref", "refs/heads/main", commit)
    repositories.adopt_head("shop")
    assert git(path, "symbolic-ref", "HEAD") == "refs/heads/main"


def test_many_loose_objects_or_packs_ask_for_packing(tmp_path: Path) -> None:
    repositories = Repositories(tmp_path)
    path = repositories.ensure("shop")
    assert not repositories.needs_packing("shop")
    for number in range(30):
        (path / "objects" / "pack" / f"pack-{number}.pack").touch()
    assert repositories.needs_packing("shop")


async def test_a_tree_of_any_shape_can_be_read(tmp_path: Path, environment: GitEnvironment) -> None:
    path = Repositories(tmp_path).ensure("shop")
    blob = git(path, "hash-object", "-w", "--stdin", content="hello")
    inner = git(path, "mktree", content=f"100755 blob {blob}\trun me\n")
    tree = git(
        path, "mktree", content=f"100644 blob {blob}\tä file\n040000 tree {inner}\tdir\n120000 blob {blob}\tlink\n"
    )
    commit = git(path, "commit-tree", tree, "-m", "x")

    async with open_commit(commit, environment.quarantined(path, None)) as files:
        assert await files.list() == ["dir/", "link", "ä file"]
        assert await files.list("dir/") == ["run me"]
        assert await files.read("dir/run me") == b"hello"
        assert await files.read("ä file") == b"hello"
        assert [await files.read(name) for name in ("link", "dir", "no", "no/no", "../x")] == [None] * 5


async def test_what_is_not_a_commit_cannot_be_opened(tmp_path: Path, environment: GitEnvironment) -> None:
    path = Repositories(tmp_path).ensure("shop")
    blob = git(path, "hash-object", "-w", "--stdin", content="hello")
    for oid in (blob, "0" * 40):
        with pytest.raises(BuildFailedError):
            async with open_commit(oid, environment.quarantined(path, None)):
                pass


def test_tree_objects_with_long_ids() -> None:
    entry = b"100644 a\0" + bytes(range(32))

    (parsed,) = parse_tree(entry, id_bytes=32)

    assert (parsed.name, parsed.oid, parsed.is_regular) == ("a", bytes(range(32)).hex(), True)


def test_only_a_quarantine_of_this_repository_is_believed(tmp_path: Path) -> None:
    repository = Repositories(tmp_path).ensure("shop")
    good = repository / "objects" / "tmp_objdir-incoming-Ab12"
    assert quarantine_of(repository, good) == good
    assert quarantine_of(repository, None) is None
    for bad in (repository / "objects" / "pack", tmp_path / "tmp_objdir-incoming-x", good / ".." / ".." / ".." / "x"):
        with pytest.raises(ValueError, match="is not a quarantine"):
            quarantine_of(repository, bad)


def test_git_sees_nothing_of_our_environment(environment: GitEnvironment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUILDER_CLIENT_SECRET", "s3cret")

    serving = environment.serving(token="t", protocol="version=2")

    assert "s3cret" not in serving.values()
    assert (serving["WORKFLOW_HOME_ID"], serving["GIT_PROTOCOL"], serving["BUILDER_TOKEN"]) == ("m", "version=2", "t")
    assert "GIT_PROTOCOL" not in environment.serving(token=None, protocol="$(id)\n")
    assert "BUILDER_TOKEN" not in environment.serving(token=None, protocol=None)

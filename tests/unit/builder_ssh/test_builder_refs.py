"""The branch rule."""

from __future__ import annotations

import pytest

from builder.domain.refs import RefUpdate, decide, deploy_branches

ZERO = "0" * 40
A = "a" * 40
B = "b" * 40


def update(ref: str, *, new: str = A, old: str = ZERO) -> RefUpdate:
    return RefUpdate(old, new, ref)


def test_main_and_master_deploy_without_a_word() -> None:
    for branch in ("main", "master"):
        decision = decide([update(f"refs/heads/{branch}")])
        assert decision.deploy is not None
        assert (decision.deploy.branch, decision.notes, decision.refusal) == (branch, (), None)


def test_main_goes_before_master() -> None:
    decision = decide([update("refs/heads/master"), update("refs/heads/main", new=B)])

    assert decision.deploy is not None
    assert decision.deploy.new == B
    assert decision.notes == ("branch master stored, not deployed: this push deploys main.",)


def test_names_that_only_begin_like_the_deploy_branch_do_not_deploy() -> None:
    for ref in ("refs/heads/main/x", "refs/heads/mainly", "refs/tags/main", "refs/main"):
        assert decide([update(ref)]).deploy is None


def test_a_sha256_commit_deploys() -> None:
    assert decide([RefUpdate("0" * 64, "c" * 64, "refs/heads/main")]).deploy is not None


def test_an_impossible_id_refuses_the_push() -> None:
    decision = decide([update("refs/heads/main", new="--upload-pack=x")])

    assert decision.deploy is None
    assert decision.refusal is not None


def test_deleting_the_deploy_branch_refuses_the_push() -> None:
    for branch in ("main", "master"):
        decision = decide([update(f"refs/heads/{branch}", old=A, new=ZERO), update("refs/heads/x")])
        assert decision.refusal is not None
        assert branch in decision.refusal


def test_other_branches_may_be_deleted() -> None:
    decision = decide([update("refs/heads/x", old=A, new=ZERO)])

    assert (decision.refusal, decision.deploy) == (None, None)
    assert decision.notes == ("branch x removed; the running app does not change.",)


def test_long_lists_are_shortened() -> None:
    decision = decide([update(f"refs/tags/v{number}") for number in range(5)])

    assert decision.notes == (
        "tag v0, tag v1, tag v2 and 2 more stored, nothing is deployed: only main or master deploys.",
        "To deploy it: git push <remote> v0^{}:main",
    )


def test_an_app_may_name_its_deploy_branch() -> None:
    branches = deploy_branches(" refs/heads/release/live ")
    decision = decide([update("refs/heads/main"), update("refs/heads/release/live", new=B)], branches)

    assert decision.deploy is not None
    assert decision.deploy.new == B
    assert decision.notes == ("branch main stored, not deployed: this push deploys release/live.",)
    assert decide([update("refs/heads/main")], branches).deploy is None
    assert deploy_branches("") == deploy_branches(None) == ("main", "master")


@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd",
        "../../config",
        "x/../main",
        "main/",
        "a b",
        "a\n\0000",
        "\x1b[2J",
        "-x",
        ".x",
        "x.lock",
        "x" * 300,
    ],
)
def test_what_cannot_be_a_branch_is_not_taken_for_one(name: str) -> None:
    """It would become a path, the content of HEAD, and words for those who push."""
    assert deploy_branches(name) == ()
    decision = decide([update("refs/heads/main")], deploy_branches(name))
    assert decision.deploy is None
    assert "DRYCC_DEPLOY_BRANCH does not name a branch" in (decision.refusal or "")

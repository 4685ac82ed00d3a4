"""`workflow link`: what is wrong on this machine is told before the platform is asked for anything."""

import subprocess
from pathlib import Path

import pytest

from standalone.errors import CommandFailedError
from standalone.home import Config, Home
from standalone.link import link_repository

GOOD = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGt8lqxEsjL85JZwg8G8eFpDjjiYNR0Ohk8uk4lbR4zz ana@laptop"


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git repository of somebody without a key. Nothing listens on the platform's port."""
    monkeypatch.setenv("HOME", str(tmp_path / "person"))
    path = tmp_path / "repository"
    path.mkdir()
    subprocess.run(["git", "init", "-q", "."], cwd=path, check=True)
    return path


def link(directory: Path, key: Path | None = None) -> None:
    link_repository(Home(directory / "home"), Config(http_port=1), "shop", key=key, directory=directory)


def test_outside_a_repository(tmp_path: Path) -> None:
    with pytest.raises(CommandFailedError) as caught:
        link(tmp_path)
    assert caught.value.detail == f"{tmp_path} is not a git repository; make it one with `git init`"


def test_without_a_key(repository: Path) -> None:
    with pytest.raises(CommandFailedError, match="ssh-keygen -t ed25519"):
        link(repository)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "garbage here",
        "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----",
        GOOD.replace("ssh-ed25519", "ssh-rsa"),
        GOOD[:40],
        f"{GOOD}\n{GOOD}",
    ],
)
def test_what_is_no_public_key_is_not_sent(repository: Path, text: str) -> None:
    key = repository / "key"
    key.write_text(text)
    with pytest.raises(CommandFailedError) as caught:
        link(repository, key)
    assert caught.value.detail == f"{key} is not a public SSH key; name the file that ends in .pub"


def test_a_key_that_is_not_there(repository: Path) -> None:
    with pytest.raises(CommandFailedError, match=r"nope\.pub cannot be read: No such file or directory$"):
        link(repository, repository / "nope.pub")


def test_a_certificate_beside_the_key_is_passed_over(repository: Path) -> None:
    directory = Path.home() / ".ssh"
    directory.mkdir(parents=True)
    (directory / "id_ed25519-cert.pub").write_text("not asked for")
    (directory / "id_ed25519.pub").write_text(GOOD)
    with pytest.raises(CommandFailedError, match="is it running"):
        link(repository)

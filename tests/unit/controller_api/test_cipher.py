"""The key ring: the first key encrypts, all decrypt, and a file of it may change at any time."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from controller.repositories.cipher import LOOK_AGAIN_SECONDS, Cipher, UnreadableSecretError, read_key_ring


class Watch:
    """A clock of seconds that stands still until it is moved."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def new_key() -> str:
    """A key."""
    return Fernet.generate_key().decode()


def write(file: Path, *keys: str) -> None:
    """Replace the file, as a mounted secret is replaced."""
    other = file.with_suffix(".new")
    other.write_text(json.dumps(keys))
    os.replace(other, file)  # noqa: PTH105  at once or not at all


def test_what_is_sealed_opens_again() -> None:
    cipher = Cipher([new_key()])
    value = {"a": ["ü", 1, None]}
    assert cipher.open(cipher.seal(value)) == value


def test_former_keys_open_and_are_renewed() -> None:
    old, new = new_key(), new_key()
    sealed = Cipher([old]).seal("s3cret")
    ring = Cipher([new, old])
    assert ring.open(sealed) == "s3cret"
    renewed = ring.renew(sealed)
    assert renewed is not None
    assert Cipher([new]).open(renewed) == "s3cret"
    assert ring.renew(renewed) is None


def test_a_key_that_is_gone_is_asked_for() -> None:
    sealed = Cipher([new_key()]).seal("s3cret")
    with pytest.raises(UnreadableSecretError, match="put the former key back"):
        Cipher([new_key()]).open(sealed)
    with pytest.raises(UnreadableSecretError):
        Cipher([new_key()]).renew(sealed)


def test_no_key_is_no_cipher() -> None:
    with pytest.raises(ValueError, match="at least one encryption key"):
        Cipher([])


def test_a_changed_file_takes_effect_within_a_second(tmp_path: Path) -> None:
    file, watch = tmp_path / "ring", Watch()
    old, new = new_key(), new_key()
    write(file, old)
    cipher = Cipher([old], file=file, monotonic=watch)
    write(file, new, old)
    assert Cipher([old]).open(cipher.seal("before")) == "before"
    watch.seconds += LOOK_AGAIN_SECONDS
    assert Cipher([new]).open(cipher.seal("after")) == "after"


def test_what_does_not_open_has_the_file_looked_at_at_once(tmp_path: Path) -> None:
    file = tmp_path / "ring"
    old, new = new_key(), new_key()
    write(file, old)
    cipher = Cipher([old], file=file, monotonic=Watch())
    write(file, new, old)
    assert cipher.open(Cipher([new]).seal("of another process")) == "of another process"


def test_the_file_counts_more_than_what_was_read_before(tmp_path: Path) -> None:
    file, key = tmp_path / "ring", new_key()
    write(file, key)
    assert Cipher([key]).open(Cipher([new_key()], file=file).seal("x")) == "x"


@pytest.mark.parametrize("text", ["", "{", "[]", '"x"', '["x"]', "[1]", "null"])
def test_a_damaged_file_changes_nothing(tmp_path: Path, text: str) -> None:
    file, watch, key = tmp_path / "ring", Watch(), new_key()
    write(file, key)
    cipher = Cipher([key], file=file, monotonic=watch)
    file.write_text(text)
    watch.seconds += LOOK_AGAIN_SECONDS
    assert Cipher([key]).open(cipher.seal("x")) == "x"
    with pytest.raises(ValueError, match="must hold a JSON list of Fernet keys"):
        read_key_ring(file)


def test_a_file_that_goes_changes_nothing(tmp_path: Path) -> None:
    file, watch, key = tmp_path / "ring", Watch(), new_key()
    write(file, key)
    cipher = Cipher([key], file=file, monotonic=watch)
    file.unlink()
    watch.seconds += LOOK_AGAIN_SECONDS
    assert cipher.open(cipher.seal("x")) == "x"

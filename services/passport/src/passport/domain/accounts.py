"""What an account is, and what usernames, e-mail addresses and passwords must be like."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from passport.domain.errors import InvalidAccountError

USERNAME_MAX: Final = 150
EMAIL_MAX: Final = 254  # RFC 5321 section 4.5.3.1.3, without the angle brackets
NAME_MAX: Final = 150
PASSWORD_MIN: Final = 12
PASSWORD_MAX: Final = 1024
# The characters that usernames of the compatible platform may have.
_USERNAME: Final = re.compile(r"[A-Za-z0-9@.+_-]{1,150}")
# Only what could not be delivered in any case is refused; whether an address works is for a mail to find out.
_EMAIL: Final = re.compile(r"[^@\s\x00-\x1f\x7f]{1,64}@[^@\s\x00-\x1f\x7f]{1,189}")


@dataclass(frozen=True)
class Account:
    """A person. `id` is the person's number in all components and the `sub` of their tokens."""

    id: int
    username: str
    email: str
    first_name: str
    last_name: str
    is_active: bool
    is_staff: bool
    is_superuser: bool


@dataclass(frozen=True)
class NewAccount:
    """An account to be made, checked; `email` may be empty."""

    username: str
    email: str = ""
    first_name: str = ""
    last_name: str = ""
    is_staff: bool = False
    is_superuser: bool = False

    def __post_init__(self) -> None:
        check_username(self.username)
        check_email(self.email)
        check_name("first_name", self.first_name)
        check_name("last_name", self.last_name)


@dataclass(frozen=True)
class Credentials:
    """An account and what its password is checked against; None: it has no password."""

    account: Account
    password_hash: str | None


@dataclass(frozen=True)
class BrowserSession:
    """Somebody signed in in a browser, who gave a password at `authenticated_at`."""

    account: Account
    authenticated_at: datetime


def check_username(username: str) -> None:
    """Letters, digits and @ . + - _, at most 150 of them.

    Raises:
        InvalidAccountError: it is anything else.
    """
    if not _USERNAME.fullmatch(username):
        raise InvalidAccountError(
            f"A username has 1 to {USERNAME_MAX} letters, digits and @ . + - _ characters.", field="username"
        )


def check_email(email: str) -> None:
    """Empty, or local part, one @ and domain.

    Raises:
        InvalidAccountError: it is anything else.
    """
    if email and (len(email) > EMAIL_MAX or not _EMAIL.fullmatch(email)):
        raise InvalidAccountError("Give an e-mail address like name@example.com.", field="email")


def check_name(field: str, name: str) -> None:
    """At most 150 printable characters.

    Raises:
        InvalidAccountError: it is longer, or holds control characters.
    """
    if len(name) > NAME_MAX or any(ord(char) < 32 or ord(char) == 127 for char in name):
        raise InvalidAccountError(f"A name has at most {NAME_MAX} characters and no control characters.", field=field)


def check_password(password: str, *, username: str, email: str = "") -> None:
    """Length over composition (NIST SP 800-63B): 12 to 1024 characters that are not the person's own name.

    Raises:
        InvalidAccountError: it is shorter, longer, or the username or e-mail address.
    """
    if len(password) < PASSWORD_MIN:
        raise InvalidAccountError(f"A password has at least {PASSWORD_MIN} characters.", field="password")
    if len(password) > PASSWORD_MAX:
        raise InvalidAccountError(f"A password has at most {PASSWORD_MAX} characters.", field="password")
    if password.casefold() in (username.casefold(), email.casefold()):
        raise InvalidAccountError("A password must not be the username or the e-mail address.", field="password")
    if len(set(password)) < 4:
        raise InvalidAccountError("A password needs at least four different characters.", field="password")

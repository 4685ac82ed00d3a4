"""What passport refuses, and why."""

from __future__ import annotations

import math
from datetime import timedelta

from shared.errors import ConflictError, ForbiddenError, InvalidInputError, SuiteError, UnauthenticatedError


class InvalidAccountError(InvalidInputError):
    """A username, an e-mail address or a password that no account may have."""

    code = "invalid-account"
    title = "The account cannot be like this"


class AccountExistsError(ConflictError):
    """The username or the e-mail address belongs to another account."""

    code = "account-exists"
    title = "There is such an account"


class AccountNotFoundError(SuiteError):
    """No account has this username."""

    code = "account-not-found"
    status = 404
    title = "No such account"


class RegistrationClosedError(ForbiddenError):
    """People cannot make accounts of their own here."""

    code = "registration-closed"
    title = "There is no registration"

    def __init__(self, mode: str) -> None:
        who = "Administrators make the accounts: ask one of them." if mode == "admin_only" else "It is switched off."
        super().__init__(who)


class WrongBootstrapCodeError(InvalidInputError):
    """The first account needs the bootstrap code, and this is not it."""

    code = "wrong-bootstrap-code"
    title = "That is not the bootstrap code"

    def __init__(self) -> None:
        super().__init__("That is not the bootstrap code. `workflow-passport bootstrap-code` makes a new one.")


class BootstrapOverError(ConflictError):
    """Somebody has become the administrator: no bootstrap code is valid any more."""

    code = "bootstrap-over"
    title = "There is an account already"

    def __init__(self) -> None:
        super().__init__("Somebody else has made the first account; the bootstrap code is void. Nothing was made.")


class NoBootstrapCodeError(ConflictError):
    """No bootstrap code can be made, because none is needed."""

    code = "no-bootstrap-code"
    title = "There is no bootstrap code"


class InvalidCredentialsError(UnauthenticatedError):
    """Unknown user, wrong password or inactive account: the same for all of them, so that nothing is disclosed."""

    code = "invalid-credentials"
    title = "Invalid username or password"

    def __init__(self) -> None:
        super().__init__("The username or the password is wrong.")


class InvalidAccessTokenError(UnauthenticatedError):
    """An access token that is malformed, expired, revoked, not ours, or of an inactive account."""

    code = "invalid-token"
    title = "The access token is not valid"

    def __init__(self) -> None:
        super().__init__("The access token is not valid: get a new one.")


class TooManyAttemptsError(SuiteError):
    """The limit of failed logins of an account or an address is reached."""

    code = "too-many-attempts"
    status = 429
    title = "Too many attempts"

    def __init__(self, retry_after: timedelta) -> None:
        self.retry_after_seconds = max(1, math.ceil(retry_after.total_seconds()))
        super().__init__(
            f"Too many failed attempts; try again in {self.retry_after_seconds} seconds.",
            headers={"Retry-After": str(self.retry_after_seconds)},
        )


class FormRefusedError(ForbiddenError):
    """A form that was not sent from one of our pages, or whose page has grown old."""

    code = "form-refused"
    title = "The form was not accepted"

    def __init__(self) -> None:
        super().__init__("The form is too old or was sent from another site; go back, reload the page and try again.")


class RequestBodyError(InvalidInputError):
    """A request body that is no form, is too long, or holds characters that no parameter may have."""

    code = "invalid-body"
    title = "The request body cannot be read"


class EncryptionKeyError(SuiteError):
    """The configured encryption keys do not open what is stored."""

    code = "wrong-encryption-key"
    status = 500
    title = "The stored keys cannot be decrypted"

    def __init__(self) -> None:
        super().__init__("PASSPORT_ENCRYPTION_KEYS: none of the keys opens the signing keys in the database")

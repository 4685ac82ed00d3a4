"""OAuth errors that Authlib does not have, or has with another meaning."""

from __future__ import annotations

from authlib.oauth2.rfc6749 import OAuth2Error


class InvalidTargetError(OAuth2Error):  # type: ignore[misc]
    """The client asked for a token for an API that it may not address (RFC 8707 section 2)."""

    error = "invalid_target"
    description = "The client may not ask for tokens for this audience."


class ThrottledError(OAuth2Error):  # type: ignore[misc]
    """Too many wrong passwords."""

    error = "temporarily_unavailable"
    status_code = 429

    def __init__(self, *, description: str, retry_after_seconds: int) -> None:
        super().__init__(description=description)
        self._retry_after_seconds = retry_after_seconds

    def get_headers(self) -> list[tuple[str, str]]:
        return [*super().get_headers(), ("Retry-After", str(self._retry_after_seconds))]


class LoginRequiredError(OAuth2Error):  # type: ignore[misc]
    """`prompt=none`, but somebody would have to log in (OpenID Connect Core section 3.1.2.6)."""

    error = "login_required"
    description = "The person has to log in."


class ConsentRequiredError(OAuth2Error):  # type: ignore[misc]
    """`prompt=none`, but somebody would have to be asked (OpenID Connect Core section 3.1.2.6)."""

    error = "consent_required"
    description = "The person has to be asked for consent."

"""OAuth clients: which grants, scopes, audiences and redirect URIs each may use.

`Client` answers the questions of Authlib's `ClientMixin`; the names of those methods are its, not ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from passport.domain.secrets import digest, same

USER_SCOPES: Final = ("openid", "profile", "email")
DEFAULT_USER_SCOPE: Final = "openid"
_LOOPBACK: Final = ("127.0.0.1", "::1")
_SECRET_METHODS: Final = ("client_secret_basic", "client_secret_post")


@dataclass(frozen=True)
class Client:
    """A registered client; without `secret_digest` it is public.

    `legacy_claims`: scope `openid` alone gives all claims of a person, as older controllers expect.
    """

    client_id: str
    secret_digest: bytes | None
    name: str
    redirect_uris: tuple[str, ...] = ()
    grants: frozenset[str] = frozenset()
    scopes: tuple[str, ...] = ()
    audiences: tuple[str, ...] = ()
    skip_consent: bool = False
    legacy_claims: bool = True

    def get_client_id(self) -> str:
        return self.client_id

    def get_default_redirect_uri(self) -> str | None:
        """The only redirect URI; None when there are several to choose from (RFC 6749 section 3.1.2.3)."""
        return self.redirect_uris[0] if len(self.redirect_uris) == 1 else None

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        """Exact comparison, but for the port of a loopback address (RFC 8252 section 7.3, RFC 9700 section 2.1)."""
        return any(_matches(redirect_uri, registered) for registered in self.redirect_uris)

    def check_client_secret(self, client_secret: str) -> bool:
        return self.secret_digest is not None and same(self.secret_digest, digest(client_secret))

    def check_endpoint_auth_method(self, method: str, _endpoint: str) -> bool:
        """A client with a secret must use it, at every endpoint; one without can have none."""
        return method == "none" if self.secret_digest is None else method in _SECRET_METHODS

    def check_response_type(self, response_type: str) -> bool:
        return response_type == "code" and self.check_grant_type("authorization_code")

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type in self.grants

    def get_allowed_scope(self, scope: str | None) -> str | None:
        """`scope` without repetitions, or the default; None, which is an error, when any part is not allowed."""
        asked = list(dict.fromkeys((scope or "").split()))
        if not asked:
            return DEFAULT_USER_SCOPE if DEFAULT_USER_SCOPE in self.scopes else ""
        return " ".join(asked) if set(asked) <= set(self.scopes) else None

    def service_scope(self, scope: str | None) -> str | None:
        """Like `get_allowed_scope` for a token without a person, to whom the scopes of OpenID Connect mean nothing."""
        allowed = [name for name in self.scopes if name not in USER_SCOPES]
        asked = list(dict.fromkeys((scope or "").split())) or allowed
        return " ".join(asked) if set(asked) <= set(allowed) else None

    def audiences_for(self, asked: tuple[str, ...]) -> tuple[str, ...] | None:
        """Who shall accept the token: all that the client may address, or those it asked for; None when not allowed."""
        allowed = self.audiences or (self.client_id,)
        if not asked:
            return allowed
        return tuple(dict.fromkeys(asked)) if set(asked) <= set(allowed) else None


def redirect_origin(redirect_uri: str) -> str | None:
    """Scheme, host and port for a content security policy; the scheme alone for URIs of native apps."""
    parts = urlsplit(redirect_uri)
    if parts.scheme in ("http", "https"):
        return f"{parts.scheme}://{parts.netloc}"
    return f"{parts.scheme}:" if parts.scheme else None


def check_redirect_registration(redirect_uri: str) -> str | None:
    """What is wrong with a redirect URI that is to be registered, or None."""
    if any(ord(char) <= 32 or ord(char) >= 127 for char in redirect_uri):
        return "a redirect URI has printable ASCII characters only"
    try:
        parts = urlsplit(redirect_uri)
        _ = parts.port
    except ValueError:
        return "a redirect URI must be a valid URI"
    if parts.fragment or "#" in redirect_uri:
        return "a redirect URI has no fragment"
    if parts.scheme in ("http", "https"):
        return None if parts.hostname else "a redirect URI names a host"
    # RFC 8252 section 7.1: a scheme of one's own is a domain name in reverse order, which holds a dot.
    return None if "." in parts.scheme else "a redirect URI starts with http://, https:// or a scheme like org.example:"


def _matches(redirect_uri: str, registered: str) -> bool:
    if redirect_uri == registered:
        return True
    expected = urlsplit(registered)
    if expected.scheme != "http" or expected.hostname not in _LOOPBACK:
        return False
    try:
        given = urlsplit(redirect_uri)
        _ = given.port
    except ValueError:
        return False
    if "@" in given.netloc or given.hostname != expected.hostname or "#" in redirect_uri:
        return False
    return (given.scheme, given.path, given.query) == (expected.scheme, expected.path, expected.query)

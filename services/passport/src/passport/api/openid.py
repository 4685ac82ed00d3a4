"""Userinfo, discovery and public keys (OpenID Connect Core section 5.3, Discovery 1.0, RFC 7517)."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from passport.api.deps import ContextDep, bearer_token, both
from passport.domain.claims import user_claims
from passport.domain.clients import USER_SCOPES
from passport.services.keys import ALGORITHM

router = APIRouter()

_KEYS_ARE_CACHEABLE: Final = {"Cache-Control": "public, max-age=600"}
_CLAIMS: Final = (
    "sub", "id", "name", "preferred_username", "username", "email", "first_name", "last_name",
    "is_staff", "is_active", "is_superuser", "iss", "aud", "exp", "iat", "auth_time", "nonce", "at_hash", "amr",
)  # fmt: skip


@both(router, "/oauth/userinfo/", "GET", "POST")
async def userinfo(request: Request, context: ContextDep) -> Response:
    """The claims of the person to whom the access token belongs; it needs the scope openid."""
    token = bearer_token(request)
    if token is None:
        return JSONResponse({"error": "invalid_request"}, status_code=401, headers={"WWW-Authenticate": "Bearer"})
    found = await context.provider.find_access_token(token)
    if found is None:
        return _refused(401, "invalid_token", "The access token is expired, revoked or malformed.")
    if found.account is None or "openid" not in found.scopes:
        return _refused(403, "insufficient_scope", "The access token needs the scope openid, of a person.")
    client = await context.provider.find_client(found.family.client_id)
    return JSONResponse(user_claims(found.account, found.scopes, legacy=client is not None and client.legacy_claims))


@both(router, "/oauth/.well-known/openid-configuration", "GET")
async def configuration(context: ContextDep) -> Response:
    """Where everything is and what of it is supported."""
    issuer = context.settings.issuer
    methods = ["client_secret_basic", "client_secret_post"]
    return JSONResponse(
        {
            "issuer": issuer,
            "authorization_endpoint": f"{issuer}/authorize/",
            "token_endpoint": f"{issuer}/token/",
            "userinfo_endpoint": f"{issuer}/userinfo/",
            "jwks_uri": f"{issuer}/.well-known/jwks.json",
            "revocation_endpoint": f"{issuer}/revoke_token/",
            "introspection_endpoint": f"{issuer}/introspect/",
            "scopes_supported": list(USER_SCOPES),
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "grant_types_supported": ["authorization_code", "refresh_token", "client_credentials", "password"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": [ALGORITHM],
            "token_endpoint_auth_methods_supported": [*methods, "none"],
            "revocation_endpoint_auth_methods_supported": [*methods, "none"],
            "introspection_endpoint_auth_methods_supported": methods,
            "code_challenge_methods_supported": ["S256"],
            "prompt_values_supported": ["none", "login", "consent"],
            "claims_supported": list(_CLAIMS),
            "request_parameter_supported": False,
            "request_uri_parameter_supported": False,
            "authorization_response_iss_parameter_supported": True,
        },
        headers=_KEYS_ARE_CACHEABLE,
    )


@both(router, "/oauth/.well-known/jwks.json", "GET")
async def keys(context: ContextDep) -> Response:
    """The public keys with which our tokens are verified."""
    ring = await context.keys.ring()
    return JSONResponse(ring.jwks(), headers=_KEYS_ARE_CACHEABLE)


def _refused(status: int, error: str, description: str) -> Response:
    """RFC 6750 section 3."""
    challenge = f'Bearer error="{error}", error_description="{description}"'
    body = {"error": error, "error_description": description}
    return JSONResponse(body, status_code=status, headers={"WWW-Authenticate": challenge})

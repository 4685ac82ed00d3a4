"""What tokens and userinfo say about a person."""

from __future__ import annotations

from collections.abc import Collection

from passport.domain.accounts import Account


def account_fields(account: Account) -> dict[str, object]:
    """The fields of `/user/info`, which other components store under `id`."""
    return {
        "id": account.id,
        "username": account.username,
        "email": account.email,
        "first_name": account.first_name,
        "last_name": account.last_name,
        "is_staff": account.is_staff,
        "is_active": account.is_active,
        "is_superuser": account.is_superuser,
    }


def user_claims(account: Account, scopes: Collection[str], *, legacy: bool) -> dict[str, object]:
    """The claims that `scopes` give. `sub` is the decimal id and `name` the username: the controller reads both so.

    With `legacy`, scope `openid` gives all of them; else `profile` and `email` must be asked for.
    """
    claims: dict[str, object] = {"sub": str(account.id)}
    profile = account_fields(account) | {"name": account.username, "preferred_username": account.username}
    email = profile.pop("email")
    if legacy or "profile" in scopes:
        claims |= profile
    if legacy or "email" in scopes:
        claims["email"] = email
    return claims

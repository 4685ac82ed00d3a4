"""Tables. Their rows never leave `repositories`."""

from passport.schema.accounts import AccountRow, BootstrapCodeRow, SessionRow
from passport.schema.base import Base, outbox
from passport.schema.keys import AttemptRow, SigningKeyRow
from passport.schema.tokens import AccessTokenRow, ClientRow, CodeRow, FamilyRow, RefreshTokenRow

__all__ = [
    "AccessTokenRow",
    "AccountRow",
    "AttemptRow",
    "Base",
    "BootstrapCodeRow",
    "ClientRow",
    "CodeRow",
    "FamilyRow",
    "RefreshTokenRow",
    "SessionRow",
    "SigningKeyRow",
    "outbox",
]

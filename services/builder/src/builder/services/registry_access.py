"""The token server of a registry: who asks, and the token that says what they may do (builder.md 18.1, 21.9)."""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

from pydantic import SecretStr

from builder.domain.access import Rights, granted, rights_of_build, rights_of_machine, rights_of_operator, wanted
from builder.domain.errors import BuildNotFoundError, RegistryLoginError
from builder.runner.kubernetes.tokens import is_registry_password
from builder.services.records import BuildRecords
from builder.services.registry_tokens import RegistryTokens
from builder.settings import Settings
from shared.clock import Clock
from shared.errors import InvalidInputError
from shared.settings import SettingsError

MIN_PASSWORD: Final = 16
"""Characters: what may be tried at the speed of HTTP, by every build of the cluster, must not be guessed."""


@dataclass(frozen=True)
class RegistryAccount:
    """An account that the operator has set."""

    username: str
    password: SecretStr
    rights: Rights


@dataclass(frozen=True)
class SignedToken:
    """A token, and when it was made."""

    text: str = field(repr=False)
    issued_at: datetime


class RegistryAccess:
    """Gives tokens to the operator's accounts and to every build that has not ended.

    `build_key` is what passwords of builds are made of; `shared` are prefixes of repositories that all builds pull, and
    `organization` is what those of apps are below.
    """

    def __init__(
        self,
        *,
        records: BuildRecords,
        tokens: RegistryTokens,
        accounts: Iterable[RegistryAccount],
        build_key: bytes,
        shared: Sequence[str],
        organization: str,
        clock: Clock,
    ) -> None:
        self._records = records
        self._tokens = tokens
        self._accounts: Mapping[str, RegistryAccount] = {one.username: one for one in accounts}
        self._build_key = build_key
        self._shared = shared
        self._organization = organization
        self._clock = clock

    @classmethod
    def of(cls, settings: Settings, records: BuildRecords, clock: Clock) -> RegistryAccess | None:
        """That of the settings; None where they name no key for tokens.

        Raises:
            SettingsError: they name a part of it only, or what cannot be used.
        """
        if settings.registry_token_key is None:
            if settings.registry_token_certificate:
                raise SettingsError("BUILDER_REGISTRY_TOKEN_KEY: is required with BUILDER_REGISTRY_TOKEN_CERTIFICATE")
            return None
        if not settings.registry_token_certificate:
            raise SettingsError("BUILDER_REGISTRY_TOKEN_CERTIFICATE: is required with BUILDER_REGISTRY_TOKEN_KEY")
        if settings.source_token_key is None:
            raise SettingsError("BUILDER_SOURCE_TOKEN_KEY: is required with BUILDER_REGISTRY_TOKEN_KEY")
        _check_builds_can_push(settings)
        tokens = RegistryTokens(
            key=settings.registry_token_key.get_secret_value(),
            certificates=settings.registry_token_certificate,
            issuer=settings.registry_token_issuer,
            service=settings.registry_token_service,
            now=clock.now(),
        )
        return cls(
            records=records,
            tokens=tokens,
            accounts=_accounts(settings),
            build_key=settings.source_token_key.get_secret_value().encode(),
            shared=settings.registry_shared,
            organization=settings.registry_organization,
            clock=clock,
        )

    async def token(self, username: str, password: str, *, service: str | None, scopes: Iterable[str]) -> SignedToken:
        """A token with as much of `scopes` as that account may have, which can be nothing.

        Raises:
            RegistryLoginError: there is no such account now, or its password is another one.
            InvalidInputError: tokens for that service are made elsewhere.
        """
        rights = await self._rights(username, password)
        if service not in (None, "", self._tokens.service):
            raise InvalidInputError(f"tokens are made here for the service {self._tokens.service} only")
        now = self._clock.now()
        return SignedToken(self._tokens.sign(username, granted(wanted(scopes), rights), now), now)

    async def _rights(self, username: str, password: str) -> Rights:
        account = self._accounts.get(username)
        if account is not None:
            if not _is_same(account.password.get_secret_value(), password):
                raise RegistryLoginError("that account of the registry does not exist, or has another password")
            return account.rights
        build_id = _id_in(username)
        # The password before the look-up: nobody without one makes us ask the database.
        if build_id is None or not is_registry_password(self._build_key, build_id, password):
            raise RegistryLoginError("that account of the registry does not exist, or has another password")
        try:
            build = await self._records.get(build_id)
        except BuildNotFoundError:
            raise RegistryLoginError("that build is gone, and its account of the registry with it") from None
        if build.state.is_final:
            raise RegistryLoginError("that build has ended, and its account of the registry with it")
        return rights_of_build(build.app, self._shared, self._organization)


def _check_builds_can_push(settings: Settings) -> None:
    place = f"{settings.registry_organization}/"
    for prefix in settings.registry_shared:
        if settings.registry_organization and place.startswith(prefix):
            raise SettingsError(
                f"BUILDER_REGISTRY_SHARED: no build pushes to what begins with {prefix}, which is where "
                "BUILDER_REGISTRY_ORGANIZATION puts all images; change one of them"
            )


def _accounts(settings: Settings) -> list[RegistryAccount]:
    given = (
        ("registry", settings.registry_username, settings.registry_password, rights_of_operator),
        ("registry_pull", settings.registry_pull_username, settings.registry_pull_password, rights_of_machine),
    )
    accounts = []
    for name, username, password, rights in given:
        setting, secret = f"BUILDER_{name.upper()}", password.get_secret_value() if password is not None else ""
        if bool(username) != bool(secret):
            raise SettingsError(f"{setting}_USERNAME: give both this and {setting}_PASSWORD, or none of them")
        if username and len(secret) < MIN_PASSWORD:
            raise SettingsError(
                f"{setting}_PASSWORD: has {len(secret)} characters; use at least {MIN_PASSWORD}, from a generator"
            )
        if username:
            accounts.append(RegistryAccount(username, SecretStr(secret), rights))
    if len({one.username for one in accounts}) < len(accounts):
        raise SettingsError("BUILDER_REGISTRY_PULL_USERNAME: must differ from BUILDER_REGISTRY_USERNAME")
    return accounts


def _id_in(username: str) -> UUID | None:
    try:
        return UUID(username)
    except ValueError:
        return None


def _is_same(left: str, right: str) -> bool:
    return hmac.compare_digest(left.encode(), right.encode())

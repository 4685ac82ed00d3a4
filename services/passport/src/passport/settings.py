"""Everything that passport can be told from outside, with units and defaults."""

from __future__ import annotations

from datetime import timedelta
from typing import Final, Literal
from urllib.parse import urlsplit

from cryptography.fernet import Fernet
from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from passport.domain.accounts import NewAccount, check_password
from passport.domain.clients import Client, check_redirect_registration
from passport.domain.errors import InvalidAccountError
from passport.domain.secrets import digest
from passport.domain.throttle import Limit
from shared.settings import ServiceSettings, SettingsError, legacy

ISSUER_PATH: Final = "/oauth"
REGISTRATION_PATH: Final = "/user/registration/"
CLIENT_SECRET_MIN: Final = 32

RegistrationMode = Literal["enabled", "disabled", "admin_only"]
Grant = Literal["authorization_code", "password", "refresh_token", "client_credentials"]


class ClientSettings(BaseModel):
    """One OAuth client. Without a secret it is public: a program on somebody's own machine."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    client_id: str = Field(pattern=r"^[A-Za-z0-9._~-]{1,100}$", description="Identifier, no secret.")
    client_secret: SecretStr | None = Field(None, description="At least 32 random characters; none: a public client.")
    name: str = Field(min_length=1, max_length=255, description="What people see when they are asked for consent.")
    redirect_uris: tuple[str, ...] = Field((), description="Where people may be sent back to; compared exactly.")
    grants: tuple[Grant, ...] = Field((), description="Grant types that the client may use.")
    scopes: tuple[str, ...] = Field((), description="Scopes that the client may ask for.")
    audiences: tuple[str, ...] = Field((), description="APIs that its access tokens are for; none: itself.")
    skip_consent: bool = Field(False, description="Do not ask people: the client belongs to the platform.")
    legacy_claims: bool = Field(True, description="Scope openid alone gives all claims, as older controllers expect.")

    @field_validator("client_secret")
    @classmethod
    def _hard_to_guess(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None and len(secret.get_secret_value()) < CLIENT_SECRET_MIN:
            raise ValueError(f"must have at least {CLIENT_SECRET_MIN} random characters")
        return secret

    @field_validator("redirect_uris")
    @classmethod
    def _usable(cls, uris: tuple[str, ...]) -> tuple[str, ...]:
        for uri in uris:
            if problem := check_redirect_registration(uri):
                raise ValueError(problem)
        return uris

    @field_validator("scopes", "audiences")
    @classmethod
    def _plain_names(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        # RFC 6749 section 3.3: printable ASCII without space, quote and backslash.
        if any(not name or not all("!" <= char <= "~" and char not in '"\\' for char in name) for name in names):
            raise ValueError("names have printable ASCII characters without spaces, quotes and backslashes")
        return names

    @model_validator(mode="after")
    def _grants_fit(self) -> ClientSettings:
        if "authorization_code" in self.grants and not self.redirect_uris:
            raise ValueError(f"the client {self.client_id} needs redirect_uris for authorization_code")
        if self.client_secret is None and {"password", "client_credentials"} & set(self.grants):
            raise ValueError(f"the client {self.client_id} needs a client_secret for password and client_credentials")
        return self

    def to_client(self) -> Client:
        """The client as it is stored: the secret as a digest."""
        secret = self.client_secret
        return Client(
            client_id=self.client_id,
            secret_digest=None if secret is None else digest(secret.get_secret_value()),
            name=self.name,
            redirect_uris=self.redirect_uris,
            grants=frozenset(self.grants),
            scopes=self.scopes,
            audiences=self.audiences,
            skip_consent=self.skip_consent,
            legacy_claims=self.legacy_claims,
        )


class Settings(ServiceSettings):
    """Settings of passport; environment prefix `PASSPORT_`."""

    model_config = SettingsConfigDict(env_prefix="PASSPORT_")

    issuer: str = Field(description="Public base URL and /oauth, e.g. https://drycc-passport.example.com/oauth.")
    allow_http: bool = Field(False, description="Accept an http:// issuer on a host other than localhost.")
    encryption_keys: list[SecretStr] = Field(
        min_length=1, description="Fernet keys for signing keys at rest; the first encrypts, all decrypt."
    )
    trusted_proxies: str | None = Field(
        None, description="Comma-separated addresses or networks whose X-Forwarded-For is believed (TCP only)."
    )

    admin_username: str | None = Field(
        None, description="Administrator to make when there is no account; unset: the first needs a bootstrap code."
    )
    admin_password: SecretStr | None = Field(None, description="Password of that administrator.")
    admin_email: str = Field("", description="E-mail address of that administrator.")
    clients: tuple[ClientSettings, ...] = Field((), description="OAuth clients as a JSON list; stored at start.")

    registration_mode: RegistrationMode = Field(
        "admin_only",
        description="Who makes accounts: enabled (everybody their own), admin_only, or disabled.",
        json_schema_extra=legacy("REGISTRATION_MODE"),
    )
    registration_enabled: bool = Field(
        False,
        description="True means the registration_mode enabled, where that is not set.",
        json_schema_extra=legacy("REGISTRATION_ENABLED"),
    )

    access_token_lifetime: timedelta = Field(timedelta(minutes=15), description="Of access tokens.")
    id_token_lifetime: timedelta = Field(timedelta(minutes=5), description="Of ID tokens.")
    code_lifetime: timedelta = Field(timedelta(seconds=60), description="Of authorization codes.")
    refresh_token_lifetime: timedelta = Field(timedelta(days=30), description="Of an unused refresh token.")
    authorization_lifetime: timedelta = Field(timedelta(days=90), description="Refreshing ends this long after login.")
    session_lifetime: timedelta = Field(timedelta(days=14), description="Of a browser's login.")

    account_attempts: int = Field(10, ge=1, description="Failed logins of one account at once.")
    account_attempt_interval: timedelta = Field(timedelta(seconds=30), description="Then one more per interval.")
    address_attempts: int = Field(50, ge=1, description="Failed logins from one address at once.")
    address_attempt_interval: timedelta = Field(timedelta(seconds=6), description="Then one more per interval.")

    @field_validator("issuer")
    @classmethod
    def _ends_in_oauth(cls, value: str) -> str:
        value = value.rstrip("/")
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
            raise ValueError("must be a URL like https://drycc-passport.example.com/oauth")
        if parts.path != ISSUER_PATH or parts.query or parts.fragment:
            raise ValueError("must end in /oauth, right after the host")
        return value

    @field_validator("encryption_keys")
    @classmethod
    def _fernet_keys(cls, keys: list[SecretStr]) -> list[SecretStr]:
        for key in keys:
            try:
                Fernet(key.get_secret_value())
            except ValueError:
                raise ValueError("each must be a Fernet key: 32 random bytes in URL-safe base64") from None
        return keys

    @field_validator(
        "access_token_lifetime", "id_token_lifetime", "code_lifetime", "refresh_token_lifetime",
        "authorization_lifetime", "session_lifetime", "account_attempt_interval", "address_attempt_interval",
    )  # fmt: skip
    @classmethod
    def _positive(cls, value: timedelta) -> timedelta:
        if value < timedelta(seconds=1):
            raise ValueError("must be at least one second")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        parts = urlsplit(self.issuer)
        if parts.scheme == "http" and not self.allow_http and not _is_local(parts.hostname or ""):
            raise ValueError("PASSPORT_ISSUER must be https; set PASSPORT_ALLOW_HTTP=true only for a test installation")
        ids = [client.client_id for client in self.clients]
        if len(ids) != len(set(ids)):
            raise ValueError("PASSPORT_CLIENTS holds a client_id twice")
        self._check_admin()
        return self

    def _check_admin(self) -> None:
        if (self.admin_username is None) != (self.admin_password is None):
            raise ValueError("set both PASSPORT_ADMIN_USERNAME and PASSPORT_ADMIN_PASSWORD, or neither")
        if self.admin_username is not None and self.admin_password is not None:
            try:
                account = NewAccount(self.admin_username, self.admin_email)
                check_password(self.admin_password.get_secret_value(), username=account.username, email=account.email)
            except InvalidAccountError as exc:
                raise ValueError(f"PASSPORT_ADMIN_{(exc.field or '').upper()}: {exc.detail}") from None

    @property
    def registration(self) -> RegistrationMode:
        """Who makes accounts."""
        is_open = self.registration_enabled and "registration_mode" not in self.model_fields_set
        return "enabled" if is_open else self.registration_mode

    @property
    def is_registration_open(self) -> bool:
        """Whether people make accounts of their own."""
        return self.registration == "enabled"

    @property
    def public_origin(self) -> str:
        """Scheme, host and port under which browsers know us."""
        return self.issuer.removesuffix(ISSUER_PATH)

    @property
    def registration_url(self) -> str:
        """Where people make accounts of their own, if they may."""
        return self.public_origin + REGISTRATION_PATH

    @property
    def is_https(self) -> bool:
        """Whether browsers reach us over TLS, so that cookies can be bound to it."""
        return self.issuer.startswith("https://")

    @property
    def account_limit(self) -> Limit:
        """How often one account's password may be wrong."""
        return Limit(self.account_attempts, self.account_attempt_interval)

    @property
    def address_limit(self) -> Limit:
        """How often passwords from one address may be wrong."""
        return Limit(self.address_attempts, self.address_attempt_interval)

    def require_database_url(self) -> str:
        """The database URL, which passport cannot do without.

        Raises:
            SettingsError: it is not set.
        """
        if self.database_url is None:
            raise SettingsError("PASSPORT_DATABASE_URL: is required; set it to the URL of the database `passport`")
        return self.database_url


def _is_local(host: str) -> bool:
    return host in ("localhost", "127.0.0.1", "::1") or host.endswith(".localhost")

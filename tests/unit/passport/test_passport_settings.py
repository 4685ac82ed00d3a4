"""Settings: what is refused at start, and in which words."""

from __future__ import annotations

import json

import pytest
from cryptography.fernet import Fernet

from passport.settings import Settings
from shared.settings import SettingsError, load_settings

KEY = Fernet.generate_key().decode()
CLIENT = {"client_id": "c", "client_secret": "s" * 32, "name": "C", "grants": ["client_credentials"]}


def load(**values: object) -> Settings:
    return load_settings(Settings, **({"issuer": "https://p.example.com/oauth", "encryption_keys": [KEY]} | values))


def test_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PASSPORT_ISSUER", "http://drycc-passport.localhost:8080/oauth/")
    monkeypatch.setenv("PASSPORT_ENCRYPTION_KEYS", json.dumps([KEY]))
    monkeypatch.setenv("PASSPORT_CLIENTS", json.dumps([CLIENT]))
    monkeypatch.setenv("PASSPORT_ACCESS_TOKEN_LIFETIME", "600")
    settings = load_settings(Settings)
    assert settings.issuer == "http://drycc-passport.localhost:8080/oauth"
    assert settings.public_origin == "http://drycc-passport.localhost:8080"
    assert not settings.is_https
    assert settings.access_token_lifetime.total_seconds() == 600
    assert settings.clients[0].to_client().grants == {"client_credentials"}
    assert "s" * 32 not in repr(settings)
    with pytest.raises(SettingsError, match="PASSPORT_DATABASE_URL: is required"):
        settings.require_database_url()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"issuer": "https://p.example.com"}, "must end in /oauth"),
        ({"issuer": "https://p.example.com/oauth?x=1"}, "must end in /oauth"),
        ({"issuer": "p.example.com/oauth"}, "must be a URL"),
        ({"issuer": "https://u@p.example.com/oauth"}, "must be a URL"),
        ({"issuer": "http://p.example.com/oauth"}, "must be https"),
        ({"encryption_keys": []}, "PASSPORT_ENCRYPTION_KEYS"),
        ({"encryption_keys": ["short"]}, "Fernet key"),
        ({"admin_username": "admin"}, "set both"),
        ({"admin_username": "admin", "admin_password": "short"}, "PASSPORT_ADMIN_PASSWORD"),
        ({"admin_username": "a b", "admin_password": "x" * 5 + "long enough"}, "PASSPORT_ADMIN_USERNAME"),
        ({"clients": [CLIENT, CLIENT]}, "twice"),
        ({"clients": [CLIENT | {"client_secret": "short"}]}, "at least 32"),
        ({"clients": [CLIENT | {"client_secret": None}]}, "needs a client_secret"),
        ({"clients": [CLIENT | {"grants": ["authorization_code"]}]}, "needs redirect_uris"),
        ({"clients": [CLIENT | {"grants": ["implicit"]}]}, "PASSPORT_CLIENTS.0.grants"),
        ({"clients": [CLIENT | {"redirect_uris": ["javascript:x"]}]}, "a redirect URI"),
        ({"clients": [CLIENT | {"scopes": ["a b"]}]}, "printable ASCII"),
        ({"clients": [CLIENT | {"colour": "red"}]}, "there is no such setting"),
        ({"code_lifetime": 0}, "at least one second"),
    ],
)
def test_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError, match=message) as caught:
        load(**values)
    assert "s" * 32 not in caught.value.detail
    assert KEY not in caught.value.detail


def test_http_can_be_allowed() -> None:
    assert load(issuer="http://p.example.com/oauth", allow_http=True).issuer == "http://p.example.com/oauth"

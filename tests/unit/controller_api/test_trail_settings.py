"""Settings of the audit trail, of rates, proxies and the billing manager."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet

from controller.settings import Settings
from shared.settings import SettingsError, load_settings

KEY = Fernet.generate_key().decode()
NEEDED: dict[str, Any] = {
    "engine": "memory",
    "public_url": "http://drycc.test",
    "issuer": "http://passport.test/oauth",
    "passport_url": "http://passport.test",
    "passport_client_id": "controller",
    "passport_client_secret": "secret",
}


def load(**overrides: Any) -> Settings:
    """Settings with these besides what is needed."""
    return load_settings(Settings, **{"encryption_keys": [KEY], **NEEDED, **overrides})


def test_the_defaults() -> None:
    settings = load()
    assert (settings.audit_retention, settings.idempotency_retention) == (timedelta(days=365), timedelta(hours=24))
    assert (settings.rate_limit, settings.rate_burst, settings.trusted_proxies) == (100.0, 500, [])
    assert (settings.manager_url, settings.encryption_keys_file) == (None, None)


def test_a_file_of_keys_is_read_and_remembered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "ring"
    file.write_text(json.dumps([KEY]))
    monkeypatch.setenv("CONTROLLER_ENCRYPTION_KEYS_FILE", str(file))
    settings = load_settings(Settings, **NEEDED)
    assert [key.get_secret_value() for key in settings.encryption_keys] == [KEY]
    assert settings.encryption_keys_file == file


def test_the_manager_has_its_former_names(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {"URL": "http://manager.test/", "ACCESS_KEY": "access", "SECRET_KEY": "secret"}
    for name, value in names.items():
        monkeypatch.setenv(f"WORKFLOW_MANAGER_{name}", value)
    settings = load()
    assert settings.manager_url == "http://manager.test"
    assert settings.manager_access_key is not None
    assert settings.manager_access_key.get_secret_value() == "access"


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        ({"trusted_proxies": ["10.0.0.0/8", "nonsense"]}, "nonsense is no network; write e.g. 10.0.0.0/8"),
        ({"trusted_proxies": ["10.0.0.1/8"]}, "10.0.0.1/8 is no network"),
        ({"rate_limit": -1}, "CONTROLLER_RATE_LIMIT"),
        ({"rate_burst": 0}, "CONTROLLER_RATE_BURST"),
        ({"audit_retention": 0}, "CONTROLLER_AUDIT_RETENTION: must be longer than nothing"),
        ({"idempotency_retention": -5}, "CONTROLLER_IDEMPOTENCY_RETENTION: must be longer than nothing"),
        ({"manager_url": "manager.test"}, "CONTROLLER_MANAGER_URL: must start with http:// or https://"),
        ({"manager_url": "http://manager.test"}, "the manager needs both CONTROLLER_MANAGER_ACCESS_KEY and"),
        ({"manager_access_key": "only-one"}, "the manager needs both CONTROLLER_MANAGER_ACCESS_KEY and"),
    ],
)
def test_what_makes_no_sense_is_refused_at_start(overrides: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(**overrides)
    assert sentence in caught.value.detail
    assert "\n" not in caught.value.detail
    assert "only-one" not in caught.value.detail

"""Paths, tokens, fingerprints, settings: what needs no server."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.api.transport import normalise
from controller.cli import main
from controller.services.accounts import digest, fuzzy, new_token
from controller.services.keys import fingerprints
from shared.settings import SettingsError, load_settings
from support import require_tool
from support.controller_api import settings_for

URL = "postgresql+asyncpg://user@/name?host=/nowhere"


@pytest.mark.parametrize(
    ("path", "routed"),
    [
        ("/v2/", "/v2"),
        ("//v2//apps///shop/", "/v2/apps/shop"),
        ("/v2/apps/", "/v2/apps"),
        ("/healthz", "/healthz"),
        ("/healthz/", "/healthz/"),
        ("//healthz", "/healthz"),
        ("/v2/keys/", "/v2/keys"),
        ("/v2/keys/a//b/", "/v2/keys/a//b/"),
        ("//v2//keys//a", "/v2/keys/a"),
        ("/v2/hooks/key/SHA256:a//b", "/v2/hooks/key/SHA256:a//b"),
        ("/v2/hooks/keys/shop/", "/v2/hooks/keys/shop"),
    ],
)
def test_paths(path: str, routed: str) -> None:
    assert normalise(path) == routed


@given(st.text(alphabet="/v2keyshooap", max_size=30).map(lambda text: "/" + text))
def test_normalising_twice_changes_nothing(path: str) -> None:
    once = normalise(path)
    if not once.startswith(("/v2/keys/", "/v2/hooks/key/")):
        assert normalise(once) == once


def test_tokens() -> None:
    token = new_token()
    assert len(token) == 128
    assert token.isascii()
    assert token != new_token()
    assert len(digest(token)) == 32
    assert fuzzy(token) == token[:14] + "..." + token[-14:]


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_fingerprints_are_those_of_ssh(tmp_path: Path, kind: str) -> None:
    tool, path = require_tool("ssh-keygen"), tmp_path / "key"
    subprocess.run([tool, "-q", "-t", kind, "-N", "", "-f", path, "-C", "a b"], check=True)
    public = path.with_suffix(".pub").read_text().strip()
    md5, sha256 = fingerprints(public)
    for form, ours in (("md5", f"MD5:{md5}"), ("sha256", sha256)):
        shown = subprocess.run(
            [tool, "-l", "-E", form, "-f", path.with_suffix(".pub")], check=True, capture_output=True, text=True
        )
        assert shown.stdout.split()[1] == ours


def test_settings_keep_their_secrets() -> None:
    settings = settings_for(URL)
    shown = repr(settings)
    assert "secret-of-the-controller" not in shown
    assert settings.encryption_keys[0].get_secret_value() not in shown


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        ({"encryption_keys": ["short"]}, "CONTROLLER_ENCRYPTION_KEYS"),
        ({"public_url": "drycc.test"}, "CONTROLLER_PUBLIC_URL"),
        ({"app_url_template": "http://x"}, "CONTROLLER_APP_URL_TEMPLATE"),
        ({"engine": "local"}, "CONTROLLER_WORKSPACES"),
    ],
)
def test_settings_that_cannot_work(wrong: dict[str, object], name: str) -> None:
    settings = settings_for(URL)
    facts = settings.model_dump(exclude={"encryption_keys", "passport_client_secret", "builder_key"})
    secrets = {"encryption_keys": [key.get_secret_value() for key in settings.encryption_keys]}
    with pytest.raises(SettingsError) as error:
        load_settings(type(settings), **(facts | secrets | {"passport_client_secret": "x" * 32} | wrong))
    assert name in error.value.detail


def test_commands_say_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("CONTROLLER_")]:
        monkeypatch.delenv(name)
    for command in ("serve", "work", "migrate"):
        monkeypatch.setattr(sys, "argv", ["workflow-controller", command])
        with pytest.raises(SystemExit, match="CONTROLLER_PUBLIC_URL: is required"):
            main()

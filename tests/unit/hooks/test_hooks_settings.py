"""Settings of the hooks service: forms of the URL list, and the sentences for what cannot work."""

from __future__ import annotations

import pytest

from hooks.settings import Settings
from shared.settings import SettingsError, load_settings


@pytest.fixture(autouse=True)
def _required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOKS_PASSPORT_URL", "http://passport:8000")
    monkeypatch.setenv("HOOKS_ISSUER", "http://passport:8000/oauth")


@pytest.mark.parametrize(
    "value",
    [
        "http://a.example,https://b.example/x?y=1",
        " http://a.example , https://b.example/x?y=1,http://a.example",
        '["http://a.example", "https://b.example/x?y=1"]',
    ],
)
def test_urls_are_a_comma_separated_or_a_json_list(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("HOOKS_URLS", value)
    settings = load_settings(Settings)
    assert [target.url for target in settings.targets] == ["http://a.example", "https://b.example/x?y=1"]


def test_urls_may_stand_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("secrets") / "urls"
    path.write_text("http://a.example,http://b.example\n")
    monkeypatch.setenv("HOOKS_URLS_FILE", str(path))
    assert len(load_settings(Settings).targets) == 2


def test_no_urls_is_fine() -> None:
    assert load_settings(Settings).targets == ()


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("ftp://a.example", "HOOKS_URLS: URL number 1 is not an http:// or https:// URL"),
        ("http://a.example,nonsense", "HOOKS_URLS: URL number 2 is not an http:// or https:// URL"),
        ("http://a.example/with blank", "HOOKS_URLS: URL number 1 is not an http:// or https:// URL"),
        ("http://a.example:99999", "HOOKS_URLS: URL number 1 is not an http:// or https:// URL"),
        ("http://a.example/#part", "HOOKS_URLS: URL number 1 has a fragment"),
        ('["http://a.example"', "HOOKS_URLS: begins like a JSON list but is none"),
    ],
)
def test_a_url_that_cannot_work_is_named_by_its_number(
    monkeypatch: pytest.MonkeyPatch, value: str, sentence: str
) -> None:
    monkeypatch.setenv("HOOKS_URLS", value)
    with pytest.raises(SettingsError) as caught:
        load_settings(Settings)
    assert caught.value.detail.startswith(sentence)
    assert "a.example" not in caught.value.detail


def test_secret_and_credentials_in_a_url_exclude_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOKS_URLS", "http://mina:hunter2@a.example")
    load_settings(Settings)
    monkeypatch.setenv("HOOKS_SECRET", "s3cret")
    with pytest.raises(SettingsError, match="HOOKS_SECRET: the signature takes the Authorization header") as caught:
        load_settings(Settings)
    assert "hunter2" not in caught.value.detail


def test_secrets_do_not_show_in_the_representation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOKS_URLS", "http://a.example/verysecret")
    monkeypatch.setenv("HOOKS_SECRET", "s3cret")
    shown = repr(load_settings(Settings))
    assert "verysecret" not in shown
    assert "s3cret" not in shown

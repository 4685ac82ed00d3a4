"""Settings from overrides, environment and files; complete and silent lists of what is wrong."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

from shared.settings import ServiceSettings, SettingsError, legacy, load_settings


class SampleSettings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="SAMPLE_")

    password: SecretStr = Field(description="Needed.")
    limit: int = Field(3, ge=1, description="Things at once.")
    names: list[str] = Field(default_factory=list, description="Names.")


def test_overrides_win_over_the_environment_and_that_over_files(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("from file\n")
    (tmp_path / "names").write_text('["a", "b"]')
    monkeypatch.setenv("SAMPLE_PASSWORD_FILE", str(tmp_path / "secret"))
    monkeypatch.setenv("SAMPLE_NAMES_FILE", str(tmp_path / "names"))
    monkeypatch.setenv("SAMPLE_LIMIT", "7")
    settings = load_settings(SampleSettings, bind_port=0)
    assert settings.password.get_secret_value() == "from file"
    assert (settings.limit, settings.names, settings.bind_port) == (7, ["a", "b"], 0)
    monkeypatch.setenv("SAMPLE_PASSWORD", "from environment")
    assert load_settings(SampleSettings).password.get_secret_value() == "from environment"
    assert load_settings(SampleSettings, limit=9).limit == 9


def test_everything_that_is_wrong_is_told_at_once_without_the_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAMPLE_LIMIT", "0")
    monkeypatch.setenv("SAMPLE_LOG_LEVEL", "hunter2")
    monkeypatch.setenv("SAMPLE_DATABASE_URL", "mysql://user:hunter2@host/db")
    with pytest.raises(SettingsError) as caught:
        load_settings(SampleSettings, colour="blue")
    lines = sorted(caught.value.detail.splitlines())
    assert lines == [
        "SAMPLE_COLOUR: there is no such setting",
        "SAMPLE_DATABASE_URL: must start with postgresql+asyncpg://",
        "SAMPLE_LIMIT: Input should be greater than or equal to 1",
        "SAMPLE_LOG_LEVEL: use DEBUG, INFO, WARNING, ERROR or CRITICAL",
        "SAMPLE_PASSWORD: is required; set it in the environment, or SAMPLE_PASSWORD_FILE to a file that holds it",
    ]


def test_a_file_that_cannot_be_read_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAMPLE_PASSWORD_FILE", "/nowhere/at/all")
    with pytest.raises(SettingsError, match="SAMPLE_PASSWORD_FILE: cannot read /nowhere/at/all"):
        load_settings(SampleSettings)


def test_a_list_that_is_no_json_is_an_error_of_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAMPLE_PASSWORD", "x")
    monkeypatch.setenv("SAMPLE_NAMES", "a,b")
    with pytest.raises(SettingsError, match="names"):
        load_settings(SampleSettings)


def test_secrets_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load_settings(
        SampleSettings,
        password="hunter2",
        bus_url="amqp://u:hunter2@h/",
        database_url="postgresql+asyncpg://u:hunter2@h/d",
    )
    assert "hunter2" not in repr(settings)


class _Timed(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="TIMED_")
    patience: timedelta = timedelta(seconds=1)


@pytest.mark.parametrize(("text", "seconds"), [("1800", 1800), ("0.5", 0.5), ("PT2M", 120)])
def test_a_duration_is_a_number_of_seconds_or_iso_8601(
    monkeypatch: pytest.MonkeyPatch, text: str, seconds: float
) -> None:
    monkeypatch.setenv("TIMED_PATIENCE", text)
    assert load_settings(_Timed).patience == timedelta(seconds=seconds)


def test_a_duration_that_is_none_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIMED_PATIENCE", "soon")
    with pytest.raises(SettingsError, match="TIMED_PATIENCE"):
        load_settings(_Timed)


class _Renamed(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="RENAMED_")
    patience: timedelta = Field(timedelta(seconds=1), json_schema_extra=legacy("OLD_PATIENCE"))
    names: list[str] = Field(default=[], json_schema_extra=legacy("OLD_NAMES"))


def test_the_former_name_of_a_setting_works_and_our_own_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLD_PATIENCE", "5")
    monkeypatch.setenv("OLD_NAMES", '["a"]')
    settings = load_settings(_Renamed)
    assert (settings.patience, settings.names) == (timedelta(seconds=5), ["a"])
    monkeypatch.setenv("OLD_PATIENCE", "")
    assert load_settings(_Renamed).patience == timedelta(seconds=1)
    monkeypatch.setenv("OLD_PATIENCE", "5")
    monkeypatch.setenv("RENAMED_PATIENCE", "7")
    assert load_settings(_Renamed).patience == timedelta(seconds=7)
    assert load_settings(_Renamed, patience=timedelta(seconds=9)).patience == timedelta(seconds=9)


def test_a_wrong_value_is_named_as_it_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLD_PATIENCE", "soon")
    with pytest.raises(SettingsError, match=r"^OLD_PATIENCE: "):
        load_settings(_Renamed)
    monkeypatch.setenv("RENAMED_PATIENCE", "later")
    with pytest.raises(SettingsError, match=r"^RENAMED_PATIENCE: "):
        load_settings(_Renamed)
    monkeypatch.setenv("RENAMED_PATIENCE", "1")
    monkeypatch.setenv("OLD_NAMES", "a,b")
    with pytest.raises(SettingsError, match=r"^OLD_NAMES: must be JSON$"):
        load_settings(_Renamed)

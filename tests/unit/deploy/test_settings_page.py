"""The page of settings says what the code reads."""

from __future__ import annotations

from support.settings_table import PAGE, SERVICES, render


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == render(), "run: .venv/bin/python tests/support/settings_table.py"


def test_every_setting_says_what_it_is_for() -> None:
    for cls in SERVICES.values():
        for name, field in cls.model_fields.items():
            assert field.description, f"{cls.__module__}.{name} has no description"

"""What the audit trail shows of a changed config, and what it never shows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.domain.audit import config_facts
from controller.domain.jobs import Command
from controller.domain.releases import ConfigData, ConfigValue

PLAIN = ConfigData(
    values=(
        ConfigValue("KEPT", "s3cret-1", group="global"),
        ConfigValue("GONE", "s3cret-2", ptype="web"),
        ConfigValue("CHANGED", "s3cret-3", group="global"),
    ),
    registry={"web": {"username": "ana", "password": "s3cret-4"}},
    healthcheck={
        "web": {"livenessProbe": {"httpGet": {"port": 80, "httpHeaders": [{"name": "A", "value": "s3cret-5"}]}}}
    },
    lifecycle_pre_stop={"web": {"exec": {"command": ["curl", "s3cret-6"]}}},
    tags={"web": {"rack": "1"}},
)


def test_only_what_differs_is_shown() -> None:
    other = replace(PLAIN, tags={"web": {"rack": "2"}})
    assert config_facts(PLAIN, other) == ({"tags": {"web": {"rack": "1"}}}, {"tags": {"web": {"rack": "2"}}})
    assert config_facts(PLAIN, PLAIN) == ({}, {})


def test_variables_are_named_and_their_values_hidden() -> None:
    kept, _, changed = PLAIN.values
    other = replace(
        PLAIN, values=(kept, replace(changed, value="s3cret-7"), ConfigValue("NEW", "s3cret-8", ptype="web"))
    )
    before, after = config_facts(PLAIN, other)
    assert before == {"values": {"GONE (web)": "***", "CHANGED (group global)": "***"}}
    assert after == {"values": {"CHANGED (group global)": "***", "NEW (web)": "***"}}


def test_nothing_that_may_be_secret_is_shown() -> None:
    facts = config_facts(ConfigData(), PLAIN)
    assert "s3cret" not in repr(facts)
    assert facts[1]["registry"] == {"web": {"username": "ana", "password": "***"}}
    assert set(facts[1]) == {"values", "registry", "healthcheck", "lifecycle_pre_stop", "tags"}


def test_a_secret_that_changes_is_told_without_itself() -> None:
    other = replace(PLAIN, registry={"web": {"username": "ana", "password": "s3cret-9"}})
    before, after = config_facts(PLAIN, other)
    assert before == after == {"registry": {"web": {"username": "ana", "password": "***"}}}


@pytest.mark.parametrize(
    ("words", "is_line", "shown"),
    [
        (("psql --password=s3cret shop",), True, "psql"),
        (("psql --password=s3cret shop",), False, "psql"),
        (("psql", "--password=s3cret"), False, "psql"),
        (("PGPASSWORD=s3cret psql",), False, "***"),
        (("'", "s3cret"), False, "'"),
        (("",), False, ""),
        (("x" * 200,), True, "x" * 100),
    ],
)
def test_of_a_command_its_name_is_shown(words: tuple[str, ...], is_line: bool, shown: str) -> None:
    assert Command(words, is_line=is_line).shown == shown

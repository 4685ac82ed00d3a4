"""Laws of changing configs (controller-api.md 4.5-4.8): what merging does and what it leaves alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.domain.config_values import ValueChange, detach_refs, merge_refs, merge_values, user_env
from controller.domain.configs import parse_patch
from controller.domain.errors import InvalidFieldsError, MissingKeyError
from controller.domain.releases import ConfigData, ConfigValue
from support.controller_strategies import (
    CATALOG,
    ENTRIES,
    GROUPS,
    PTYPES,
    Body,
    changed,
    changes,
    configs,
    groups,
    json_values,
    laws,
    patch_of,
    ptypes,
    texts,
    variables,
)

Items = list[dict[str, Any]]
FIELDS = st.sampled_from(sorted(ENTRIES))


def as_table(base: Iterable[ConfigValue], items: Items) -> list[ConfigValue]:
    """The table of 4.5, row by row, on a plain list."""
    values = list(base)
    for item in items:
        name, value, group, ptype = item["name"], item["value"], item.get("group"), item.get("ptype")
        existing = [old for old in values if (old.name, old.group, old.ptype) == (name, group, ptype)]
        if existing:
            values.remove(existing[0])
            if value:
                values.append(ConfigValue(name, value, group=group, ptype=ptype))
        elif value is not None:
            values.append(ConfigValue(name, value, group=group, ptype=ptype))
    return values


@laws
@given(configs, variables(texts | st.just("") | st.none()))
def test_variables_merge_as_the_table_says(base: ConfigData, items: Items) -> None:
    after = changed(base, {"values": items})
    assert list(after.values) == as_table(base.values, items)
    assert len({value.key for value in after.values}) == len(after.values)


@laws
@given(configs, changes)
def test_setting_the_same_twice_is_setting_it_once(base: ConfigData, body: Body) -> None:
    once = changed(base, body)
    assert changed(once, body) == once


@laws
@given(configs, changes)
def test_a_change_touches_what_it_names_and_nothing_else(base: ConfigData, body: Body) -> None:
    after = changed(base, body)
    for field in fields(ConfigData):
        if field.name == "values":
            continue
        before_entries, after_entries = getattr(base, field.name), getattr(after, field.name)
        named = body.get(field.name, {})
        assert set(after_entries) == {*before_entries, *named}
        for ptype in set(before_entries) - set(named):
            assert after_entries[ptype] == before_entries[ptype]
    named_values = {(item["name"], item.get("ptype"), item.get("group")) for item in body.get("values", [])}
    untouched = [value for value in base.values if value.key not in named_values]
    assert list(after.values)[: len(untouched)] == untouched


@laws
@given(configs, variables(texts))
def test_unsetting_new_variables_restores_the_config(base: ConfigData, items: Items) -> None:
    known = {value.key for value in base.values}
    new = [item for item in items if (item["name"], item.get("ptype"), item.get("group")) not in known]
    unset = [{**item, "value": None} for item in new]
    assert changed(changed(base, {"values": new}), {"values": unset}) == base


@laws
@given(configs, FIELDS, ptypes, st.data())
def test_removing_a_new_entry_restores_the_config(
    base: ConfigData, field: str, ptype: str, data: st.DataObject
) -> None:
    entry = data.draw(ENTRIES[field])
    removal = {field: {ptype: None}}
    if ptype in getattr(base, field):
        assert ptype not in getattr(changed(base, removal), field)
    else:
        assert changed(changed(base, {field: {ptype: entry}}), removal) == base
        with pytest.raises(MissingKeyError) as caught:
            changed(base, removal)
        assert caught.value.detail == f"{ptype} does not exist under {field}"


@laws
@given(configs, st.sampled_from(["registry", "tags", "healthcheck"]), ptypes, st.data())
def test_keys_of_an_entry_merge_and_go_one_by_one(
    base: ConfigData, field: str, ptype: str, data: st.DataObject
) -> None:
    entry = data.draw(ENTRIES[field].filter(lambda drawn: len(drawn) > 0))
    before = getattr(base, field).get(ptype, {})
    after = changed(base, {field: {ptype: entry}})
    assert getattr(after, field)[ptype] == {**before, **entry}
    key = data.draw(st.sampled_from(sorted(entry)))
    without = getattr(changed(after, {field: {ptype: {key: None}}}), field)[ptype]
    assert without == {name: value for name, value in {**before, **entry}.items() if name != key}


attachments = st.dictionaries(ptypes, st.lists(groups, max_size=4).map(tuple), max_size=3)


@laws
@given(attachments, attachments)
def test_attached_groups_keep_their_order(base: dict[str, tuple[str, ...]], more: dict[str, tuple[str, ...]]) -> None:
    clean = merge_refs({}, base)
    merged = merge_refs(clean, more)
    assert set(merged) == {*clean, *more}
    for ptype, listed in merged.items():
        old = clean.get(ptype, ())
        assert listed[: len(old)] == old
        assert list(listed[len(old) :]) == [g for g in dict.fromkeys(more.get(ptype, ())) if g not in old]
    assert merge_refs(merged, more) == merged


@laws
@given(attachments, ptypes, groups)
def test_detaching_undoes_attaching(base: dict[str, tuple[str, ...]], ptype: str, group: str) -> None:
    clean = {name: listed for name, listed in merge_refs({}, base).items() if listed}
    detached = detach_refs(clean, {ptype: (group,)})
    assert group not in detached.get(ptype, ())
    assert {name: listed for name, listed in detached.items() if name != ptype} == {
        name: listed for name, listed in clean.items() if name != ptype
    }
    if group not in clean.get(ptype, ()):
        assert detach_refs(merge_refs(clean, {ptype: (group,)}), {ptype: (group,)}) == clean


@laws
@given(configs)
def test_the_nearest_scope_wins(config: ConfigData) -> None:
    by_scope = {(value.name, value.group or value.ptype): value.value for value in config.values}
    assert not set(GROUPS) & set(PTYPES)
    for ptype in PTYPES:
        env = user_env(config, ptype)
        order = [ptype, *reversed(config.values_refs.get(ptype, ())), "global"]
        visible = {name for name, scope in by_scope if scope in order}
        assert set(env) == visible
        for name in visible:
            assert env[name] == next(by_scope[name, scope] for scope in order if (name, scope) in by_scope)


@laws
@given(st.dictionaries(st.sampled_from(["values", "values_refs", *ENTRIES, "routable"]), json_values, max_size=4))
def test_any_body_is_taken_or_refused_by_its_fields(body: Body) -> None:
    refused = refusal(body)
    assert set(refused) <= set(body)
    assert all(message for messages in refused.values() for message in messages)


def refusal(body: Body) -> dict[str, list[str]]:
    """The fields that are refused, with why."""
    try:
        patch_of(body)
    except InvalidFieldsError as error:
        return error.errors
    return {}


@pytest.mark.parametrize("number", [5.0, 1e2, True, "5"])
def test_numbers_of_probes_are_whole_as_clients_read_them(number: object) -> None:
    probe = {"tcpSocket": {"port": 8080}, "initialDelaySeconds": number}
    [message] = refusal({"healthcheck": {"web": {"livenessProbe": probe}}})["healthcheck"]
    assert message.endswith(f"{number!r} is not of type 'integer'")


@laws
@given(configs, variables(texts))
def test_merging_does_not_change_its_arguments(base: ConfigData, items: Items) -> None:
    before = base.values
    copy = tuple(before)
    merge_values(before, [ValueChange(item["name"], item["value"], group="global") for item in items])
    assert before == copy
    assert parse_patch({}, CATALOG) == parse_patch({"unknown": 1}, CATALOG)

"""Changing configs: what may be written, how it merges, what a release says about it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.domain.config_values import (
    ValueChange,
    detach_refs,
    merge_refs,
    merge_values,
    port_of,
    seconds_of,
    user_env,
)
from controller.domain.configs import apply_patch, parse_patch, with_default_limits
from controller.domain.errors import InvalidFieldsError, MissingKeyError
from controller.domain.names import KEY_MESSAGE, PTYPE_LENGTH_MESSAGE, PTYPE_MESSAGE
from controller.domain.plans_file import shipped_catalog
from controller.domain.releases import ConfigData, ConfigValue
from controller.domain.summaries import config_summary

CATALOG = shipped_catalog()


def changed(base: ConfigData, **patch: Any) -> ConfigData:
    return apply_patch(base, parse_patch(patch, CATALOG))


def errors(**patch: Any) -> dict[str, list[str]]:
    with pytest.raises(InvalidFieldsError) as caught:
        parse_patch(patch, CATALOG)
    return caught.value.errors


def item(name: str, value: str | None, **scope: str) -> dict[str, Any]:
    return {"name": name, "value": value, **(scope or {"group": "global"})}


class TestValues:
    @pytest.mark.parametrize(
        "broken",
        [
            {"name": "A", "value": "secret"},
            {"name": "A", "value": "secret", "group": "g", "ptype": "web"},
            {"name": "A", "value": 5, "group": "global"},
            {"name": 5, "value": "secret", "group": "global"},
            {"name": "A", "value": "secret", "group": "global", "extra": 1},
            "secret",
        ],
    )
    def test_items_of_another_shape_are_told_without_their_value(self, broken: object) -> None:
        [message] = errors(values=[item("GOOD", "hidden"), broken])["values"]
        assert message.startswith("could not validate [{'name': 'GOOD'")
        assert message.endswith("is not valid under any of the given schemas")
        assert "secret" not in message
        assert "hidden" not in message

    def test_values_that_are_no_list(self) -> None:
        assert errors(values={"X": "1"}) == {
            "values": ["could not validate {'X': '***'}: {'X': '***'} is not of type 'array'"]
        }
        assert errors(values=None) == {"values": ["This field may not be null."]}
        assert errors(values="{bad") == {"values": ["Value must be valid JSON."]}
        assert parse_patch({"values": '[{"name":"A","value":"1","group":"global"}]'}, CATALOG).values[0].name == "A"

    @pytest.mark.parametrize(
        ("entry", "message"),
        [
            (item("X$", "1"), KEY_MESSAGE),
            (item("A", "1", group="bad group"), KEY_MESSAGE),
            (item("A", "1", ptype="web_x"), PTYPE_MESSAGE),
            (item("PORT", "dog"), "PORT can only be a numeric value"),
            (item("PORT", "٣", ptype="web"), "PORT can only be a numeric value"),
            (item("PORT", "0"), "PORT needs to be between 1 and 65535"),
            (item("PORT", "70000"), "PORT needs to be between 1 and 65535"),
            (item("DRYCC_DEPLOY_TIMEOUT", "soon"), "DRYCC_DEPLOY_TIMEOUT can only be a numeric value"),
        ],
    )
    def test_values_that_make_no_sense(self, entry: dict[str, Any], message: str) -> None:
        assert errors(values=[entry]) == {"values": [message]}

    def test_the_table_of_merging(self) -> None:
        base = (ConfigValue("A", "1", group="global"), ConfigValue("B", "2", group="global"))
        scope = {"group": "global"}
        assert [v.name for v in merge_values(base, [ValueChange("A", "9", **scope)])] == ["B", "A"]
        assert [v.name for v in merge_values(base, [ValueChange("A", None, **scope)])] == ["B"]
        assert [v.name for v in merge_values(base, [ValueChange("A", "", **scope)])] == ["B"]
        assert merge_values(base, [ValueChange("C", None, **scope)]) == base
        assert merge_values((), [ValueChange("C", "", **scope)])[0].value == ""
        assert merge_values((), [ValueChange("C", "1", **scope), ValueChange("C", "2", **scope)])[0].value == "2"
        assert len(merge_values(base, [ValueChange("A", "9", ptype="web")])) == 3

    @given(st.lists(st.tuples(st.sampled_from("ABC"), st.sampled_from([None, "", "1", "2"])), max_size=12))
    def test_merging_leaves_each_variable_once(self, steps: list[tuple[str, str | None]]) -> None:
        merged = merge_values((), [ValueChange(name, value, group="global") for name, value in steps])
        assert len({value.key for value in merged}) == len(merged)
        again = merge_values(merged, [ValueChange(v.name, v.value, group="global") for v in merged if v.value])
        assert sorted(v.key for v in again) == sorted(v.key for v in merged)

    def test_the_environment_of_a_type(self) -> None:
        config = ConfigData(
            values=(
                ConfigValue("A", "web", ptype="web"),
                ConfigValue("A", "global", group="global"),
                ConfigValue("B", "one", group="one"),
                ConfigValue("B", "two", group="two"),
                ConfigValue("C", "stray", group="stray"),
            ),
            values_refs={"web": ("two", "one"), "worker": ("one", "two")},
        )
        assert user_env(config, "web") == {"A": "web", "B": "one"}
        assert user_env(config, "worker") == {"A": "global", "B": "two"}

    def test_numbers_in_the_environment(self) -> None:
        assert port_of({}) == port_of({"PORT": "x"}) == port_of({"PORT": "99999"}) == 5000
        assert port_of({"PORT": "8080"}) == 8080
        assert seconds_of({"T": "30"}, "T") == 30
        assert seconds_of({"T": "0"}, "T") is seconds_of({"T": "x"}, "T") is seconds_of({}, "T") is None


class TestRefs:
    def test_groups_keep_their_order(self) -> None:
        assert merge_refs({"web": ("b", "a")}, {"web": ("a", "c"), "worker": ("z", "z")}) == {
            "web": ("b", "a", "c"),
            "worker": ("z",),
        }

    def test_detaching_leaves_the_others(self) -> None:
        refs = {"web": ("a", "b"), "worker": ("a",)}
        assert detach_refs(refs, {"web": ("a",)}) == {"web": ("b",), "worker": ("a",)}
        assert detach_refs(refs, {"worker": ("a",)}) == {"web": ("a", "b")}

    def test_an_empty_list_and_null_detach_all(self) -> None:
        base = ConfigData(values_refs={"web": ("a",)})
        assert changed(base, values_refs={"web": []}).values_refs == {}
        assert changed(base, values_refs={"web": None}).values_refs == {}
        with pytest.raises(MissingKeyError, match="nope does not exist under values_refs"):
            changed(base, values_refs={"nope": []})

    def test_bad_refs(self) -> None:
        assert errors(values_refs={"we": ["a"]}) == {"values_refs": [PTYPE_LENGTH_MESSAGE]}
        assert errors(values_refs={"web": ["a b"]}) == {"values_refs": [KEY_MESSAGE]}
        assert errors(values_refs={"web": "a"})["values_refs"][0].startswith("could not validate")
        assert errors(values_refs=[]) == {"values_refs": ["Expected a dictionary, but got list."]}


class TestFields:
    @pytest.mark.parametrize(
        ("field", "entry", "message"),
        [
            ("limits", "nope", "The limit plan nope does not exist"),
            ("limits", 5, "The limit plan 5 does not exist"),
            (
                "termination_grace_period",
                "abc",
                "Termination Grace Period format: abc, where value must be a numeric",
            ),
            (
                "termination_grace_period",
                "",
                "Termination Grace Period format: , where value must be a numeric",
            ),
            ("tags", {"-bad": "x"}, 'Tag keys must be alphanumeric or "-_.", and 1-63 characters.'),
            ("tags", {"disk": "bad."}, 'Tag values must be alphanumeric or "-_.", and 1-63 characters.'),
            ("tags", "ssd", "Expected a dictionary, but got str."),
            ("registry", {"user$": "x"}, KEY_MESSAGE),
            ("registry", {"user": {}}, "Expected texts as values, but got something nested."),
            (
                "healthcheck",
                {"badProbe": {}},
                "Healthcheck pattern: ^(livenessProbe|readinessProbe|startupProbe)$",
            ),
            (
                "healthcheck",
                {"livenessProbe": {"httpGet": {"path": "/"}}},
                "could not validate {'httpGet': {'path': '/'}}: 'port' is a required property",
            ),
            (
                "healthcheck",
                {"livenessProbe": {"httpGet": {"port": "50"}}},
                "could not validate {'httpGet': {'port': '50'}}: '50' is not of type 'integer'",
            ),
            (
                "healthcheck",
                {"livenessProbe": {"tcpSocket": {"port": 0}}},
                "could not validate {'tcpSocket': {'port': 0}}: 0 is less than the minimum of 1",
            ),
            (
                "healthcheck",
                {"livenessProbe": {"periodSeconds": 2**31}},
                "could not validate {'periodSeconds': 2147483648}: "
                "2147483648 is greater than the maximum of 2147483647",
            ),
            (
                "healthcheck",
                {"livenessProbe": {"httpGet": {"httpHeaders": [{"name": "Authorization", "value": "s3cret"}]}}},
                "could not validate {'httpGet': {'httpHeaders': [{'name': '***', 'value': '***'}]}}: "
                "'port' is a required property",
            ),
            ("healthcheck", "x", "could not validate 'x': 'x' is not of type 'object'"),
            ("lifecycle_pre_stop", "x", "Expected a dictionary, but got str."),
        ],
    )
    def test_bad_entries(self, field: str, entry: object, message: str) -> None:
        assert errors(**{field: {"web": entry}}) == {field: [message]}

    @pytest.mark.parametrize(
        "text",
        ['{"web":{"livenessProbe":{"x":NaN}}}', '{"web":{"livenessProbe":{"x":1e999}}}', "{", "[" * 100_000]
        + [f'{{"web":{{"livenessProbe":{{"x":"{bad}"}}}}}}' for bad in (r"\u0000", r"\ud800")],
    )
    def test_texts_that_hold_json_are_read_as_strictly_as_bodies(self, text: str) -> None:
        assert errors(healthcheck=text) == {"healthcheck": ["Value must be valid JSON."]}
        assert errors(values=text) == {"values": ["Value must be valid JSON."]}

    def test_all_fields_are_told_at_once(self) -> None:
        found = errors(limits=[], tags={"we": {}}, registry=None)
        assert found == {
            "limits": ["Expected a dictionary, but got list."],
            "tags": [PTYPE_LENGTH_MESSAGE],
            "registry": ["This field may not be null."],
        }

    def test_scalars_become_texts(self) -> None:
        config = changed(
            ConfigData(), termination_grace_period={"web": 30}, registry={"web": {"password": 5, "on": True}}
        )
        assert config.termination_grace_period == {"web": "30"}
        assert config.registry == {"web": {"password": "5", "on": "True"}}

    def test_keys_merge_and_go(self) -> None:
        base = changed(ConfigData(), registry={"web": {"username": "a", "password": "b"}})
        assert changed(base, registry={"web": {"password": None}}).registry == {"web": {"username": "a"}}
        assert changed(base, registry={"web": None}).registry == {}
        for patch, key in (({"web": {"nope": None}}, "nope"), ({"zip": None}, "zip"), ({"zip": {"k": None}}, "k")):
            with pytest.raises(MissingKeyError, match=f"{key} does not exist under registry"):
                changed(base, registry=patch)

    def test_empty_tags_remove(self) -> None:
        base = changed(ConfigData(), tags={"web": {"disk": "ssd"}})
        assert changed(base, tags={"web": {}}).tags == {}
        assert changed(base, tags={"web": None}).tags == {}
        with pytest.raises(MissingKeyError, match="zip does not exist under tags"):
            changed(base, tags={"zip": {}})

    def test_types_in_use_show_the_default_plan(self) -> None:
        config = ConfigData(limits={"web": "std1.large.c2m2"})
        assert with_default_limits(config, ["web", "worker"], CATALOG).limits == {
            "web": "std1.large.c2m2",
            "worker": "std1.large.c1m1",
        }


class TestSummaries:
    def test_fields_and_scopes_are_joined_and_sorted(self) -> None:
        base = ConfigData(
            values=(ConfigValue("OLD", "1", group="global"), ConfigValue("Z", "1", ptype="web")),
            limits={"web": "std1.large.c1m1"},
        )
        after = ConfigData(
            values=(
                ConfigValue("B", "1", group="global"),
                ConfigValue("A", "1", ptype="worker"),
                ConfigValue("Z", "2", ptype="web"),
            ),
            limits={"web": "std1.large.c1m2", "run": "std1.large.c1m1"},
            tags={"web": {"disk": "ssd"}},
            values_refs={"web": ("g",)},
        )
        assert config_summary("ana", base, after) == (
            "ana added tags web, ana added limits run, changed limits web, ana added values_refs web, "
            "ana added values A, B, changed values Z, deleted values OLD"
        )

    def test_nothing_is_nothing(self) -> None:
        base = ConfigData(values=(ConfigValue("A", "1", group="g"), ConfigValue("B", "1", group="g")))
        swapped = ConfigData(values=base.values[::-1], registry={"web": {}})
        assert config_summary("ana", base, swapped) is None
